"""The reference model: ``docs/explanation/semantics.md`` in plain Python, one person and one item at a time.

It shares with the engine the definitions, the ids and nothing else, so that where they agree both are likely right.
It is slow on purpose wherever slow is plainer. Numbered comments name the steps of the specification.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import EPOCH, from_micros, to_micros
from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import Agg, Consented, Expr, InJourney, InSegment, OlderThan, Trait, walk
from cadenza.definitions.kinds import (
    Branch,
    ExitStep,
    Holdout,
    Identifier,
    Journey,
    Send,
    Split,
    Step,
    Update,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ids import bucket, enrollment_id, message_id
from cadenza.ports.ledger import Record
from cadenza.simulate import verdicts
from cadenza.simulate.evaluate import (
    Event,
    Value,
    View,
    changes_at,
    coerce,
    convert,
    evaluate,
    holds,
    json_text,
    read_json,
    text_of,
)  # fmt: skip
from cadenza.simulate.person import END, START, Enrollment, Message, Person, identifiers_of, layout, normal

ITEMS_AT_ONE_INSTANT = 2_000
PID_COLUMN = {"memberships": 0, "refusals": 0, "messages": 1}
PAGES = {"page": "Page Viewed", "screen": "Screen Viewed"}


class ModelError(CadenzaError):
    """The model cannot go on: a record it does not know, or journeys that go round for ever at one instant."""


class Model:
    """A world of persons under one project: ``apply`` the log's records in order, ``run_timers`` to the horizon."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.types = {name: p.type for c in (*BUILTIN_CONTRACTS, *project.contracts) for name, p in declared(c).items()}
        self.traits = {t.name: t for t in project.traits}
        self.steps = {j.name: {p: (s, follows) for p, s, follows in layout(j.steps)} for j in project.journeys}
        self.order = sorted(project.journeys, key=lambda j: (-j.priority, j.name))
        self.purposes = _purposes(project)
        self.persons: dict[int, Person] = {}
        self.merged_into: dict[int, int] = {}
        self.owner: dict[tuple[str, str], int] = {}
        self.deliverable = True
        self.outcomes: dict[str, set[str]] = {}
        self.cancelled: dict[str, str] = {}
        self.nonqualified: Counter[tuple[str, datetime, str]] = Counter()
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            name: [] for name in ("memberships", "ends", "transitions", "refusals", "decisions", "messages")
        }
        self.merges = 0
        self._applied = 0
        self._items, self._last = 0, (EPOCH, 0)

    # --- records and timers ------------------------------------------------------------------------------

    def apply(self, record: Record) -> None:
        """Handle every timer due up to the record, then the record. Raises ModelError for an unknown kind."""
        now = from_micros(record.recorded_at)
        self.run_timers(now)
        body = read_json(record.body)
        if record.kind == "command":
            self.deliverable = body["command"] == "live"
        elif record.kind == "deploy":
            if msgspec.convert(msgspec.json.decode(record.body)["project"], Project) != self.project:
                raise ModelError("The reference model runs one project only.", where=f"record {record.offset}")
        elif record.kind in ("call", "outcome"):
            known = record.kind == "outcome"
            person = self._resolve(int(body["person"])) if known else self._identify(record, body, now)
            if person is not None:
                self._record(person, record, body, now)
        else:
            raise ModelError(f"No record is of the kind '{record.kind}'.", where=f"record {record.offset}")

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

    def _resolve(self, pid: int) -> Person | None:
        while pid in self.merged_into:
            pid = self.merged_into[pid]
        return self.persons.get(pid)

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
        for enrollment in sorted(survivor.live(), key=lambda e: (e.entered_at, e.eid)):
            passage = (enrollment.journey.name, enrollment.key)
            if passage in kept:
                self._end(enrollment, "merged", now)
            kept.add(passage)

    # --- 3 to 7: what the record says --------------------------------------------------------------------

    def _record(self, person: Person, record: Record, body: dict[str, Any], now: datetime) -> None:
        kind, properties = body.get("type"), body.get("properties") or {}
        name = body.get("event") if kind == "track" else PAGES.get(str(kind))
        at = min(from_micros(int(body.get("occurred_at", record.recorded_at))), now)
        event = Event(record.offset, name, at, properties)
        person.events.append(event)
        sent = body.get("traits") or {}
        for trait in self.project.traits:
            if trait.from_ is not None:
                self._set(person, trait.name, json_text(sent.get(trait.from_.partition(".")[2])), at)
        if kind == "track":
            self._said(person, str(name), properties, at)
        if record.kind == "outcome" and (told := json_text(properties.get("message_id"))):
            self.outcomes.setdefault(told, set()).add(str(name))
        self._item(person, now, event, "record")

    def _set(self, person: Person, trait: str, text: str | None, at: datetime) -> None:
        definition = self.traits.get(trait)
        if definition is None or text is None or convert(text, definition.type) is None:
            return
        self._applied += 1
        person.values.append((trait, at, self._applied, text))

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
            person.suppressions.append(("email", "hard_bounce"))
        elif name == "Email Marked as Spam":
            person.suppressions.append(("email", "complaint"))
        elif name == "Suppressed" and channel and reason:
            person.suppressions.append((channel, reason))

    # --- what a condition sees -----------------------------------------------------------------------------

    def _view(
        self, person: Person, now: datetime, item: Event | None, member: Callable[[str], bool] | None = None
    ) -> View:
        live = {e.journey.name for e in person.live()}

        def trait(name: str) -> Value:
            return self._trait(person, name, view)

        view = View(
            now=now, events=person.events, item=item, types=self.types, trait=trait,
            member=member or (lambda s: s in person.segments), in_journey=lambda j: j in live,
            consented=person.consented,
        )  # fmt: skip
        return view

    def _trait(self, person: Person, name: str, view: View) -> Value:
        definition = self.traits.get(name)
        if definition is None:
            return None
        if definition.value is not None:
            return coerce(evaluate(definition.value, view), definition.type)
        return convert(person.trait_text(name), definition.type)

    def _value(self, name: str) -> Expr | None:
        return self.traits[name].value if name in self.traits else None

    def _stored(self, node: Expr) -> bool:
        """Whether events and sent traits alone decide the value, so that it changes with records only."""
        return not any(
            isinstance(n, (OlderThan, InSegment, InJourney, Consented))
            or (isinstance(n, Agg) and n.within_s is not None)
            or (isinstance(n, Trait) and (inner := self._value(n.name)) is not None and not self._stored(inner))
            for n in walk(node)
        )

    # --- 8 to 12: every item -------------------------------------------------------------------------------

    def _item(self, person: Person, now: datetime, item: Event | None, cause: str) -> None:
        for enrollment in person.live():  # 8
            step = self._step(enrollment)
            if isinstance(step, Update) and enrollment.due(now):
                for trait, value in sorted(step.set.items()):
                    self._set(person, trait, text_of(_literal(value)), now)
        view = self._view(person, now, item)
        changes = self._segments(person, view, cause)  # 9
        self._withdraw(person)
        self._journeys(person, view, changes)  # 10
        decided = self._govern(person, self._view(person, now, item))  # 11, 12
        for e in decided:
            follows = self.steps[e.journey.name][e.step][1]
            self._go(person, e, msgspec.structs.replace(view, flags=e.flags), e.verdict or "", follows)

    def _segments(self, person: Person, view: View, cause: str) -> set[tuple[str, str]]:
        """9: the changes, as (segment, ``entered`` or ``left``)."""
        after: dict[str, bool] = {}

        def member(name: str) -> bool:
            if name not in after:
                after[name] = holds(self.project.segment(name).when, seen)
            return after[name]

        seen = self._view(person, view.now, view.item, member)
        changes = set()
        for segment in self.project.segments:
            if member(segment.name) != (segment.name in person.segments):
                changes.add((segment.name, "entered" if after[segment.name] else "left"))
                self.rows["memberships"].append((person.pid, segment.name, view.now, after[segment.name], cause))
        person.segments.clear()
        person.segments.update(name for name, inside in after.items() if inside)
        instants = (t for s in self.project.segments for t in changes_at(s.when, seen, self._value))
        person.check_at = min(instants, default=None)
        return changes

    def _journeys(self, person: Person, view: View, changes: set[tuple[str, str]]) -> None:
        now, overdue = view.now, set()
        for e in person.live():  # 10.1
            if holds(e.journey.exit.goal, view):
                self._end(e, "goal", now, person)
            elif holds(e.journey.exit.disqualified, view):
                self._end(e, "disqualified", now, person)
            elif e.limit_at <= now:
                overdue.add(e.eid)
        entrants = []
        for journey in self.order:  # 10.2
            on = journey.entry.on
            named = view.item is not None and on.event is not None and view.item.name == on.event
            if (on.segment, on.change) in changes or (named and holds(on.where, view, view.item)):
                entrants += self._candidate(person, journey, view, overdue)
        for entrant in entrants:  # 10.3
            for e in person.live():
                lower = e.journey.priority < entrant.journey.priority
                if lower and _rivals(e, entrant.journey) and e.journey.exit.superseded:
                    self._end(e, "superseded", now, person)
        for e in person.live():
            if e.eid in overdue:
                self._end(e, "time_limit", now, person)
        for e in person.live():  # 10.4
            self._progress(person, e, msgspec.structs.replace(view, flags=e.flags))

    def _candidate(self, person: Person, journey: Journey, view: View, overdue: set[int]) -> list[Enrollment]:
        """The new enrollment, or none with its reason on record."""
        entry, now = journey.entry, view.now
        key = "" if entry.key is None else text_of(evaluate(entry.key, view, view.item))
        refusal: tuple[str, str] | None = ("no_key", "key")
        if key is not None:
            qualified = True if entry.when is None else evaluate(entry.when, view)
            if qualified is not True:
                rule = "when" if qualified is False else "when_unknown"
                self.nonqualified[journey.name, now.replace(minute=0, second=0, microsecond=0), rule] += 1
                return []
            refusal = self._refusal(person, journey, key, view, overdue)
        if refusal is not None:
            self.rows["refusals"].append((person.pid, journey.name, now, key or "", *refusal))
            return []
        entrant = Enrollment(
            eid=enrollment_id(journey.name, person.pid, key or "", to_micros(now)), origin=person.pid, journey=journey,
            key=key or "", entered_at=now, limit_at=now + timedelta(seconds=journey.exit.time_limit_s),
        )  # fmt: skip
        person.enrollments.append(entrant)
        return [entrant]

    def _refusal(
        self, person: Person, journey: Journey, key: str, view: View, overdue: set[int]
    ) -> tuple[str, str] | None:
        entry = journey.entry
        if entry.unless is not None and evaluate(entry.unless, view) is not False:
            return "suppressed", "unless"
        running = [e for e in person.live() if e.eid not in overdue]
        same = [e for e in person.enrollments if (e.journey.name, e.key) == (journey.name, key)]
        if any(e in running for e in same):
            return "re_entry", "running"
        if same and entry.again == "once":
            return "re_entry", "once"
        again_at = max((e.entered_at for e in same), default=EPOCH) + timedelta(seconds=entry.again_after_s)
        if same and entry.again == "after" and again_at > view.now:
            return "re_entry", "after"
        if any(_rivals(e, journey) and e.journey.priority >= journey.priority for e in running):
            return "priority", str(journey.arena)
        if journey.holdout is not None and self._arm(person, journey.holdout, view.now) == "holdout":
            return "holdout", journey.holdout.name
        return None

    def _arm(self, person: Person, holdout: Holdout | None, now: datetime) -> str | None:
        if holdout is None:
            return None
        if person.arm(holdout.name) is None:
            arm = "holdout" if bucket(holdout.name, person.pid) < holdout.share_bp else "treated"
            person.assignments.append((holdout.name, now, person.pid, arm))
        return person.arm(holdout.name)

    # --- 10.4 steps ----------------------------------------------------------------------------------------

    def _step(self, enrollment: Enrollment) -> Step | None:
        return self.steps[enrollment.journey.name].get(enrollment.step, (None, ""))[0]

    def _progress(self, person: Person, e: Enrollment, view: View) -> None:
        if e.step == START:
            self._go(person, e, view, "entered", "steps[0]" if e.journey.steps else END)
            return
        step, follows = self.steps[e.journey.name][e.step]
        due, cause = e.due(view.now), None
        match step:
            case Wait() if due:
                cause = "timer"
            case Update() if due:
                cause = "updated"
            case WaitFor(any=conditions, as_=flag):
                matched = any(holds(c, view) for c in conditions)
                cause = "matched" if matched else "timeout" if due else None
                if cause and flag:
                    e.flags[flag] = matched
        if cause:
            self._go(person, e, view, cause, follows)

    def _go(self, person: Person, e: Enrollment, view: View, cause: str, path: str) -> None:
        """Walk to the next resting step, or the end."""
        now, steps, reason = view.now, self.steps[e.journey.name], "completed"
        without_event = msgspec.structs.replace(view, item=None)
        while path != END:
            step, follows = steps[path]
            match step:
                case Branch():
                    inside = self._taken(step, path, view)
                    path = f"{inside}[0]" if f"{inside}[0]" in steps else follows
                case Split():
                    inside = f"{path}.split.{_split_arm(step, person.pid)}.steps"
                    path = f"{inside}[0]" if f"{inside}[0]" in steps else follows
                case WaitFor(any=any_, as_=flag) if any(holds(c, without_event) for c in any_):
                    e.flags.update({flag: True} if flag else {})
                    path = follows
                case ExitStep(reason=reason):
                    path = END
                case _:
                    break
        self.rows["transitions"].append((e.eid, now, cause, e.step, path))
        if path == END:
            self._end(e, reason, now)
            return
        rest = step.duration_s if isinstance(step, Wait) else step.until_s if isinstance(step, WaitFor) else 0
        e.step, e.verdict, e.due_since = path, None, now
        e.wake_at = min(now + timedelta(seconds=rest), e.limit_at)

    def _taken(self, step: Branch, path: str, view: View) -> str:
        for i, arm in enumerate(step.arms):
            answer = evaluate(arm.when, view)
            if answer is not False:
                return f"{path}.branch.unknown" if answer is None else f"{path}.branch.arms[{i}].steps"
        return f"{path}.branch.otherwise"

    def _end(self, e: Enrollment, reason: str, now: datetime, cancel: Person | None = None) -> None:
        e.step, e.wake_at = END, None
        self.rows["ends"].append((e.eid, now, reason))
        for message in cancel.messages if cancel else ():  # 10.5
            if message.eid == e.eid and message.deliverable and message.message_id not in self.outcomes:
                self.cancelled.setdefault(message.message_id, reason)

    def _withdraw(self, person: Person) -> None:
        """12: what consent or suppression forbids by now is not handed over any more."""
        for message in person.messages:
            if not message.deliverable or message.message_id in self.outcomes:
                continue
            template = self.project.template(message.template)
            reason = verdicts.withdrawn(person, template)
            if reason is not None:
                self.cancelled.setdefault(message.message_id, reason)

    # --- 11 governance and 12 effects ------------------------------------------------------------------------

    def _govern(self, person: Person, view: View) -> list[Enrollment]:
        """Decide the person's candidates; those sent or dropped go on in this item."""
        now, left = view.now, []
        for e in person.live():
            step = self._step(e)
            if isinstance(step, Send) and e.due(now):
                template = self.project.template(step.template)
                verdict = verdicts.judge(
                    self.project, person, e, template, view, lambda: self._arm(person, self.project.policy.holdout, now)
                )
                if verdict is None:
                    left.append((-e.journey.priority, verdicts.deadline(self.project, e), e.eid, e, template))
                else:
                    self._decide(person, e, verdict, view)
        for *_, e, template in sorted(left, key=lambda c: c[:3])[:1]:
            counted = [m for m in person.messages if m.marketing and self._counts(m.message_id)]
            self._decide(person, e, verdicts.capped(self.project, e, template.channel, counted, now), view)
        return [e for e in person.live() if e.verdict is not None]

    def _counts(self, message: str) -> bool:
        return message not in self.cancelled and "Message Failed" not in self.outcomes.get(message, ())

    def _decide(self, person: Person, e: Enrollment, verdict: verdicts.Verdict, view: View) -> None:
        now, step = view.now, self._step(e)
        assert isinstance(step, Send)
        self.rows["decisions"].append((e.eid, e.step, now, verdict.verdict, verdict.reason, verdict.until))
        if verdict.until is not None:
            e.wake_at = min(verdict.until, e.limit_at)
            return
        e.verdict = "sent" if verdict == verdicts.SEND else "dropped"
        if verdict == verdicts.SEND:
            template = self.project.template(step.template)
            message = Message(
                message_id=message_id(e.eid, e.step), eid=e.eid, template=template.name, channel=template.channel,
                marketing=template.message_class == "marketing", planned_at=now, deliverable=self.deliverable,
                address=verdicts.address_of(self.project, template, view) or "",
            )  # fmt: skip
            person.messages.append(message)
            row = (message.message_id, person.pid, template.name, message.address, now, message.deliverable)
            self.rows["messages"].append(row)

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


def _rivals(e: Enrollment, journey: Journey) -> bool:
    return journey.arena is not None and e.journey.arena == journey.arena and e.journey.name != journey.name


def _split_arm(step: Split, unit: int) -> str:
    number, reached = bucket(step.name, unit), 0
    for arm in step.arms:
        reached += arm.share_bp
        if number < reached:
            return arm.name
    return step.arms[-1].name


def _purposes(project: Project) -> list[str]:
    """Every purpose that the project names, in templates and in conditions."""
    named = {t.purpose for t in project.templates}
    for expression in _expressions(project):
        named |= {node.purpose for node in walk(expression) if isinstance(node, Consented)}
    return sorted(named)


def _expressions(value: Any) -> list[Expr]:
    """Every condition inside a definition, however deep."""
    if isinstance(value, Expr.__args__):  # type: ignore[attr-defined]
        return [value]
    if isinstance(value, msgspec.Struct):
        return [e for field in value.__struct_fields__ for e in _expressions(getattr(value, field))]
    return [e for each in value for e in _expressions(each)] if isinstance(value, tuple) else []
