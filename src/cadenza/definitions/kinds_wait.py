"""Waits in local time, and the calendars of business hours that some of them count in."""

from __future__ import annotations

from typing import Literal

import msgspec

from cadenza.definitions.definition import Definition

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class LocalWait(Definition, frozen=True, kw_only=True):
    """A wait by a local clock. One of ``days``, ``until``, ``until_date`` and ``business_s`` is set.

    ``days``: so many calendar days on, at the same local time or ``at``. ``until``: the next time the clock comes to it,
    on one of the weekdays ``on`` (none: every day). ``until_date``: a trait that holds an instant or a date, less
    ``minus_s``, at ``at``; ``past`` and ``unknown`` say what becomes of those whose date lies behind them, and of those
    without a date or a zone. ``business_s``: so many seconds of the opening hours of ``calendar``.
    """

    days: int | None = None
    until: str | None = None
    on: tuple[Weekday, ...] = ()
    until_date: str | None = None
    minus_s: int = 0
    at: str | None = None
    past: Literal["go_on", "exit"] = "exit"
    unknown: Literal["go_on", "exit"] = "exit"
    business_s: int | None = None
    calendar: str | None = None
    zone: str | None = None
    """An IANA zone; None is the person's."""


class OpenHours(Definition, frozen=True, kw_only=True):
    """Open on the weekdays ``on`` from ``from_`` to ``to`` (local times; ``24:00`` is the end of the day)."""

    on: tuple[Weekday, ...]
    from_: str = msgspec.field(name="from")
    to: str


class Calendar(Definition, frozen=True, kw_only=True):
    """Opening hours of a week, and the dates (``2026-12-25``) on which nothing is open. ``zone`` None is the person's."""

    name: str
    open: tuple[OpenHours, ...]
    holidays: tuple[str, ...] = ()
    zone: str | None = None
