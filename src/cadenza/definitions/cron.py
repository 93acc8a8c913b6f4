"""Schedules as cron writes them: five fields, minute hour day-of-month month day-of-week, of a local clock.

A field is ``*``, a number, a range ``a-b``, or a list of these by commas; ``/n`` after ``*`` or a range takes every n-th
from its beginning on. Months are 1 to 12 or JAN to DEC, days of the week 0 to 7 (0 and 7 are Sunday) or SUN to SAT. Where
neither of the two fields of days begins with ``*``, a day need match only one of them; else both. That is cron as Paul
Vixie wrote it (crontab(5)); what other programs add (``@daily``, ``L``, ``W``, ``#``, seconds) is refused.
"""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import date

import msgspec

from cadenza.errors import ExpressionError

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_PART = re.compile(r"(?:(\*)|([0-9]+|[A-Za-z]{3})(?:-([0-9]+|[A-Za-z]{3}))?)(?:/([0-9]+))?")


class _Field(msgspec.Struct, frozen=True):
    """What a field is called, its least and greatest number, and its words with the number of the first."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59), _Field("hour", 0, 23), _Field("day of the month", 1, 31), _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _DAYS),
)  # fmt: skip


class Cron(msgspec.Struct, frozen=True, kw_only=True):
    """The local times that a schedule means. ``weekdays``: 0 is Sunday. ``either``: a day need match one of the two only."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: date) -> bool:
        """Whether the schedule has times on a date."""
        in_month, in_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        fits = (in_month or in_week) if self.either else (in_month and in_week)
        return day.month in self.months and fits

    def times(self) -> list[int]:
        """Its times on such a day, as minutes after midnight, in order."""
        return [hour * 60 + minute for hour in sorted(self.hours) for minute in sorted(self.minutes)]


def parse_cron(text: str) -> Cron:
    """The schedule that a text says. Raises ExpressionError for one that is none, or has no day at all.

    >>> parse_cron("0 9 * * MON").times(), parse_cron("*/20 8-9 1,15 * *").times()
    ([540], [480, 500, 520, 540, 560, 580])
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ExpressionError(
            f"'{text}' is not a schedule: it has {len(parts)} fields.",
            remedy="Write five: minute hour day-of-month month day-of-week, as '0 9 * * MON'.",
        )
    minutes, hours, days, months, weekdays = (_numbers(part, field) for part, field in zip(parts, _FIELDS, strict=True))
    either = not parts[2].startswith("*") and not parts[4].startswith("*")
    longest = max(monthrange(2024, month)[1] for month in months)
    if not either and min(days) > longest:
        raise ExpressionError(
            f"'{text}' never comes: no month it names has a day {min(days)}.", remedy="Change the day."
        )
    week = frozenset(day % 7 for day in weekdays)
    return Cron(minutes=minutes, hours=hours, days=days, months=months, weekdays=week, either=either)


def _numbers(part: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for one in part.split(","):
        match = _PART.fullmatch(one)
        if match is None:
            raise ExpressionError(
                f"'{one}' is no {field.name} of a schedule.", remedy="Allowed: *, 5, 1-5, 1,15, */10, 8-18/2."
            )
        every, first, last, step = match.groups()
        low = field.least if every else _number(first, field)
        high = field.most if every else _number(last, field) if last else low
        if field.words == _DAYS and last and high == 0:
            high = 7
        if high < low:
            raise ExpressionError(f"'{one}' goes backwards.", remedy=f"Write '{last}-{first}', or two ranges.")
        if step is not None and (not (every or last) or int(step) == 0):
            raise ExpressionError(f"'/{step}' in '{one}' has no range.", remedy="Write for example '*/10' or '8-18/2'.")
        found |= set(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, field: _Field) -> int:
    words = field.words
    if text.upper() in words:
        return words.index(text.upper()) + (1 if words == _MONTHS else 0)
    if not text.isdigit() or not field.least <= int(text) <= field.most:
        named = f", or {words[0]} to {words[-1]}" if words else ""
        raise ExpressionError(f"'{text}' is no {field.name}.", remedy=f"It is {field.least} to {field.most}{named}.")
    return int(text)
