"""Local time in SQL: whose zone counts, and the rows that say how long a wait in local time takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

from sqlglot import exp

from cadenza.definitions.kinds_policy import Policy
from cadenza.definitions.kinds_wait import WEEKDAYS, Calendar, LocalWait, Weekday
from cadenza.sql.local_time import clock_seconds
from cadenza.sql.step import query, text

CALENDAR_DIMENSIONS: dict[str, dict[str, str]] = {
    "t_local": {"jid": "INTEGER", "step": "INTEGER", "form": "VARCHAR", "zone": "VARCHAR", "days": "BIGINT",
                "clock_s": "BIGINT", "today": "VARCHAR", "ahead": "VARCHAR", "trait": "VARCHAR", "minus_s": "BIGINT",
                "calendar": "VARCHAR", "work_s": "BIGINT"},
    "t_open": {"calendar": "VARCHAR", "weekday": "INTEGER", "from_s": "BIGINT", "to_s": "BIGINT"},
    "t_holiday": {"calendar": "VARCHAR", "day": "DATE"},
}  # fmt: skip
"""``t_local``: a wait in local time. ``today``, ``ahead``: a digit for each day of the week, from Monday on: whether it
is one of the wait's days, and how many days on the next one is. ``days``: calendar days to add; to a calendar, how many
to look at."""


MOST_DAYS = 3_660
"""A wait for business hours looks no further ahead."""


def person_zone(policy: Policy, own: exp.Expr) -> exp.Expr:
    """The zone of a person whose trait says ``own``, by the policy; one that is not in ``tz_rule`` is not known."""
    if policy.missing_time_zone == "drop":
        return exp.cast(own, "varchar", dialect="duckdb")
    known = exp.In(this=own.copy(), query=query("SELECT tz FROM tz_rule").subquery())
    return exp.Case(ifs=[exp.If(this=known, true=own.copy())], default=text(policy.missing_time_zone))


def local_row(wait: LocalWait, calendars: Sequence[Calendar]) -> dict[str, Any]:
    """The row of ``t_local`` of a wait, without its place."""
    row: dict[str, Any] = {"zone": wait.zone, "clock_s": None if wait.at is None else clock_seconds(wait.at)}
    if wait.until_date is not None:
        whole = wait.minus_s // 86400 if wait.at is not None else 0
        return row | {"form": "date", "trait": wait.until_date, "days": whole, "minus_s": wait.minus_s - whole * 86400}
    if wait.business_s is not None:
        calendar = next((c for c in calendars if c.name == wait.calendar), None)
        zone, days = (calendar.zone, days_for(calendar, wait.business_s)) if calendar else (None, 0)
        return row | {"form": "business", "zone": wait.zone or zone, "calendar": wait.calendar, "work_s": wait.business_s,
                      "days": days}  # fmt: skip
    if wait.until is not None:
        on = [day in (wait.on or WEEKDAYS) for day in WEEKDAYS]
        ahead = (next(n for n in range(1, 8) if on[(day + n) % 7]) for day in range(7))
        return row | {"form": "clock", "clock_s": clock_seconds(wait.until), "today": "".join(str(int(o)) for o in on),
                      "ahead": "".join(map(str, ahead))}  # fmt: skip
    return row | {"form": "clock", "days": wait.days}


def calendar_rows(calendars: Sequence[Calendar], rows: dict[str, list[dict[str, Any]]]) -> None:
    """Add the opening hours and holidays of every calendar."""
    for calendar in calendars:
        for hours in calendar.open:
            rows["t_open"] += [
                {"calendar": calendar.name, "weekday": WEEKDAYS.index(day) + 1, "from_s": clock_seconds(hours.from_),
                 "to_s": clock_seconds(hours.to)}
                for day in sorted(set(hours.on))
            ]  # fmt: skip
        rows["t_holiday"] += [{"calendar": calendar.name, "day": day} for day in sorted(set(calendar.holidays))]


def days_for(calendar: Calendar, work_s: int) -> int:
    """How many days, from any day on, hold so much of a calendar's time for certain; more than MOST_DAYS when so many do
    not, and 0 when it never opens.

    A change of the clock may take an opening's time away, so two openings a year are not relied on.
    """
    week = {day: 0 for day in WEEKDAYS}
    for hours in calendar.open:
        for day in set(hours.on):
            week[day] += clock_seconds(hours.to) - clock_seconds(hours.from_)
    if not any(week.values()):
        return 0
    longest, closed = max(week.values()), {date.fromisoformat(day) for day in calendar.holidays}
    starts = [min(closed), *sorted(closed)] if closed else [date(2024, 1, 1)]
    worst = 0
    for start in {s - timedelta(days=n) for s in starts for n in range(8)}:
        got, day, days = -longest, start, 0
        while got < work_s + days // 180 * longest and days < MOST_DAYS:
            got += 0 if day in closed else week[_weekday(day)]
            day, days = day + timedelta(days=1), days + 1
        worst = max(worst, days)
    return worst + 2


def _weekday(day: date) -> Weekday:
    return WEEKDAYS[day.weekday()]
