"""What is wrong with waits in local time, and with the calendars some of them count in."""

from __future__ import annotations

from datetime import date
from zoneinfo import available_timezones

from cadenza.definitions import kinds
from cadenza.definitions.findings import Findings
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope
from cadenza.errors import near_miss

_FORMS = {"days": "days", "until": "until", "until_date": "until_date", "business_s": "business"}
_GOES_WITH = {
    "at": ("days", "until_date"), "on": ("until",), "minus_s": ("until_date",), "calendar": ("business_s",),
}  # fmt: skip


def check_local_wait(
    project: Project, scope: Scope, findings: Findings, journey: str, wait: kinds.LocalWait, path: str
) -> int:
    """Check a wait in local time; the least time it takes, in seconds."""

    def problem(what: str, below: str = "", remedy: str | None = None) -> None:
        findings.problem(what, "journeys", journey, f"{path}.{below}" if below else path, remedy)

    forms = [form for form in _FORMS if getattr(wait, form) is not None]
    if len(forms) != 1:
        what = "The wait must say one of 'days', 'until', 'until_date' and 'business'."
        problem(what, "", f"It says {len(forms)} of them." if forms else "For example 'wait: { days: 3 }'.")
        return 0
    for key, wanted in _GOES_WITH.items():
        if getattr(wait, key) and forms[0] not in wanted:
            names = " or ".join(f"'{_FORMS[form]}'" for form in wanted)
            problem(f"'{key.removesuffix('_s')}' goes with {names} only.", key.removesuffix("_s"), "Leave it out.")
    for key in ("past", "unknown"):
        said = findings.said("journeys", journey, f"{path}.{key}")
        if said and wait.until_date is None:
            problem(f"'{key}' goes with 'until_date' only.", key, "Leave it out.")
        elif wait.until_date is not None and not said and findings.said("journeys", journey, f"{path}.until_date"):
            meaning = "the date lies in the past" if key == "past" else "the date or the zone is not known"
            problem(f"The wait for a date does not say what happens when {meaning}.", "",
                    f"Add '{key}: go_on' or '{key}: exit'.")  # fmt: skip
    if wait.zone and wait.zone not in available_timezones():
        problem(f"'{wait.zone}' is not an IANA time zone.", "zone", near_miss(wait.zone, available_timezones()))
    if wait.until_date:
        _date(scope, wait, problem)
    if wait.business_s is not None and not scope.partial:
        known = [calendar.name for calendar in project.policy.calendars]
        if wait.calendar is None:
            problem("A wait for business hours needs a 'calendar'.", "", near_miss("", known))
        else:
            findings.reference("calendar", wait.calendar, known, "journeys", journey, f"{path}.calendar")
            for calendar in project.policy.calendars:
                if calendar.name == wait.calendar and 0 < _week(calendar) * MOST_WEEKS < wait.business_s:
                    problem("The wait takes more than ten years of this calendar's hours.", "business", "Shorten it.")
    # The first and the last day may be short, and an hour or two go with a change of the clock.
    return max(wait.days - 1, 0) * 86400 - 7200 if wait.days and wait.days > 1 else wait.business_s or 0


MOST_WEEKS = 520
"""A wait for business hours looks no further ahead."""


def _week(calendar: kinds.Calendar) -> int:
    """Seconds of opening in a week."""
    return sum(len(set(hours.on)) * (_seconds(hours.to) - _seconds(hours.from_)) for hours in calendar.open)


def _seconds(clock: str) -> int:
    hours, _, minutes = clock.partition(":")
    return int(hours) * 3600 + int(minutes) * 60 if hours and minutes else 0


def _date(scope: Scope, wait: kinds.LocalWait, problem) -> None:
    trait = wait.until_date or ""
    if trait not in scope.traits:
        if not scope.partial:
            problem(f"Unknown trait '{trait}'.", "until_date", near_miss(trait, scope.traits))
    elif scope.traits[trait] not in ("timestamp", None):
        what = f"The trait '{trait}' is of type {scope.traits[trait]}, and not a timestamp."
        problem(what, "until_date", "Declare it as timestamp; dates without a time are timestamps too.")
    if wait.at is not None and wait.minus_s % 86400:
        problem("With 'at', 'minus' is whole days.", "minus", "Write for example 'minus: 3 days', or leave 'at' out.")


def check_calendars(project: Project, findings: Findings) -> None:
    """Check the policy's calendars."""
    names: set[str] = set()
    for number, calendar in enumerate(project.policy.calendars):
        path = f"calendars.{number}"
        if calendar.name and calendar.name in names:
            findings.problem(f"'{calendar.name}' is used twice in 'calendars'.", "policy", "policy", f"{path}.name")
        names.add(calendar.name)
        if calendar.zone and calendar.zone not in available_timezones():
            hint = near_miss(calendar.zone, available_timezones())
            what = f"'{calendar.zone}' is not an IANA time zone."
            findings.problem(what, "policy", "policy", f"{path}.zone", hint)
        _open(calendar, path, findings)
        for index, day in enumerate(calendar.holidays):
            if day and not _is_date(day):
                findings.problem(f"'{day}' is not a date.", "policy", "policy", f"{path}.holidays.{index}")


def _open(calendar: kinds.Calendar, path: str, findings: Findings) -> None:
    taken: list[tuple[str, str, str]] = []
    for index, hours in enumerate(calendar.open):
        if hours.from_ and hours.to and hours.from_ >= hours.to:
            findings.problem("It closes no later than it opens.", "policy", "policy", f"{path}.open.{index}",
                             "Hours past midnight are two openings: until '24:00', and from '00:00'.")  # fmt: skip
        for day in hours.on:
            if any(d == day and hours.from_ < to and from_ < hours.to for d, from_, to in taken):
                findings.problem(f"Two openings overlap ({day}).", "policy", "policy", f"{path}.open.{index}",
                                 "Join them into one.")  # fmt: skip
            taken.append((day, hours.from_, hours.to))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
