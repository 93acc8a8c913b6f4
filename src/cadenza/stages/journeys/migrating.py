"""What happens to those inside the other versions of a journey when a version comes into force."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec
from sqlglot import exp

from cadenza.definitions.flags import flags_of
from cadenza.definitions.graph import START_PATH, Stop
from cadenza.sql.program import Version
from cadenza.sql.step import Script, Step, alias, column, query

_SCRIPT = Script.beside(__file__, "journeys")

Fate = Literal["pin", "exit", "restart", "map"]

COLUMNS = {
    "jid": "INTEGER", "step": "INTEGER", "fate": "VARCHAR", "new_jid": "INTEGER", "to_step": "INTEGER", "carry": "VARCHAR",
    "seconds": "BIGINT", "limit_s": "BIGINT", "to_kind": "VARCHAR",
}  # fmt: skip
"""Of the temporary table ``t_migration``: one row for each stop that people may have to leave."""


class Migration(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to those who rest at one stop of an older version. ``carry``: ``clock``, the time waited counts;
    ``stay``, a deferred message keeps its instant; ``fresh``, as on arrival. ``seconds``: the difference of the
    durations, or the duration. ``limit_s``: the difference of the time limits, or (restart) the new one."""

    jid: int
    step: int
    path: str
    fate: Fate
    new_jid: int
    to_step: int = -1
    to_path: str | None = None
    to_kind: str = ""
    carry: Literal["clock", "stay", "fresh"] = "fresh"
    seconds: int = 0
    limit_s: int = 0


def migrations(versions: Iterable[Version], new: Version, known: bool) -> list[Migration]:
    """For every stop of the other ``versions`` of the journey. ``known``: the new one was in force before, so that its map
    is of another time and maps nobody."""
    return [
        _migration(old, stop, new, known)
        for old in versions
        if old.jid != new.jid and old.journey.name == new.journey.name
        for stop in old.graph.stops
    ]


def _migration(old: Version, stop: Stop, new: Version, known: bool) -> Migration:
    journey = new.journey
    fate: Fate = journey.in_flight
    to = None
    if stop.leaving or old.journey.subject != journey.subject:
        fate = "pin"
    if fate == "map":
        to = _target(stop, new) if not known else None
        fate = "map" if to is not None else journey.unmapped
    at = {"jid": old.jid, "step": stop.step, "path": stop.path, "new_jid": new.jid}
    if fate == "restart":
        start = next(s for s in new.graph.stops if s.path == START_PATH)
        return Migration(**at, fate=fate, to_step=start.step, to_path=START_PATH, to_kind=start.kind,
                         limit_s=journey.exit.time_limit_s)  # fmt: skip
    if to is None:
        return Migration(**at, fate=fate)
    carry, seconds = _clock(stop, to)
    return Migration(
        **at, fate="map", to_step=to.step, to_path=to.path, to_kind=to.kind, carry=carry, seconds=seconds,
        limit_s=journey.exit.time_limit_s - old.journey.exit.time_limit_s,
    )  # fmt: skip


def _target(stop: Stop, new: Version) -> Stop | None:
    """The stop of the new version that the map names, with the flags that are known there and here."""
    path = new.journey.step_map.get(stop.path)
    names = set(flags_of(new.journey.steps))
    flags = tuple(pair for pair in stop.flags if pair[0] in names)
    to = next((s for s in new.graph.stops if s.path == path and s.flags == flags), None)
    # A local clock is read on arrival; whoever waits by the same one keeps the instant, others cannot be put there.
    return None if to is not None and to.local is not None and to.local != stop.local else to


def _clock(stop: Stop, to: Stop) -> tuple[Literal["clock", "stay", "fresh"], int]:
    if stop.kind == to.kind == "send" or to.local is not None:
        return "stay", 0
    timed = stop.kind == to.kind and stop.kind in ("wait", "wait_for") and stop.local is None
    return ("clock", to.seconds - stop.seconds) if timed else ("fresh", to.seconds)


def rows(found: Iterable[Migration]) -> list[dict[str, object]]:
    """Those who leave, as rows of ``t_migration``."""
    return [{name: getattr(m, name) for name in COLUMNS} for m in found if m.fate != "pin"]


def migrate(columns: frozenset[str]) -> list[Step]:
    """Move, end and begin again whom ``t_migration`` says, at the variable ``horizon``. ``columns``: those of
    ``enrollment``. Who begins again keeps the values at entry that the passage before has kept."""
    before = ["w_leaving", "unhold", "leave_end", "leave_rest"]
    after = ["map", "mapped", *(["forget_seen"] if "seen" in columns else [])]
    kept = [_of_the_passage(name) for name in sorted(columns) if name.startswith("v_")]
    return [*map(_SCRIPT.step, before), _SCRIPT.step("restart", kept=kept), *map(_SCRIPT.step, after)]


def _of_the_passage(name: str) -> exp.Expr:
    value = query("SELECT o.kept_ FROM enrollment AS o WHERE o.eid = w.eid")
    for found in list(value.find_all(exp.Column)):
        if found.name == "kept_":
            found.replace(column(name, "o"))
    return alias(value.subquery(), name)


def look() -> Step:
    """Whoever was mapped has an item at once."""
    return _SCRIPT.step("look_at_mapped")
