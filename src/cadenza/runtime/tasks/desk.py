"""Lists tasks, shows one, and puts on record what people say of it. The tick decides what has an effect."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.clock import Clock, iso, to_micros
from cadenza.definitions.kinds import HandOff, Journey
from cadenza.definitions.step_names import step_at
from cadenza.errors import CadenzaError, StateError, near_miss
from cadenza.ids import named_subject, random_id, subject_name
from cadenza.ledger.log import SqliteLog
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.explain.wording import moved, position, span
from cadenza.runtime.tasks.views import (
    ACTIVE,
    RecentEvent,
    TaskChange,
    TaskMove,
    TaskReceipt,
    TaskRow,
    TaskShown,
    TaskWanted,
    TeamFigures,
)  # fmt: skip
from cadenza.sql import step
from cadenza.sql.step import column, number, text

_SCRIPT = step.Script.beside(__file__, "tasks")
LONGEST_NOTE = 4_000
LONGEST_NAME = 200


class TaskDesk:
    """The tasks of one project. Its methods may run in any thread; they read the store and append to the log."""

    def __init__(
        self, reading: Callable[[], AbstractContextManager[Engine]], log: Callable[[], SqliteLog], clock: Clock
    ) -> None:
        self._reading, self._log, self._clock = reading, log, clock

    # --- reading ------------------------------------------------------------------------------------

    def list(self, wanted: TaskWanted) -> list[TaskRow]:
        """Live tasks, the most urgent first; ended ones behind, the last ended first. Tasks that were opened while history
        was replayed are listed for one person only."""
        with self._reading() as engine:
            return [self._row(row) for row in self._stands(engine, self._condition(wanted), wanted.limit)]

    def show(self, task: str) -> TaskShown:
        """One task with what helps to work on it. Raises CadenzaError for an unknown one."""
        with self._reading() as engine:
            row = self._one(engine, task)
            eid, jid, at, context, recent = row[17:22]
            journey = _journey(engine, jid)
            hand_off = self._hand_off(engine, journey, jid, at)
            entered = engine.query(_SCRIPT.text("passage", eid=number(eid)))[0]
            return TaskShown(
                task=self._row(row), outcomes=tuple(arm.name for arm in hand_off.outcomes) if hand_off else (),
                context=msgspec.json.decode(context), recent=msgspec.json.decode(recent, type=tuple[RecentEvent, ...]),
                entered_at=entered[0], entered_by=_event(*entered[1:]), way=self._way(engine, row, journey),
                history=tuple(
                    TaskChange(at=at, change=change, actor=by, outcome=outcome, team=team, assignee=assignee, note=note,
                               refused=refused, offset=offset)
                    for at, change, by, outcome, team, assignee, note, refused, offset
                    in engine.query(_SCRIPT.text("changes", task=text(task)))
                ),
            )  # fmt: skip

    def teams(self) -> list[TeamFigures]:
        """How each team stands."""
        now = step.instant(self._clock.now().isoformat(" "))
        with self._reading() as engine:
            rows = engine.query(_SCRIPT.text("teams", stands=_SCRIPT.query("stands"), now=now))
        fields = TeamFigures.__struct_fields__
        return [TeamFigures(**dict(zip(fields, row, strict=True))) for row in rows]

    def decided(self, receipt: TaskReceipt) -> TaskReceipt:
        """The receipt with what the tick made of the record, when it has."""
        with self._reading() as engine:
            if engine.query(_SCRIPT.text("consumed"))[0][0] < receipt.offset:
                return receipt
            found = engine.query(_SCRIPT.text("decided", at=number(receipt.offset)))
            state = self._one(engine, receipt.task)[1]
        refused = found[0][0] if found else None
        return msgspec.structs.replace(receipt, decided=bool(found), refused=refused, state=state)

    # --- saying -------------------------------------------------------------------------------------

    def accept(self, task: str, actor: str) -> TaskReceipt:
        """Take a task on. Of several who do, the first in the log has it. Raises CadenzaError, StateError."""
        row = self._active(task)
        if row.state == "accepted" and row.assignee != actor:
            raise StateError(
                f"{row.assignee} has accepted this task.", where=task,
                remedy="Reassign it first if you are to take it over.",
            )  # fmt: skip
        return self._said(row, "Task Accepted", actor=_name(actor, "actor"))

    def reassign(
        self, task: str, actor: str, team: str | None = None, assignee: str | None = None, note: str = ""
    ) -> TaskReceipt:
        """Give a task to another team or person; whoever accepted it is rid of it. Raises CadenzaError, StateError."""
        if not team and not assignee:
            raise CadenzaError("reassign it to whom?", where=task, remedy="Name a team, an assignee, or both.")
        return self._said(self._active(task), "Task Reassigned", actor=actor, team=team, assignee=assignee, note=note)

    def comment(self, task: str, actor: str, note: str) -> TaskReceipt:
        """Say something about a task, also an ended one. Raises CadenzaError, StateError."""
        if not note.strip():
            raise CadenzaError("the comment is empty.", where=task, remedy="Write what there is to say.")
        return self._said(self._known(task), "Task Commented", actor=actor, note=note)

    def complete(self, task: str, outcome: str, actor: str, note: str = "") -> TaskReceipt:
        """Complete a task. One that has ended otherwise is not changed by it, but what was said is put on record.
        Raises CadenzaError for an unknown task or outcome; StateError for a task that has ended."""
        with self._reading() as engine:
            found = self._one(engine, task)
            hand_off = self._hand_off(engine, _journey(engine, found[18]), found[18], found[19])
        outcomes = [arm.name for arm in hand_off.outcomes] if hand_off else []
        if outcome not in outcomes:
            raise CadenzaError(
                f"'{outcome}' is no outcome of this task.", where=task, remedy=near_miss(outcome, outcomes)
            )
        row = self._workable(self._row(found))
        receipt = self._said(row, "Task Completed", actor=actor, outcome=outcome, note=note)
        if row.state not in ACTIVE:
            raise StateError(
                f"{_ended(row)} What you say is on record (offset {receipt.offset}) and has no effect on the journey.",
                where=task, remedy="'cadenza tasks show' has its history.",
            )  # fmt: skip
        return receipt

    def _said(self, row: TaskRow, event: str, **properties: str | None) -> TaskReceipt:
        for name in ("actor", "assignee", "team"):
            if properties.get(name):
                _name(properties[name] or "", name)
        if len(properties.get("note") or "") > LONGEST_NOTE:
            raise CadenzaError(f"a note has at most {LONGEST_NOTE:,} characters.", where=row.task)
        now = to_micros(self._clock.now())
        said = {"task_id": row.task} | {name: value for name, value in properties.items() if value}
        body = {
            "type": "track",
            "event": event,
            "person": named_subject(row.person),
            "occurred_at": now,
            "properties": said,
        }
        record = NewRecord(
            kind="task",
            source="tasks",
            message_id=f"task:{random_id()}",
            body=msgspec.json.encode(body, order="sorted"),
        )
        appended = self._log().append([record], now)[0]
        return TaskReceipt(
            task=row.task, change=event, offset=appended.offset, decided=False, refused=None, state=row.state
        )

    # --- rows ---------------------------------------------------------------------------------------

    def _condition(self, wanted: TaskWanted) -> exp.Expr:
        parts: list[exp.Expr] = []
        for name, value in (("team", wanted.team), ("assignee", wanted.assignee), ("journey", wanted.journey)):
            if value is not None:
                parts.append(column(name, "s").eq(text(value)))
        # Merged persons are their survivor: the task's row follows a merge.
        parts.append(column("live", "s") if wanted.person is None else column("pid", "s").eq(number(wanted.person)))
        if wanted.state == "active":
            parts.append(step.sql("s.ended_at IS NULL").copy())
        elif wanted.state != "any":
            parts.append(column("state", "s").eq(text(wanted.state)))
        if wanted.overdue:
            now = step.instant(self._clock.now().isoformat(" "))
            parts += [step.sql("s.ended_at IS NULL").copy(), exp.LTE(this=column("due_at", "s"), expression=now)]
        return step.all_of(parts)

    def _stands(self, engine: Engine, wanted: exp.Expr, most: int) -> list[tuple[Any, ...]]:
        stands = _SCRIPT.query("stands")
        return engine.query(_SCRIPT.text("list", stands=stands, wanted=wanted, most=number(most)))

    def _one(self, engine: Engine, task: str) -> tuple[Any, ...]:
        rows = self._stands(engine, column("task_id", "s").eq(text(task)), 1)
        if not rows:
            open_ = [row[0] for row in self._stands(engine, self._condition(TaskWanted()), 1_000)]
            remedy = near_miss(task, open_) or "'cadenza tasks list' shows the ids."
            raise CadenzaError(f"there is no task '{task}'.", remedy=remedy)
        return rows[0]

    def _known(self, task: str) -> TaskRow:
        with self._reading() as engine:
            return self._workable(self._row(self._one(engine, task)))

    def _workable(self, row: TaskRow) -> TaskRow:
        if not row.live:
            raise StateError("the task was opened while history was replayed; nobody works on it.", where=row.task)
        return row

    def _active(self, task: str) -> TaskRow:
        row = self._known(task)
        if row.state not in ACTIVE:
            raise StateError(_ended(row), where=task, remedy="'cadenza tasks show' has its history.")
        return row

    def _row(self, row: tuple[Any, ...]) -> TaskRow:
        (task, state, team, assignee, title, priority, pid, journey, opened, due, accepted, ended, outcome, by, why,
         live) = row[:16]  # fmt: skip
        return TaskRow(
            task=task, state=state, team=team, assignee=assignee, title=title, priority=priority, person=subject_name(pid),
            journey=journey, opened_at=opened, due_at=due, overdue=ended is None and due <= self._clock.now(),
            accepted_at=accepted, ended_at=ended, outcome=outcome, ended_by=by, ended_why=why, live=live,
        )  # fmt: skip

    def _hand_off(self, engine: Engine, journey: Journey, jid: int, at: int) -> HandOff | None:
        paths = engine.query(_SCRIPT.text("step_path", jid=number(jid), step=number(at)))
        found = step_at(journey, paths[0][0]) if paths else None
        return found if isinstance(found, HandOff) else None

    def _way(self, engine: Engine, row: tuple[Any, ...], journey: Journey) -> tuple[TaskMove, ...]:
        opened = step.instant(row[8].isoformat(" "))
        moves, before = [], None
        for at, cause, taken, path in engine.query(_SCRIPT.text("way", eid=number(row[17]), opened=opened)):
            decided = tuple(msgspec.json.decode(taken)) if taken else ()
            to = position(journey, path, None)
            words = moved(journey, cause, at - (before or at), None, list(decided), to)
            moves.append(TaskMove(at=at, cause=words.split("; ")[0], decided=tuple(words.split("; ")[1:-1]), to=to))
            before = at
        return tuple(moves)


def _journey(engine: Engine, jid: int) -> Journey:
    return msgspec.json.decode(engine.query(_SCRIPT.text("definition", jid=number(jid)))[0][0], type=Journey)


def _event(name: str | None, at: Any, properties: str | None) -> RecentEvent | None:
    if name is None:
        return None
    return RecentEvent(event=name, at=iso(at), properties=msgspec.json.decode(properties) if properties else None)


def _name(value: str, what: str) -> str:
    """A name that somebody gave. Raises CadenzaError when it is empty or too long."""
    if not value.strip() or len(value) > LONGEST_NAME:
        raise CadenzaError(f"the {what} is empty or longer than {LONGEST_NAME} characters.", where=what)
    return value


def _ended(row: TaskRow) -> str:
    """How an ended task ended, in a sentence."""
    at = f"{row.ended_at:%Y-%m-%d %H:%M:%S} UTC"
    if row.state == "completed":
        by = f" by {row.ended_by}" if row.ended_by else ""
        return f"the task was completed{by} as '{row.outcome}' at {at}."
    if row.state == "withdrawn":
        return f"the task was withdrawn at {at}: the passage ended ({row.ended_why})."
    assert row.ended_at is not None
    return f"the task was given up at {at}: it was not completed within {span(row.ended_at - row.opened_at)}."
