"""Worlds in which journeys declare which passage stays when persons turn out to be one."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import parse, parse_where
from cadenza.definitions.kinds import Entry, Journey, Trigger, Wait, WaitFor
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, pick

_RULES = ["latest", "furthest", "both", "earliest"]


def _project(c: Chooser, project: Project) -> Project:
    """Everyone is in them for long; some have got further by what they did."""
    journeys = tuple(replace(j, on_merge=pick(c, _RULES)) for j in project.journeys)
    return replace(project, journeys=(*journeys, *(_patient(c, project.journeys[0], i) for i in range(2))))


def _patient(c: Chooser, like: Journey, number: int) -> Journey:
    steps = (
        WaitFor(any=(parse("event('Order Completed')"),), until_s=86400 * 30), Wait(duration_s=3600 * pick(c, [1, 24])),
        WaitFor(any=(parse("event('Order Completed')"),), until_s=86400 * 30), Wait(duration_s=86400 * 5),
    )  # fmt: skip
    event = pick(c, ["Order Completed", "Trial Started"])
    key = parse_where("order_id") if event == "Order Completed" and number else None
    entry = Entry(on=Trigger(event=event), again="after_exit", key=key)
    exit_ = replace(like.exit, goal=parse("event('Support Opened')"), time_limit_s=86400 * 90)
    return replace(like, name=f"patient{number}", entry=entry, exit=exit_, steps=steps, arena=None, holdout=None,
                   on_merge=_RULES[c.below(3)])  # fmt: skip


ADDITION = Addition(project=_project)
