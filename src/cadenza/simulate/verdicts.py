"""Governance in the reference model: may this message go to this person now?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta

import msgspec

from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds import Cap, QuietHours, Template
from cadenza.definitions.project import Project
from cadenza.simulate.evaluate import View, evaluate, text_of
from cadenza.simulate.local_time import FOREVER, zone_of
from cadenza.simulate.local_time import offset as _offset
from cadenza.simulate.local_time import spans as _spans
from cadenza.simulate.person import Enrollment, Message, Person

ALWAYS = ("hard_bounce", "complaint", "legal")
"""Reasons of suppression that hold for every class of message."""


class Verdict(msgspec.Struct, frozen=True):
    """``send``, ``drop`` with its reason, or ``defer`` with its reason and until when."""

    verdict: str
    reason: str | None = None
    until: datetime | None = None


SEND = Verdict("send")


def address_of(project: Project, template: Template, view: View) -> str | None:
    """Where a message of the template's channel would go; None or empty is nowhere."""
    found = [d for d in project.destinations if d.channel == template.channel]
    return text_of(view.trait(found[0].address_trait)) if found else None


def judge(
    project: Project, person: Person, enrollment: Enrollment, template: Template, view: View,
    arm: Callable[[], str | None], killed: bool = False,
) -> Verdict | None:  # fmt: skip
    """The verdict of every rule before the caps; None: only the caps are left. ``arm`` is the person's in the
    global holdout; ``killed``: a kill switch covers the message."""
    policy, marketing = project.policy, template.message_class == "marketing"
    if killed:
        return Verdict("drop", "killed")
    if not address_of(project, template, view):
        return Verdict("drop", "unreachable")
    if any(c == template.channel and (marketing or r in ALWAYS) for c, r in person.suppressions):
        return Verdict("drop", "suppressed")
    if not marketing:
        return SEND
    if any(_not_false(rule.when, view) for rule in policy.suppress):
        return Verdict("drop", "policy")
    if not person.consented(template.purpose, template.channel):
        return Verdict("drop", "no_consent")
    if arm() == "holdout":
        return Verdict("drop", "holdout")
    return _quiet(project, enrollment, view)


def held(project: Project, enrollment: Enrollment, template: Template, holding: bool, now: datetime) -> Verdict | None:
    """Marketing waits while an open task holds it: until that ends, or to the message's deadline. None: no such task."""
    if not holding or template.message_class != "marketing":
        return None
    until = deadline(project, enrollment)
    return Verdict("drop", "hand_off") if until <= now else Verdict("defer", "hand_off", until)


def withdrawn(person: Person, template: Template) -> str | None:
    """Why a message that was decided must not be handed over any more; None: it may."""
    marketing = template.message_class == "marketing"
    if any(c == template.channel and (marketing or r in ALWAYS) for c, r in person.suppressions):
        return "suppressed"
    if marketing and not person.consented(template.purpose, template.channel):
        return "no_consent"
    return None


def _not_false(when: Expr, view: View) -> bool:
    return evaluate(when, view) is not False


def _quiet(project: Project, enrollment: Enrollment, view: View) -> Verdict | None:
    policy = project.policy
    if policy.quiet_hours is None:
        return None
    zone = zone_of(policy, view)
    if zone is None:
        return Verdict("drop", "no_time_zone")
    until = quiet_until(policy.quiet_hours, zone, view.now)
    if until is None:
        return None
    if until > deadline(project, enrollment):
        return Verdict("drop", "deadline")
    return Verdict("defer", "quiet_hours", until)


def deadline(project: Project, enrollment: Enrollment) -> datetime:
    """The last instant to which a message may be deferred."""
    assert enrollment.due_since is not None
    return enrollment.due_since + timedelta(seconds=project.policy.deadline_s)


def capped(project: Project, enrollment: Enrollment, channel: str, counted: list[Message], now: datetime) -> Verdict:
    """The verdict of the caps, given the person's marketing messages that count."""
    waits = []
    for cap in project.policy.caps:
        if cap.channel not in (None, channel):
            continue
        until = _full_until(cap, counted, now)
        if until is not None and cap.when_full == "drop":
            return Verdict("drop", "cap")
        if until is not None:
            waits.append(until)
    if not waits:
        return SEND
    return Verdict("drop", "cap") if max(waits) > deadline(project, enrollment) else Verdict("defer", "cap", max(waits))


def _full_until(cap: Cap, counted: list[Message], now: datetime) -> datetime | None:
    """None: there is room. Otherwise when enough messages will have left the window (never, for a limit of 0)."""
    per = timedelta(seconds=cap.per_s)
    mine = [m.planned_at for m in counted if cap.channel in (None, m.channel)]
    times = sorted(at for at in mine if now - per < at <= now)
    excess = len(times) - cap.limit
    if excess < 0:
        return None
    return FOREVER if cap.limit <= 0 else times[excess] + per


def quiet_until(quiet: QuietHours, zone: str, now: datetime) -> datetime | None:
    """When the quiet hours that hold at ``now`` in the zone end; None when it is not quiet. Exact across
    daylight saving: the first instant at which the local clock shows ``to`` or later."""
    start, end = time.fromisoformat(quiet.from_), time.fromisoformat(quiet.to)
    local = now + _offset(zone, now)
    clock = local.time()
    if not (start <= clock < end if start <= end else clock >= start or clock < end):
        return None
    target = datetime.combine(local.date() + timedelta(days=clock >= end), end)
    for begin, stop, offset in _spans(zone, now, hours=72):
        instant = max(begin, target - offset)
        if instant < stop:
            return instant
    raise AssertionError(f"no end of quiet hours in {zone} after {now}")
