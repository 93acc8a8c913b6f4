"""Local time in the reference model: whose clock counts, and until when a wait in local time rests."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from cadenza.definitions.kinds_policy import Policy
from cadenza.definitions.kinds_wait import WEEKDAYS, Calendar, LocalWait
from cadenza.simulate.clocks import ZONES, comes_to, meant_by, offset
from cadenza.simulate.evaluate import View, text_of


def zone_of(policy: Policy, view: View) -> str | None:
    """The person's zone by the policy; None when it is not known."""
    zone = text_of(view.trait(policy.time_zone_trait))
    if zone not in ZONES:
        zone = policy.missing_time_zone
    return None if zone == "drop" else zone


def by_clock(wait: LocalWait, zone: str, now: datetime) -> datetime:
    """When a wait of calendar days, or until a local time, ends."""
    local = now + offset(zone, now)
    if wait.days is not None:
        clock = local.time() if wait.at is None else time.fromisoformat(wait.at)
        return comes_to(zone, datetime.combine(local.date() + timedelta(days=wait.days), clock), now)
    days = wait.on or WEEKDAYS
    target = datetime.combine(local.date(), time.fromisoformat(str(wait.until)))
    while target <= local or WEEKDAYS[target.weekday()] not in days:
        target += timedelta(days=1)
    return comes_to(zone, target, now)


def by_date(wait: LocalWait, zone: str | None, value: datetime | None) -> datetime | None:
    """The instant a wait for a date means; None when that is not known."""
    return meant_by(value, zone, wait.minus_s, wait.at)


def by_business(calendar: Calendar, zone: str, now: datetime, seconds: int) -> datetime:
    """When so much of the calendar's opening hours has gone by."""
    left, day = timedelta(seconds=seconds), (now + offset(zone, now)).date() - timedelta(days=1)
    while True:
        for hours in sorted(calendar.open, key=lambda h: h.from_):
            if WEEKDAYS[day.weekday()] not in hours.on or day.isoformat() in calendar.holidays:
                continue
            opens = max(now, comes_to(zone, _at(datetime.combine(day, time()), hours.from_)))
            closes = comes_to(zone, _at(datetime.combine(day, time()), hours.to))
            if closes - opens >= left:
                return opens + left
            left -= max(closes - opens, timedelta())
        day += timedelta(days=1)


def _at(midnight: datetime, clock: str) -> datetime:
    hours, minutes = clock.split(":")
    return midnight + timedelta(hours=int(hours), minutes=int(minutes))


def rests_until(wait: LocalWait, policy: Policy, view: View) -> datetime | None:
    """Until when one rests who comes to a wait in local time now; None when the zone is not known."""
    if wait.until_date is not None:
        return view.now
    calendar = next((c for c in policy.calendars if c.name == wait.calendar), None)
    zone = wait.zone or (calendar.zone if calendar else None) or zone_of(policy, view)
    if zone is None:
        return None
    if wait.business_s is not None and calendar is not None:
        return by_business(calendar, zone, view.now, wait.business_s)
    return by_clock(wait, zone, view.now)


def dated(wait: LocalWait, policy: Policy, view: View) -> tuple[str | None, datetime]:
    """For one who waits for a date: the way on, if there is one now, and until when to rest."""
    value = view.trait(str(wait.until_date))
    assert value is None or isinstance(value, datetime)
    target = by_date(wait, wait.zone or zone_of(policy, view), value)
    if target is None:
        return "unknown", view.now
    if target > view.now:
        return None, target
    return ("timer" if target == view.now else "past"), view.now
