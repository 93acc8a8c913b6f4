"""What came of a run, read once for everybody: passages, verdicts, messages, refusals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec

from cadenza.ports.engine import Engine
from cadenza.sql import step
from cadenza.sql.step import number

_SCRIPT = step.Script.beside(__file__, "testing")
_START = -2
T = TypeVar("T")


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A move between resting steps. ``from_path`` and ``to_path`` are None at the two ends; ``taken``: the decisions on
    the way, as the graph says them."""

    at: datetime
    cause: str
    from_step: int
    to_step: int
    from_path: str | None
    to_kind: str | None
    to_path: str | None
    taken: tuple[str, ...]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A passage of a person through a journey; ``ended`` and ``reason`` are None while it lasts."""

    journey: str
    entered: datetime
    moves: tuple[Move, ...]
    ended: datetime | None
    reason: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A verdict on a candidate message."""

    journey: str
    at: datetime
    template: str | None
    verdict: str
    reason: str | None
    rule: str | None
    until: datetime | None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message decided to be sent; ``context`` (JSON) are the values of its template."""

    journey: str
    at: datetime
    template: str
    channel: str
    address: str
    message_id: str
    context: str


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A candidate that did not enter."""

    journey: str
    at: datetime
    reason: str
    rule: str | None


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one run, by person id. ``people``: offset of a first record -> person id."""

    people: dict[int, int]
    families: dict[int, tuple[int, ...]]
    passages: dict[int, list[Passage]]
    verdicts: dict[int, list[Verdict]]
    messages: dict[int, list[Message]]
    refusals: dict[int, list[Refused]]
    unqualified: frozenset[str]


def observe(engine: Engine, offsets: Sequence[int]) -> Observed:
    """What the store holds of the persons whose first records have these offsets."""
    families: dict[int, list[int]] = defaultdict(list)
    for survivor, loser in _rows(engine, "families"):
        families[survivor].append(loser)
    return Observed(
        people=dict(_rows(engine, "people", offsets=[number(offset) for offset in sorted(offsets)])),
        families={pid: (pid, *losers) for pid, losers in families.items()},
        passages=_passages(engine),
        verdicts=_by_person(engine, "verdicts", Verdict),
        messages=_by_person(engine, "messages", Message),
        refusals=_by_person(engine, "refusals", Refused),
        unqualified=frozenset(journey for (journey,) in _rows(engine, "unqualified")),
    )


def open_task(engine: Engine, offset: int) -> tuple[int, str] | None:
    """The person who came of a first record, and the task of theirs that was opened last and has not ended; None where
    there is none."""
    found = _rows(engine, "open_task", first=number(offset))
    return tuple(found[0]) if found else None


def open_call(engine: Engine, offset: int) -> tuple[int, str] | None:
    """The same of calls of services: the one put last that is waited for."""
    found = _rows(engine, "open_call", first=number(offset))
    return tuple(found[0]) if found else None


def _rows(engine: Engine, query: str, **parts: step.Part) -> list[Any]:
    return engine.query(_SCRIPT.step(query, **parts).sql)


def _by_person(engine: Engine, query: str, kind: type[T]) -> dict[int, list[T]]:
    """Rows of (person, the fields of ``kind`` in order)."""
    found: dict[int, list[T]] = defaultdict(list)
    names = kind.__struct_fields__  # type: ignore[attr-defined]
    for pid, *values in _rows(engine, query):
        found[pid].append(kind(**dict(zip(names, values, strict=True))))
    return found


def _passages(engine: Engine) -> dict[int, list[Passage]]:
    moves: dict[int, list[Move]] = defaultdict(list)
    for eid, at, cause, from_step, to_step, from_path, kind, to_path, taken in _rows(engine, "moves"):
        moves[eid].append(Move(
            at=at, cause=cause, from_step=from_step, to_step=to_step, from_path=from_path, to_kind=kind, to_path=to_path,
            taken=msgspec.json.decode(taken, type=tuple[str, ...]) if taken else (),
        ))  # fmt: skip
    found: dict[int, list[Passage]] = defaultdict(list)
    for pid, eid, journey, entered, ended, reason in _rows(engine, "passages"):
        found[pid].append(Passage(
            journey=journey, entered=entered, moves=_chained(moves[eid]), ended=ended, reason=reason,
        ))  # fmt: skip
    return found


def _chained(moves: list[Move]) -> tuple[Move, ...]:
    """Moves in the order in which they were made: those of one instant follow one another from step to step."""
    left, at, chain = sorted(moves, key=lambda m: m.at), _START, []
    while left:
        now = [m for m in left if m.at == left[0].at]
        following = next((m for m in now if m.from_step == at), now[0])
        left.remove(following)
        chain.append(following)
        at = following.to_step
    return tuple(chain)
