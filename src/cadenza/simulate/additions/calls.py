"""Worlds in which services are asked, and answer: soon or too late, twice, wrongly, or not at all."""

from __future__ import annotations

import json
from typing import Any

from msgspec.structs import replace

from cadenza.definitions.expression import Flag
from cadenza.definitions.kinds import Arm, Branch, Call, Destination, ExitStep, Send, Step, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick
from cadenza.simulate.model import Model

_HOUR = 3600
_SERVICE = Destination(name="scoring", channel="scores", adapter="webhook", settings={"url": "https://scores.invalid/"})
_VALUES: dict[str, list[Any]] = {
    "string": ["gold", "free", 7, True, "", {"deep": 1}], "integer": [5, 15, "11", 2.5, "many"],
    "decimal": [12.5, "30", 7, "7.123456", "much"], "boolean": [True, "false", False, 1],
    "timestamp": ["2024-06-01", "2024-10-05T10:00:00+02:00", 5], "": [1],
}  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    """Most journeys ask a service near their beginning, some with a branch on whether it answered behind it."""
    journeys = []
    for number, journey in enumerate(project.journeys):
        if number == 0 or chance(c, 60):
            at = 0 if chance(c, 60) else c.below(min(2, len(journey.steps)) + 1)
            call = _call(c, project, journey.entry.on.event is not None, f"asked_{number}")
            added: tuple[Step, ...] = (call, _branch(c, call.as_)) if call.as_ and chance(c, 60) else (call,)
            longer = replace(journey.exit, time_limit_s=journey.exit.time_limit_s + call.timeout_s + 2 * _HOUR)
            steps = (*journey.steps[:at], *added, *journey.steps[at:])
            journey = replace(journey, steps=steps, exit=longer, arena=None if chance(c, 40) else journey.arena)
        journeys.append(journey)
    return replace(project, journeys=tuple(journeys), destinations=(*project.destinations, _SERVICE))


def _call(c: Chooser, project: Project, by_event: bool, flag: str) -> Call:
    traits = [trait.name for trait in project.traits]
    settable = [trait.name for trait in project.traits if trait.from_ is not None]
    body = {f"m{n}": pick(c, traits) for n in range(c.below(3))} if traits else {}
    if by_event and chance(c, 40):
        body["order"] = "entry.order_id"
    wanted = dict.fromkeys(pick(c, settable) for _ in range(c.below(3))) if settable else {}
    paths = ("score", "rows[1].value")
    return Call(
        destination=_SERVICE.name, timeout_s=pick(c, [24 * _HOUR, 6 * _HOUR, 72 * _HOUR, 2 * _HOUR]), body=body,
        answer={trait: paths[n] for n, trait in enumerate(wanted)}, purpose=pick(c, [None, None, None, "scoring"]),
        as_=flag if chance(c, 60) else None, answered=_arm(c, True), failed=_arm(c), unanswered=_arm(c),
    )  # fmt: skip


def _branch(c: Chooser, flag: str | None) -> Step:
    assert flag is not None
    yes: tuple[Step, ...] = (Send(template="hello"),)
    return Branch(arms=(Arm(when=Flag(flag), steps=yes),), unknown=(), otherwise=(Wait(duration_s=60),))


def _arm(c: Chooser, goes_on: bool = False) -> tuple[Step, ...]:
    options: list[tuple[Step, ...]] = [
        (), (Send(template="hello"),), (Wait(duration_s=_HOUR),), (ExitStep(reason="enough"),),
    ]  # fmt: skip
    return pick(c, options[:-1] if goes_on else options)


def _record(c: Chooser, model: Model, at: int) -> dict[str, Any] | None:
    """What a service answers to one of the last calls, mostly to an open one; or somebody says of scoring."""
    asked = [(pid, a) for pid, person in sorted(model.persons.items()) for a in person.asked]
    if not asked:
        return None
    resting = [(pid, e) for pid, person in sorted(model.persons.items()) for e in person.live() if model.waits(e)]
    still = [(pid, e.asked) for pid, e in resting if e.asked is not None and e.asked.result is None]
    pid, call = pick(c, (still if still and chance(c, 80) else asked)[-4:])
    name = pick(c, ["Call Answered", "Call Answered", "Call Answered", "Call Failed"])
    properties: dict[str, Any] = {"message_id": call.call_id if chance(c, 92) else "0000000000000000-00000000"}
    if name == "Call Answered" and chance(c, 95):
        properties["answer"] = _answer(c, model, call.step)
    elif name == "Call Failed":
        properties["detail"] = "422 no"
    body = {"type": "track", "event": name, "person": pid, "occurred_at": at, "properties": properties, "context": {}}
    return {**body, "kind": "outcome"}


def _answer(c: Chooser, model: Model, step: Call) -> Any:
    """Mostly the JSON that is asked for; sometimes as an object in place of its text, or no JSON."""
    if chance(c, 4):
        return "so sorry"
    kinds = [model.traits[trait].type for trait in step.answer]
    values = [pick(c, _VALUES[kind][:2] if chance(c, 70) else [*_VALUES[kind], None]) for kind in kinds]
    answer: dict[str, Any] = {"score": values[0]} if values else {"ok": True}
    if len(values) > 1:
        answer["rows"] = [{}, {"value": values[1]}] if chance(c, 90) else [{"value": values[1]}]
    return answer if chance(c, 30) else json.dumps(answer)


def _granted(c: Chooser, _project: Project, _at: int) -> dict[str, Any]:
    """Somebody says something of scoring."""
    roll = c.below(8)
    if roll == 7:
        return {"type": "track", "event": "Suppressed", "properties": {"channel": "scores", "reason": "legal"}}
    said = {"purpose": "scoring", "channel": "scores", "granted": roll < 6}
    return {"type": "track", "event": "Consent Updated", "properties": said}


ADDITION = Addition(project=_project, call=_granted, record=_record, percent=35)
