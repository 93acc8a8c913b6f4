"""Conditions on what people were when they entered, of every type, in exits, waits and branches, while that changes."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, AtEntry, Trait, parse, walk
from cadenza.definitions.kinds import Arm, Branch, Entry, Exit, Journey, Send, Step, Trigger, Update, Wait, WaitFor
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_CONDITIONS = [
    "entry.plan = 'gold'", "plan <> entry.plan", "score > entry.score", "entry.orders < orders", "entry.vip is null",
    "older_than(entry.renews_at, '1 day')", "entry.vip and event('Product Viewed')", "coalesce(entry.credit, 5) >= 12.5",
    "entry.last_order_at = last_order_at", "entry.recent_orders > recent_orders", "entry.dormant or score > 10",
    "older_than(entry.last_order_at, '30 hours')", "entry.orders in (0, 1)", "entry.plan like 'g%' and not in_segment('s0')",
]  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    known = {trait.name for trait in project.traits}
    usable = [
        text for text in _CONDITIONS
        if all(n.name in known for n in walk(parse(text)) if isinstance(n, (Trait, AtEntry)))
    ]  # fmt: skip
    return replace(
        project, journeys=(*project.journeys, _journey(c, project, usable, "was"), _journey(c, project, usable, "were"))
    )


def _journey(c: Chooser, project: Project, usable: list[str], name: str) -> Journey:
    on = pick(c, [Trigger(event="Order Completed"), Trigger(event="Product Viewed"), Trigger(segment="s0")])
    again = "after_exit" if on.event else "once"
    entry = Entry(on=on, again=again)  # type: ignore[arg-type]
    goal = parse(pick(c, usable)) if chance(c, 35) else FALSE
    leaves = parse(pick(c, usable)) if chance(c, 15) else FALSE
    exit_ = Exit(goal=goal, disqualified=leaves, superseded=False, time_limit_s=86400 * 20)
    steps: list[Step] = [_branch(c, usable), Wait(duration_s=3600 * pick(c, [6, 1])), _branch(c, usable)]
    if chance(c, 50):
        steps.insert(c.below(2), Update(set={"plan": pick(c, ["gold", "free"])}))
    conditions = tuple(parse(pick(c, usable)) for _ in range(1 + c.below(2)))
    if chance(c, 50):
        wait = WaitFor(any=conditions, until_s=86400, timeout=(Send(template="receipt"),))
    else:
        wait = WaitFor(all=(*conditions, parse(pick(c, usable))), until_s=86400, matched=(Send(template="hello"),))
    steps += [wait, _branch(c, usable)]
    return replace(
        project.journeys[0], name=name, entry=entry, exit=exit_, steps=tuple(steps), arena=None, holdout=None
    )


def _branch(c: Chooser, usable: list[str]) -> Branch:
    usable = [text for text in usable if "event(" not in text]
    arms = tuple(Arm(when=parse(pick(c, usable)), steps=_few(c)) for _ in range(1 + c.below(2)))
    return Branch(arms=arms, unknown=_few(c), otherwise=_few(c))


def _few(c: Chooser) -> tuple[Step, ...]:
    options: list[tuple[Step, ...]] = [
        (), (Wait(duration_s=1800),), (Send(template="hello"),), (Send(template="receipt"), Wait(duration_s=60)),
    ]  # fmt: skip
    return pick(c, options)


ADDITION = Addition(project=_project)
