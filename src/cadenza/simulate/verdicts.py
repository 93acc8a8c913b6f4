"""Governance in the reference model: may this message go to this person now?"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta
from typing import Any

import msgspec

from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds import Cap, Template, topic_of
from cadenza.definitions.kinds_policy import Jurisdiction, Policy
from cadenza.definitions.kinds_wait import WEEKDAYS
from cadenza.definitions.project import Project
from cadenza.simulate.clocks import FOREVER, comes_to, offset as _offset
from cadenza.simulate.evaluate import View, evaluate, text_of
from cadenza.simulate.local_time import zone_of
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
    arm: Callable[[], str | None], killed: bool = False, step_arm: Callable[[], str | None] = lambda: None,
) -> Verdict | None:  # fmt: skip
    """The verdict of every rule before the caps; None: only the caps are left. ``arm`` is the person's in the
    global holdout; ``killed``: a kill switch covers the message; ``step_arm``: the arm in the step's holdout."""
    policy, marketing = project.policy, template.message_class == "marketing"
    if killed:
        return Verdict("drop", "killed")
    if not address_of(project, template, view):
        return Verdict("drop", "unreachable")
    if suppressed(person, template, view.now):
        return Verdict("drop", "suppressed")
    if not marketing:
        return SEND
    if any(_not_false(rule.when, view) for rule in policy.suppress):
        return Verdict("drop", "policy")
    if policy.jurisdiction_trait is not None and jurisdiction_of(policy, view) is None:
        return Verdict("drop", "no_jurisdiction")
    if not _allowed(policy, person, template, view):
        return Verdict("drop", "no_consent")
    if arm() == "holdout":
        return Verdict("drop", "holdout")
    if step_arm() == "holdout":
        return Verdict("drop", "step_holdout")
    return _quiet(project, enrollment, template, view)


def held(project: Project, enrollment: Enrollment, template: Template, holding: bool, now: datetime) -> Verdict | None:
    """Marketing waits while an open task holds it: until that ends, or to the message's deadline. None: no such task."""
    if not holding or template.message_class != "marketing":
        return None
    until = deadline(project, enrollment)
    return Verdict("drop", "hand_off") if until <= now else Verdict("defer", "hand_off", until)


def jurisdiction_of(policy: Policy, view: View) -> Jurisdiction | None:
    """The person's, or the one to assume; None where that is not known, or there are none."""
    if policy.jurisdiction_trait is None:
        return None
    known = {j.name: j for j in policy.jurisdictions}
    return known.get(text_of(view.trait(policy.jurisdiction_trait)) or "", known.get(policy.unknown_jurisdiction))


def _allowed(policy: Policy, person: Person, template: Template, view: View) -> bool:
    """Whether consent lets the message go."""
    place = jurisdiction_of(policy, view)
    said = any((p, c) == (template.purpose, template.channel) for p, c, _, _ in person.consents)
    if place is not None and place.consent == "opt_out" and not said:
        return True
    return person.consented(template.purpose, template.channel)


def withdrawn(policy: Policy, person: Person, template: Template, view: View) -> str | None:
    """Why a message that was decided must not be handed over any more; None: it may."""
    marketing = template.message_class == "marketing"
    if suppressed(person, template, view.now):
        return "suppressed"
    if marketing and not _allowed(policy, person, template, view):
        return "no_consent"
    return None


def suppressed(person: Person, template: Template, now: datetime) -> bool:
    """Whether a reason against the channel is in force: for marketing any, for other messages only some."""
    return any(
        s.channel in (template.channel, "*")
        and (template.message_class == "marketing" or s.reason in ALWAYS)
        and (s.until is None or now < s.until)
        for s in person.suppressions
    )


def _not_false(when: Expr, view: View) -> bool:
    return evaluate(when, view) is not False


def _quiet(project: Project, enrollment: Enrollment, template: Template, view: View) -> Verdict | None:
    policy = project.policy
    calendar = any(cap.calendar and _concerns(cap, enrollment, template) for cap in policy.caps)
    rules = [rule for rule in (policy, jurisdiction_of(policy, view)) if rule is not None]
    quiet = [q for r in rules for q in (r.quiet_hours, *r.channel_quiet_hours) if _of_channel(q, template.channel)]
    windows = [[w for w in r.send_windows if _of_channel(w, template.channel)] for r in rules]
    if not quiet and not any(windows) and not calendar:
        return None
    zone = zone_of(policy, view)
    if zone is None:
        return Verdict("drop", "no_time_zone")
    rests = rests_until(quiet, windows, zone, view.now)
    if rests is None:
        return None
    if rests[1] > deadline(project, enrollment):
        return Verdict("drop", "deadline")
    return Verdict("defer", *rests)


def rests_until(quiet: list[Any], windows: list[list[Any]], zone: str, now: datetime) -> tuple[str, datetime] | None:
    """Why a message waits at ``now``, and until when: the first instant at which the local clock shows the next open time
    or later, exact across daylight saving. None: it may go. Of each group of windows one must be open."""
    local = now + _offset(zone, now)
    reason = _closed(local, quiet, windows)
    return None if reason is None else (reason, comes_to(zone, _opens(local, quiet, windows), now))


def _of_channel(hours: object, channel: str) -> bool:
    return hours is not None and getattr(hours, "channel", None) in (None, channel)


def _closed(local: datetime, quiet: list[Any], windows: list[list[Any]]) -> str | None:
    """Why a message waits at a local time: quiet hours come before windows; None: it may go."""
    clock = f"{local:%H:%M}"
    for q in quiet:
        if q.from_ <= clock < q.to if q.from_ <= q.to else clock >= q.from_ or clock < q.to:
            return "quiet_hours"
    day = WEEKDAYS[local.weekday()]
    for group in windows:
        if group and not any(w.from_ <= clock < w.to and (not w.days or day in w.days) for w in group):
            return "send_window"
    return None


def _opens(local: datetime, quiet: list[Any], windows: list[list[Any]]) -> datetime:
    """The next local time by the calendar at which a message may go: all change at a full minute only."""
    clocks = {"00:00", *(q.to for q in quiet), *(w.from_ for group in windows for w in group)}
    days = [datetime.combine(local.date() + timedelta(days=n), time()) for n in range(9)]
    times = sorted(datetime.combine(day, time.fromisoformat(clock)) for day in days for clock in clocks)
    return next(t for t in times if t > local and _closed(t, quiet, windows) is None)


def worth(enrollment: Enrollment, view: View) -> tuple[bool, float]:
    """Where the message's value puts it among those of one priority: more goes first, unknown last."""
    tree = enrollment.journey.value
    value = None if tree is None else evaluate(tree, view)
    return (True, 0.0) if value is None else (False, -float(str(value)))


def deadline(project: Project, enrollment: Enrollment) -> datetime:
    """The last instant to which a message may be deferred."""
    assert enrollment.due_since is not None
    return enrollment.due_since + timedelta(seconds=project.policy.deadline_s)


def capped(project: Project, enrollment: Enrollment, template: Template, counted: list[Message], view: View) -> Verdict:
    """The verdict of the caps, given the person's marketing messages that count."""
    waits = []
    own = {"channel": template.channel, "topic": topic_of(template), "journey": enrollment.journey.name}
    for cap in project.policy.caps:
        if not _concerns(cap, enrollment, template):
            continue
        only = {noun: value for noun in own if (value := own[noun] if cap.each == noun else getattr(cap, noun))}
        mine = [m for m in counted if all(getattr(m, noun) == value for noun, value in only.items())]
        if cap.calendar is None:
            until = _full_until(cap, mine, view.now)
        else:
            zone = zone_of(project.policy, view)
            assert zone is not None
            begin, end = local_period(cap.calendar, zone, view.now)
            until = end if sum(begin <= m.planned_at <= view.now for m in mine) >= cap.limit else None
            until = FOREVER if until and cap.limit <= 0 else until
        if until is not None and cap.when_full == "drop":
            return Verdict("drop", "cap")
        if until is not None:
            waits.append(until)
    if not waits:
        return SEND
    return Verdict("drop", "cap") if max(waits) > deadline(project, enrollment) else Verdict("defer", "cap", max(waits))


def _concerns(cap: Cap, enrollment: Enrollment, template: Template) -> bool:
    own = (template.channel, topic_of(template), enrollment.journey.name)
    return all(want in (None, has) for want, has in zip((cap.channel, cap.topic, cap.journey), own, strict=True))


def local_period(calendar: str, zone: str, now: datetime) -> tuple[datetime, datetime]:
    """The first instant of the local day, week (from Monday) or month of ``now``, and the first of the next: the first
    instants at which the local clock shows its beginning or later. Exact across daylight saving."""
    local = now + _offset(zone, now)
    day = datetime.combine(local.date(), time())
    if calendar == "week":
        begin = day - timedelta(days=day.weekday())
        end = begin + timedelta(days=7)
    elif calendar == "month":
        begin = day.replace(day=1)
        end = (begin + timedelta(days=31)).replace(day=1)
    else:
        begin, end = day, day + timedelta(days=1)
    return comes_to(zone, begin), comes_to(zone, end, now)


def _full_until(cap: Cap, counted: list[Message], now: datetime) -> datetime | None:
    """None: there is room. Otherwise when enough messages will have left the window (never, for a limit of 0)."""
    per = timedelta(seconds=cap.per_s)
    mine = [m.planned_at for m in counted]
    times = sorted(at for at in mine if now - per < at <= now)
    excess = len(times) - cap.limit
    if excess < 0:
        return None
    return FOREVER if cap.limit <= 0 else times[excess] + per
