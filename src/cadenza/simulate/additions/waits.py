"""Waits for any or for all, with steps of their own on each way, on conditions that time alone may change."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, Expr, parse
from cadenza.definitions.flags import with_flags
from cadenza.definitions.kinds import Arm, Branch, Entry, Exit, Journey, Send, Step, Trigger, Update, Wait, WaitFor
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_AWAITED = [
    "events('Order Completed', within => '6 hours') = 0", "event('Product Viewed')", "older_than(last_at('Product Viewed'), '6 hours')",
    "events('Product Viewed', within => '1 hour') >= 1", "event('Order Completed', where => revenue > 50)", "plan = 'gold'",
    "event('Support Opened') or older_than(renews_at, '1 hour')", "dormant", "recent_orders = 0", "in_segment('s0')",
]  # fmt: skip


def _some(c: Chooser, most: int) -> tuple[Expr, ...]:
    return tuple(parse(pick(c, _AWAITED)) for _ in range(1 + c.below(most)))


def _few(c: Chooser) -> tuple[Step, ...]:
    steps: list[tuple[Step, ...]] = [
        (), (Wait(duration_s=3600),), (Send(template="hello"),), (Update(set={"plan": "gold"}),),
        (Update(set={"plan": "free"}), Send(template="receipt")),
    ]  # fmt: skip
    return pick(c, steps)


def _waits(c: Chooser, number: int) -> tuple[Step, ...]:
    until, flag = 3600 * pick(c, [24, 6, 48]), pick(c, [f"w{number}", None])
    if chance(c, 50):
        conditions = (*_some(c, 3), parse(pick(c, _AWAITED)))
        wait = WaitFor(all=conditions, until_s=until, as_=flag, matched=_few(c), timeout=_few(c))
    else:
        conditions = _some(c, 3)
        arms = tuple(_few(c) for _ in conditions) if chance(c, 70) else ()
        wait = WaitFor(any=conditions, until_s=until, as_=flag, arms=arms if any(arms) else (), timeout=_few(c))
    if flag is None:
        return (wait,)
    return wait, Branch(arms=(Arm(when=parse(flag), steps=_few(c)),), unknown=(), otherwise=_few(c))


def _project(c: Chooser, project: Project) -> Project:
    first = project.journeys[0]
    entry = Entry(on=Trigger(event=pick(c, ["Order Completed", "Product Viewed"])), again="after_exit")
    goal = parse(
        pick(
            c,
            [
                "false",
                "events('Support Opened', within => '6 hours') >= 1",
                "older_than(last_at('Trial Started'), '6 hours')",
            ],
        )
    )
    steps = (*_few(c), *_waits(c, 0), *_waits(c, 1))
    exit_ = Exit(goal=goal, disqualified=FALSE, superseded=True, time_limit_s=86400 * 30)
    waiting = with_flags(replace(first, name="waits", entry=entry, exit=exit_, steps=steps, arena=None, holdout=None))
    journeys: tuple[Journey, ...] = (*project.journeys, waiting)
    return replace(project, journeys=journeys)


ADDITION = Addition(project=_project)
