"""A project: every definition, names resolved, content-addressed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec

from cadenza.definitions.kinds import (
    Contract,
    Destination,
    Identifier,
    Identity,
    Journey,
    LogKeeping,
    Metric,
    Policy,
    Segment,
    Source,
    Template,
    TraitDefinition,
)  # fmt: skip
from cadenza.ids import fingerprint

DEFAULT_IDENTITY = Identity(
    identifiers=(
        Identifier(type="user_id", source="userId"),
        Identifier(type="email", source="traits.email"),
        Identifier(type="anonymous_id", source="anonymousId"),
    )
)


class Location(msgspec.Struct, frozen=True):
    """Where a definition is written, relative to the project folder."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class Project(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All definitions of a project, each kind sorted by name. This is what a deploy record carries."""

    name: str = "project"
    undeclared_events: Literal["allow", "flag", "quarantine", "reject"] = "allow"
    """What becomes of a track event that no contract speaks of."""
    sources: tuple[Source, ...] = ()
    contracts: tuple[Contract, ...] = ()
    identity: Identity = DEFAULT_IDENTITY
    traits: tuple[TraitDefinition, ...] = ()
    segments: tuple[Segment, ...] = ()
    journeys: tuple[Journey, ...] = ()
    policy: Policy = Policy()
    log: LogKeeping = LogKeeping()
    templates: tuple[Template, ...] = ()
    destinations: tuple[Destination, ...] = ()
    metrics: tuple[Metric, ...] = ()

    def trait(self, name: str) -> TraitDefinition:
        return _named(self.traits, name)

    def segment(self, name: str) -> Segment:
        return _named(self.segments, name)

    def journey(self, name: str) -> Journey:
        return _named(self.journeys, name)

    def template(self, name: str) -> Template:
        return _named(self.templates, name)

    def metric(self, name: str) -> Metric:
        return _named(self.metrics, name)

    def destination_of(self, channel: str) -> Destination:
        """The destination of a channel (the first by name). Raises KeyError."""
        for destination in self.destinations:
            if destination.channel == channel:
                return destination
        raise KeyError(channel)

    def named(self) -> Iterator[tuple[str, str, msgspec.Struct]]:
        """Every definition as (kind, name, definition)."""
        for kind in KINDS:
            for definition in getattr(self, kind):
                yield kind, definition.name, definition
        yield "identity", "identity", self.identity
        yield "policy", "policy", self.policy


KINDS = ("sources", "contracts", "traits", "segments", "journeys", "templates", "destinations", "metrics")


T = TypeVar("T", bound=msgspec.Struct)


def _named(items: tuple[T, ...], name: str) -> T:
    for item in items:
        if item.name == name:  # type: ignore[attr-defined]
            return item
    raise KeyError(name)


def encode(project: Project) -> bytes:
    """Canonical JSON of a project: equal projects give equal bytes."""
    return _canonical(project)


def decode(data: bytes | str) -> Project:
    """The project from its canonical JSON. Raises msgspec.ValidationError."""
    return msgspec.json.decode(data, type=Project)


def version_of(definition: msgspec.Struct) -> str:
    """Content address of one definition: equal definitions have equal versions."""
    return fingerprint([_canonical(definition)])


def _canonical(value: msgspec.Struct) -> bytes:
    return msgspec.json.encode(_plain(value), order="sorted")


def _plain(value: Any) -> Any:
    """The value as JSON's own types, defaults left out by equality: msgspec leaves out only the default object itself, so
    that ``unit: person`` written out and left out would differ."""
    if isinstance(value, msgspec.Struct):
        config = type(value).__struct_config__
        plain = {config.tag_field: config.tag} if config.tag_field else {}
        for field in msgspec.structs.fields(value):
            item = getattr(value, field.name)
            if not (config.omit_defaults and _is_default(field, item)):
                plain[field.encode_name] = _plain(item)
        return plain
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def _is_default(field: msgspec.structs.FieldInfo, item: Any) -> bool:
    if field.default is not msgspec.NODEFAULT:
        return type(item) is type(field.default) and item == field.default
    return field.default_factory is not msgspec.NODEFAULT and item == field.default_factory()
