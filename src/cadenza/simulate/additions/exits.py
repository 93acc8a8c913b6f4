"""Exits with last steps: all four kinds, messages that are put off, and journeys that take over."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, parse, parse_where
from cadenza.definitions.kinds import Enter, Entry, Exit, Journey, Send, Step, Suppress, Trigger, Update, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_GUEST = "guest"


def _last(c: Chooser) -> tuple[Step, ...]:
    few: list[tuple[Step, ...]] = [
        (Send(template="hello"),), (Enter(journey=_GUEST),), (Update(set={"plan": "gold"}), Send(template="news")),
        (Send(template="receipt"), Enter(journey=_GUEST)), (Send(template="hello"), Send(template="news")), (),
    ]  # fmt: skip
    return pick(c, few)


def _exit(c: Chooser, exit_: Exit) -> Exit:
    goal = pick(c, [exit_.goal, parse("event('Support Opened')"), parse("plan = 'gold'")])
    disqualified = pick(c, [exit_.disqualified, parse("event('Support Opened')"), parse("score > 10")])
    return replace(
        exit_, goal=goal, disqualified=disqualified, goal_then=_last(c), disqualified_then=_last(c),
        superseded_then=_last(c), time_limit_then=_last(c),
    )  # fmt: skip


def _leaving(c: Chooser, journey: Journey) -> Journey:
    """Also one that takes the person again while the last message waits."""
    again = pick(c, [journey.entry.again, "replace", "unless_goal", "after_exit"])
    if journey.entry.on.event is None:
        again = journey.entry.again
    return replace(journey, exit=_exit(c, journey.exit), entry=replace(journey.entry, again=again))  # type: ignore[arg-type]


def _project(c: Chooser, project: Project) -> Project:
    journeys = [_leaving(c, journey) for journey in project.journeys]
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=chance(c, 70), time_limit_s=3600 * pick(c, [4, 30]))
    entry = Entry(on=Trigger(event="Order Completed"), again="after_exit", key=pick(c, [None, parse_where("order_id")]))
    first = replace(project.journeys[0], entry=entry, holdout=None)
    steps = (Wait(duration_s=3600 * pick(c, [1, 6])), Send(template="hello"), Wait(duration_s=3600 * 48))
    arena = pick(c, ["default", None])
    host = replace(first, name="host", exit=_exit(c, exit_), steps=steps, arena=arena, priority=pick(c, [50, 10]))
    on = Entry(on=Trigger(event="Trial Started"), again=pick(c, ["after_exit", "once"]))  # type: ignore[arg-type]
    rests = (Wait(duration_s=1800 * pick(c, [1, 60])),)
    guest = replace(first, name=_GUEST, entry=on, exit=exit_, steps=rests, arena=arena, priority=pick(c, [50, 80]))
    policy = project.policy
    if chance(c, 40):
        asks = Suppress(name="inside", when=parse(f"in_journey('{pick(c, ['host', project.journeys[0].name])}')"))
        policy = replace(policy, suppress=(*policy.suppress, asks))
    return replace(project, journeys=(*journeys, host, guest), policy=policy)


ADDITION = Addition(project=_project)
