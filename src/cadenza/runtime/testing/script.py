"""Tests become one log: every record at its time, everybody under an id that gives them the arms they shall have.

Persons of different tests never meet: each has a user id of their own, and tests that give the same identifier to
somebody (an e-mail address) do not share a log. Lanes never affect one another, so what a test sees is what it
would see alone; only the ids differ, and whatever hashes an id is fixed before (the first arm, no holdout).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import from_micros, to_micros
from cadenza.definitions.check_testing import splits_of
from cadenza.definitions.holdouts import holdouts_of
from cadenza.definitions.kinds_testing import Actor, Happening, JourneyTest, TestedAccount, person_of
from cadenza.definitions.moments import instant_of, parse_moment
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ids import ACCOUNTS, BUCKETS, bucket
from cadenza.ports.ledger import Record
from cadenza.runtime.normalise import Normaliser
from cadenza.runtime.testing.views import Seat
from cadenza.runtime.wire import Call, Decoded

_BEFORE = timedelta(seconds=1)
"""What is known of a person becomes known so long before anything happens to them."""
_MOST_TRIES = 1_000_000
_FREE_TRIES = 20_000
"""Splits that nobody asked for are fixed as long as an id is found in about so many tries."""

Band = tuple[str, int, int]
"""A salt, and the buckets [from, to) under it."""


class Reply(msgspec.Struct, frozen=True, kw_only=True):
    """What people and services say of something that the run itself has opened: the person's task is completed, or their
    call is answered, or it fails. One of the three."""

    outcome: str | None = None
    answer: dict[str, Any] | None = None
    failure: str | None = None


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that becomes known. ``path``: where the test says it."""

    at: int
    test: int
    actor: str
    path: str
    call: Call | None
    reply: Reply | None = None
    """In place of a call."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A record that cannot be written before the run has come to it: it names a task, or a call of a service. ``index``: its place among the
    records."""

    index: int
    test: str
    actor: str
    path: str
    reply: Reply


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A call that collection would not have taken: it breaks its contract."""

    test: str
    path: str
    detail: str


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """The log of several tests: records, who is who, and what collection would have refused."""

    tests: tuple[JourneyTest, ...]
    records: list[Record]
    seats: dict[tuple[str, str], Seat]
    refused: tuple[Refusal, ...]
    until: datetime
    held: tuple[Held, ...] = ()


def instant(test: JourneyTest, text: str) -> datetime:
    """The instant (naive UTC) that a time of the test means."""
    return instant_of(parse_moment(text), test.start, test.zone)


def end_of(test: JourneyTest, project: Project) -> datetime:
    """How long a test runs: what it says, else as long as its journey (or any) may last after the last time it names."""
    if test.until is not None:
        return instant(test, test.until)
    named = [test.start, *(h.at for h in _happenings(test))]
    named += [at for wanted in test.expect for at in (wanted.at, wanted.until) if at]
    limits = [j.exit.time_limit_s for j in project.journeys if test.journey in (None, j.name)]
    return max(instant(test, text) for text in named) + timedelta(seconds=max(limits, default=0) + 1)


def _happenings(test: JourneyTest) -> Iterator[Happening]:
    yield from test.events
    for actor in test.persons:
        yield from actor.events


# --- which tests share a log ---------------------------------------------------------------------


def grouped(tests: Sequence[JourneyTest], project: Project) -> list[tuple[JourneyTest, ...]]:
    """The tests in as few logs as can be, so that no two of one log name the same identifier."""
    groups: list[tuple[list[JourneyTest], set[str]]] = []
    for test in tests:
        mine = _identifiers(test, project)
        for members, taken in groups:
            if not taken & mine:
                members.append(test)
                taken |= mine
                break
        else:
            groups.append(([test], set(mine)))
    return [tuple(members) for members, _ in groups]


def _identifiers(test: JourneyTest, project: Project) -> set[str]:
    """Everything a test gives its persons that identifies them, besides their user ids."""
    sources = [i.source for i in project.identity.identifiers if "." in i.source]
    found = {f"account={account.name.lower()}" for account in test.accounts}
    for traits, properties in _given(test):
        for source in sources:
            root, _, name = source.partition(".")
            value = (traits if root == "traits" else properties).get(name)
            if value is not None:
                found.add(f"{source}={str(value).strip().lower()}")
    return found


def _given(test: JourneyTest) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for actor in test.persons:
        yield actor.traits, {}
    for happening in _happenings(test):
        yield happening.traits, happening.properties


# --- the calls of one test -------------------------------------------------------------------------


def _lines(number: int, test: JourneyTest, project: Project) -> Iterator[Line]:
    """The calls of a test, in the order of their times; those of one instant in the order written."""
    found: list[tuple[datetime, str, str, Call | Reply]] = []
    for actor in test.persons:
        path = f"persons.{actor.name}"
        theirs = [*actor.events, *(e for e in test.events if person_of(test, e.person) == actor.name)]
        first = min([instant(test, test.start), *(instant(test, h.at) for h in theirs)]) - _BEFORE
        identify = Call(type="identify", traits=_known(actor, test, project))
        found += [(first, actor.name, path, call) for call in (identify, *_consents(actor.consents, True))]
    for actor in test.accounts:
        first = min(instant(test, at) for at in (test.start, *(e.at for e in test.events))) - _BEFORE
        found.append(
            (first, actor.name, f"accounts.{actor.name}", Call(type="group", groupId=actor.name, traits=actor.traits))
        )
    for actor in test.persons:
        for n, happening in enumerate(actor.events):
            at = f"persons.{actor.name}.events.{n}"
            found += [(instant(test, happening.at), actor.name, at, c) for c in _calls(happening, test)]
    for n, happening in enumerate(test.events):
        who = happening.person or happening.account or person_of(test, None) or ""
        calls = [_in_the_name_of(happening.account, call, project) for call in _calls(happening, test)]
        found += [(instant(test, happening.at), who, f"events.{n}", call) for call in calls]
    last = 0
    for at, who, path, call in sorted(found, key=lambda entry: entry[0]):
        last = max(last + 1, to_micros(at))
        if isinstance(call, Call):
            call.userId = f"{test.name}/{who}"
            call.messageId = f"{test.name}/{path}"[:100]
            yield Line(at=last, test=number, actor=who, path=path, call=call)
        else:
            yield Line(at=last, test=number, actor=who, path=path, call=None, reply=call)


def _known(actor: Actor, test: JourneyTest, project: Project) -> dict[str, Any]:
    """What is known of a person: unless the test says otherwise, an address of their own and the test's zone."""
    sent = {t.from_: t.name for t in project.traits if t.from_}
    known: dict[str, Any] = {}
    if "traits.email" in sent:
        known["email"] = f"{actor.name}.{test.name}@tests.example".lower()
    zone = next((path for path, name in sent.items() if name == project.policy.time_zone_trait), "")
    if zone.count(".") == 1:
        known[zone.removeprefix("traits.")] = test.zone
    return known | actor.traits


def _calls(happening: Happening, test: JourneyTest) -> Iterator[Call | Reply]:
    """What a happening makes known: calls, and what is said of tasks and of calls of services."""
    occurred = None
    if happening.occurred is not None:
        occurred = instant(test, happening.occurred).replace(tzinfo=UTC)
    if happening.traits:
        yield Call(type="identify", traits=happening.traits, timestamp=occurred)
    for granted, said in ((True, happening.consents), (False, happening.withdraws)):
        for call in _consents(said, granted):
            call.timestamp = occurred
            yield call
    if happening.event is not None:
        yield Call(type="track", event=happening.event, properties=happening.properties, timestamp=occurred)
    if happening.completes is not None:
        yield Reply(outcome=happening.completes)
    if happening.answers is not None or happening.call_fails is not None:
        yield Reply(answer=happening.answers, failure=happening.call_fails)


def _in_the_name_of(account: str | None, call: Call | Reply, project: Project) -> Call | Reply:
    """The call with the account where the project has it from; traits of nobody but the account are a group's."""
    declared = project.identity.accounts
    if account is None or declared is None or not isinstance(call, Call):
        return call
    place, _, name = declared.source.partition(".")
    if call.type == "identify":
        return Call(type="group", groupId=account, traits=call.traits, timestamp=call.timestamp)
    if place == "properties":
        call.properties = {name: account} | (call.properties or {})
    else:
        call.context = msgspec.Raw(msgspec.json.encode({name: account}))
    return call


def _consents(said: Sequence[str], granted: bool) -> Iterator[Call]:
    for one in said:
        purpose, _, channel = one.partition("/")
        properties = {"purpose": purpose, "channel": channel, "granted": granted}
        yield Call(type="track", event="Consent Updated", properties=properties)


# --- ids that give the arms ---------------------------------------------------------------------------


def bands_of(actor: TestedAccount, test: JourneyTest, project: Project) -> list[Band]:
    """Where the id of a person must fall: the arms and holdouts that the test says, else first arms and no holdout."""
    shares = {held.holdout.name: held.holdout.share_bp for held in holdouts_of(project)}
    bands = [
        (name, 0, share) if name in actor.held_out else (name, share, BUCKETS) for name, share in sorted(shares.items())
    ]
    asked, own, others = [], [], []
    for journey in project.journeys:
        for name, arms in splits_of(journey.steps):
            band = _band(name, arms, actor.arms.get(name))
            kind = asked if name in actor.arms else own if journey.name == test.journey else others
            if band is not None and band not in kind:
                kind.append(band)
    odds = 1.0
    for _, low, high in (*bands, *asked, *own):
        odds *= max(high - low, 1) / BUCKETS
    for band in others:
        odds *= (band[2] - band[1]) / BUCKETS
        if odds * _FREE_TRIES >= 1:
            own.append(band)
    return sorted({*bands, *asked, *own}, key=lambda b: (b[2] - b[1], b))


def _band(name: str, arms: tuple[Any, ...], wanted: str | None) -> Band | None:
    """The buckets of an arm; without a wanted one, of the first that has any. None where there is no such arm."""
    low = 0
    for arm in arms:
        if arm.share_bp and wanted in (None, arm.name):
            return name, low, min(low + arm.share_bp, BUCKETS)
        low += arm.share_bp
    return None


def choose(first: int, bands: Sequence[Band], who: str) -> int:
    """The smallest id from ``first`` on that falls into every band. Raises CadenzaError when none is near."""
    tries = _MOST_TRIES if all(low < high for _, low, high in bands) else 0
    for candidate in range(first, first + tries):
        if all(low <= bucket(salt, candidate) < high for salt, low, high in bands):
            return candidate
    raise CadenzaError(
        f"no id was found that gives {who} all the arms and holdouts they shall have.",
        remedy="Ask for fewer at once: their shares together are too small, or two of one name contradict each other.",
    )


# --- the log ----------------------------------------------------------------------------------------------


def write_script(tests: Sequence[JourneyTest], project: Project, first: int) -> Script:
    """The records of tests that may share a log, with offsets from ``first`` on. Raises CadenzaError (see choose)."""
    lines = [line for number, test in enumerate(tests) for line in _lines(number, test, project)]
    lines.sort(key=lambda line: (line.at, line.test))
    actors = {(test.name, actor.name): (test, actor) for test in tests for actor in (*test.persons, *test.accounts)}
    accounts = {(test.name, actor.name) for test in tests for actor in test.accounts}
    normaliser = Normaliser(lambda: project)
    records: list[Record] = []
    refused: list[Refusal] = []
    held: list[Held] = []
    seats: dict[tuple[str, str], Seat] = {}
    offset = first
    for line in lines:
        name = tests[line.test].name
        who = (name, line.actor)
        if line.call is None:
            reply = line.reply or Reply()
            held.append(Held(index=len(records), test=name, actor=line.actor, path=line.path, reply=reply))
            records.append(_record(offset, line.at, "task" if reply.outcome is not None else "outcome", b""))
            offset += 1
            continue
        decoded = Decoded(calls=[line.call], bad=[], write_key=None, sent_at=None, size=0)
        prepared = normaliser.prepare(decoded, "test", line.at)
        why = [r.detail for r in prepared.refused] + [r.detail for r in prepared.rejected]
        refused += [Refusal(test=name, path=line.path, detail=detail) for detail in why]
        for body in prepared.batch.bodies:
            if who not in seats:
                test, actor = actors[who]
                above = ACCOUNTS if who in accounts else 0
                bands = bands_of(actor, test, project)
                offset = choose(offset + above, bands, f"'{actor.name}' of the test '{name}'") - above
                seats[who] = Seat(test=name, actor=line.actor, offset=offset + above)
            records.append(_record(offset, line.at, "call", body))
            offset += 1
    ends = [end_of(test, project) for test in tests]
    last = from_micros(max((line.at for line in lines), default=0))
    return Script(
        tests=tuple(tests), records=records, seats=seats, refused=tuple(refused), until=max([*ends, last]), held=tuple(held)
    )  # fmt: skip


def _record(offset: int, at: int, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=at, writer="main", kind=kind, source="test", message_id=f"m{offset}", imported=False,
        body=body,
    )  # fmt: skip


def replied(record: Record, person: int, about: str, reply: Reply) -> Record:
    """A held record, now that its task or call is known: somebody has completed it, or it is answered."""
    if reply.outcome is not None:
        name, said = "Task Completed", {"task_id": about, "outcome": reply.outcome, "actor": "test"}
    elif reply.answer is not None:
        name, said = "Call Answered", {"message_id": about, "answer": msgspec.json.encode(reply.answer).decode()}
    else:
        name, said = "Call Failed", {"message_id": about, "detail": reply.failure or ""}
    body = {"type": "track", "event": name, "person": person, "occurred_at": record.recorded_at, "properties": said}
    return msgspec.structs.replace(record, body=msgspec.json.encode(body, order="sorted"))


__all__ = [
    "Band",
    "Held",
    "Refusal",
    "Reply",
    "Script",
    "bands_of",
    "choose",
    "end_of",
    "grouped",
    "instant",
    "replied",
    "write_script",
]
