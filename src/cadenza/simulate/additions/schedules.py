"""Journeys that a schedule starts, over the change of clocks: on the person's clock and on others'."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Entry, Journey, Segment, Trigger, Update, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_CRONS = [
    "0 9 * * *", "30 2 * * *", "*/30 1-3 * * *", "0 */6 * * *", "15 0 * * SUN", "45 23 * * MON-FRI", "0 2 * * SAT,SUN",
    "0 3 7,27 3,10 1", "0 0 * * *", "30 1,2 * * *",
]  # fmt: skip
_MEMBERS = [
    "time_zone is not null", "events('Order Completed', within => '5 days') >= 1", "email is not null", "plan = 'gold'",
    "older_than(last_at('Product Viewed'), '6 hours')",
]  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    members = tuple(Segment(name=f"m{i}", when=parse(pick(c, _MEMBERS)), owner="o") for i in range(1 + c.below(2)))
    names = [*(s.name for s in members), *(s.name for s in project.segments)]
    journeys = tuple(_scheduled(c, j, names) if i == 0 or chance(c, 50) else j for i, j in enumerate(project.journeys))
    policy = replace(project.policy, missing_time_zone=pick(c, ["UTC", "drop", "Europe/London"]))
    return replace(project, journeys=journeys, segments=(*project.segments, *members), policy=policy)


def _scheduled(c: Chooser, journey: Journey, segments: list[str]) -> Journey:
    zone = pick(c, [None, None, None, "America/Havana", "Australia/Lord_Howe"])
    on = Trigger(schedule=pick(c, _CRONS), segment=pick(c, segments), zone=zone)
    again = pick(c, ["after_exit", "after", "replace", "once"])
    after = 3600 * pick(c, [24, 6, 50]) if again == "after" else 0
    entry = Entry(on=on, when=journey.entry.when if chance(c, 30) else None, again=again, again_after_s=after)  # type: ignore[arg-type]
    steps = journey.steps
    if again == "after_exit":  # What comes round at one instant would come round for ever.
        steps = (Wait(duration_s=3600), *steps)
    elif chance(c, 30):
        steps = (Wait(duration_s=1800), Update(set={"plan": pick(c, ["gold", "free"])}), *steps)
    limit = journey.exit.time_limit_s + 3600
    exit_ = replace(
        journey.exit, time_limit_s=limit, disqualified=FALSE if chance(c, 60) else journey.exit.disqualified
    )
    arena, holdout = (None, None) if chance(c, 60) else (journey.arena, journey.holdout)
    return replace(journey, entry=entry, exit=exit_, steps=steps, arena=arena, holdout=holdout)


ADDITION = Addition(project=_project)
