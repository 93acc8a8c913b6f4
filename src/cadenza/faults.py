"""Named fault points: where a test may kill the process to see that nothing is lost or doubled.

``CADENZA_FAULT=log.before_commit:3:kill`` kills this process (SIGKILL, as the machine would) when it
passes that point for the third time. Unset, a fault point is one dictionary look-up.
"""

from __future__ import annotations

import os
import signal

import msgspec

from cadenza.errors import OperatingError, near_miss

FAULT_POINTS = frozenset({
    "collect.before_append", "journal.before_write", "journal.before_sync", "collect.after_append",
    "sequence.before_write", "sequence.after_write",
    "log.before_commit", "log.after_commit",
    "archive.written", "archive.named", "archive.listed", "archive.dropping", "retention.written", "retention.listed",
    "snapshot.copied", "restore.copied",
    "tick.before_land", "tick.mid_wave", "tick.before_commit", "tick.after_commit",
    "publish.before", "publish.between_pages", "publish.after",
    "deliver.after_claim", "deliver.before_call", "deliver.after_call", "deliver.before_report",
})  # fmt: skip
"""Every fault point there is; an unknown name fails, so that a test cannot aim at nothing."""

VARIABLE = "CADENZA_FAULT"


class Armed(msgspec.Struct, frozen=True):
    """A fault to happen: at the ``passage``-th passage (1 is the first) of ``point``."""

    point: str
    passage: int


def parse(text: str) -> Armed:
    """The fault written as ``point:n:kill``. Raises OperatingError when it is anything else."""
    point, _, rest = text.partition(":")
    passage, _, action = rest.partition(":")
    _check(point)
    if action != "kill" or not passage.isascii() or not passage.isdigit() or int(passage) < 1:
        raise OperatingError(f"'{text}' is not a fault.", where=VARIABLE, remedy="Write point:n:kill, n from 1.")
    return Armed(point, int(passage))


def _check(point: str) -> None:
    if point not in FAULT_POINTS:
        remedy = near_miss(point, FAULT_POINTS)
        raise OperatingError(f"There is no fault point '{point}'.", where=VARIABLE, remedy=remedy)


_armed = parse(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None
_passages = 0


def fault(name: str) -> None:
    """Pass the fault point ``name``; a no-op unless it is armed. Raises OperatingError for an unknown name."""
    if name not in FAULT_POINTS:
        _check(name)
    if _armed is None or _armed.point != name:
        return
    global _passages
    _passages += 1
    if _passages == _armed.passage:
        os.kill(os.getpid(), signal.SIGKILL)
