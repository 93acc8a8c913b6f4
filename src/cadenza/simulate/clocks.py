"""Clocks on the wall in the reference model: offsets of a zone, and when its clock shows a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo, available_timezones

from cadenza.definitions.cron import parse_cron

FOREVER = datetime(9999, 1, 1)
ZONES = frozenset(available_timezones())


def offset(zone: str, instant: datetime) -> timedelta:
    """The UTC offset of a zone at an instant."""
    found = instant.replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).utcoffset()
    assert found is not None
    return found


def spans(zone: str, now: datetime, hours: int) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The stretches of constant offset from ``now`` on: (first instant, first instant after it, offset)."""
    begin, held = now, offset(zone, now)
    for n in range(1, hours + 1):
        low, high = now + timedelta(hours=n - 1), now + timedelta(hours=n)
        if offset(zone, high) == held:
            continue
        while high - low > timedelta(microseconds=1):
            middle = low + (high - low) // 2
            low, high = (middle, high) if offset(zone, middle) == held else (low, middle)
        yield begin, high, held
        begin, held = high, offset(zone, high)
    yield begin, FOREVER, held


def comes_to(zone: str, target: datetime, after: datetime | None = None) -> datetime:
    """The first instant (from ``after`` on) at which the clock of the zone shows ``target`` or later."""
    start = target - timedelta(hours=26)
    for begin, stop, held in spans(zone, max(start, after) if after else start, hours=96):
        instant = max(begin, target - held)
        if instant < stop:
            return instant
    raise AssertionError(f"{zone} never shows {target}")


def scheduled_after(cron: str, zone: str, now: datetime) -> datetime | None:
    """The first instant after ``now`` at which the clock of a zone comes to a time of the schedule."""
    schedule, local = parse_cron(cron), now + offset(zone, now)
    for ahead in range(366 * 9):
        day = local.date() + timedelta(days=ahead)
        for minute in schedule.times() if schedule.on(day) else ():
            target = datetime.combine(day, time(minute // 60, minute % 60))
            if target > local and (instant := comes_to(zone, target)) > now:
                return instant
    return None


def meant_by(value: datetime | None, zone: str | None, minus_s: int, at: str | None) -> datetime | None:
    """The instant that a date (or an instant) means, less ``minus_s``, at a local time; None when that is not known."""
    if value is None:
        return None
    midnight = datetime.combine(value.date(), time())
    plain = value == midnight
    if at is None and not plain:
        return value - timedelta(seconds=minus_s)
    if zone is None:
        return None
    if at is None:
        return comes_to(zone, midnight) - timedelta(seconds=minus_s)
    day = value.date() if plain else (value + offset(zone, value)).date()
    target = datetime.combine(day - timedelta(days=minus_s // 86400), time.fromisoformat(at))
    return comes_to(zone, target) - timedelta(seconds=minus_s % 86400)
