"""The columns that definitions add to the store: traits, memberships, consents, event properties."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from sqlglot import exp

from cadenza.definitions.builtin import CALL_EVENTS, TASK_EVENTS
from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    Coalesce,
    Consented,
    DateReached,
    EventIs,
    Expr,
    InJourney,
    InSegment,
    OlderThan,
    Trait,
    Type,
    children,
    walk,
)  # fmt: skip
from cadenza.definitions.flags import calls_in, nested_steps
from cadenza.definitions.implied import momentary
from cadenza.definitions.kinds import Branch, Journey, Step, Subject, WaitFor
from cadenza.definitions.project import Project
from cadenza.ids import ACCOUNTS

SQL_TYPE: dict[str, str] = {
    "string": "VARCHAR", "integer": "BIGINT", "decimal": "DECIMAL(18,4)", "boolean": "BOOLEAN",
    "timestamp": "TIMESTAMP",
}  # fmt: skip

TRACK_NAMES = {"page": "Page Viewed", "screen": "Screen Viewed"}


def of_subject(subject: Subject, row: str) -> exp.Expr:
    """Whether a row's ``pid`` is that of a person, or that of an account."""
    test = exp.GTE if subject == "account" else exp.LT
    return test(this=exp.column("pid", row), expression=exp.Literal.number(ACCOUNTS))


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """What a project adds to the fixed tables.

    ``stored``: traits kept as columns, ``live``: traits computed whenever they are read (their value depends on
    time, segments, journeys or consent). ``consents``: the (purpose, channel) pairs kept as columns.
    """

    from_traits: dict[str, Type]
    stored: dict[str, Type]
    live: dict[str, Expr]
    values: dict[str, Expr]
    properties: dict[str, Type]
    traits: dict[str, Type]
    segments: tuple[str, ...]
    consents: tuple[tuple[str, str], ...]
    channels: tuple[str, ...]

    def profile_columns(self) -> dict[str, str]:
        """Column -> DDL type (with default) of ``profile`` beyond the fixed ones."""
        columns = {f"t_{n}": SQL_TYPE[t] for n, t in {**self.from_traits, **self.stored}.items()}
        columns |= {f"s_{n}": "BOOLEAN DEFAULT FALSE" for n in self.segments}
        columns |= {consent_column(p, c): "BOOLEAN DEFAULT FALSE" for p, c in self.consents}
        columns |= {f"x_{c}": "VARCHAR" for c in self.channels}
        return columns

    def event_columns(self) -> dict[str, str]:
        """Column -> DDL type of ``event`` beyond the fixed ones."""
        return {f"p_{n}": SQL_TYPE[t] for n, t in self.properties.items()}


def entry_column(trait: str, kind: Type) -> str:
    """The column of ``enrollment`` with a trait's value at entry. Of another type it is another column."""
    return f"v_{trait}_{kind}"


def consent_column(purpose: str, channel: str) -> str:
    return f"c_{purpose}_{channel}"


def journey_expressions(journey: Journey) -> Iterator[Expr]:
    """Every expression a journey holds."""
    entry, ends = journey.entry, journey.exit
    for node in (
        entry.on.where,
        entry.on.becomes,
        entry.when,
        entry.unless,
        entry.key,
        ends.goal,
        ends.disqualified,
        journey.value,
    ):
        if node is not None:
            yield node
    yield from _step_expressions(journey.steps)


def read_at_entry(journey: Journey) -> frozenset[str]:
    """The traits whose values at entry the journey's conditions read."""
    nodes = (node for tree in journey_expressions(journey) for node in walk(tree))
    return frozenset(node.name for node in nodes if isinstance(node, AtEntry))


def _step_expressions(steps: tuple[Step, ...]) -> Iterator[Expr]:
    for step in steps:
        if isinstance(step, WaitFor):
            yield from step.conditions
        elif isinstance(step, Branch):
            yield from (arm.when for arm in step.arms)
        for below in nested_steps(step):
            yield from _step_expressions(below)


def expressions(project: Project) -> Iterator[Expr]:
    """Every expression of a project (metrics excluded: they are read by reports only)."""
    for trait in project.traits:
        if trait.value is not None:
            yield trait.value
    for segment in project.segments:
        yield segment.when
    yield from project.policy.expressions
    for journey in project.journeys:
        yield from journey_expressions(journey)


def reactive_events(project: Project) -> frozenset[str]:
    """Names of the events that some definition reacts to, and those that change what may be sent."""
    names = {j.entry.on.event for j in project.journeys if j.entry.on.event}
    for tree in expressions(project):
        for node in walk(tree):
            if isinstance(node, Agg):
                names.add(node.event)
            elif isinstance(node, EventIs):
                names.add(node.name)
    if any(calls_in(journey.steps) for journey in project.journeys):
        names |= set(CALL_EVENTS)
    return frozenset(names) | SYSTEM_EVENTS | frozenset(TASK_EVENTS)


SYSTEM_EVENTS = frozenset(
    {
        "Consent Updated",
        "Unsubscribed",
        "Email Bounced",
        "Email Marked as Spam",
        "Suppressed",
        "Unsuppressed",
        "Message Failed",
    }
)
OUTCOME_EVENTS = frozenset(
    {"Message Sent", "Message Failed", "Message Ambiguous", "Email Delivered", "Email Opened",
     "Email Link Clicked", "Email Bounced", "Email Marked as Spam", "Unsubscribed"}
)  # fmt: skip
SYSTEM_PROPERTIES: dict[str, Type] = {
    "purpose": "string", "channel": "string", "granted": "boolean", "bounce_type": "string", "reason": "string",
    "source": "string", "text_version": "string", "message_id": "string", "detail": "string",
}  # fmt: skip
"""Properties of built-in events that the stages read; always columns."""


def schema_of(project: Project, property_types: dict[str, Type]) -> Schema:
    """The schema of a checked project. ``property_types``: name -> scalar type over all contracts."""
    from_traits: dict[str, Type] = {t.name: t.type for t in project.traits if t.from_ is not None}
    values = {t.name: t.value for t in project.traits if t.value is not None}
    live = {name: tree for name, tree in values.items() if _depends_on_more_than_events(tree, values)}
    stored: dict[str, Type] = {t.name: t.type for t in project.traits if t.name in values and t.name not in live}
    return Schema(
        from_traits=from_traits, stored=stored, live=live,
        values={n: v for n, v in values.items() if n not in live},
        properties={**property_types, **SYSTEM_PROPERTIES}, traits={t.name: t.type for t in project.traits},
        segments=tuple(s.name for s in project.segments if not momentary(s)),
        consents=_consents(project),
        channels=tuple(sorted({t.channel for t in project.templates} | {"email"} | {c for _, c in _called(project)})),
    )  # fmt: skip


def _depends_on_more_than_events(tree: Expr, values: dict[str, Expr]) -> bool:
    for node in walk(tree):
        match node:
            case OlderThan() | DateReached() | InSegment() | InJourney() | Consented():
                return True
            case Agg(within_s=within) if within is not None:
                return True
            case Trait(name) if name in values and _depends_on_more_than_events(values[name], values):
                return True
    return False


def _consents(project: Project) -> tuple[tuple[str, str], ...]:
    pairs = {(t.purpose, t.channel) for t in project.templates} | _called(project)
    for tree in expressions(project):
        pairs |= {(n.purpose, n.channel) for n in walk(tree) if isinstance(n, Consented)}
    return tuple(sorted(pairs))


def _called(project: Project) -> set[tuple[str, str]]:
    """The (purpose, channel) pairs that calls of services ask for."""
    channels = {destination.name: destination.channel for destination in project.destinations}
    calls = [call for journey in project.journeys for call in calls_in(journey.steps)]
    return {(c.purpose, channels[c.destination]) for c in calls if c.purpose and c.destination in channels}


def expand(tree: Expr, values: dict[str, Expr]) -> Expr:
    """The expression with value traits replaced by their expressions, all the way down."""
    match tree:
        case Trait(name) if name in values:
            return expand(values[name], values)
        case Agg() | EventIs():
            return tree
        case Coalesce(args):
            return Coalesce(tuple(expand(a, values) for a in args))
    operands = children(tree)
    if not operands:
        return tree
    changes = {
        field: expand(getattr(tree, field), values)
        for field in ("arg", "left", "right") if field in tree.__struct_fields__
    }  # fmt: skip
    return msgspec.structs.replace(tree, **changes)
