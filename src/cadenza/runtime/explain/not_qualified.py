"""Why a candidate did not qualify. Plain non-qualification is only counted, so it is derived again here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.definitions.expression import Binary, Expr, Trait, walk
from cadenza.definitions.expression_text import write
from cadenza.definitions.implied import effective, former_of, is_implied
from cadenza.definitions.kinds import Journey
from cadenza.definitions.project import Project
from cadenza.definitions.trigger_text import trigger_words
from cadenza.ids import is_account, record_number
from cadenza.ports.engine import Engine
from cadenza.runtime.explain.asof import Moment, evaluate
from cadenza.runtime.explain.views import NotQualifiedView, PartView
from cadenza.runtime.history import Deployed
from cadenza.sql import step
from cadenza.sql.step import number, text
from cadenza.stages import measure

_SCRIPT = step.Script.beside(__file__, "explain")
MOST = 10
"""The latest triggers of a person that are derived again; the others are counted."""


class NotQualified(msgspec.Struct, frozen=True):
    """How many triggers came to nothing, and the latest of them with their reasons (oldest first)."""

    n: int
    latest: tuple[NotQualifiedView, ...]


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A record (or a change of a segment, ``offset`` None when time caused it) that made a person a candidate."""

    journey: Journey
    project: Project
    words: str
    offset: int | None
    at: datetime
    late: bool = False
    """The event occurred too long before it was recorded."""


def why_not(
    engine: Engine, versions: Sequence[Deployed], pid: int, family: tuple[int, ...], journey: str | None = None
) -> NotQualified:
    """The triggers of a person that led to neither an entry nor a refusal; the latest ``MOST`` with the journey's
    ``when`` as of then, part by part. ``family``: the person and all merged into it. Raises StoreError."""
    triggers = [
        trigger
        for deployment in versions
        for definition in deployment.project.journeys
        if journey in (None, definition.name) and (definition.subject == "account") == is_account(pid)
        for trigger in _unanswered(engine, deployment, definition, pid, family)
    ]
    ordered = sorted(triggers, key=lambda t: (t.at, t.journey.name))
    return NotQualified(len(ordered), tuple(_derived(engine, trigger, pid, family) for trigger in ordered[-MOST:]))


def _unanswered(
    engine: Engine, deployment: Deployed, journey: Journey, pid: int, family: tuple[int, ...]
) -> list[Trigger]:
    on = effective(journey).entry.on
    if on.segment is not None:
        verb = {"entered": "entering", "left": "leaving"}[on.change]
        words = trigger_words(journey) if is_implied(on.segment) else f"{verb} segment '{on.segment}'"
        causes = ["time"] if on.date is not None and on.past == "skip" else ["record", "time"]
        both = on.from_ is not None and on.to is not None
        query = _SCRIPT.step(
            "triggers_by_segment", pid=number(pid), family=[number(p) for p in family], segment=text(on.segment),
            entered=step.sql("TRUE" if on.change == "entered" else "FALSE"), journey=text(journey.name),
            causes=[text(cause) for cause in causes], former=text(former_of(journey.name) if both else None),
        )  # fmt: skip
    else:
        words = f"'{on.event}'"
        query = _SCRIPT.step(
            "triggers_by_event", pid=number(pid), called=text(on.event), journey=text(journey.name),
            condition=measure.condition(deployment.project, on.where),
        )  # fmt: skip
    late = journey.entry.late_s
    return [
        Trigger(
            journey=journey,
            project=deployment.project,
            words=_by(words, on.event, offset),
            offset=offset,
            at=at,
            late=late is not None and occurred is not None and at - occurred > timedelta(seconds=late),
        )
        for offset, at, occurred in engine.query(query.sql)
        if deployment.holds(None if offset is None else record_number(offset), at)
    ]


def _by(words: str, event: str | None, offset: int | None) -> str:
    if offset is None:
        return f"{words} as time passed"
    number_ = record_number(offset)
    return f"{words}, record {number_}" if event is not None else f"{words} with record {number_}"


def _derived(engine: Engine, trigger: Trigger, pid: int, family: tuple[int, ...]) -> NotQualifiedView:
    when = trigger.journey.entry.when
    parts = conjuncts(when) if when is not None else ()
    traits = {part: _traits(part) for part in parts}
    trees = [*([when] if when is not None else []), *parts, *(t for found in traits.values() for t in found)]
    moment = Moment(pid=pid, family=family, now=trigger.at, item=trigger.offset)
    values = iter(evaluate(engine, trigger.project, moment, trees))
    whole = answer(next(values)) if when is not None else "true"
    answers = [answer(next(values)) for _ in parts]
    read = [{t.name: shown(next(values)) for t in traits[part]} for part in parts]
    return NotQualifiedView(
        journey=trigger.journey.name, at=trigger.at, trigger=trigger.words, offset=trigger.offset,
        condition=write(when) if when is not None else "", answer="the event was too late" if trigger.late else whole,
        parts=tuple(
            PartView(text=write(part), answer=said, values=known)
            for part, said, known in zip(parts, answers, read, strict=True)
        ),
    )  # fmt: skip


def conjuncts(tree: Expr) -> tuple[Expr, ...]:
    """The parts of a condition that must all hold."""
    if isinstance(tree, Binary) and tree.op == "and":
        return (*conjuncts(tree.left), *conjuncts(tree.right))
    return (tree,)


def _traits(tree: Expr) -> list[Trait]:
    return list(dict.fromkeys(node for node in walk(tree) if isinstance(node, Trait)))


def answer(value: Any) -> str:
    """A three-valued answer in words."""
    return "unknown" if value is None else "true" if value else "false"


def shown(value: Any) -> str | None:
    """A value of the language as text; None stays None."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)
