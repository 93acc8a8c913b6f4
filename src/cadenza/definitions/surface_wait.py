"""The YAML surface of waits in local time and of calendars."""

from __future__ import annotations

from cadenza.definitions import kinds_wait as kinds
from cadenza.definitions.shapes import (
    CALENDAR_DATE,
    CLOSING_TIME,
    LOCAL_TIME,
    Choice,
    Duration,
    Fields,
    ListOf,
    Text,
    Whole,
)
from cadenza.definitions.surface_kind import NAME_TEXT, field

_DAYS = ListOf(Choice(kinds.WEEKDAYS), least=1, single=True)
_CLOCK = Text(LOCAL_TIME, "a local time as '09:00'")
_ACTION = Choice(("go_on", "exit"))

LOCAL_WAIT_DOC = (
    "By a local clock: one of `days`, `until`, `until_date` and `business`. The clock is the person's (the policy's "
    "`time_zone_trait` and `missing_time_zone`) unless `zone` names another. A local time that the clock skips is the first "
    "instant after the gap; one that it shows twice is the first of the two still to come. Whose zone is not known leaves "
    "the journey with the reason `no_time_zone`."
)

LOCAL_WAIT = Fields(kinds.LocalWait, (
    field("days", Whole(1, 3_660), "So many calendar days on: the same local time, or `at`.", example="3"),
    field("until", _CLOCK, "Until the clock next comes to this time.", example="'09:00'"),
    field("on", _DAYS, "With `until`: on one of these days of the week.", example="[mon, tue]"),
    field("until_date", Text(), "Until the date in this trait (a timestamp). It is followed when it changes.",
       example="contract_end"),
    field("minus", Duration(), "With `until_date`: so long before it. With `at`, whole calendar days.",
       attribute="minus_s", example="3 days"),
    field("at", _CLOCK, "With `days` or `until_date`: the local time of that day.", example="'09:00'"),
    field("past", _ACTION, "With `until_date`: what those do whose date lies in the past (reason `past_date`).",
       example="exit"),
    field("unknown", _ACTION, "With `until_date`: what those do who have no date, or no zone (reason `unknown_date`).",
       example="exit"),
    field("business", Duration(), "So much time of a calendar's opening hours.", attribute="business_s",
       example="4 hours"),
    field("calendar", Text(), "With `business`: a calendar of the policy.", example="office"),
    field("zone", Text(), "An IANA zone in place of the person's.", example="Europe/Berlin"),
))  # fmt: skip

_OPEN = Fields(kinds.OpenHours, (
    field("on", _DAYS, "Days of the week.", required=True, example="[mon, tue, wed, thu, fri]"),
    field("from", _CLOCK, "Local time of opening.", attribute="from_", required=True, example="'09:00'"),
    field("to", Text(CLOSING_TIME, "a local time as '17:00', or '24:00'"), "Local time of closing, on the same day.",
       required=True, example="'17:00'"),
))  # fmt: skip

CALENDAR = Fields(kinds.Calendar, (
    field("name", NAME_TEXT, "What waits call it.", required=True, example="office"),
    field("open", ListOf(_OPEN, least=1), "The opening hours of a week.", required=True,
       example="[{ on: [mon, tue, wed, thu, fri], from: '09:00', to: '17:00' }]"),
    field("holidays", ListOf(Text(CALENDAR_DATE, "a date as '2026-12-25'")), "Dates on which nothing is open.",
       example="['2026-12-25', '2026-12-26']"),
    field("zone", Text(), "Its IANA zone; without it the person's.", example="Europe/Berlin"),
))  # fmt: skip
