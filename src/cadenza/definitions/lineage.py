"""Who reads a field: traits, segments, journeys, templates, metrics, policy and identity, directly or through others.

Taken from the typed expressions and the variables of templates, so that no reader is found by its text.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    EventIs,
    Expr,
    InJourney,
    InSegment,
    Prop,
    Trait,
    children,
)  # fmt: skip
from cadenza.definitions.flags import nested_steps, sent_templates
from cadenza.definitions.implied import REQUESTED, effective
from cadenza.definitions.kinds import Branch, Call, Enter, Experiment, Journey, Step, Update, WaitFor
from cadenza.definitions.liquid import template_variables
from cadenza.definitions.project import Project
from cadenza.definitions.spots import spots_of
from cadenza.definitions.typecheck import CALL_CONTRACTS
from cadenza.errors import CadenzaError

Node = tuple[str, str]
"""A definition, (``trait``, ``orders``); or a field, (contract, field)."""


class Reader(msgspec.Struct, frozen=True, kw_only=True):
    """A definition that reads a field. ``where`` in it (``value``, ``exit.goal``); ``through``: the definitions between
    the field and it, nearest to the field first, empty when it reads the field itself."""

    kind: str
    name: str
    where: str
    through: tuple[str, ...] = ()


def readers(project: Project, contract: str, field: str) -> tuple[Reader, ...]:
    """Everything that reads a field of a contract, directly or through others; each definition once, on the shortest
    way, in the order of kind and name."""
    by_source: dict[Node, list[tuple[Node, str]]] = defaultdict(list)
    for source, reader, where in _reads(project):
        by_source[source].append((reader, where))
    name = CALL_CONTRACTS.get(contract, contract) or contract
    found: dict[Node, Reader] = {}
    waiting: deque[tuple[Node, tuple[str, ...]]] = deque([((f"field of {name}", field), ())])
    while waiting:
        node, through = waiting.popleft()
        for reader, where in by_source[node]:
            if reader not in found:
                found[reader] = Reader(kind=reader[0], name=reader[1], where=where, through=through)
                waiting.append((reader, (*through, f"{reader[0]} {reader[1]}")))
    return tuple(sorted(found.values(), key=lambda reader: (reader.kind, reader.name)))


def _reads(project: Project) -> Iterator[tuple[Node, Node, str]]:
    """(what is read, who reads it, where)."""
    for identifier in project.identity.identifiers:
        holder, _, name = identifier.source.partition(".")
        reader = ("identity", identifier.type)
        if holder == "traits":
            yield _field("identify", name), reader, "from"
        elif holder == "properties":
            yield from ((_field(contract.name, name), reader, "from") for contract in project.contracts)
    for trait in project.traits:
        reader = ("trait", trait.name)
        if trait.from_ is not None:
            yield _field("identify", trait.from_.removeprefix("traits.").split(".")[0]), reader, "from"
        if trait.value is not None:
            yield from _of_expression(trait.value, reader, "value")
    for segment in project.segments:
        yield from _of_expression(segment.when, ("segment", segment.name), "when")
    for rule in project.policy.suppress:
        yield from _of_expression(rule.when, ("policy", "policy"), f"suppress.{rule.name}")
    for channel in project.policy.best_channel.channels if project.policy.best_channel else ():
        if channel.response is not None:
            yield from _of_expression(channel.response, ("policy", "policy"), f"best_channel.{channel.name}")
    yield ("trait", project.policy.time_zone_trait), ("policy", "policy"), "time_zone_trait"
    for journey in project.journeys:
        yield from _of_journey(journey)
    yield from _of_metrics(project)
    yield from _of_templates(project)
    for destination in project.destinations:
        yield ("trait", destination.address_trait), ("destination", destination.name), "address"


def _field(contract: str, name: str) -> Node:
    return f"field of {contract}", name


def _of_expression(tree: Expr, reader: Node, where: str, event: str | None = None) -> Iterator[tuple[Node, Node, str]]:
    """What an expression reads; ``event``: whose properties a bare property is."""
    match tree:
        case Trait(name) | AtEntry(name):
            yield ("trait", name), reader, where
        case InSegment(name):
            yield ("segment", name), reader, where
        case InJourney(name):
            yield ("journey", name), reader, where
        case Prop(name) if event is not None:
            yield _field(event, name), reader, where
        case Agg(event=name):
            event = name
            if tree.prop is not None:
                yield _field(name, tree.prop), reader, where
        case EventIs(name):
            event = name
    for child in children(tree):
        yield from _of_expression(child, reader, where, event)


def _of_journey(journey: Journey) -> Iterator[tuple[Node, Node, str]]:
    reader, entry, ends = ("journey", journey.name), journey.entry, journey.exit
    event = REQUESTED if entry.on.api else entry.on.event
    for trait, place in ((entry.on.trait, "entry.on.trait"), (entry.on.date, "entry.on.date")):
        if trait is not None:
            yield from _of_expression(Trait(trait), reader, place, None)
    for missed in (entry.on.absence.event, entry.on.absence.after) if entry.on.absence else ():
        if missed is not None:
            yield from _of_expression(Agg("last_at", missed), reader, "entry.on.absence", None)
    if entry.on.segment is not None:
        yield ("segment", entry.on.segment), reader, "entry.on"
    said: tuple[tuple[str, Any], ...] = (
        ("entry.on.where", entry.on.where), ("entry.on.becomes", entry.on.becomes), ("entry.when", entry.when), ("entry.unless", entry.unless),
        ("entry.key", entry.key), ("exit.goal", ends.goal), ("exit.disqualified", ends.disqualified),
    )  # fmt: skip
    for where, tree in said:
        if tree is not None:
            yield from _of_expression(tree, reader, where, event)
    for where, tree in _of_steps(journey.steps):
        yield from _of_expression(tree, reader, where, event)
    for source in _called(journey.steps):
        name = source.removeprefix("entry.")
        if name == source:
            yield ("trait", name), reader, "steps.call"
        elif event is not None:
            yield _field(event, name), reader, "steps.call"
    yield ("metric", journey.outcome.metric), reader, "outcome"
    for spot in spots_of(journey.steps).values():
        if isinstance(spot.step, Experiment):
            yield ("metric", spot.step.metric), reader, "experiment"
    for entered in _entered(journey.every_step):
        yield reader, ("journey", entered), "enter"
    for trait in _updated(journey.every_step):
        yield reader, ("trait", trait), "update"


def _of_steps(steps: Iterable[Step]) -> Iterator[tuple[str, Expr]]:
    for step in steps:
        if isinstance(step, WaitFor):
            yield from (("steps.wait_for", tree) for tree in step.conditions)
        elif isinstance(step, Branch):
            yield from (("steps.branch", arm.when) for arm in step.arms)
        for below in nested_steps(step):
            yield from _of_steps(below)


def _entered(steps: Iterable[Step]) -> Iterator[str]:
    """The journeys that the steps enter."""
    for step in steps:
        if isinstance(step, Enter):
            yield step.journey
        for below in nested_steps(step):
            yield from _entered(below)


def _called(steps: Iterable[Step]) -> Iterator[str]:
    """What the steps send to services: traits, and properties of the entry's event."""
    for step in steps:
        if isinstance(step, Call):
            yield from step.body.values()
        for below in nested_steps(step):
            yield from _called(below)


def _updated(steps: Iterable[Step]) -> Iterator[str]:
    """Traits that the steps set, of their own or from an answer: what decides about the journey decides about them."""
    for step in steps:
        if isinstance(step, Update):
            yield from step.set
        elif isinstance(step, Call):
            yield from step.answer
        for below in nested_steps(step):
            yield from _updated(below)


def _of_metrics(project: Project) -> Iterator[tuple[Node, Node, str]]:
    for metric in project.metrics:
        reader = ("metric", metric.name)
        for event in filter(None, (metric.event, metric.minus)):
            if metric.property is not None:
                yield _field(event, metric.property), reader, "property"
            if metric.where is not None:
                yield from _of_expression(metric.where, reader, "where", event)


def _of_templates(project: Project) -> Iterator[tuple[Node, Node, str]]:
    triggers: dict[str, set[str]] = defaultdict(set)
    for journey in project.journeys:
        for template in sent_templates(journey.every_step):
            yield ("journey", journey.name), ("template", template), "sent by it"
            if (event := effective(journey).entry.on.event) is not None:
                triggers[template].add(event)
    for template in project.templates:
        for where, text in (("subject", template.subject), ("body", template.body)):
            for root, *rest in sorted(_variables(text)):
                if root == "entry" and rest:
                    for event in sorted(triggers[template.name]):
                        yield _field(event, rest[0]), ("template", template.name), where
                elif root != "entry":
                    yield ("trait", root), ("template", template.name), where


def _variables(text: str) -> list[tuple[str, ...]]:
    try:
        return list(template_variables(text))
    except CadenzaError:
        return []
