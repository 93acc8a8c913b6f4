"""Tasks in the reference model: persons handed to people, and what becomes of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from cadenza.clock import to_micros
from cadenza.definitions.builtin import TASK_EVENTS
from cadenza.definitions.kinds import HandOff, Send
from cadenza.ids import task_id
from cadenza.simulate.evaluate import View, json_text, text_of
from cadenza.simulate.person import Enrollment, Person, Task
from cadenza.simulate.state import State


class Handing(State):
    """13 of the specification."""

    def _said_of_task(self, person: Person, name: str, properties: Mapping[str, Any], now: datetime) -> None:
        """What somebody did to a task, or why it has no effect: on the state before the item's journeys."""
        if name not in TASK_EVENTS:
            return
        change = TASK_EVENTS[name]
        said = {key: json_text(properties.get(key)) or None for key in ("actor", "outcome", "team", "assignee", "note")}
        named = json_text(properties.get("task_id")) or ""
        task = next((t for t in person.tasks if t.task_id == named), None)
        refused = "unknown_task" if task is None else _refused(task, change, said)
        ends = refused is None and change == "completed"
        self._changed(named, person.pid, now, change, **said, refused=refused, ends=ends)
        if task is None or refused is not None:
            return
        if change == "accepted":
            task.accepted_by = said["actor"]
        elif change == "reassigned":
            task.accepted_by = None
        elif change == "completed":
            task.outcome = said["outcome"]
            self._task_ended(task, change)

    def _changed(self, task: str, pid: int, now: datetime, change: str, actor: str | None = None, outcome: str | None = None,
                 team: str | None = None, assignee: str | None = None, note: str | None = None,
                 refused: str | None = None, ends: bool = False) -> None:  # fmt: skip
        row = (task, pid, now, change, actor, outcome, team, assignee, note, refused, ends)
        self.rows["task_changes"].append(row)

    def _task_ended(self, task: Task, how: str) -> None:
        task.ended = how
        self.released = self.released or task.step.hold_marketing

    def _open(self, person: Person, e: Enrollment, step: HandOff, view: View) -> None:
        now = view.now
        task = Task(task_id=task_id(e.eid, e.step, to_micros(now)), pid=person.pid, step=step)
        e.task = task
        person.tasks.append(task)
        shown = tuple((name, text_of(view.trait(name))) for name in step.context)
        named = [
            event for event in person.events
            if event.name is not None and (self.recorded[event.offset] < now or event is view.item)
        ]  # fmt: skip
        recent = sorted(named, key=lambda event: (event.occurred_at, event.offset), reverse=True)[: step.recent_events]
        self.rows["tasks"].append(
            (task.task_id, person.pid, step.team, step.assignee, step.title, step.priority, now,
             now + timedelta(seconds=step.due_s), shown, tuple((r.name, r.occurred_at) for r in recent), self.deliverable)
        )  # fmt: skip

    def _task_way(self, e: Enrollment, step: HandOff, now: datetime) -> tuple[str | None, str]:
        """(cause, name of the arm) by which the passage goes on; a cause of None: it stays."""
        task = e.task
        assert task is not None
        if task.ended == "breached":  # in a pause
            return None, ""
        if task.outcome is not None:
            return f"outcome:{task.outcome}", task.outcome
        if not e.due(now):
            return None, ""
        escalate, stage = step.escalate, task.stage
        change, rest = None, 0
        if stage == 0:
            change, rest = "breached", escalate.after_s if escalate else None
        elif stage == 1 and escalate:
            change, rest = "escalated", escalate.due_s or None
        elif stage == 2 and escalate and escalate.due_s:
            change, rest = "breached", None
        ends = step.breached is not None and stage == (2 if escalate else 0)
        if change is not None:
            team = escalate.to if escalate and change == "escalated" else None
            self._changed(task.task_id, task.pid, now, change, team=team, ends=ends)
            task.stage += 1
        if change == "escalated":
            task.accepted_by = None
        if ends:
            self._task_ended(task, "breached")
            return "breached", "breached"
        e.wake_at = e.limit_at if rest is None else min(now + timedelta(seconds=rest), e.limit_at)
        return None, ""

    def _holders(self, person: Person) -> list[Task]:
        """The open tasks that hold the person's marketing."""
        return [task for task in person.tasks if task.ended is None and task.step.hold_marketing]

    def _wake_released(self, ended: list[Enrollment], now: datetime) -> None:
        """Outside of an item: where the last such task has ended, what was put off is due."""
        self.released = False
        freed = {e.eid for e in ended if e.task is not None and e.task.step.hold_marketing and e.task.stopped}
        for person in self.persons.values():
            if self._holders(person) or not any(e.eid in freed for e in person.enrollments):
                continue
            for e in person.live():
                if self._waits_to_send(e) and e.wake_at is not None:
                    e.wake_at = min(e.wake_at, now)

    def _waits_to_send(self, e: Enrollment) -> bool:
        step = self._layout(e.journey).get(e.step, (None, ""))[0]
        return isinstance(step, Send) and e.still is None

    def _withdraw_task(self, e: Enrollment, reason: str, now: datetime) -> None:
        """The passage is over: nobody need work for it."""
        if e.task is not None and e.task.ended is None:
            self._changed(e.task.task_id, e.task.pid, now, "withdrawn", note=reason, ends=True)
            self._task_ended(e.task, "withdrawn")
            e.task.stopped = reason in ("stopped", "replaced", "restarted", "moved")


def _refused(task: Task, change: str, said: Mapping[str, str | None]) -> str | None:
    """Why what was said has no effect; None: it has."""
    if change == "commented":
        return None
    if task.ended is not None:
        return f"already_{task.ended}"
    if change == "accepted" and said["actor"] is None:
        return "no_name"
    if change == "accepted" and task.accepted_by not in (None, said["actor"]):
        return "already_accepted"
    if change == "reassigned" and said["team"] is None and said["assignee"] is None:
        return "to_nobody"
    if change == "completed" and said["outcome"] not in [arm.name for arm in task.step.outcomes]:
        return "unknown_outcome"
    return None
