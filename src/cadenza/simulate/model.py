"""The reference model: ``docs/explanation/semantics.md`` in plain Python, one person and one item at a time.

It shares with the engine the definitions, the ids and nothing else, so that where they agree both are likely right.
It is slow on purpose wherever slow is plainer. Numbered comments name the steps of the specification.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from cadenza.clock import EPOCH, from_micros
from cadenza.definitions.expression import Scheduled
from cadenza.definitions.kinds import (
    Identifier,
    Update,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ids import ACCOUNTS
from cadenza.ports.ledger import Record
from cadenza.simulate import verdicts
from cadenza.simulate.contact import Contact
from cadenza.simulate.evaluate import (
    Event,
    Value,
    View,
    changes_at,
    convert,
    holds,
    json_text,
    read_json,
    text_of,
)  # fmt: skip
from cadenza.simulate.passages import inside
from cadenza.simulate.person import Enrollment, Person, Suppression, account_of, identifiers_of, normal

ITEMS_AT_ONE_INSTANT = 2_000
PID_COLUMN = {"memberships": 0, "refusals": 0, "messages": 1, "tasks": 1, "task_changes": 1, "calls": 1, "answers": 1}
PAGES = {"page": "Page Viewed", "screen": "Screen Viewed"}


class ModelError(CadenzaError):
    """The model cannot go on: a record it does not know, or journeys that go round for ever at one instant."""


class Model(Contact):
    """A world of persons under one project: ``apply`` the log's records in order, ``run_timers`` to the horizon."""

    # --- records and timers ------------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Handle every timer due up to the record, then the record. Raises ModelError for an unknown kind."""
        now = from_micros(record.recorded_at)
        self.run_timers(now)
        body = read_json(record.body)
        if record.kind == "command" and body["command"] in ("live", "replay"):
            self.deliverable = body["command"] == "live"
        elif record.kind == "command":
            self._obey(body, now)
        elif record.kind == "deploy":
            self._deploy(msgspec.convert(msgspec.json.decode(record.body)["project"], Project), now)
        elif record.kind in ("call", "outcome", "task", "person"):
            known, before = record.kind != "call", (len(self.owner), self.merges)
            person = self._resolve(int(body["person"])) if known else self._identify(record, body, now)
            if person is not None:
                self._record(person, record, body, now, news=(len(self.owner), self.merges) != before)
            if record.kind == "call":
                self._of_account(record, body, now)
        else:
            raise ModelError(f"No record is of the kind '{record.kind}'.", where=f"record {record.offset}")

    def _deploy(self, project: Project, now: datetime) -> None:
        """C4, and memberships as of now. Traits and properties are those of the first project."""
        if (project.traits, project.contracts) != (self.given.traits, self.given.contracts):
            raise ModelError("The reference model does not read history again for new traits and properties.")
        mapped = self._migrate(project, now)
        for person in self.persons.values():
            self._segments(person, self._view(person, now, None), "deploy")
        for person in mapped:
            person.check_at = now

    def next_due(self) -> datetime | None:
        """The instant of the next timer of anyone."""
        return min((t for p in self.persons.values() if (t := p.due_at()) is not None), default=None)

    def run_timers(self, until: datetime) -> None:
        """Handle every timer due at or before ``until``, in order of time."""
        while (now := self.next_due()) is not None and now <= until:
            person = next(p for _, p in sorted(self.persons.items()) if p.due_at() == now)
            self._items = self._items + 1 if self._last == (now, person.pid) else 1
            self._last = (now, person.pid)
            if self._items > ITEMS_AT_ONE_INSTANT:
                raise ModelError(f"No end of items at {now}.", remedy="Do journeys feed each other?")
            self._item(person, now, None, "time")

    # --- 1 identity and 2 merge --------------------------------------------------------------------------

    def _identify(self, record: Record, body: dict[str, Any], now: datetime) -> Person | None:
        found = identifiers_of(self.project, body)
        if body.get("type") == "alias":
            found += self._alias(body)
        if not found:
            return None
        owners = sorted({self.owner[i] for i in found if i in self.owner})
        pid = owners[0] if owners else record.offset
        survivor = self.persons.setdefault(pid, Person(pid=pid))
        if len(owners) > 1:
            self._merge(survivor, [self.persons.pop(loser) for loser in owners[1:]], now)
        self.owner.update({identifier: pid for identifier in found})
        return survivor

    def _of_account(self, record: Record, body: dict[str, Any], now: datetime) -> None:
        """A2: what the record says of an account is a record of that."""
        about, kind = account_of(self.project, body), str(body.get("type"))
        if about is None:
            return
        known = ("account", about) in self.owner
        pid = self.owner.setdefault(("account", about), ACCOUNTS + record.offset)
        account = self.persons.setdefault(pid, Person(pid=pid))
        said = body | {"traits": body.get("properties") if kind == "group" else None}
        own = msgspec.structs.replace(record, offset=ACCOUNTS + record.offset, kind="account")
        self._record(account, own, said, now, news=not known)

    def _alias(self, body: dict[str, Any]) -> list[tuple[str, str]]:
        kinds = {k.type: k for k in self.project.identity.identifiers}

        def usable(name: str, kind: str) -> str | None:
            return normal(json_text(body.get(name)), kinds.get(kind, Identifier(type=kind, source="")))

        user = usable("previousId", "user_id")
        if user is not None and user == usable("userId", "user_id"):
            return []
        if user is not None and ("user_id", user) in self.owner:
            return [("user_id", user)]
        anonymous = usable("previousId", "anonymous_id")
        return [] if anonymous is None else [("anonymous_id", anonymous)]

    def _merge(self, survivor: Person, losers: list[Person], now: datetime) -> None:
        self.merges += len(losers)
        had = set(survivor.segments)
        for loser in losers:
            survivor.take_over(loser)
            self.merged_into[loser.pid] = survivor.pid
            self.owner = {i: survivor.pid if p == loser.pid else p for i, p in self.owner.items()}
            self.rows["memberships"] += [(loser.pid, s, now, False, "merged") for s in loser.segments]
        self.rows["memberships"] += [(survivor.pid, s, now, True, "merged") for s in survivor.segments - had]
        kept: set[tuple[str, str]] = set()
        rules = {j.name: j.on_merge for j in self.project.journeys}

        def order(e: Enrollment) -> tuple[float, float, int]:
            rule = rules.get(e.journey.name)
            at = (e.entered_at - EPOCH).total_seconds()
            return (-e.moves if rule == "furthest" else 0), (-at if rule == "latest" else at), e.eid

        for enrollment in sorted(inside(survivor), key=order):
            if rules.get(enrollment.journey.name) == "both":
                continue
            passage = (enrollment.journey.name, enrollment.key)
            if passage in kept:
                self._end(enrollment, "merged", now)
            kept.add(passage)

    # --- 3 to 7: what the record says --------------------------------------------------------------------

    def _record(self, person: Person, record: Record, body: dict[str, Any], now: datetime, news: bool) -> None:
        """``news``: it has told something of who is who."""
        kind, properties = body.get("type"), body.get("properties") or {}
        name = body.get("event") if kind == "track" else PAGES.get(str(kind))
        at = min(from_micros(int(body.get("occurred_at", record.recorded_at))), now)
        event = Event(record.offset, name, at, properties)
        person.events.append(event)
        self.recorded[record.offset] = now
        if record.kind == "outcome" and (told := json_text(properties.get("message_id"))):
            self.outcomes.setdefault(told, set()).add(str(name))
        if not news and name is not None and name not in self.reactive and body.get("traits") is None:
            return
        sent = body.get("traits") or {}
        for trait in self.project.traits:
            if trait.from_ is not None:
                self._set(person, trait.name, json_text(sent.get(trait.from_.partition(".")[2])), at)
        if kind == "track":
            self._said(person, str(name), properties, at)
        if record.kind == "outcome":
            self._answered(person, str(name), properties, now)
        if record.kind == "task":
            self._said_of_task(person, str(name), properties, now)
        self._item(person, now, event, "record")

    def _said(self, person: Person, name: str, properties: Mapping[str, Any], at: datetime) -> None:
        """5 consent and 6 suppression."""
        purpose, channel, reason = (json_text(properties.get(n)) for n in ("purpose", "channel", "reason"))
        if name == "Consent Updated" and purpose and channel:
            granted = convert(json_text(properties.get("granted")), "boolean")
            if granted is not None:
                person.consents.append((purpose, channel, at, granted is True))
        elif name == "Unsubscribed":
            for each in [purpose] if purpose else self.purposes:
                person.consents.append((each, channel or "email", at, False))
        elif name == "Email Bounced" and json_text(properties.get("bounce_type")) == "hard":
            person.suppressions.append(Suppression("email", "hard_bounce"))
        elif name == "Email Marked as Spam":
            person.suppressions.append(Suppression("email", "complaint"))
        elif name == "Suppressed" and channel and reason:
            until = convert(json_text(properties.get("until")), "timestamp")
            person.suppressions.append(Suppression(channel, reason, until if isinstance(until, datetime) else None))
        elif name == "Unsuppressed":
            person.suppressions = [
                s for s in person.suppressions if channel not in (None, s.channel) or reason not in (None, s.reason)
            ]

    # --- 8 to 12: every item -------------------------------------------------------------------------------

    def _item(self, person: Person, now: datetime, item: Event | None, cause: str) -> None:
        for enrollment in person.live():  # 8
            step = self._step(enrollment)
            if isinstance(step, Update) and enrollment.due(now):
                for trait, value in sorted(step.set.items()):
                    self._set(person, trait, text_of(_literal(value)), now)
        view = self._view(person, now, item)
        changes = self._segments(person, view, cause)  # 9
        self._withdraw(person, view)
        self._journeys(person, view, changes)  # 10
        decided = self._govern(person, self._view(person, now, item))  # 11, 12
        for e in decided:
            follows = self._layout(e.journey)[e.step][1]
            self._go(person, e, e.sees(view), e.verdict or "", follows)
        for e in person.live():  # 13
            e.check_at = self._next_check(e, view)
        self.released = False

    def _segments(self, person: Person, view: View, cause: str) -> set[tuple[str, str]]:
        """9: the changes, as (segment, ``entered`` or ``left``)."""
        after: dict[str, bool] = {}
        looked_at = person.check_at is not None and person.check_at <= view.now

        def member(name: str) -> bool:
            if name not in after:
                segment = self.project.segment(name)
                after[name] = person.is_a(segment.subject) and holds(segment.when, seen)
            return after[name]

        seen = self._view(person, view.now, view.item, member)
        changes = set()
        for segment in self.project.segments:
            if isinstance(segment.when, Scheduled):
                became = looked_at or segment.when.arg.name not in person.segments  # type: ignore[union-attr]
                if view.item is None and became and holds(segment.when, seen):
                    changes.add((segment.name, "entered"))
                    self.rows["memberships"].append((person.pid, segment.name, view.now, True, cause))
            elif member(segment.name) != (segment.name in person.segments):
                changes.add((segment.name, "entered" if after[segment.name] else "left"))
                self.rows["memberships"].append((person.pid, segment.name, view.now, after[segment.name], cause))
        person.segments.clear()
        person.segments.update(name for name, inside in after.items() if inside)
        mine = [s for s in self.project.segments if person.is_a(s.subject)]
        instants = (t for s in mine for t in changes_at(s.when, seen, self._value))
        person.check_at = min(instants, default=None)
        return changes

    # --- what can be compared ------------------------------------------------------------------------------

    def observations(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything that happened and everything that is, as sorted rows; merged persons under their survivor."""
        everyone = sorted(self.persons.items())
        rows = {name: [self._surviving(name, row) for row in found] for name, found in self.rows.items()}
        rows["identifiers"] = [(*identifier, pid) for identifier, pid in self.owner.items()]
        rows["traits"] = [row for _, person in everyone for row in self._stored_traits(person)]
        rows["enrollments"] = [
            (e.eid, pid, e.journey.name, e.key, e.entered_at, e.step, e.wake_at)
            for pid, p in everyone
            for e in p.enrollments
        ]
        rows["nonqualified"] = [(*key, n) for key, n in self.nonqualified.items()]
        rows["assignments"] = [(name, pid, arm) for pid, p in everyone for name, _, _, arm in p.assignments]
        rows["cancellations"] = list(self.cancelled.items())
        return {name: sorted(found, key=repr) for name, found in sorted(rows.items())}

    def _stored_traits(self, person: Person) -> list[tuple[Any, ...]]:
        view = self._view(person, verdicts.FOREVER, None)
        stored = [t.name for t in self.project.traits if t.value is None or self._stored(t.value)]
        return [(person.pid, name, text) for name in stored if (text := text_of(view.trait(name))) is not None]

    def _surviving(self, name: str, row: tuple[Any, ...]) -> tuple[Any, ...]:
        if name not in PID_COLUMN:
            return row
        column = PID_COLUMN[name]
        survivor = self._resolve(row[column])
        assert survivor is not None
        return (*row[:column], survivor.pid, *row[column + 1 :])


def _literal(value: str | int | float | bool) -> Value:
    """A literal of an update step; a number with a fraction by its text, as YAML wrote it."""
    return repr(value) if isinstance(value, float) else value
