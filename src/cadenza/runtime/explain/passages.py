"""The journeys of one person: each passage's path, each candidate message and what became of it."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.definitions.implied import effective
from cadenza.definitions.kinds import Journey
from cadenza.definitions.trigger_text import trigger_words
from cadenza.ids import record_number
from cadenza.ports.engine import Engine
from cadenza.runtime.explain.not_qualified import shown
from cadenza.runtime.explain.views import (
    CallView,
    ChannelView,
    DeliveryView,
    MessageView,
    MoveView,
    PassageView,
    RefusalView,
    TaskChangeView,
    TaskView,
    VerdictView,
)  # fmt: skip
from cadenza.runtime.explain.wording import answered, judged, moved, position, refused, weighed, worked
from cadenza.sql import step
from cadenza.sql.columns import read_at_entry
from cadenza.sql.step import number

_SCRIPT = step.Script.beside(__file__, "explain")
Rows = list[tuple[Any, ...]]
FOR_GOOD = 9999
"""The year of no end."""


def passages(engine: Engine, pid: int, chosen: exp.Expr) -> tuple[PassageView, ...]:
    """Every enrollment of a person, oldest first. ``chosen``: a condition on ``journey_version`` (alias ``v``)."""
    rows = engine.query(_SCRIPT.step("passages", pid=number(pid), chosen=chosen).sql)
    story = _Story(engine, pid) if rows else None
    return tuple(story.passage(row) for row in rows) if story else ()


def refusals(engine: Engine, pid: int, chosen: exp.Expr) -> tuple[RefusalView, ...]:
    """Every refusal of a person as a candidate, oldest first."""
    return tuple(
        RefusalView(
            journey=name,
            at=at,
            trigger=_entry(_definition(text), offset, record),
            offset=offset,
            reason=reason,
            rule=rule,
            words=refused(reason, rule),
        )
        for name, text, at, reason, rule, offset, record in engine.query(
            _SCRIPT.step("refusals", pid=number(pid), chosen=chosen).sql
        )
    )


class _Story:
    """All moves, verdicts and deliveries of a person, by enrollment."""

    def __init__(self, engine: Engine, pid: int) -> None:
        def rows(query: str, *key: int) -> dict[tuple[Any, ...], Rows]:
            found: dict[tuple[Any, ...], Rows] = defaultdict(list)
            for row in engine.query(_SCRIPT.step(query, pid=number(pid)).sql):
                found[tuple(row[k] for k in key)].append(row)
            return found

        self._moves = rows("moves", 0)
        self._arrivals = rows("arrivals", 0)
        self._verdicts = rows("verdicts", 0, 1)
        self._deliveries = rows("deliveries", 0)
        self._tasks = rows("tasks", 0)
        self._changes = rows("task_changes", 0) if self._tasks else {}
        self._calls = rows("calls", 0)
        self._answers = rows("answers", 0) if self._calls else {}
        self._engine, self._pid = engine, pid

    def passage(self, row: tuple[Any, ...]) -> PassageView:
        eid, name, version, text, key, entered, offset, at_step, wake_at, path, ended, reason, record, by, still = row
        journey = _definition(text)
        lives = ended is None and at_step != -1
        return PassageView(
            journey=name, version=version, key=key or "", entered_at=entered, offset=offset,
            trigger=_entry(journey, offset, record),
            moves=tuple(self._move(journey, move) for move in self._moves.get((eid,), ())),
            messages=tuple(self._message(journey, arrival) for arrival in self._arrivals.get((eid,), ())),
            position=position(journey, path, None) if lives else None, wakes_at=wake_at if lives else None,
            ended_at=ended, ended_by=by, reason=reason, paused_since=still if lives else None,
            tasks=tuple(self._task(task) for task in self._tasks.get((eid,), ())),
            calls=tuple(self._call(call) for call in self._calls.get((eid,), ())), at_entry=self._at_entry(journey, eid),
        )  # fmt: skip

    def _at_entry(self, journey: Journey | None, eid: int) -> dict[str, str | None]:
        names = sorted(read_at_entry(journey)) if journey is not None else []
        return {name: self._kept.get((eid, name)) for name in names}

    @cached_property
    def _kept(self) -> dict[tuple[int, str], str | None]:
        """The values kept with the person's passages, by enrollment and trait."""
        columns = self._engine.query(_SCRIPT.step("kept_columns").sql)
        found: dict[tuple[int, str], str | None] = {}
        for (name,) in columns:
            trait = name.removeprefix("v_").rpartition("_")[0]
            kept = self._engine.query(_SCRIPT.step("kept", pid=number(self._pid), value=step.column(name, "e")).sql)
            found |= {(eid, trait): shown(value) for eid, value in kept if value is not None}
        return found

    def _move(self, journey: Journey | None, row: tuple[Any, ...]) -> MoveView:
        _, at, cause, _, _, to_path, to_kind, hop, offset, record, since = row
        way = msgspec.json.decode(hop, type=list[str]) if hop else []
        words = moved(
            journey, cause, at - since if since else timedelta(), record, way, position(journey, to_path, to_kind)
        )
        return MoveView(at=at, words=words, cause=cause, offset=offset)

    def _task(self, row: tuple[Any, ...]) -> TaskView:
        _, task, team, title, opened, due, live = row
        changes = tuple(
            TaskChangeView(at=at, words=worked(change, by, outcome, to_team, assignee, note, no), offset=offset)
            for _, at, change, by, outcome, to_team, assignee, note, no, offset in self._changes.get((task,), ())
        )
        return TaskView(
            task=task, team=team, title=title, opened_at=opened, due_at=due, replayed=not live, changes=changes
        )

    def _call(self, row: tuple[Any, ...]) -> CallView:
        _, call, destination, at, context, asked, refused, deliverable = row
        answers = tuple(
            TaskChangeView(at=when, words=answered(result, reason, trait, *(said or (None, None))), offset=offset)
            for _, when, result, reason, trait, said, offset in self._answers.get((call,), ())
        )
        return CallView(
            call=call, destination=destination, planned_at=at, sent=context, replayed=not deliverable, answers=answers,
            refused=judged("drop", refused, asked, None).removeprefix("not sent: ") if refused else None,
        )  # fmt: skip

    def _message(self, journey: Journey | None, row: tuple[Any, ...]) -> MessageView:
        eid, at_step, path, template, at, message_id, deliverable, ended = row
        verdicts = tuple(_verdict(verdict) for verdict in self._verdicts.get((eid, at_step), ()))
        final = {"send": "sent", "drop": "dropped"}.get(verdicts[-1].verdict) if verdicts else None
        return MessageView(
            step=position(journey, path, "send"), template=template, arrived_at=at,
            outcome=final or ("withdrawn" if ended else "waiting"), message_id=message_id,
            replayed=message_id is not None and not deliverable, verdicts=verdicts,
            deliveries=tuple(
                DeliveryView(at=when, name=name, detail=detail)
                for _, when, name, detail in self._deliveries.get((message_id,), ())
            ),
        )  # fmt: skip


def _definition(text: str | None) -> Journey | None:
    """The journey as it was when it was deployed under this version."""
    return msgspec.json.decode(text, type=Journey) if text else None


def _entry(journey: Journey | None, offset: int | None, record: str | None) -> str:
    """What made the person a candidate, after "by"."""
    number = None if offset is None else record_number(offset)
    by = f"'{record}', record {number}" if record else f"record {number}" if number is not None else "time"
    if journey is not None and effective(journey).entry.on.segment is None and offset is None:
        return "another journey"
    if journey is None or effective(journey).entry.on.segment is None:
        return by
    if journey.entry.on.segment is None or journey.entry.on.schedule is not None:
        return trigger_words(journey) + (" as time passed" if offset is None else f" with {by}")
    verb = {"entered": "entering", "left": "leaving"}[journey.entry.on.change]
    return f"{verb} segment '{journey.entry.on.segment}' " + ("as time passed" if offset is None else f"with {by}")


def _verdict(row: tuple[Any, ...]) -> VerdictView:
    _, _, at, verdict, reason, rule, until, evidence, ends = row
    known = msgspec.json.decode(evidence) if evidence else {}
    channels = tuple(_channel(of) for of in known.pop("choice", None) or ())
    if ends is not None and ends.year < FOR_GOOD:
        rule = f"{rule} until {ends:%Y-%m-%d %H:%M:%S}"
    return VerdictView(
        at=at, verdict=verdict, words=judged(verdict, reason, rule, until), reason=reason, rule=rule, until=until,
        evidence={name: str(value) for name, value in known.items() if value is not None}, channels=channels,
    )  # fmt: skip


def _channel(of: dict[str, Any]) -> ChannelView:
    """One of the channels of a choice; instants in the evidence are text."""
    until = datetime.fromisoformat(of["until"]) if of["until"] else None
    words = weighed(
        chosen=of["chosen"], verdict=of["verdict"], reason=of["reason"], until=until, worth=of["worth"],
        messages=of["messages"], responses=of["responses"],
    )  # fmt: skip
    return ChannelView(
        channel=of["channel"], template=of["template"], chosen=of["chosen"], words=words, verdict=of["verdict"],
        reason=of["reason"], until=until, worth=of["worth"], messages=of["messages"], responses=of["responses"],
    )  # fmt: skip
