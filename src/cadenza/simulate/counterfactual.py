"""What would have let it go: the smallest set of facts whose change lets a message be sent, or a person enter.

The search changes one fact at a time, each the remedy of the reason that stands in the way then, breadth first, so the
first set that works is a smallest one. Every set is tried by applying it to the person's records and running the reference
model on them: what is shown was seen to work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from msgspec.structs import replace

from cadenza.clock import MICROSECOND, iso, to_micros
from cadenza.definitions.expression import (
    FALSE,
    TRUE,
    Agg,
    Binary,
    Consented,
    EventIs,
    Expr,
    InJourney,
    InList,
    InSegment,
    Like,
    Lit,
    OlderThan,
    Trait,
    walk,
)  # fmt: skip
from cadenza.definitions.holdouts import programme_of
from cadenza.definitions.kinds import TraitDefinition
from cadenza.definitions.kinds_journey import Journey, Send
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ports.ledger import Record
from cadenza.simulate.model import Model

MOST_RUNS = 300
"""Runs of the model until the search gives up."""
MOST_FACTS = 4
"""Facts of one set."""
_LISTS = ("arms", "unknown", "otherwise", "matched", "timeout", "outcomes", "breached", "steps")
"""Fields of steps and arms that hold steps."""
_LONG_DAYS = 14
_FAR = 1 << 40
"""Offsets of records that are made up."""


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """What did not happen: an entry into the journey at ``at``; or, with ``dropped``, the message decided then."""

    journey: str
    at: datetime
    dropped: bool


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """``reason`` stood in the way; ``facts`` is a smallest set whose change lets it go (None: no set was found);
    ``happens_at`` is when it goes then; ``runs`` of the model were needed."""

    reason: str
    facts: tuple[str, ...] | None
    happens_at: datetime | None
    runs: int


class _World(msgspec.Struct, frozen=True):
    """A project and the records of one person."""

    project: Project
    records: tuple[Record, ...]


class _Change(msgspec.Struct, frozen=True):
    """One fact that is otherwise, in words, and how."""

    words: str
    make: Callable[[_World], _World]


class _Seen(msgspec.Struct, frozen=True):
    """What the model made of a world: when the target happened, or the reason why not; and where to look."""

    happened: datetime | None
    reason: str
    rule: str
    model: Model


def search(project: Project, records: Sequence[Record], target: Target) -> Found:
    """The smallest set of facts. ``records``: all of the person until then, in order, without deployments. Raises
    CadenzaError where the model does not see the refusal: the project was another then."""
    factual = _World(project, tuple(records))
    seen = _run(factual, target)
    if seen is None or seen.happened is not None:
        raise CadenzaError(
            f"by the definitions in force now, '{target.journey}' would not have refused at {iso(target.at)}.",
            remedy="The project changed since; 'cadenza explain' shows the rule that decided then.",
        )
    runs, tried = 1, set[frozenset[str]]()
    queue: list[tuple[tuple[_Change, ...], _Seen, _World]] = [((), seen, factual)]
    while queue:
        changes, now, world = queue.pop(0)
        if len(changes) == MOST_FACTS:
            continue
        for change in _remedies(world, now, target):
            said = frozenset([*(c.words for c in changes), change.words])
            if said in tried or len(said) == len(changes) or runs >= MOST_RUNS:
                continue
            tried.add(said)
            runs, other = runs + 1, change.make(world)
            after = _run(other, target)
            if after is not None and after.happened is not None:
                facts = tuple(c.words for c in (*changes, change))
                return Found(reason=_told(seen), facts=facts, happens_at=after.happened, runs=runs)
            if after is not None:
                queue.append(((*changes, change), after, other))
    return Found(reason=_told(seen), facts=None, happens_at=None, runs=runs)


def _told(seen: _Seen) -> str:
    return f"{seen.reason} ({seen.rule})" if seen.rule else seen.reason


def _run(world: _World, target: Target) -> _Seen | None:
    """What the model makes of the world; None where the target cannot be found in it (the passage never was)."""
    model = Model(world.project)
    until = target.at + timedelta(seconds=world.project.policy.deadline_s if target.dropped else 0)
    for record in world.records:
        if record.recorded_at <= to_micros(until):
            model.apply(record)
    model.run_timers(until)
    return _message(model, target) if target.dropped else _entry(model, target)


def _entry(model: Model, target: Target) -> _Seen:
    for person in model.persons.values():
        for e in person.enrollments:
            if e.journey.name == target.journey and e.entered_at == target.at:
                return _Seen(target.at, "", "", model)
    for _, journey, at, _, reason, rule in model.rows["refusals"]:
        if journey == target.journey and at == target.at:
            return _Seen(None, reason, rule, model)
    return _Seen(None, "not_qualified", "when", model)


def _message(model: Model, target: Target) -> _Seen | None:
    passages = {e.eid for p in model.persons.values() for e in p.enrollments if e.journey.name == target.journey}
    decided = [row for row in model.rows["decisions"] if row[0] in passages and row[2] >= target.at]
    first = next((row for row in decided if row[2] == target.at), None)
    if first is None:
        return None
    sent = next((r for r in decided if r[:2] == first[:2] and r[3] == "send"), None)
    if sent is not None:
        return _Seen(sent[2], "", "", model)
    last = [row for row in decided if row[:2] == first[:2]][-1]
    return _Seen(None, str(last[4]), "", model)


# --- what would remove a reason --------------------------------------------------------------------------------


def _remedies(world: _World, seen: _Seen, target: Target) -> Iterator[_Change]:
    """Changes that speak to the reason which stands in the way."""
    journey = world.project.journey(target.journey)
    if target.dropped:
        yield from _of_message(world, seen, target)
    elif seen.reason == "not_qualified" and journey.entry.when is not None:
        yield from _of_condition(world, journey.entry.when, target)
    elif seen.reason == "suppressed" and journey.entry.unless is not None:
        yield from _of_condition(world, journey.entry.unless, target)
    elif seen.reason == "paused":
        of = "stop" if seen.rule == "stop" else "pause"
        words = f"'{target.journey}' had not been {'stopped' if of == 'stop' else 'paused'}"
        yield _Change(words, lambda w: _without_commands(w, lambda said: said == (of, target.journey, None)))
    elif seen.reason == "re_entry":
        yield from _of_passages(world, seen, target, [target.journey])
    elif seen.reason == "priority":
        rivals = [j.name for j in world.project.journeys if j.arena == journey.arena and j.name != journey.name]
        yield from _of_passages(world, seen, target, rivals)
    elif seen.reason == "holdout":
        yield from _of_holdouts(world, journey)


def _of_holdouts(world: _World, journey: Journey) -> Iterator[_Change]:
    programme = programme_of(world.project, journey)
    if programme is not None:
        words = f"the person was not in the holdout '{programme.holdout.name}' of the programme '{programme.name}'"
        yield _Change(words, lambda w: _changed_journey(w, journey.name, lambda j: replace(j, programme=None)))
    if journey.holdout is not None:
        words = f"the person was not in the holdout '{journey.holdout.name}'"
        yield _Change(words, lambda w: _without_holdout(w, journey.name))


def _of_message(world: _World, seen: _Seen, target: Target) -> Iterator[_Change]:
    project, policy = world.project, world.project.policy
    template = _template(world, seen, target)
    channel, purpose = template.channel, template.purpose
    match seen.reason:
        case "unreachable":
            trait = project.destination_of(channel).address_trait
            yield from _trait_is(world, trait, "somebody@example.com", target)
        case "suppressed":
            yield from _without_suppressions(seen, channel)
        case "policy":
            for rule in policy.suppress:
                yield from _of_condition(world, rule.when, target)
        case "no_consent":
            yield _consents(purpose, channel, True, target)
        case "holdout" if policy.holdout is not None:
            words = f"the person was not in the holdout '{policy.holdout.name}'"
            yield _Change(
                words, lambda w: _World(replace(w.project, policy=replace(w.project.policy, holdout=None)), w.records)
            )
        case "step_holdout":
            yield _Change(
                f"'{template.name}' was withheld from nobody at this step", lambda w: _without_step_holdouts(w, target)
            )
        case "killed":
            yield from _of_switches(world, target.journey, channel)
        case "no_jurisdiction" if policy.jurisdiction_trait is not None:
            for place in policy.jurisdictions:
                yield from _trait_is(world, policy.jurisdiction_trait, place.name, target)
        case "no_time_zone" | "deadline" | "quiet_hours" | "send_window":
            for hour in (12, 6, 18):
                yield from _in_daytime(world, hour, target)
            if seen.reason == "deadline":
                yield _Change(f"messages were allowed to wait for {_LONG_DAYS} days", _patient)
        case "cap":
            yield from _fewer_messages(seen, target)


def _template(world: _World, seen: _Seen, target: Target):  # type: ignore[no-untyped-def]
    path = next(
        r[1] for r in seen.model.rows["decisions"] if r[2] == target.at and _of_journey(seen.model, r[0], target)
    )
    step = seen.model.steps[target.journey][path][0]
    assert isinstance(step, Send)
    chosen = (r[4] for r in seen.model.rows["choices"] if r[1:3] == (path, target.at))
    return world.project.template(next(chosen, step.template))


def _of_journey(model: Model, eid: int, target: Target) -> bool:
    return any(e.eid == eid and e.journey.name == target.journey for p in model.persons.values() for e in p.enrollments)


def _consents(purpose: str, channel: str, granted: bool, target: Target) -> _Change:
    said = {"purpose": purpose, "channel": channel, "granted": granted}
    words = f"consent for {purpose} by {channel} was {'granted' if granted else 'withdrawn'}"
    return _Change(words, lambda w: _with(w, target, event="Consent Updated", properties=said))


def _without_suppressions(seen: _Seen, channel: str) -> Iterator[_Change]:
    """Each reason that suppresses the channel, unsaid."""
    events = {"hard_bounce": "Email Bounced", "complaint": "Email Marked as Spam"}
    said_of = {
        (s.reason, s.channel)
        for p in seen.model.persons.values()
        for s in p.suppressions
        if s.channel in (channel, "*")
    }
    for reason, on in sorted(said_of):

        def unsaid(w: _World, reason: str = reason, on: str = on) -> _World:
            return _without_events(w, lambda name, said: name == events.get(reason) or (name == "Suppressed" and (said.get("channel"), said.get("reason")) == (on, reason)))  # fmt: skip

        yield _Change(f"{channel if on == channel else 'every channel'} was not suppressed for '{reason}'", unsaid)


def _of_switches(world: _World, journey: str, channel: str) -> Iterator[_Change]:
    """Each kill switch over the message, not closed."""
    for reach, over in (((journey, None), f"'{journey}'"), ((None, channel), channel), ((None, None), "everything")):

        def open_(w: _World, reach: tuple[str | None, str | None] = reach) -> _World:
            return _without_commands(w, lambda said: said == ("kill", *reach))

        if open_(world) != world:
            yield _Change(f"no kill switch was closed over {over}", open_)


def _without_commands(world: _World, gone: Callable[[tuple[str | None, ...]], bool]) -> _World:
    """The world without the commands (command, journey, channel) for which ``gone`` holds."""

    def said(record: Record) -> tuple[str | None, ...]:
        body = msgspec.json.decode(record.body)
        return body.get("command"), body.get("journey"), body.get("channel")

    return _World(world.project, tuple(r for r in world.records if r.kind != "command" or not gone(said(r))))


def _patient(world: _World) -> _World:
    policy = replace(world.project.policy, deadline_s=_LONG_DAYS * 86400)
    return _World(replace(world.project, policy=policy), world.records)


def _in_daytime(world: _World, hour: int, target: Target) -> Iterator[_Change]:
    """The time zone known, and such that it was ``hour`` o'clock."""
    ahead = (hour - target.at.hour + 12) % 24 - 12
    zone = f"Etc/GMT{-ahead:+d}" if ahead else "Etc/GMT"
    for change in _trait_is(world, world.project.policy.time_zone_trait, zone, target):
        yield _Change(f"it was {hour} o'clock where the person is (it was {target.at:%H:%M} UTC)", change.make)


def _fewer_messages(seen: _Seen, target: Target) -> Iterator[_Change]:
    """Each message that counts against a cap, not sent; the one that is longest ago first."""
    sent = [m for p in seen.model.persons.values() for m in p.messages if m.marketing and m.planned_at <= target.at]
    counted = [m for m in sent if "Message Failed" not in seen.model.outcomes.get(m.message_id, ())]
    for m in sorted(counted, key=lambda m: (m.planned_at, m.message_id)):
        words = f"'{m.template}' of {m.planned_at:%Y-%m-%d %H:%M} ({m.message_id}) was not sent"
        failed = {"message_id": m.message_id}
        yield _Change(words, lambda w, failed=failed: _with(w, target, event="Message Failed", properties=failed))


def _of_passages(world: _World, seen: _Seen, target: Target, journeys: list[str]) -> Iterator[_Change]:
    """Each earlier passage through the journeys, had it not begun."""
    earlier = [
        e
        for p in seen.model.persons.values()
        for e in p.enrollments
        if e.journey.name in journeys and e.entered_at <= target.at
    ]
    for e in sorted(earlier, key=lambda e: e.entered_at, reverse=True):
        record = next((r for r in world.records if r.recorded_at == to_micros(e.entered_at)), None)
        if record is not None:
            words = f"the passage through '{e.journey.name}' of {e.entered_at:%Y-%m-%d %H:%M} had not begun (record {record.offset})"
            yield _Change(
                words, lambda w, gone=record.offset: _World(w.project, tuple(r for r in w.records if r.offset != gone))
            )


# --- what would turn a condition ------------------------------------------------------------------------------------


def _of_condition(world: _World, tree: Expr, target: Target) -> Iterator[_Change]:
    """Every fact that the condition reads, otherwise. Which of them turn it, the model says."""
    for node in dict.fromkeys(walk(tree)):
        match node:
            case Consented(purpose, channel):
                yield _consents(purpose, channel, True, target)
                yield _consents(purpose, channel, False, target)
            case InSegment(name):
                for truth, words in ((TRUE, "in"), (FALSE, "not in")):
                    yield _Change(
                        f"the person was {words} the segment '{name}'",
                        lambda w, n=name, t=truth: _with_segment(w, n, t),
                    )
            case InJourney(name):
                yield _Change(f"the person was not in the journey '{name}'", lambda w, n=name: _without_journey(w, n))
            case Agg(event=event) | EventIs(name=event):
                yield _Change(
                    f"one more '{event}' had come", lambda w, e=event: _with(w, target, event=e, properties={})
                )
                yield _Change(
                    f"no '{event}' had come before",
                    lambda w, e=event: _without_events(w, lambda n, _: n == e, to_micros(target.at)),
                )
            case Trait(name):
                for wanted in dict.fromkeys(_values(world.project, tree, name, target)):
                    yield from _trait_is(world, name, wanted, target)


def _values(project: Project, tree: Expr, name: str, target: Target) -> Iterator[str]:
    """Values of a trait on both sides of what the condition compares it with."""
    definition = {t.name: t for t in project.traits}.get(name)
    for node in walk(tree):
        match node:
            case Binary(_, Trait(n), Lit(text, kind)) | Binary(_, Lit(text, kind), Trait(n)) if (
                n == name and text is not None
            ):
                yield from _around(text, kind)
            case InList(Trait(n), items) if n == name:
                yield from (item.text for item in items if item.text is not None)
            case Like(Trait(n), pattern) if n == name:
                yield pattern.replace("%", "").replace("_", "x")
            case OlderThan(Trait(n), seconds) if n == name:
                yield from (iso(target.at - timedelta(seconds=seconds + 1)), iso(target.at))
    if definition is not None and definition.type == "boolean":
        yield from ("true", "false")
    elif definition is not None and definition.type == "string":
        yield "-"


def _around(text: str, kind: str) -> Iterator[str]:
    yield text
    if kind in ("integer", "decimal"):
        yield from (str(Decimal(text) + 1), str(Decimal(text) - 1))


def _trait_is(world: _World, name: str, wanted: str, target: Target) -> Iterator[_Change]:
    """The trait with another value: said just before, or, of a computed one, computed so."""
    definition: TraitDefinition | None = {t.name: t for t in world.project.traits}.get(name)
    if definition is None:
        return
    words = f"{name} was {wanted}"
    if definition.from_ is not None:
        field = definition.from_.partition(".")[2]
        yield _Change(words, lambda w: _with(w, target, traits={field: wanted}))
    else:
        fixed = replace(definition, value=Lit(wanted, definition.type))
        yield _Change(words, lambda w: _with_trait(w, fixed))


# --- worlds that are otherwise ----------------------------------------------------------------------------------------


def _with(world: _World, target: Target, event: str | None = None, **said: object) -> _World:
    """One record more, as late before the target's instant as there is room."""
    taken = {r.recorded_at for r in world.records}
    at = to_micros(target.at - MICROSECOND)
    while at in taken:
        at -= 1
    body = {"type": "track" if event else "identify", "occurred_at": at, **({"event": event} if event else {}), **said}
    first = next(r for r in world.records if r.kind == "call")
    made = Record(
        offset=_FAR + len(world.records), recorded_at=at, writer="", kind="outcome", source="", message_id="",
        imported=False, body=msgspec.json.encode({**body, "person": first.offset}),
    )  # fmt: skip
    rest = world.records
    if first.recorded_at > at:
        # Nobody knew the person before: the made-up record is the one that makes them, under their own id.
        who = {k: v for k, v in msgspec.json.decode(first.body).items() if k in ("userId", "anonymousId")}
        rest = tuple(replace(r, offset=made.offset) if r is first else r for r in rest)
        made = replace(made, kind="call", offset=first.offset, body=msgspec.json.encode({**body, **who}))
    return _World(world.project, tuple(sorted([*rest, made], key=lambda r: r.recorded_at)))


def _without_events(world: _World, gone: Callable[[str, dict[str, object]], bool], before: int | None = None) -> _World:
    """The world without what some track events said; what the record says of who somebody is stays."""

    def kept(record: Record) -> Record:
        body = msgspec.json.decode(record.body)
        late = before is not None and record.recorded_at >= before
        if late or body.get("type") != "track" or not gone(str(body.get("event")), body.get("properties") or {}):
            return record
        return replace(record, body=msgspec.json.encode({**body, "type": "group", "event": None}))

    return _World(world.project, tuple(kept(r) for r in world.records))


def _with_segment(world: _World, name: str, truth: Expr) -> _World:
    segments = tuple(replace(s, when=truth) if s.name == name else s for s in world.project.segments)
    return _World(replace(world.project, segments=segments), world.records)


def _with_trait(world: _World, definition: TraitDefinition) -> _World:
    traits = tuple(definition if t.name == definition.name else t for t in world.project.traits)
    return _World(replace(world.project, traits=traits), world.records)


def _without_journey(world: _World, name: str) -> _World:
    """Nobody enters it: conditions may still name it."""
    return _changed_journey(world, name, lambda j: replace(j, entry=replace(j.entry, when=FALSE)))


def _without_step_holdouts(world: _World, target: Target) -> _World:
    return _changed_journey(world, target.journey, lambda j: replace(j, steps=_never_withheld(j.steps)))


def _never_withheld(value: Any) -> Any:
    """Steps, however deep, whose messages are withheld from nobody."""
    if isinstance(value, tuple):
        return tuple(_never_withheld(each) for each in value)
    if isinstance(value, Send):
        return replace(value, holdout=None)
    if not isinstance(value, msgspec.Struct):
        return value
    return replace(value, **{f: _never_withheld(getattr(value, f)) for f in value.__struct_fields__ if f in _LISTS})


def _without_holdout(world: _World, name: str) -> _World:
    return _changed_journey(world, name, lambda j: replace(j, holdout=None))


def _changed_journey(world: _World, name: str, change: Callable[[Journey], Journey]) -> _World:
    journeys = tuple(change(j) if j.name == name else j for j in world.project.journeys)
    return _World(replace(world.project, journeys=journeys), world.records)
