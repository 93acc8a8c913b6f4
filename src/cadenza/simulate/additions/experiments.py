"""Experiments: alone, one within an arm of another, after a wait, and in a loop that people come through again."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds import Entry, Exit, Experiment, Jump, Send, SplitArm, Step, Trigger, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_SHARES = [(5000, 5000), (3400, 3300, 3300), (1, 9999), (2500, 2500, 5000)]


def _experiment(c: Chooser, name: str, inside: tuple[Step, ...] = ()) -> Experiment:
    shares = pick(c, _SHARES)
    few: list[tuple[Step, ...]] = [
        (Send(template="hello"),),
        (),
        (Wait(duration_s=3600), Send(template="receipt")),
        inside,
    ]
    arms = (
        SplitArm(name=f"arm_{i}", share_bp=share, steps=few[-1 if i == 1 else c.below(4)])
        for i, share in enumerate(shares)
    )
    return Experiment(name=name, metric="orders_7d", arms=tuple(arms))


def _project(c: Chooser, project: Project) -> Project:
    inner = _experiment(c, "inner")
    first = _experiment(c, "outer", (inner, Wait(duration_s=600)))
    steps: list[Step] = [first, Wait(duration_s=3600), _experiment(c, "later")]
    if chance(c, 50):
        steps += [Wait(duration_s=7200), Jump(to="again", at_most=1)]
        steps[1] = replace(steps[1], label="again")
    entry = Entry(on=Trigger(event=pick(c, ["Order Completed", "Product Viewed"])), again="after_exit")
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=86400 * 20)
    trying = replace(
        project.journeys[0], name="tries", entry=entry, exit=exit_, steps=tuple(steps), arena=None, holdout=None
    )
    return replace(project, journeys=(*project.journeys, trying))


ADDITION = Addition(project=_project)
