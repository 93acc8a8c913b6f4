"""Ids that give the arms, and times as tests write them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from cadenza.definitions.load import load
from cadenza.definitions.moments import instant_of, parse_moment
from cadenza.definitions.step_names import place_names, written_at
from cadenza.errors import CadenzaError, ExpressionError
from cadenza.ids import BUCKETS, bucket
from cadenza.runtime.testing.script import choose
from cadenza.workspace import Workspace

BANDS = st.tuples(st.sampled_from("abcdef"), st.integers(0, BUCKETS - 2_000), st.integers(2_000, BUCKETS)).map(
    lambda b: (b[0], b[1], max(b[1] + 2_000, b[2]))
)


@given(st.integers(1, 10**9), st.lists(BANDS, max_size=3, unique_by=lambda b: b[0]))
def test_the_first_id_in_every_band_is_chosen(first: int, bands: list[tuple[str, int, int]]) -> None:
    found = choose(first, bands, "x")
    fits = [i for i in range(first, found + 1) if all(low <= bucket(s, i) < high for s, low, high in bands)]
    assert fits == [found]


def test_arms_that_exclude_each_other_are_told() -> None:
    with pytest.raises(CadenzaError, match="no id was found"):
        choose(1, [("a", 0, 0)], "x")


LOCAL = st.datetimes(datetime(2002, 1, 1), datetime(2036, 1, 1)).map(lambda d: d.replace(second=0, microsecond=0))
ZONES = st.sampled_from(["UTC", "Europe/London", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"])


@given(LOCAL, ZONES, st.integers(0, 400), st.integers(0, 86399))
def test_a_span_is_time_that_passes(start: datetime, zone: str, days: int, seconds: int) -> None:
    said = f"{start:%Y-%m-%d %H:%M}"
    try:
        begin = instant_of(parse_moment("start"), said, zone)
    except ExpressionError as error:
        assert "does not occur" in error.what
        return
    assert instant_of(parse_moment(f"+{days} days {seconds} seconds"), said, zone) - begin == timedelta(days, seconds)
    assert begin - instant_of(parse_moment(f"- {days} days"), said, zone) == timedelta(days)


def test_at_is_the_clock_of_the_calendar_day() -> None:
    """Around the night in which London's clocks go forward."""
    at = lambda text: instant_of(parse_moment(text), "2026-03-28 09:00", "Europe/London")  # noqa: E731
    assert at("start") == datetime(2026, 3, 28, 9)
    assert at("+1 day") == datetime(2026, 3, 29, 9)
    assert at("+1 day at 09:00") == datetime(2026, 3, 29, 8)
    assert at("start at 10:30") == datetime(2026, 3, 28, 10, 30)
    assert at("-1 week at 09:00") == datetime(2026, 3, 21, 9)
    assert at("2026-03-29 02:00") == datetime(2026, 3, 29, 1)


@pytest.mark.parametrize("text", ["2026-03-29 01:30", "2026-02-30 10:00", "2040-01-01 00:00", "+90000 days"])
def test_times_that_do_not_occur_are_told(text: str) -> None:
    with pytest.raises(ExpressionError):
        instant_of(parse_moment(text), "2026-03-28 09:00", "Europe/London")


@pytest.mark.parametrize("text", ["2 days", "+2 days at 25:00", "+2 days 3 hours at 09:00", "tomorrow", "+1 fortnight"])
def test_what_is_no_time_is_told(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_moment(text)


def test_a_time_that_occurs_twice_is_the_earlier() -> None:
    assert instant_of(parse_moment("2026-10-25 01:30"), "2026-10-24 09:00", "Europe/London") == datetime(
        2026, 10, 25, 0, 30
    )


def test_places_of_a_wait_with_arms_have_names(tmp_path: Path) -> None:
    Workspace.create(tmp_path, "appointment_reminder")
    [journey] = load(tmp_path).project.journeys
    names = place_names(journey)
    assert {
        "wait_for 3",
        "wait_for event('Appointment Answered', where => answer = 'cancel')",
        "timeout",
        "past",
    } <= names
    assert {"send appointment_cancelled", "steps[3].wait_for.any[2].steps[0]", "wait_date appointment_at"} <= names
    places = load(tmp_path).places
    for path in ("steps[3].wait_for.any[2].steps[0]", "steps[3].wait_for.timeout[0]"):
        assert ("journeys", journey.name, written_at(path)) in places
