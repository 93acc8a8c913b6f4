"""Worlds in which persons are handed to people, who accept, complete, reassign, comment; also too late, also what is not."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cadenza.definitions.kinds import (
    BreachedArm,
    Escalation,
    ExitStep,
    HandOff,
    OutcomeArm,
    Send,
    Step,
    Wait,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick
from cadenza.simulate.model import Model

_HOUR = 3600
_PEOPLE = ["ann", "bob", "cem"]


def _project(c: Chooser, project: Project) -> Project:
    """Most journeys get a hand-off near their beginning, some two; some without an arena, so that one person may have
    several tasks open and messages of others waiting for them."""
    journeys = []
    for number, journey in enumerate(project.journeys):
        if number == 0 or chance(c, 60):
            at = c.below(min(2, len(journey.steps)) + 1)
            handed = _hand_off(c, project)
            steps = (*journey.steps[:at], handed, *journey.steps[at:])
            longer = replace(journey.exit, time_limit_s=journey.exit.time_limit_s + _longest(handed))
            journey = replace(journey, steps=steps, exit=longer, arena=None if chance(c, 60) else journey.arena)
        journeys.append(journey)
    return replace(project, journeys=tuple(journeys))


def _longest(step: HandOff) -> int:
    """Seconds for which the person may be kept by the task and what follows it."""
    escalate = step.escalate
    return step.due_s + (escalate.after_s + escalate.due_s if escalate else 0) + _HOUR


def _hand_off(c: Chooser, project: Project) -> HandOff:
    due = pick(c, [24 * _HOUR, 6 * _HOUR, _HOUR, 60])
    escalate = None
    if chance(c, 50):
        after, again = pick(c, [_HOUR, 0, 24 * _HOUR]), pick(c, [_HOUR, 0, 6 * _HOUR])
        escalate = Escalation(to="leads", after_s=after, due_s=again)
    breached = BreachedArm(steps=_arm(c)) if chance(c, 60) and (escalate is None or escalate.due_s) else None
    known = [trait.name for trait in project.traits]
    shown = tuple(dict.fromkeys(pick(c, known) for _ in range(c.below(4)))) if known else ()
    return HandOff(
        team=pick(c, ["sales", "support"]), title="Call", due_s=due, assignee=pick(c, [None, "ann"]), context=shown,
        outcomes=tuple(OutcomeArm(name=name, steps=_arm(c, name == "won")) for name in ("won", "lost")[: 1 + c.below(2)]),
        recent_events=pick(c, [10, 3, 0, 1]), breached=breached, escalate=escalate, hold_marketing=chance(c, 65),
    )  # fmt: skip


def _arm(c: Chooser, goes_on: bool = False) -> tuple[Step, ...]:
    options: list[tuple[Step, ...]] = [
        (), (Send(template="hello"),), (Wait(duration_s=_HOUR),), (Send(template="receipt"), Wait(duration_s=60)),
        (ExitStep(reason="enough"),),
    ]  # fmt: skip
    options = options[:-1] if goes_on else options
    return pick(c, options)


def _answer(c: Chooser, model: Model, at: int) -> dict[str, Any] | None:
    """What somebody says of one of the last tasks, mostly of an open one."""
    tasks = [(pid, task) for pid, person in sorted(model.persons.items()) for task in person.tasks]
    if not tasks:
        return None
    still = [found for found in tasks if found[1].ended is None]
    pid, task = pick(c, (still if still and chance(c, 75) else tasks)[-4:])
    name = pick(
        c, ["Task Completed", "Task Accepted", "Task Completed", "Task Reassigned", "Task Commented", "Task Accepted"]
    )
    properties: dict[str, Any] = {"task_id": task.task_id if chance(c, 90) else "0000000000000000-00000000"}
    properties["actor"] = pick(c, [*_PEOPLE, *_PEOPLE, ""])
    if name == "Task Completed":
        properties["outcome"] = pick(c, ["won", "won", "lost", "drawn"])
    elif name == "Task Reassigned":
        properties |= pick(c, [{"team": "support"}, {"assignee": "bob"}, {"team": "sales", "assignee": "cem"}, {}])
    elif name == "Task Commented":
        properties["note"] = "Called back."
    whose = pid if chance(c, 90) else pick(c, sorted(model.persons))
    return {"type": "track", "event": name, "person": whose, "occurred_at": at, "properties": properties, "context": {}}


ADDITION = Addition(project=_project, record=_answer, percent=30)
