"""Reads the log once, beside what was sent, and asks every message every rule.

A message planned at T may have been decided by a timer, before the record of T, or by that record, or after it: it is
asked under each that can be, and a rule is broken only where it is broken under all.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, Union

import msgspec

from cadenza.audit.conditions import Moment, NotDerivable, typed
from cadenza.audit.knowledge import Event, Known, People, Person, Statement, Suppression, text_of
from cadenza.audit.rules import (
    HANDING_OVER,
    HOLDS,
    NOT_ASKED,
    PLANNING,
    Answer,
    Broken,
    HandedOver,
    Killed,
    Ledger,
    Planned,
    Sent,
    kill_switch,
    places,
    surely_rests,
    told_exit,
)  # fmt: skip
from cadenza.clock import from_micros, iso
from cadenza.definitions.builtin import CALL_OUTCOMES
from cadenza.definitions.kinds_journey import Exit, Send
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record

MOST_TOLD = 1_000
"""Violations that are listed; all are counted."""
_PAGES = {"page": "Page Viewed", "screen": "Screen Viewed"}
_JSON = msgspec.json.Decoder(float_hook=str)
Asked = TypeVar("Asked")
Answers = dict[str, Union[Answer, NotDerivable]]


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a rule was asked. ``not_derivable``: messages of which the log alone does not say."""

    rule: str
    promise: str
    checked: int
    violations: int
    not_derivable: int


class Violation(msgspec.Struct, frozen=True, kw_only=True):
    """One message that broke one rule, with its evidence: offsets of records, and other messages."""

    rule: str
    person: str
    journey: str
    message_id: str
    planned_at: str
    what: str
    records: tuple[int, ...] = ()
    messages: tuple[str, ...] = ()


class AuditReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked, and every violation (the first thousand; ``rules`` counts all). ``unsure``: of some message the log
    does not say whether it was planned as it should; exits are asked where that can be known, and are no part of this."""

    records: int
    messages: int
    handed_over: int
    deployments: int
    clean: bool
    unsure: bool
    rules: tuple[RuleCount, ...]
    violations: tuple[Violation, ...]


def audit(
    records: Callable[[], Iterable[Record]], sent: Iterable[Sent], progress: Callable[[int], None] | None = None
) -> AuditReport:
    """The whole log against everything that was sent. ``records`` begins to read the log anew: it is read once, and again
    where a later deployment asks for what the ones before it did not. ``progress`` gets the offsets that are read."""
    messages = sorted(sent, key=lambda s: (s.message.planned_at, s.message.message_id))
    needs = _Needs()
    while True:
        auditor = _Auditor(messages, needs)
        try:
            for record in records():
                auditor.read(record)
                if progress is not None and record.offset % 5_000 == 0:
                    progress(record.offset)
            return auditor.report()
        except _AskedTooLate as late:
            needs = late.needs


class _Needs(msgspec.Struct, frozen=True):
    """What has to be kept of what people did: events by name, and traits by (name in the call, type)."""

    events: frozenset[str] = frozenset()
    traits: frozenset[tuple[str, str]] = frozenset()
    first: Project | None = None
    """The first deployed project, where records came before it: it is what they are read by."""


class _AskedTooLate(Exception):
    """A deployment needs what was not kept from the beginning."""

    def __init__(self, needs: _Needs) -> None:
        self.needs = needs
        super().__init__("a later deployment asks for more")


class _Watched(msgspec.Struct, frozen=True):
    """A passage that surely rests until an instant (µs), with a message that somebody may have been handed."""

    sent: Sent
    exit: Exit
    until: int
    record: int


class _Auditor:
    """One reading of the log."""

    def __init__(self, messages: list[Sent], needs: _Needs) -> None:
        self._messages, self._next = messages, 0
        self._needs, self._known = needs, Known(needs.first or Project(), 0)
        self._history: list[Known] = []
        self._people = People()
        self._updated: frozenset[str] = frozenset()
        self._failed: dict[str, int] = {}
        self._shares: dict[str, int] = {}
        self._replaying = False
        self._read, self._offset, self._anything = 0, 0, False
        self._claims: list[tuple[int, int, Sent]] = []
        self._watched: defaultdict[int, list[_Watched]] = defaultdict(list)
        self._exits: dict[str, Broken] = {}
        self._claimed = 0
        self._surely: dict[str, int] = {}
        self._kills: dict[tuple[str | None, str | None], Killed] = {}
        self._opened: dict[int, int] = {}
        self._taken: list[HandedOver] = []
        self._reports: dict[str, tuple[int, str]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()
        self._violations: list[Violation] = []

    # --- reading ------------------------------------------------------------------------------------------

    def read(self, record: Record) -> None:
        """The messages planned before the record and at its instant, and the record between those."""
        self._before(record.recorded_at)
        now = self._at(record.recorded_at)
        for sent in now:
            if (person := self._people.get(sent.message.person)) is not None:
                person.sends.append(sent)
        before = [_answers(self._planned(sent, None)) for sent in now]
        while self._claims and self._claims[0][0] < record.offset:
            self._hand_over(heapq.heappop(self._claims)[2])
        who, item = self._apply(record)
        for sent, answers in zip(now, before, strict=True):
            mine = self._people.get(sent.message.person)
            if mine is not None and not answers:
                mine.sends.append(sent)
            touched = who is mine or record.kind in ("deploy", "command")
            after = [_answers(self._planned(sent, at)) for at in ((item, None) if touched else ())]
            self._ask_planned(sent, [way for way in (answers, *after) if way])
        if who is not None and item is not None:
            self._look_for_exits(who, item, record.recorded_at)
        self._read, self._offset = self._read + 1, record.offset

    def report(self) -> AuditReport:
        """What was found, after the last record."""
        self._before(None)
        while self._claims:
            self._hand_over(heapq.heappop(self._claims)[2])
        self._ask_switches()
        self._ask_identities()
        promises = {rule: _promise(ask) for rule, ask in (*PLANNING, *HANDING_OVER)}
        promises |= {
            "person": "A record made the person.",
            "planned": "Everything in the outbox, and everything that delivery reports, was planned.",
            "unique": "No message id occurs twice.",
        }
        rules = tuple(
            RuleCount(
                rule=rule, promise=promise, checked=self._counts[rule, "holds"] + self._counts[rule, "broken"],
                violations=self._counts[rule, "broken"], not_derivable=self._counts[rule, "not derivable"],
            )
            for rule, promise in promises.items()
        )  # fmt: skip
        planning = {rule for rule, _ in PLANNING}
        return AuditReport(
            unsure=any(r.not_derivable for r in rules if r.rule in planning), records=self._read, messages=len(self._messages), deployments=len(self._history), rules=rules,
            handed_over=sum(s.handed_over for s in self._messages), clean=not any(r.violations for r in rules),
            violations=tuple(self._violations),
        )  # fmt: skip

    def _before(self, at: int | None) -> None:
        """Ask the messages planned before an instant (µs); None: all that are left."""
        while self._next < len(self._messages):
            instant = self._messages[self._next].message.planned_at
            if at is not None and instant >= at:
                return
            together = self._at(instant)
            for sent in together:
                if (person := self._people.get(sent.message.person)) is not None:
                    person.sends.append(sent)
            for sent in together:
                self._ask_planned(sent, [way for way in (_answers(self._planned(sent, None)),) if way])

    def _at(self, instant: int) -> list[Sent]:
        """The next messages, where they were planned at this very instant."""
        first = self._next
        while self._next < len(self._messages) and self._messages[self._next].message.planned_at == instant:
            self._next += 1
        return self._messages[first : self._next]

    # --- what a record says -----------------------------------------------------------------------------------

    def _apply(self, record: Record) -> tuple[Person | None, Event | None]:
        body = _JSON.decode(record.body)
        if record.kind == "deploy":
            self._deploy(msgspec.convert(msgspec.json.decode(record.body)["project"], Project), record.offset)
        elif record.kind == "command":
            self._obey(body, record)
        elif (
            record.kind in ("outcome", "task", "person")
            and (person := self._people.get(int(body["person"]))) is not None
        ) or (
            record.kind == "call"
            and (person := self._people.identify(self._known, body, record.offset, record.recorded_at)) is not None
        ):
            return person, self._said(person, record, body)
        return None, None

    def _obey(self, body: dict[str, Any], record: Record) -> None:
        """A command: replay and live, kill and release, stop. A pause changes nothing of what may be handed over."""
        command, reach = body.get("command"), (body.get("journey"), body.get("channel"))
        if command in ("replay", "live"):
            self._replaying = command == "replay"
        elif command == "kill":
            self._kills[reach] = Killed(record.offset)
        elif command == "release" and (closed := self._kills.pop(reach, None)) is not None:
            self._opened[closed.record] = record.recorded_at
        elif command == "stop":
            for watched in [w for some in self._watched.values() for w in some]:
                mine = watched.sent.message.journey == reach[0] and record.offset <= watched.sent.claim_head
                if mine and record.recorded_at < watched.until:
                    self._exits[watched.sent.message.message_id] = Broken(
                        "its journey was stopped before.", (record.offset,)
                    )

    def _deploy(self, project: Project, offset: int) -> None:
        self._known = known = Known(project, offset)
        self._history.append(known)
        self._updated |= known.updated
        groups = [programme.holdout for programme in project.policy.programmes]
        sends = [s for j in project.journeys for _, s, _ in places(j.steps) if isinstance(s, Send)]
        declared = (project.policy.holdout, *groups, *(of.holdout for of in (*project.journeys, *sends)))
        for holdout in (h for h in declared if h is not None):
            self._shares[holdout.name] = min(holdout.share_bp, self._shares.get(holdout.name, holdout.share_bp))
        self._watched.clear()
        first = self._needs.first or (project if self._anything and len(self._history) == 1 else None)
        needs = _Needs(self._needs.events | known.events, self._needs.traits | known.sent_traits(), first)
        if needs != self._needs and self._anything:
            raise _AskedTooLate(needs)
        self._needs = needs

    def _said(self, person: Person, record: Record, body: dict[str, Any]) -> Event | None:
        """What the record says of a person; the event that conditions see."""
        self._anything = True
        kind, properties = body.get("type"), body.get("properties") or {}
        name = body.get("event") if kind == "track" else _PAGES.get(str(kind))
        at = min(int(body.get("occurred_at", record.recorded_at)), record.recorded_at)
        for trait, sent in (body.get("traits") or {}).items():
            for wanted in self._needs.traits:
                if wanted[0] == trait and (text := text_of(sent)) is not None and typed(text, wanted[1]) is not None:
                    person.hear(*wanted, (at, record.offset, text))
        if kind == "track":
            self._consent_and_suppression(person, record, str(name), properties, at)
        event = Event(record.offset, str(name), at, properties) if name is not None else None
        if event is not None and event.name in self._needs.events:
            person.events.setdefault(event.name, []).append(event)
        if record.kind == "outcome" and (told := text_of(properties.get("message_id"))):
            if name == "Message Failed":
                self._failed.setdefault(told, record.offset)
            if record.source == "delivery" and name not in CALL_OUTCOMES:
                self._reports.setdefault(told, (record.offset, str(name)))
        return event

    def _consent_and_suppression(
        self, person: Person, record: Record, name: str, properties: dict[str, Any], at: int
    ) -> None:
        purpose, channel, reason = (text_of(properties.get(p)) for p in ("purpose", "channel", "reason"))
        if name == "Consent Updated" and purpose and channel:
            granted = typed(text_of(properties.get("granted")), "boolean")
            if granted is not None:
                person.say(purpose, channel, Statement(at, granted, record.offset))
        elif name == "Unsubscribed":
            for each in [purpose] if purpose else self._known.purposes:
                person.say(each, channel or "email", Statement(at, False, record.offset))
        elif name == "Email Bounced" and text_of(properties.get("bounce_type")) == "hard":
            _suppress(person, record, "email", "hard_bounce")
        elif name == "Email Marked as Spam":
            _suppress(person, record, "email", "complaint")
        elif name == "Suppressed" and channel and reason:
            until = typed(text_of(properties.get("until")), "timestamp")
            _suppress(person, record, channel, reason, until if isinstance(until, int) else None)
        elif name == "Unsuppressed":
            for s in person.suppressions:
                if channel in (None, s.channel) and reason in (None, s.reason):
                    s.until = min(record.recorded_at, s.until) if s.until is not None else record.recorded_at

    # --- asking -----------------------------------------------------------------------------------------------

    def _planned(self, sent: Sent, item: Event | None) -> Planned | None:
        """The message as of what is read now; None: nobody is known by its person id."""
        person = self._people.get(sent.message.person)
        if person is None:
            return None
        moment = Moment(self._known, person, sent.message.planned_at, item, self._updated)
        ledger = Ledger(
            failed=self._failed, shares=self._shares, history=tuple(self._history), replaying=self._replaying
        )
        return Planned(sent=sent, moment=moment, ledger=ledger)

    def _ask_planned(self, sent: Sent, ways: list[Answers]) -> None:
        """Count the answers, of every way in which it may have been decided the mildest."""
        self._count("person", Broken("no record made this person.") if not ways else HOLDS, sent)
        for rule, _ in PLANNING:
            self._count(rule, _mildest([answers[rule] for answers in ways]), sent)
        person = self._people.get(sent.message.person)
        if person is not None and sent.handed_over:
            self._watch(person, sent)
            self._claimed += 1
            heapq.heappush(self._claims, (sent.claim_head, self._claimed, sent))

    def _watch(self, person: Person, sent: Sent) -> None:
        rests = surely_rests(self._known, sent.message)
        versions = {k.journey_versions.get(sent.message.journey) for k in self._history}
        if rests is not None and len(versions) == 1:
            until = sent.message.planned_at + rests[1]
            self._surely[sent.message.message_id] = self._offset
            self._watched[person.pid].append(_Watched(sent, rests[0], until, self._offset))

    def _look_for_exits(self, person: Person, item: Event, now: int) -> None:
        for watched in self._watched.pop(person.pid, ()):
            message = watched.sent.message
            if now >= watched.until or person.merged_by > watched.record or item.offset > watched.sent.claim_head:
                continue
            found = told_exit(watched.exit, Moment(self._known, person, now, item, self._updated))
            if found is None or message.planned_at == now:
                self._watched[person.pid].append(watched)
            else:
                self._exits[message.message_id] = found

    def _hand_over(self, sent: Sent) -> None:
        person = self._people.get(sent.message.person)
        if person is not None:
            mark = sent.message.message_id
            since = self._surely.get(mark, -1)
            watched = since >= max(person.merged_by, self._known.offset - 1)
            reach = (
                (None, None),
                (sent.message.journey, None),
                (None, sent.message.channel),
                (sent.message.journey, sent.message.channel),
            )
            killed = tuple(self._kills[each] for each in reach if each in self._kills)
            case = HandedOver(sent=sent, person=person, exits=self._exits.get(mark), watched=watched, killed=killed)
            if killed:
                # When a switch was opened again is only known later.
                self._taken.append(case)
            for rule, ask in HANDING_OVER:
                if not (killed and ask is kill_switch):
                    self._count(rule, _asked(ask, case), sent)

    def _ask_switches(self) -> None:
        """Messages that were claimed while a kill switch was closed, now that all of the log is read."""
        for case in self._taken:
            killed = tuple(Killed(k.record, self._opened.get(k.record)) for k in case.killed)
            self._count("kill switch", _asked(kill_switch, msgspec.structs.replace(case, killed=killed)), case.sent)

    def _ask_identities(self) -> None:
        seen: Counter[str] = Counter(s.message.message_id for s in self._messages)
        for sent in {s.message.message_id: s for s in self._messages}.values():
            twice = seen[sent.message.message_id] > 1
            self._count(
                "unique", Broken(f"it is there {seen[sent.message.message_id]} times.") if twice else HOLDS, sent
            )
        for sent in self._messages:
            self._count(
                "planned", HOLDS if sent.decided else Broken("it is in the outbox, and no decision made it."), sent
            )
        for message_id, (record, name) in self._reports.items():
            planned = message_id in seen
            self._counts["planned", "holds" if planned else "broken"] += 1
            if not planned:
                self._tell(
                    "planned",
                    None,
                    message_id,
                    Broken(f"delivery says '{name}' of a message that nobody planned.", (record,)),
                )

    def _count(self, rule: str, answer: Answer | NotDerivable, sent: Sent) -> None:
        kind = (
            "not derivable" if isinstance(answer, NotDerivable) else "broken" if isinstance(answer, Broken) else answer
        )
        self._counts[rule, kind] += 1
        if isinstance(answer, Broken):
            self._tell(rule, sent, sent.message.message_id, answer)

    def _tell(self, rule: str, sent: Sent | None, message_id: str, broken: Broken) -> None:
        if len(self._violations) < MOST_TOLD:
            message = sent.message if sent else None
            told = Violation(
                rule=rule, message_id=message_id, what=broken.what, records=broken.records, messages=broken.messages,
                person=f"p_{message.person}" if message else "", journey=message.journey if message else "",
                planned_at=iso(from_micros(message.planned_at)) if message else "",
            )  # fmt: skip
            self._violations.append(told)


def _suppress(person: Person, record: Record, channel: str, reason: str, until: int | None = None) -> None:
    found = Suppression(
        channel=channel, reason=reason, record=record.offset, since=record.recorded_at, until=until
    )  # fmt: skip
    person.suppressions.append(found)


def _answers(case: Planned | None) -> Answers:
    """What the rules of planning say; nothing where there is nobody to ask about."""
    return {rule: _asked(ask, case) for rule, ask in PLANNING} if case is not None else {}


def _mildest(found: list[Answer | NotDerivable]) -> Answer | NotDerivable:
    """Of what the ways in which it may have been decided say: broken only where all of them are."""
    for answer in found:
        if not isinstance(answer, Broken):
            return answer
    return found[0] if found else NOT_ASKED


def _asked(ask: Callable[[Asked], Answer], case: Asked) -> Answer | NotDerivable:
    try:
        return ask(case)
    except NotDerivable as error:
        return error


def _promise(ask: Callable[..., Answer]) -> str:
    return (ask.__doc__ or "").strip().partition("\n")[0]


__all__ = ["AuditReport", "RuleCount", "Sent", "Violation", "audit"]
