"""Journeys that say what their messages are worth, so that value decides who goes first."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Cap, Policy
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions.caps import crowd
from cadenza.simulate.chooser import Chooser, chance, pick

_VALUES = [
    "score * 2",
    "credit",
    "coalesce(score, 7)",
    "sum_of('Order Completed', revenue, within => '2 days')",
    "10 - score",
    "12",
]


def _valued(c: Chooser, project: Project) -> Project:
    journeys = tuple(
        replace(j, value=parse(pick(c, _VALUES)) if chance(c, 75) else None, priority=pick(c, [50, 50, 20]))
        for j in crowd(c, project.journeys)
    )
    caps = (Cap(name="day", limit=1, calendar="day", when_full=pick(c, ["defer", "drop"])),)  # type: ignore[arg-type]
    return replace(project, journeys=journeys, policy=Policy(caps=caps, missing_time_zone="UTC", deadline_s=86400 * 2))


ADDITION = Addition(project=_valued)
