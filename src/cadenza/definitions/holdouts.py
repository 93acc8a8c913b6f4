"""Every holdout of a project, with what it withholds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from cadenza.definitions.flags import nested_steps
from cadenza.definitions.kinds_journey import Journey, Send, Step
from cadenza.definitions.kinds_policy import Holdout, Programme
from cadenza.definitions.project import Project

Level = Literal["global", "programme", "journey", "step"]


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A holdout where it is declared. ``name``: of the programme or journey ("" where it is global); ``template``: what a
    step's withholds."""

    holdout: Holdout
    level: Level
    name: str = ""
    template: str = ""


def holdouts_of(project: Project) -> Iterator[Held]:
    """The global one, those of programmes, of journeys and of steps."""
    policy = project.policy
    if policy.holdout is not None:
        yield Held(holdout=policy.holdout, level="global")
    for programme in policy.programmes:
        yield Held(holdout=programme.holdout, level="programme", name=programme.name)
    for journey in project.journeys:
        if journey.holdout is not None:
            yield Held(holdout=journey.holdout, level="journey", name=journey.name)
        yield from step_holdouts(journey)


def step_holdouts(journey: Journey) -> Iterator[Held]:
    """Those of a journey's steps, in the order written; a name that stands at several steps each time."""
    for step in _sends(journey.every_step):
        if step.holdout is not None:
            yield Held(holdout=step.holdout, level="step", name=journey.name, template=step.template)


def programme_of(project: Project, journey: Journey) -> Programme | None:
    """The programme that a journey belongs to."""
    return next((p for p in project.policy.programmes if p.name == journey.programme), None)


def _sends(steps: tuple[Step, ...]) -> Iterator[Send]:
    for step in steps:
        if isinstance(step, Send):
            yield step
        for below in nested_steps(step):
            yield from _sends(below)
