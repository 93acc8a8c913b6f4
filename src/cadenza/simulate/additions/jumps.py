"""Loops: jumps back to a step, and on to one further down, from the steps themselves and from the arms of others."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Arm, Branch, Entry, Exit, Jump, Send, Step, Trigger, Update, Wait, WaitFor
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, pick

_BRANCHES = ["plan = 'gold'", "score > 10", "vip", "orders >= 2", "in_segment('s0')"]


def _loop(c: Chooser, label: str) -> tuple[Step, ...]:
    """A loop that takes time on every way back."""
    back = Jump(to=label, at_most=1 + c.below(3))
    pause = Wait(duration_s=3600 * pick(c, [1, 6, 24]))
    shape = c.below(4)
    first: Step = pick(c, [Send(template="hello"), Send(template="receipt"), Update(set={"plan": "gold"})])
    first = replace(first, label=label)
    if shape == 0:
        return first, pause, back
    awaited = WaitFor(any=(parse("event('Order Completed')"),), until_s=pause.duration_s, timeout=(back,))
    if shape == 1:
        return first, awaited
    arm = Arm(when=parse(pick(c, _BRANCHES)), steps=(back,))
    fork = Branch(arms=(arm,), unknown=(), otherwise=(Send(template="text"), back) if c.below(2) else ())
    if shape == 2:
        return first, pause, fork
    inner = Jump(to=f"{label}_in", at_most=1 + c.below(2))
    return first, replace(pause, label=f"{label}_in"), Send(template="news"), inner, pause, fork


def _project(c: Chooser, project: Project) -> Project:
    entry = Entry(on=Trigger(event=pick(c, ["Order Completed", "Product Viewed"])), again="after_exit")
    goal = parse(pick(c, ["false", "event('Support Opened')"]))
    ahead = Branch(
        arms=(Arm(when=parse(pick(c, _BRANCHES)), steps=(Jump(to="last", at_most=1),)),), unknown=(), otherwise=()
    )
    steps = (*_loop(c, "one"), ahead, *_loop(c, "two"), Send(template="receipt", label="last"))
    exit_ = Exit(goal=goal, disqualified=FALSE, superseded=True, time_limit_s=86400 * 90)
    looping = replace(project.journeys[0], name="loops", entry=entry, exit=exit_, steps=steps, arena=None, holdout=None)
    return replace(project, journeys=(*project.journeys, looping))


ADDITION = Addition(project=_project)
