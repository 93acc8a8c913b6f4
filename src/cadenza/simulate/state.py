"""What the reference model keeps of the world, and what a condition sees of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from cadenza.clock import EPOCH
from cadenza.definitions.builtin import BUILTIN_CONTRACTS, CALL_EVENTS, TASK_EVENTS
from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    Consented,
    DateReached,
    EventIs,
    Expr,
    InJourney,
    InSegment,
    OlderThan,
    Trait,
    walk,
)
from cadenza.definitions.implied import implied
from cadenza.definitions.kinds import Call, Journey, Step
from cadenza.definitions.project import Project
from cadenza.simulate.evaluate import (
    Event,
    Value,
    View,
    coerce,
    convert,
    evaluate,
)  # fmt: skip
from cadenza.simulate.person import Person, layout

Layout = dict[str, tuple[Step, str]]


class State:
    """Everybody, and everything that has happened to them under one project."""

    def __init__(self, project: Project) -> None:
        self._layouts: dict[int, tuple[Journey, Layout]] = {}
        self._take(project)
        self.persons: dict[int, Person] = {}
        self.merged_into: dict[int, int] = {}
        self.owner: dict[tuple[str, str], int] = {}
        self.deliverable = True
        self.outcomes: dict[str, set[str]] = {}
        self.cancelled: dict[str, str] = {}
        self.nonqualified: Counter[tuple[str, datetime, str]] = Counter()
        self.rows: dict[str, list[tuple[Any, ...]]] = {
            name: []
            for name in (
                "memberships",
                "ends",
                "transitions",
                "refusals",
                "decisions",
                "choices",
                "messages",
                "tasks",
                "task_changes",
                "calls",
                "answers",
            )
        }
        self.released = False
        """In this item a task has ended that held marketing."""
        self.recorded: dict[int, datetime] = {}
        """When each record came, by its offset."""
        self.merges = 0
        self.reached: set[int] = set()
        """Enrollments that ended by their goal."""
        self._applied = 0
        self._items, self._last = 0, (EPOCH, 0)

    def _take(self, project: Project) -> None:
        """Put a project in force: ``given`` is as it was deployed, ``project`` with what its triggers imply."""
        self.given, project = project, implied(project)
        self.project = project
        self.types = {name: p.type for c in (*BUILTIN_CONTRACTS, *project.contracts) for name, p in declared(c).items()}
        self.traits = {t.name: t for t in project.traits}
        self.steps = {j.name: self._layout(j) for j in project.journeys}
        self.order = sorted(project.journeys, key=lambda j: (-j.priority, j.name))
        self.purposes = _purposes(project)
        self.reactive = _reactive(project)

    def _layout(self, journey: Journey) -> Layout:
        """The steps of a version of a journey: path -> the step and the path that follows it."""
        found = self._layouts.get(id(journey))
        if found is None:
            steps = {p: (s, f) for p, s, f in layout(journey.steps)}
            for name, last in journey.exit.last_steps.items():
                steps |= {p: (s, f) for p, s, f in layout(last, f"exit.{name}.then")}
            found = self._layouts[id(journey)] = (journey, steps)
        return found[1]

    def _resolve(self, pid: int) -> Person | None:
        while pid in self.merged_into:
            pid = self.merged_into[pid]
        return self.persons.get(pid)

    def _set(self, person: Person, trait: str, text: str | None, at: datetime) -> None:
        definition = self.traits.get(trait)
        if definition is None or text is None or convert(text, definition.type) is None:
            return
        self._applied += 1
        person.values.append((trait, at, self._applied, text))

    def _view(
        self, person: Person, now: datetime, item: Event | None, member: Callable[[str], bool] | None = None
    ) -> View:
        live = {e.journey.name for e in person.live() if not e.leaving}

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
            isinstance(n, (OlderThan, DateReached, InSegment, InJourney, Consented))
            or (isinstance(n, Agg) and n.within_s is not None)
            or (isinstance(n, Trait) and (inner := self._value(n.name)) is not None and not self._stored(inner))
            for n in walk(node)
        )


STATEMENTS = frozenset(
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


def calls_of(journey: Journey) -> list[Call]:
    """The calls of a journey."""
    return [step for _, step, _ in layout(journey.steps) if isinstance(step, Call)]


def _reactive(project: Project) -> frozenset[str]:
    """The events that some definition reacts to, and those that say what may be sent."""
    read = (project.traits, project.segments, project.policy, project.journeys)
    nodes = [node for tree in _expressions(read) for node in walk(tree)]
    named = {n.event for n in nodes if isinstance(n, Agg)} | {n.name for n in nodes if isinstance(n, EventIs)}
    called = frozenset(CALL_EVENTS) if any(calls_of(j) for j in project.journeys) else frozenset[str]()
    return (
        called
        | STATEMENTS
        | named
        | set(TASK_EVENTS)
        | {j.entry.on.event for j in project.journeys if j.entry.on.event}
    )


def read_at_entry(journey: Journey) -> frozenset[str]:
    """The traits whose values at entry the journey's conditions read."""
    return frozenset(n.name for tree in _expressions(journey) for n in walk(tree) if isinstance(n, AtEntry))


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
