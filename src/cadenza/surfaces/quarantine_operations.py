"""The operations of the API on quarantine: what is there and why, correct it, take it in again, drop it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

import msgspec

from cadenza.clock import from_micros
from cadenza.surfaces.operation import BadParameter, Operation, Parameter, limit_of
from cadenza.workspace import Quarantined, QuarantineState, Replayed, Workspace

Arguments = Mapping[str, Any]
MOST_NAMED = 10_000
"""Ids that one request may name."""


class QuarantineEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record: why, the record as it is kept (text) and what it was corrected to. ``form``: ``call`` is as its
    sender wrote it, ``record`` the normal form of the log, ``text`` no JSON. ``log_offset``: of the record that a replay
    made of it or found there."""

    id: int
    at: datetime
    source: str
    reason: str
    detail: str
    message_id: str | None
    form: str
    imported: bool
    state: str
    record: str
    corrected: str | None
    log_offset: int | None


class QuarantineReason(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one source refused for one reason: how many rest, were dropped, were replayed; when the first and
    the last came; the id of the newest."""

    source: str
    reason: str
    resting: int
    dropped: int
    replayed: int
    first_at: datetime
    last_at: datetime
    example: int


class QuarantineAct(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done about a record."""

    at: datetime
    action: str
    who: str
    note: str


class QuarantineShown(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record and everything that was done about it, oldest first."""

    entry: QuarantineEntry
    history: tuple[QuarantineAct, ...]


class Fix(msgspec.Struct, frozen=True, kw_only=True):
    """A correction: ``record`` instead of what is kept, then values to set by path, then paths to take out."""

    record: msgspec.Raw = msgspec.field(default_factory=lambda: msgspec.Raw(b"null"))
    set: dict[str, msgspec.Raw] = {}
    unset: list[str] = []
    by: str = "api"
    note: str = ""


class FixAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The corrected record. ``reason``: why a replay would refuse it still; null when it would not."""

    entry: QuarantineEntry
    reason: str | None
    detail: str


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """Which records to take in again: ``ids``, or those of a source or reason, or with ``all`` every one that rests;
    only ids above ``after``."""

    ids: list[int] | None = None
    source: str | None = None
    reason: str | None = None
    all: bool = False
    after: int = 0
    limit: int = MOST_NAMED
    by: str = "api"


class Drop(msgspec.Struct, frozen=True, kw_only=True):
    """Which records are not wanted, and why."""

    ids: list[int]
    because: str
    by: str = "api"


class Dropped(msgspec.Struct, frozen=True, kw_only=True):
    """The records that rested until now."""

    dropped: list[int]


def quarantine_entry(item: Quarantined) -> QuarantineEntry:
    """What the surfaces show of a quarantined record."""
    corrected = None if item.corrected is None else item.corrected.decode("utf-8", errors="replace")
    return QuarantineEntry(
        id=item.id, at=from_micros(item.at), source=item.source, reason=item.reason, detail=item.detail, message_id=item.message_id,
        form=item.form, imported=item.imported, state=item.state, corrected=corrected, log_offset=item.log_offset,
        record=item.body.decode("utf-8", errors="replace"),
    )  # fmt: skip


def _list(workspace: Workspace, given: Arguments) -> list[QuarantineEntry]:
    state = given["state"] or "resting"
    found = workspace.quarantine.list(
        given["limit"], given["source"], given["reason"], None if state == "any" else state, given["before"]
    )
    return [quarantine_entry(item) for item in found]


def _counts(workspace: Workspace, given: Arguments) -> list[QuarantineReason]:
    return [
        QuarantineReason(
            source=c.source, reason=c.reason, resting=c.resting, dropped=c.dropped, replayed=c.replayed,
            first_at=from_micros(c.first_at), last_at=from_micros(c.last_at), example=c.example,
        )
        for c in workspace.quarantine.counts()
    ]  # fmt: skip


def _show(workspace: Workspace, given: Arguments) -> QuarantineShown:
    found = workspace.quarantine.show(given["id"])
    acts = tuple(QuarantineAct(at=from_micros(a.at), action=a.action, who=a.who, note=a.note) for a in found.history)
    return QuarantineShown(entry=quarantine_entry(found.record), history=acts)


def _fix(workspace: Workspace, given: Arguments) -> FixAnswer:
    fix: Fix = given["body"]
    record = bytes(fix.record)
    put = {path: bytes(value) for path, value in fix.set.items()}
    if record == b"null" and not put and not fix.unset:
        raise BadParameter("there is nothing to correct.", where="body", remedy="Give record, set or unset.")
    found = workspace.quarantine.fix(
        given["id"], fix.by, put=put, remove=fix.unset, record=None if record == b"null" else record, note=fix.note
    )
    return FixAnswer(entry=quarantine_entry(found.record), reason=found.reason, detail=found.detail)


def _replay(workspace: Workspace, given: Arguments) -> Replayed:
    wanted: Replay = given["body"]
    if wanted.ids is None and not (wanted.all or wanted.source or wanted.reason):
        raise BadParameter("which records?", where="body", remedy="Give ids, source, reason or all.")
    return workspace.quarantine.replay(
        wanted.by, wanted.ids, wanted.source, wanted.reason, wanted.after, max(1, min(wanted.limit, MOST_NAMED))
    )


def _drop(workspace: Workspace, given: Arguments) -> Dropped:
    wanted: Drop = given["body"]
    if not wanted.because.strip():
        raise BadParameter("a record is dropped for a reason.", where="because", remedy="Say why.")
    return Dropped(dropped=workspace.quarantine.drop(wanted.ids[:MOST_NAMED], wanted.because, wanted.by))


_ID = Parameter(name="id", place="path", kind="integer", meaning="The id of a record in quarantine.")

QUARANTINE_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/quarantine", name="quarantine", answer=list[QuarantineEntry], run=_list,
        summary="Records that were refused, newest first, and why",
        parameters=(
            limit_of(100, 1_000),
            Parameter(name="source", place="query", meaning="Only records of this source."),
            Parameter(name="reason", place="query", meaning="Only records refused for this reason."),
            Parameter(
                name="state", place="query", enum=(*get_args(QuarantineState), "any"),
                meaning="Only records in this state; without it, those that rest.",
            ),
            Parameter(name="before", place="query", kind="integer", meaning="Only records with a smaller id."),
        ),
    ),
    Operation(
        path="/api/quarantine/counts", name="quarantine_counts", answer=list[QuarantineReason], run=_counts,
        summary="Refused records by source and reason, the largest group first",
    ),
    Operation(
        path="/api/quarantine/replay", name="quarantine_replay", method="POST", group="quarantine", answer=Replayed,
        run=_replay, body=Replay,
        summary="Take refused records in as they are now, as if they had come right; done twice, it is done once",
    ),
    Operation(
        path="/api/quarantine/drop", name="quarantine_drop", method="POST", group="quarantine", answer=Dropped,
        run=_drop, body=Drop,
        summary="Say that refused records are not wanted, and why; they stay, marked and counted",
    ),
    Operation(
        path="/api/quarantine/{id}", name="quarantine_show", answer=QuarantineShown, run=_show, parameters=(_ID,),
        summary="One refused record and what was done about it",
    ),
    Operation(
        path="/api/quarantine/{id}/fix", name="quarantine_fix", method="POST", group="quarantine", answer=FixAnswer,
        run=_fix, parameters=(_ID,), body=Fix,
        summary="Keep a correction beside a refused record",
    ),
)  # fmt: skip
