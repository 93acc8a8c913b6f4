"""What the log says: the projects that were in force, and of each person who they are and what they said."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from cadenza.definitions.builtin import BUILTIN_CONTRACTS
from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import Agg, Consented, Expr, walk
from cadenza.definitions.kinds import Destination, Identifier, Segment, Template, TraitDefinition
from cadenza.definitions.kinds_journey import Call, Journey, Update
from cadenza.definitions.project import Project, version_of

_BLOCKED = {"", "null", "none", "undefined", "nan", "unknown", "anonymous", "test", "0", "-1"}


class Event(msgspec.Struct, frozen=True):
    """A record that conditions can see. ``at``: when it occurred (µs)."""

    offset: int
    name: str
    at: int
    properties: Mapping[str, Any]


class Statement(msgspec.Struct, frozen=True):
    """An explicit statement of consent."""

    at: int
    granted: bool
    record: int


class Known:
    """One deployed project, with what is looked up in it often."""

    def __init__(self, project: Project, offset: int) -> None:
        self.project, self.offset, self.policy = project, offset, project.policy
        self.traits: dict[str, TraitDefinition] = {t.name: t for t in project.traits}
        self.segments: dict[str, Segment] = {s.name: s for s in project.segments}
        self.templates: dict[str, Template] = {t.name: t for t in project.templates}
        self.journeys: dict[str, Journey] = {j.name: j for j in project.journeys}
        self.journey_versions = {j.name: version_of(j) for j in project.journeys}
        contracts = (*BUILTIN_CONTRACTS, *project.contracts)
        self.types: dict[str, str] = {name: field.type for c in contracts for name, field in declared(c).items()}
        self.versions = {version_of(t): t for t in project.templates}
        self.updated = {
            trait
            for step in _steps(project.journeys)
            for trait in (step.set if isinstance(step, Update) else step.answer)
        }
        """Traits that journeys set: the log alone does not say their values."""
        trees = list(_trees(project))
        said = {node.purpose for tree in trees for node in walk(tree) if isinstance(node, Consented)}
        self.purposes = sorted(said | {t.purpose for t in project.templates})
        self.events = {node.event for tree in trees for node in walk(tree) if isinstance(node, Agg)}

    def destination(self, channel: str) -> Destination | None:
        """Where messages of a channel go: the first by name."""
        return next((d for d in self.project.destinations if d.channel == channel), None)

    def sent_traits(self) -> set[tuple[str, str]]:
        """(name in the call, type) of every trait whose value is sent."""
        return {(t.from_.partition(".")[2], t.type) for t in self.project.traits if t.from_ is not None}


class Suppression(msgspec.Struct, kw_only=True, eq=False):
    """A reason not to use a channel (``*``: any): from when on it held for whoever the person is (µs), and when it ends."""

    channel: str
    reason: str
    record: int
    since: int
    until: int | None = None


class Person(msgspec.Struct, kw_only=True, eq=False):
    """What is known of a living person. A merge pours the one that is given up into the other."""

    pid: int
    origins: list[int]
    events: dict[str, list[Event]] = {}
    traits: dict[tuple[str, str], tuple[int, int, str]] = {}
    """(name in the call, type) -> when it was said, the record, the text: the latest."""
    consents: dict[tuple[str, str], list[Statement]] = {}
    """(purpose, channel) -> the latest statements: all of one instant."""
    suppressions: list[Suppression] = []
    sends: list[Any] = []
    """What was planned for them, in order of planning."""
    merged_by: int = 0
    """The record that merged somebody into this person last."""

    def say(self, purpose: str, channel: str, statement: Statement) -> None:
        """A statement of consent: the latest counts, and of one instant all."""
        held = self.consents.setdefault((purpose, channel), [])
        if not held or statement.at > held[0].at:
            self.consents[purpose, channel] = [statement]
        elif statement.at == held[0].at:
            held.append(statement)

    def consent(self, purpose: str, channel: str) -> tuple[bool, tuple[int, ...]]:
        """Whether consent is in force, and the records that say so: no statement is no, a tie denies."""
        said = self.consents.get((purpose, channel), [])
        return bool(said) and all(s.granted for s in said), tuple(s.record for s in said)

    def hear(self, name: str, kind: str, value: tuple[int, int, str]) -> None:
        """A value of a trait: the one that was said last counts, of one instant the later record."""
        self.traits[name, kind] = max(self.traits.get((name, kind), value), value)

    def take_over(self, other: Person, record: int, at: int) -> None:
        """Everything of ``other`` becomes this person's."""
        self.origins += other.origins
        self.merged_by = record
        for name, events in other.events.items():
            self.events.setdefault(name, []).extend(events)
        for (name, kind), value in other.traits.items():
            self.hear(name, kind, value)
        for (purpose, channel), said in other.consents.items():
            for statement in said:
                self.say(purpose, channel, statement)
        self.suppressions += other.suppressions
        for suppression in self.suppressions:  # What held before held for one of the two.
            suppression.since = at
        self.sends = sorted([*self.sends, *other.sends], key=lambda s: s.message.planned_at)


class People:
    """Who is who, by the rules of the project in force when each record came."""

    def __init__(self) -> None:
        self._persons: dict[int, Person] = {}
        self._owner: dict[tuple[str, str], int] = {}
        self._into: dict[int, int] = {}

    def get(self, pid: int) -> Person | None:
        """The living person of a person id, through merges; None: no record made them."""
        while pid in self._into:
            pid = self._into[pid]
        return self._persons.get(pid)

    def identify(self, known: Known, body: Mapping[str, Any], offset: int, at: int) -> Person | None:
        """The person of a call: made, found, or merged; None where nothing identifies anybody."""
        found = [i for i in _identifiers(known.project.identity.identifiers, body)]
        if body.get("type") == "alias":
            found += self._alias(known, body)
        if not found:
            return None
        owners = sorted({person.pid for i in found if i in self._owner and (person := self.get(self._owner[i]))})
        pid = owners[0] if owners else offset
        person = self._persons.setdefault(pid, Person(pid=pid, origins=[pid]))
        for other in owners[1:]:
            self._into[other] = pid
            person.take_over(self._persons.pop(other), offset, at)
        self._owner.update(dict.fromkeys(found, pid))
        return person

    def _alias(self, known: Known, body: Mapping[str, Any]) -> list[tuple[str, str]]:
        kinds = {kind.type: kind for kind in known.project.identity.identifiers}

        def usable(field: str, kind: str) -> str | None:
            return _usable(text_of(body.get(field)), kinds.get(kind, Identifier(type=kind, source="")))

        before = usable("previousId", "user_id")
        if before is not None and before == usable("userId", "user_id"):
            return []
        if before is not None and ("user_id", before) in self._owner:
            return [("user_id", before)]
        anonymous = usable("previousId", "anonymous_id")
        return [("anonymous_id", anonymous)] if anonymous is not None else []


def _identifiers(kinds: tuple[Identifier, ...], body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind in kinds:
        place, _, name = kind.source.rpartition(".")
        holder = body.get(place) if place else body
        value = _usable(text_of(holder.get(name)), kind) if isinstance(holder, dict) else None
        if value is not None:
            yield kind.type, value


def _usable(text: str | None, kind: Identifier) -> str | None:
    """The identifier as it is compared; None when it identifies nobody."""
    value = (text or "").strip(" \t\n\r\f\v")
    value = value.lower() if kind.type == "email" else value
    if value.lower() in _BLOCKED or set(value) in ({"0"}, {"-"}):
        return None
    for blocked in kind.blocked:
        pattern = blocked[1:-1] if len(blocked) > 1 and blocked[0] == blocked[-1] == "/" else None
        if re.search(pattern, value) if pattern is not None else blocked == value:
            return None
    return value


def text_of(value: Any) -> str | None:
    """The text of a JSON value; numbers with a fraction arrive as they were written."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else msgspec.json.encode(value).decode()


def _steps(value: Any) -> Iterator[Update | Call]:
    """Every step inside a definition that sets traits, however deep."""
    if isinstance(value, Update | Call):
        yield value
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _steps(getattr(value, field))
    elif isinstance(value, tuple):
        for each in value:
            yield from _steps(each)


def _trees(value: Any) -> Iterator[Expr]:
    """Every node that asks something, inside a definition, however deep; its parents are walked too."""
    if isinstance(value, Expr.__args__):  # type: ignore[attr-defined]
        yield value
    elif isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            yield from _trees(getattr(value, field))
    elif isinstance(value, tuple | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _trees(each)
