"""Schedules as cron writes them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given, strategies as st

from cadenza.definitions.cron import parse_cron
from cadenza.errors import ExpressionError

MONDAY = date(2024, 1, 1)


def days(text: str, most: int = 40) -> list[str]:
    found = (MONDAY + timedelta(days=n) for n in range(most))
    schedule = parse_cron(text)
    return [day.isoformat()[5:] for day in found if schedule.on(day)]


@pytest.mark.parametrize(
    ("text", "times", "on"),
    [
        ("0 9 * * MON", [540], ["01-01", "01-08", "01-15", "01-22", "01-29", "02-05"]),
        ("*/30 8,20 1 * *", [480, 510, 1200, 1230], ["01-01", "02-01"]),
        ("15-20/5 0-1 31 jan *", [15, 20, 75, 80], ["01-31"]),
        ("0 0 13 * 5", [0], ["01-05", "01-12", "01-13", "01-19", "01-26", "02-02", "02-09"]),  # the 13th, or a Friday
        ("0 0 */15 * 1", [0], ["01-01"]),  # every 15th that is a Monday: one of the fields begins with a *
        ("0 0 * 1 0", [0], ["01-07", "01-14", "01-21", "01-28"]),
        ("0 0 * 1 7", [0], ["01-07", "01-14", "01-21", "01-28"]),
        ("0 0 * 1 SAT-SUN", [0], ["01-06", "01-07", "01-13", "01-14", "01-20", "01-21", "01-27", "01-28"]),
        ("59 23 29 2 *", [1439], []),
    ],
)
def test_by_hand(text: str, times: list[int], on: list[str]) -> None:
    assert parse_cron(text).times() == times
    assert days(text) == on


def test_a_leap_day_comes_in_leap_years() -> None:
    schedule = parse_cron("0 0 29 2 *")
    assert schedule.on(date(2024, 2, 29)) and not schedule.on(date(2024, 3, 29))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 9 * *", "it has 4 fields. Write five"), ("@daily", "it has 1 fields"), ("60 * * * *", "'60' is no minute. It is 0 to 59."),
        ("0 24 * * *", "'24' is no hour"), ("0 0 0 * *", "'0' is no day of the month"), ("0 0 * 13 *", "'13' is no month"),
        ("0 0 * * 8", "'8' is no day of the week. It is 0 to 7, or SUN to SAT."), ("0 0 * * MOON", "'MOON' is no day of the week of a schedule"),
        ("0 0 L * *", "'L' is no day of the month of a schedule"), ("0 17-9 * * *", "'17-9' goes backwards"),
        ("5/2 * * * *", "'/2' in '5/2' has no range"), ("*/0 * * * *", "has no range"), ("0 0 30 2 *", "never comes"), ("0,, * * * *", "'' is no minute"),
        ("0 0 ٣ * *", "is no day of the month of a schedule"),
    ],
)  # fmt: skip
def test_what_is_none(text: str, said: str) -> None:
    with pytest.raises(ExpressionError) as told:
        parse_cron(text)
    assert said in str(told.value)


@given(
    st.sets(st.integers(0, 59), min_size=1),
    st.sets(st.integers(0, 23), min_size=1),
    st.sets(st.integers(1, 12), min_size=1),
)
def test_lists_mean_their_members(minutes: set[int], hours: set[int], months: set[int]) -> None:
    text = f"{','.join(map(str, minutes))} {','.join(map(str, hours))} * {','.join(map(str, months))} *"
    schedule = parse_cron(text)
    assert (schedule.minutes, schedule.hours, schedule.months) == (minutes, hours, months)
    assert schedule.times() == sorted(h * 60 + m for h in hours for m in minutes)
    assert schedule.on(date(2025, min(months), 28)) and not any(
        schedule.on(date(2025, m, 28)) for m in range(1, 13) if m not in months
    )
