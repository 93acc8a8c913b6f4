"""Waits in local time: calendar days, local times, dates and business hours."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from cadenza.clock import iso
from cadenza.definitions.kinds import Calendar, Journey, LocalWait, OpenHours, Step, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_CLOCKS = ["09:00", "02:30", "00:00", "01:59", "23:45", "03:00"]
_WEEK = ("mon", "tue", "wed", "thu", "fri")
_CALENDARS = (
    Calendar(
        name="office", zone="Europe/London", holidays=("2024-05-06", "2024-10-28"),
        open=(OpenHours(on=_WEEK, from_="09:00", to="17:00"), OpenHours(on=("sat",), from_="10:00", to="12:30")),
    ),
    Calendar(name="night", open=(OpenHours(on=("sat", "sun", "mon"), from_="00:30", to="04:00"), OpenHours(on=("sun",), from_="20:00", to="24:00"))),
)  # fmt: skip


def _project(c: Chooser, project: Project) -> Project:
    journeys = tuple(
        _waiting(c, journey) if i == 0 or chance(c, 50) else journey for i, journey in enumerate(project.journeys)
    )
    return replace(project, journeys=journeys, policy=replace(project.policy, calendars=_CALENDARS))


def _waiting(c: Chooser, journey: Journey) -> Journey:
    steps: list[Step] = []
    for step in journey.steps:
        steps += [_wait(c), step] if chance(c, 60) else [step]
    limit = journey.exit.time_limit_s + 86400 * pick(c, [20, 4])
    # A wait for a date may be none, so a journey on segments could feed itself at one instant, as with updates.
    return replace(journey, steps=(_wait(c), *steps), exit=replace(journey.exit, time_limit_s=limit))


def _wait(c: Chooser) -> Wait:
    zone = pick(c, [None, None, None, "America/Havana", "Australia/Lord_Howe"])
    at = pick(c, [None, *_CLOCKS])
    match c.below(4):
        case 0:
            local = LocalWait(days=pick(c, [1, 2, 7]), at=at, zone=zone)
        case 1:
            on = pick(c, [(), ("sun",), ("mon", "fri"), ("sat", "sun", "mon")])
            local = LocalWait(until=pick(c, _CLOCKS), on=on, zone=zone)  # type: ignore[arg-type]
        case 2:
            minus = pick(c, [0, 86400, 3 * 86400, 7200]) if at is None else 86400 * pick(c, [0, 1, 3])
            past, unknown = pick(c, ["go_on", "exit"]), pick(c, ["go_on", "exit"])
            local = LocalWait(until_date="renews_at", minus_s=minus, at=at, past=past, unknown=unknown, zone=zone)  # type: ignore[arg-type]
        case _:
            hours = pick(c, [4, 1, 11, 30])
            local = LocalWait(business_s=3600 * hours, calendar=pick(c, ["office", "night"]), zone=zone)
    return Wait(duration_s=0, local=local)


def _renewal(c: Chooser, project: Project, at: int) -> dict[str, Any]:
    now = datetime(1970, 1, 1) + timedelta(microseconds=at)
    soon = now + timedelta(hours=pick(c, [30, 6, 100, 24 * 9, -5]))
    value = pick(c, [iso(soon), soon.date().isoformat(), "never"])
    return {"type": "identify", "traits": {"renews_at": value}}


ADDITION = Addition(project=_project, call=_renewal, percent=20)
