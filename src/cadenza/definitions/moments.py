"""Times as tests write them: ``+2 days 3 hours``, ``+1 day at 08:00``, ``2026-03-05 09:00``.

A relative time counts from the test's start: days and weeks there are 24 hours, as everywhere in the language. With
``at`` they are calendar days of the test's zone, and the clock of that day says the rest.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from cadenza.errors import ExpressionError

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
_SPAN = "0{0,3}[0-9]{1,9} (second|minute|hour|day|week)s?"
_CLOCK = "([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?"
LOCAL = f"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_CLOCK}$"
"""A local date and time, to the minute or second."""
MOMENT = f"^((start|[+-] ?{_SPAN}( {_SPAN})*)( at {_CLOCK})?|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} {_CLOCK})$"
MEANING = "a time as '+2 days 3 hours', '+1 day at 08:00' or '2026-03-05 09:00'"

EARLIEST, LATEST = datetime(2001, 1, 1), datetime(2038, 1, 1)
"""Tests play between these: the rules of time zones are known from 2000 to 2040."""


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """A time of a test. ``local``: a date and time; otherwise ``seconds`` after the start, then ``clock`` on that day."""

    seconds: int = 0
    clock: str | None = None
    local: str | None = None


def parse_moment(text: str) -> Moment:
    """The moment that a text (of the form ``MOMENT``) says. Raises ExpressionError.

    >>> parse_moment("+1 day 2 hours").seconds, parse_moment("-2 days at 08:00").clock
    (93600, '08:00')
    """
    if not re.fullmatch(MOMENT, text):
        raise ExpressionError(f"'{text}' is not a time.", remedy=f"Write {MEANING}.")
    if re.fullmatch(LOCAL, text):
        return Moment(local=text)
    span, _, clock = text.partition(" at ")
    seconds = sum(int(n) * _UNITS[unit] for n, unit in re.findall(r"([0-9]+) (second|minute|hour|day|week)", span))
    if clock and seconds % 86400:
        raise ExpressionError(f"'{text}' says hours and a clock time.", remedy="Before 'at' write days or weeks only.")
    return Moment(seconds=-seconds if text.startswith("-") else seconds, clock=clock or None)


def instant_of(moment: Moment, start: str, zone: str) -> datetime:
    """The instant (naive UTC) of a moment in a test that starts at the local time ``start``. A local time that occurs
    twice is the earlier one. Raises ExpressionError for one that does not occur, or lies outside EARLIEST to LATEST."""
    if moment.local is not None:
        return _bounded(_utc(_read(moment.local), zone), moment.local)
    if moment.clock is None:
        return _bounded(_utc(_read(start), zone) + timedelta(seconds=moment.seconds), start)
    day = (_read(start) + timedelta(seconds=moment.seconds)).date()
    return _bounded(_utc(_read(f"{day} {moment.clock}"), zone), f"{day} {moment.clock}")


def _read(local: str) -> datetime:
    try:
        return datetime.fromisoformat(local)
    except ValueError as error:
        raise ExpressionError(f"'{local}' is not a date of the calendar.") from error


def _utc(local: datetime, zone: str) -> datetime:
    info = ZoneInfo(zone)
    try:
        instant = local.replace(tzinfo=info).astimezone(UTC)
    except OverflowError as error:
        raise ExpressionError(f"{local} is out of range.") from error
    if instant.astimezone(info).replace(tzinfo=None) != local:
        what = f"{local:%Y-%m-%d %H:%M} does not occur in {zone}: the clocks go forward over it."
        raise ExpressionError(what, remedy="Name the hour before or after.")
    return instant.replace(tzinfo=None)


def _bounded(instant: datetime, said: str) -> datetime:
    if not EARLIEST <= instant <= LATEST:
        what = f"A time of the test (from {said}) is not between {EARLIEST:%Y} and {LATEST:%Y}."
        raise ExpressionError(what, remedy="Let it play between those years.")
    return instant
