"""Worlds in which people pause, stop and kill what runs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Journey, WaitFor
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, pick
from cadenza.simulate.made_projects import EVENTS

_HOURS = 6 * 3600


def _project(chooser: Chooser, project: Project) -> Project:
    """Journeys in which an event may let people go on, so that it may come in a pause."""
    return replace(project, journeys=tuple(_waiting(j, chooser.below(3) == 2) for j in project.journeys))


def _waiting(journey: Journey, plain: bool) -> Journey:
    if plain:
        return journey
    first = WaitFor(any=tuple(parse(f"event('{name}')") for name in sorted(EVENTS)), until_s=_HOURS)
    longer = replace(journey.exit, time_limit_s=journey.exit.time_limit_s + _HOURS)
    return replace(journey, exit=longer, steps=(first, *journey.steps))


def _call(chooser: Chooser, project: Project, at: int) -> dict[str, Any]:
    journey = pick(chooser, [j.name for j in project.journeys])
    command = pick(chooser, ["pause", "resume", "pause", "resume", "stop", "kill", "release", "resume", "release"])
    if command in ("kill", "release"):
        reach = pick(chooser, [{"channel": "email"}, {"journey": journey}, {}, {"channel": "sms"}])
        return {"command": command, **reach, "mode": pick(chooser, ["cancel", "cancel", "hold"])}
    modes = {"mode": pick(chooser, ["freeze", "run", "freeze", "run", "drain"])} if command == "pause" else {}
    return {"command": command, "journey": journey, **modes}


ADDITION = Addition(project=_project, call=_call, percent=18)
