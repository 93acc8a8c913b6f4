"""The promises, each a small function that is asked of one message.

A rule of planning takes a ``Planned`` and answers ``HOLDS``, ``NOT_ASKED`` (it does not speak of such messages) or how it is
``Broken``; a rule of handing over takes a ``HandedOver``. Both may raise ``NotDerivable``. To add a rule, write the function
and put it into the tuple at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, time
from functools import lru_cache
from typing import Literal, Union
from zoneinfo import ZoneInfo, available_timezones

import msgspec

from cadenza.audit.conditions import Moment, NotDerivable, value
from cadenza.audit.knowledge import Known, Person
from cadenza.clock import from_micros, iso
from cadenza.definitions.kinds_journey import Exit, HandOff, Journey, Send, Split, Step, Wait
from cadenza.definitions.kinds_policy import Cap, Jurisdiction, Policy, QuietHours, SendWindow
from cadenza.ids import bucket
from cadenza.ports.ledger import OutboxMessage

ALWAYS = ("hard_bounce", "complaint", "legal")
"""Reasons of suppression that hold for every class of message."""
SECOND = 1_000_000
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Broken(msgspec.Struct, frozen=True):
    """How a rule is broken, with the records (offsets) and the other messages that show it."""

    what: str
    records: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()


Answer = Union[Broken, Literal["holds", "not asked"]]
HOLDS: Literal["holds"] = "holds"
NOT_ASKED: Literal["not asked"] = "not asked"


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """A message that was decided, or that is in the outbox. ``claim_head``: the log's head when it was claimed last, where
    it was; ``settled_at``: when its state changed last (µs); ``decided``: whether the store has a decision for it."""

    message: OutboxMessage
    state: str
    claim_head: int = 0
    settled_at: int = 0
    decided: bool = True

    @property
    def handed_over(self) -> bool:
        """Whether a provider has it, or may have it."""
        return self.state in ("sent", "in_flight", "ambiguous")

    @property
    def marketing(self) -> bool:
        return self.message.message_class == "marketing"


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """What is known beside one person, as of the record that was read last."""

    failed: Mapping[str, int]
    """Message -> the record that says it failed."""
    shares: Mapping[str, int]
    """Holdout -> the smallest share (basis points) that any deployed project gave it."""
    history: tuple[Known, ...]
    replaying: bool


class Planned(msgspec.Struct, frozen=True, kw_only=True):
    """A message at the instant of its planning."""

    sent: Sent
    moment: Moment
    ledger: Ledger

    @property
    def message(self) -> OutboxMessage:
        return self.sent.message

    @property
    def person(self) -> Person:
        return self.moment.person

    @property
    def known(self) -> Known:
        return self.moment.known


# --- what is planned --------------------------------------------------------------------------------------


def as_defined(case: Planned) -> Answer:
    """Its journey sends its template at its step; class, purpose and channel are the template's of that version."""
    m = case.message
    templates = [t for k in case.ledger.history if (t := k.versions.get(m.template_version)) and t.name == m.template]
    if not templates:
        return Broken(f"no deployed project has this version of the template '{m.template}'.")
    t = templates[-1]
    if (m.message_class, m.purpose, m.channel) != (t.message_class, t.purpose, t.channel):
        return Broken(
            f"it went as {m.message_class} for {m.purpose} by {m.channel}; the template is {t.message_class} for {t.purpose} by {t.channel}."
        )
    journeys = [j for k in case.ledger.history if (j := k.journeys.get(m.journey))]
    if not any(
        isinstance(s, Send) and m.template in s.candidates for j in journeys for p, s in all_places(j) if p == m.step
    ):
        return Broken(f"no deployed version of the journey sends '{m.template}' at {m.step}.")
    return HOLDS


def address(case: Planned) -> Answer:
    """It goes to the address that this person gave."""
    destination = case.known.destination(case.message.channel)
    if destination is None:
        return Broken(f"no destination is declared for {case.message.channel}.")
    given = case.moment.trait_text(destination.address_trait)
    if not case.message.address or case.message.address != given:
        return Broken(
            f"it is not the person's {destination.address_trait} at that instant.",
            _heard(case, destination.address_trait),
        )
    return HOLDS


def _heard(case: Planned, trait: str) -> tuple[int, ...]:
    definition = case.known.traits.get(trait)
    said = definition and case.person.traits.get(((definition.from_ or "").partition(".")[2], definition.type))
    return (said[1],) if said else ()


def suppression(case: Planned) -> Answer:
    """The channel is not suppressed for the person: legal reasons for every class, others for marketing."""
    return _suppressed(case.person, case.sent, planned=True) or HOLDS


def _suppressed(person: Person, sent: Sent, planned: bool) -> Broken | None:
    """A suppression that held when the message was planned; or (not ``planned``) at some time since, until now."""
    for s in person.suppressions:
        held = s.until is None or s.until > (
            sent.message.planned_at if planned else max(sent.message.planned_at, s.since)
        )
        if held and s.channel in (sent.message.channel, "*") and (sent.marketing or s.reason in ALWAYS):
            ends = f" (until {iso(from_micros(s.until))})" if s.until is not None else ""
            return Broken(f"{sent.message.channel} is suppressed: {s.reason}{ends}.", (s.record,))
    return None


def conditions(case: Planned) -> Answer:
    """No suppression condition of the policy was true or unknown."""
    rules = case.known.policy.suppress
    if not case.sent.marketing or not rules:
        return NOT_ASKED
    untold: NotDerivable | None = None
    for rule in rules:
        try:
            found = value(rule.when, case.moment)
        except NotDerivable as error:
            untold = error
            continue
        if found is not False:
            return Broken(f"the condition '{rule.name}' was {'unknown' if found is None else 'true'}.")
    if untold is not None:
        raise untold
    return HOLDS


def consent(case: Planned) -> Answer:
    """Consent for its purpose and channel was in force, or nothing was said where that is consent."""
    policy = case.known.policy
    if policy.jurisdiction_trait is None or not case.sent.marketing:
        return _consented(case.person, case.sent, silence=False)
    place = _jurisdiction(case)
    if place is None:
        return Broken("the person's jurisdiction was not known.", _heard(case, policy.jurisdiction_trait))
    return _consented(case.person, case.sent, silence=place.consent == "opt_out")


def _jurisdiction(case: Planned) -> Jurisdiction | None:
    """Whose rules hold for the person; None where the policy knows none, or not which."""
    policy = case.known.policy
    if policy.jurisdiction_trait is None:
        return None
    places = {place.name: place for place in policy.jurisdictions}
    return places.get(case.moment.trait_text(policy.jurisdiction_trait) or "") or places.get(
        policy.unknown_jurisdiction
    )


def _consented(person: Person, sent: Sent, silence: bool) -> Answer:
    if not sent.marketing:
        return NOT_ASKED
    purpose, channel = sent.message.purpose, sent.message.channel
    granted, records = person.consent(purpose, channel)
    if granted or (silence and not records):
        return HOLDS
    said = "withdrawn or contradicted" if records else "never given"
    return Broken(f"consent for {purpose} by {channel} was {said}.", records)


def global_holdout(case: Planned) -> Answer:
    """The person is not held out of everything."""
    holdout = case.known.policy.holdout
    return NOT_ASKED if holdout is None or not case.sent.marketing else _held_out(case, holdout.name)


def journey_holdout(case: Planned) -> Answer:
    """The person is not held out of the journey."""
    versions = [j for k in case.ledger.history if (j := k.journeys.get(case.message.journey))]
    return _of_versions(case, {j.holdout.name if j.holdout else None for j in versions}, "journey")


def programme_holdout(case: Planned) -> Answer:
    """The person is not held out of the programme that the journey belongs to."""
    names: set[str | None] = set()
    for known in case.ledger.history:
        journey = known.journeys.get(case.message.journey)
        groups = {programme.name: programme.holdout.name for programme in known.policy.programmes}
        names |= {groups.get(journey.programme or "")} if journey is not None else set()
    return _of_versions(case, names, "programme")


def step_holdout(case: Planned) -> Answer:
    """The message is not withheld from the person at its step."""
    if not case.sent.marketing:
        return NOT_ASKED
    steps = [
        step
        for known in case.ledger.history
        if (journey := known.journeys.get(case.message.journey))
        for path, step, _ in places(journey.steps)
        if path == case.message.step and isinstance(step, Send) and case.message.template in step.candidates
    ]
    return _of_versions(case, {step.holdout.name if step.holdout else None for step in steps}, "step")


def _of_versions(case: Planned, names: set[str | None], what: str) -> Answer:
    """Whether the holdout that every version had holds the person out."""
    if names <= {None}:
        return NOT_ASKED
    if len(names) > 1:
        raise NotDerivable(
            f"versions of the {what} differ in their holdout, and the log does not say which one the passage is of."
        )
    return _held_out(case, str(names.pop()))


def _held_out(case: Planned, holdout: str) -> Answer:
    """The first assignment of anybody who is this person now is in force, and the log does not say which was first: it is
    certain where every one of them is held out."""
    share = case.ledger.shares[holdout]
    buckets = [bucket(holdout, pid) for pid in case.person.origins]
    if all(number < share for number in buckets):
        return Broken(
            f"the person is in the holdout '{holdout}': bucket {min(buckets)} of a share of {share}.",
            tuple(case.person.origins),
        )
    return HOLDS


def quiet_hours(case: Planned) -> Answer:
    """It was in no quiet hours of its channel in the person's zone, neither the policy's nor the jurisdiction's; and the
    zone was known or the policy says which to assume."""
    rules = _hours_of(case)
    spans = [q for rule in rules for q in _quiet_spans(rule, case.message.channel)]
    if not spans and not any(_windows(rule, case.message.channel) for rule in rules):
        return NOT_ASKED
    zone, records = _zone(case)
    if zone is None:
        return Broken("the person's time zone was not known.", records)
    local = local_time(zone, case.moment.now)
    for span in spans:
        if is_quiet(span, local.time()):
            return Broken(f"it was {local:%H:%M:%S} in {zone}; quiet hours are {span.from_} to {span.to}.", records)
    return HOLDS if spans else NOT_ASKED


def send_windows(case: Planned) -> Answer:
    """It was in a send window of its channel, where the policy has any, and in one of the jurisdiction's, where that has
    any."""
    groups = [group for rule in _hours_of(case) if (group := _windows(rule, case.message.channel))]
    zone, records = _zone(case)
    if not groups or zone is None:
        return NOT_ASKED
    local = local_time(zone, case.moment.now)
    for group in groups:
        if not any(is_open(window, local) for window in group):
            return Broken(
                f"it was {local:%A %H:%M:%S} in {zone}, in no send window of {case.message.channel}.", records
            )
    return HOLDS


def _hours_of(case: Planned) -> list[Policy | Jurisdiction]:
    """Who says when the message may go: the policy and the person's jurisdiction."""
    if not case.sent.marketing:
        return []
    place = _jurisdiction(case)
    return [case.known.policy, *([place] if place is not None else [])]


def _quiet_spans(rule: Policy | Jurisdiction, channel: str) -> list[QuietHours]:
    every = [rule.quiet_hours] if rule.quiet_hours is not None else []
    own = [span for span in rule.channel_quiet_hours if span.channel == channel]
    return [span for span in (*every, *own) if span.from_ != span.to]


def _windows(rule: Policy | Jurisdiction, channel: str) -> list[SendWindow]:
    return [window for window in rule.send_windows if window.channel in (None, channel)]


def _zone(case: Planned) -> tuple[str | None, tuple[int, ...]]:
    """The zone whose clock holds, with the record that told it; None where none may be assumed."""
    trait, assumed = case.known.policy.time_zone_trait, case.known.policy.missing_time_zone
    own = case.moment.trait_text(trait)
    zone = own if own in _zones() else None if assumed == "drop" else assumed
    return zone, _heard(case, trait)


def is_open(window: SendWindow, local: datetime) -> bool:
    """Whether a local time lies in a send window: on one of its weekdays, from its first instant on, not at the last."""
    clock = (local.hour * 60 + local.minute) * 60 + local.second + local.microsecond / 1e6
    start, end = (int(text[:2]) * 3600 + int(text[3:]) * 60 for text in (window.from_, window.to))
    return start <= clock < end and (not window.days or _DAYS[local.weekday()] in window.days)


def is_quiet(hours: QuietHours, clock: time) -> bool:
    """Whether the local time lies in the quiet hours: from the first instant on, not at the last."""
    start, end = time.fromisoformat(hours.from_), time.fromisoformat(hours.to)
    return start <= clock < end if start < end else clock >= start or clock < end


def local_time(zone: str, now: int) -> datetime:
    """The local clock at an instant (µs)."""
    return from_micros(now).replace(tzinfo=UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())


def caps(case: Planned) -> Answer:
    """No cap was exceeded by it: messages of everyone who is this person, planned in the window, not failed, not withdrawn."""
    own = _kind(case, case.message)
    asked = [cap for cap in case.known.policy.caps if all(getattr(cap, part) in (None, own[part]) for part in own)]
    if not case.sent.marketing or not asked:
        return NOT_ASKED
    for cap in asked:
        within = counted(case, cap)
        if len(within) > cap.limit:
            return Broken(
                f"the cap '{cap.name}' allows {cap.limit} in {cap.calendar or f'{cap.per_s:,} s'}; this is number {len(within)}.",
                messages=tuple(s.message.message_id for s in within),
            )
    return HOLDS


def counted(case: Planned, cap: Cap) -> list[Sent]:
    """The person's messages that count under a cap, this one among them."""
    own = _kind(case, case.message)
    named = {part: getattr(cap, part) for part in own if getattr(cap, part) is not None}
    named |= {cap.each: own[cap.each]} if cap.each else {}
    return [
        s for s in case.person.sends
        if s.marketing and s.state != "cancelled" and s.message.message_id not in case.ledger.failed
        and named.items() <= _kind(case, s.message).items() and _in_window(case, cap, s.message.planned_at)
    ]  # fmt: skip


def _kind(case: Planned, message: OutboxMessage) -> dict[str, str]:
    """What a cap may name of a message; its topic is what its template declares by now, or its purpose."""
    topics = {t.name: t.topic for t in case.known.project.templates}
    topic = topics.get(message.template) or message.purpose
    return {"channel": message.channel, "topic": topic, "journey": message.journey}


def _in_window(case: Planned, cap: Cap, planned_at: int) -> bool:
    """Whether it was planned in the cap's window that ends now: so many seconds, or the same local day, week or month."""
    now = case.moment.now
    if cap.calendar is None:
        return now - cap.per_s * SECOND < planned_at <= now
    zone = case.moment.trait_text(case.known.policy.time_zone_trait)
    if zone not in _zones():
        zone = case.known.policy.missing_time_zone
    if zone == "drop":
        return planned_at <= now
    days = [local_time(zone, instant).date() for instant in (planned_at, now)]
    names = {"day": str, "week": lambda day: day.isocalendar()[:2], "month": lambda day: (day.year, day.month)}
    return planned_at <= now and len({names[cap.calendar](day) for day in days}) == 1


def replayed(case: Planned) -> Answer:
    """What is planned while history is replayed is not handed over."""
    if case.ledger.replaying and case.message.deliverable:
        return Broken("history was being replayed, and yet it may be handed over.")
    return HOLDS if case.ledger.replaying else NOT_ASKED


# --- what is handed over ------------------------------------------------------------------------------------


class Killed(msgspec.Struct, frozen=True):
    """A kill switch that covers a message: the record that closed it, and when one opened it again (µs), if any did."""

    record: int
    released_at: int | None = None


class HandedOver(msgspec.Struct, frozen=True, kw_only=True):
    """A message when it was claimed: ``person`` as every record up to the claim made them. ``exits``: how the passage
    ended since the message was planned, as far as the log says. ``killed``: the switches that were closed then."""

    sent: Sent
    person: Person
    exits: Broken | None
    watched: bool
    killed: tuple[Killed, ...] = ()


def consent_at_hand_over(case: HandedOver) -> Answer:
    """Consent was not withdrawn before it was claimed. (Whether it may have been missing is asked of the planning.)"""
    return _consented(case.person, case.sent, silence=True)


def suppression_at_hand_over(case: HandedOver) -> Answer:
    """The channel was not suppressed before it was claimed."""
    return _suppressed(case.person, case.sent, planned=False) or HOLDS


def exit_before_hand_over(case: HandedOver) -> Answer:
    """The passage had not reached its goal, nor been disqualified, before it was claimed."""
    if not case.watched:
        raise NotDerivable("after this step the passage may have ended by itself.")
    return case.exits or HOLDS


def kill_switch(case: HandedOver) -> Answer:
    """No kill switch was closed over it when it was handed over."""
    if not case.killed:
        return HOLDS
    if all(k.released_at is not None and k.released_at <= case.sent.settled_at for k in case.killed):
        raise NotDerivable("the switch was opened again before the call ended, and the log does not say when it began.")
    return Broken("a kill switch was closed over it.", tuple(k.record for k in case.killed))


def not_a_replay(case: HandedOver) -> Answer:
    """It was meant to be handed over."""
    return HOLDS if case.sent.message.deliverable else Broken("it was planned for a replay only.")


PLANNING: tuple[tuple[str, Callable[[Planned], Answer]], ...] = (
    ("as defined", as_defined), ("address", address), ("suppression", suppression), ("suppression conditions", conditions),
    ("consent", consent), ("global holdout", global_holdout), ("journey holdout", journey_holdout),
    ("programme holdout", programme_holdout), ("step holdout", step_holdout),
    ("quiet hours", quiet_hours), ("send windows", send_windows), ("caps", caps), ("replay", replayed),
)  # fmt: skip
HANDING_OVER: tuple[tuple[str, Callable[[HandedOver], Answer]], ...] = (
    ("consent at hand-over", consent_at_hand_over), ("suppression at hand-over", suppression_at_hand_over),
    ("exit before hand-over", exit_before_hand_over), ("kill switch", kill_switch), ("replay at hand-over", not_a_replay),
)  # fmt: skip


# --- where a passage rests ------------------------------------------------------------------------------------


def places(steps: tuple[Step, ...], prefix: str = "steps") -> Iterator[tuple[str, Step, Step | None]]:
    """Every step of a tree with its path, and the step that comes next in its own list (None: it is the last)."""
    for index, step in enumerate(steps):
        path = f"{prefix}[{index}]"
        yield path, step, steps[index + 1] if index + 1 < len(steps) else None
        for inner, inside in _inside(step, path):
            yield from places(inside, inner)


def all_places(journey: Journey) -> Iterator[tuple[str, Step]]:
    """Every step of a journey with its path, the last steps of its exits too."""
    yield from ((path, step) for path, step, _ in places(journey.steps))
    ends = journey.exit
    for name, steps in (("goal", ends.goal_then), ("disqualified", ends.disqualified_then),
                        ("superseded", ends.superseded_then), ("time_limit", ends.time_limit_then)):  # fmt: skip
        yield from ((path, step) for path, step, _ in places(steps, f"exit.{name}.then"))


def _inside(step: Step, path: str) -> Iterator[tuple[str, tuple[Step, ...]]]:
    kind = "split" if isinstance(step, Split) else str(type(step).__struct_config__.tag)
    if isinstance(step, HandOff):
        yield from ((f"{path}.{kind}.{arm.name}.steps", arm.steps) for arm in step.outcomes)
        yield f"{path}.{kind}.breached.steps", step.breached.steps if step.breached else ()
    for name in ("arms", "unknown", "otherwise", "matched", "timeout", "answered", "failed", "unanswered"):
        found = getattr(step, name, ())
        if name == "arms":
            for index, arm in enumerate(found):
                if isinstance(arm, tuple):
                    yield f"{path}.{kind}.any[{index}].steps", arm
                    continue
                called = f"{kind}.{arm.name}" if hasattr(arm, "name") else f"{kind}.arms[{index}]"
                yield f"{path}.{called}.steps", arm.steps
        else:
            yield f"{path}.{kind}.{name}", found


def surely_rests(known: Known, message: OutboxMessage) -> tuple[Exit, int] | None:
    """The exits of the message's journey, and for how long (µs) after the message the passage surely rests: where a wait
    follows. None: it may go on or end at once."""
    journey = known.journeys.get(message.journey)
    for path, _, follows in places(journey.steps) if journey else ():
        if path == message.step and isinstance(follows, Wait) and follows.duration_s and journey is not None:
            return journey.exit, follows.duration_s * SECOND
    return None


def told_exit(exit_: Exit, moment: Moment) -> Broken | None:
    """How the present record ends a passage; None where it does not, or where the log does not say."""
    for name, condition in (("goal", exit_.goal), ("disqualified", exit_.disqualified)):
        try:
            if value(condition, moment) is True:
                at = iso(from_micros(moment.now))
                return Broken(
                    f"the passage ended ({name}) at {at}, before it was claimed.",
                    (moment.item.offset,) if moment.item else (),
                )
        except NotDerivable:
            continue
    return None
