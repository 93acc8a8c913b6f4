"""Worlds in which journeys are deployed anew while people are inside."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cadenza.definitions.graph import resting_paths
from cadenza.definitions.kinds import Journey, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_MARKS = (61, 122)
"""Seconds of a first wait that tells one version from another; so an older version comes again now and then."""


def _call(chooser: Chooser, project: Project, at: int) -> dict[str, Any]:
    journeys = tuple(_changed(chooser, j) if chance(chooser, 60) else j for j in project.journeys)
    return {"project": replace(project, journeys=journeys), "fingerprint": "simulated"}


def _changed(chooser: Chooser, journey: Journey) -> Journey:
    bare, mark = _bare(journey), pick(chooser, (0, *_MARKS))
    steps = (Wait(duration_s=mark), *bare.steps) if mark else bare.steps
    longer = replace(bare.exit, time_limit_s=bare.exit.time_limit_s + mark)
    made = replace(bare, steps=steps, exit=longer, in_flight=pick(chooser, ["pin", "exit", "restart", "map", "map"]))
    paths = resting_paths(made)
    if made.in_flight != "map" or not paths:
        return replace(made, in_flight="pin") if made.in_flight == "map" else made
    turned = dict(zip(paths, paths[mark % 2 :] + paths[: mark % 2], strict=True))
    return replace(made, step_map=turned, unmapped=pick(chooser, ["pin", "exit", "restart"]))


def _bare(journey: Journey) -> Journey:
    """Without what this addition has put there."""
    plain = replace(journey, in_flight="pin", step_map={}, unmapped="pin")
    first = journey.steps[0] if journey.steps else None
    if not isinstance(first, Wait) or first.duration_s not in _MARKS:
        return plain
    shorter = replace(plain.exit, time_limit_s=plain.exit.time_limit_s - first.duration_s)
    return replace(plain, steps=journey.steps[1:], exit=shorter)


ADDITION = Addition(project=lambda _, project: project, call=_call, percent=12)
