"""Types of expressions: what a condition may say, given a project's traits, contracts and names.

Integer and decimal mix; every other pair of types does not. A NULL literal (the stand-in of an expression that did
not parse) and a name that is missing because its file could not be read have no type and fit everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

import msgspec

from cadenza.definitions.builtin import BUILTIN_CONTRACTS, SYSTEM_PROPERTIES
from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    Binary,
    Coalesce,
    Consented,
    EventIs,
    Expr,
    Flag,
    InJourney,
    InList,
    InSegment,
    IsNull,
    Like,
    Lit,
    Not,
    OlderThan,
    Prop,
    Trait,
    Type,
    walk,
)  # fmt: skip
from cadenza.definitions.flags import nested_steps
from cadenza.definitions.kinds import Branch, Contract, Journey, Property, Step, WaitFor
from cadenza.definitions.project import Project
from cadenza.errors import ExpressionError, near_miss

SCALARS = ("string", "integer", "decimal", "boolean", "timestamp")
NUMBERS = ("integer", "decimal")
CALL_CONTRACTS = {"identify": None, "group": None, "context": None, "page": "Page Viewed", "screen": "Screen Viewed"}
"""Contracts named after a call: the event that conditions see, if any."""
LONGEST_WINDOW_S = 100 * 366 * 86400

_TIMESTAMP = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?")
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{0,14}\.[0-9]{0,14}")


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """Everything an expression can name. ``partial``: a file could not be read, unknown names are let pass."""

    traits: dict[str, Type | None]
    events: dict[str, dict[str, str]]
    """Event -> property -> declared type (objects and arrays included)."""
    segments: frozenset[str] = frozenset()
    journeys: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    channels: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()
    """Flags that a wait_for on the way here may have set."""
    trigger: str | None = None
    """The event whose properties a bare ``Prop`` (entry ``where`` and ``key``, metric ``where``) reads."""
    event_allowed: bool = False
    entry_allowed: bool = False
    """Whether there is a passage, with values at its entry."""
    journey_allowed: bool = True
    partial: bool = False


def scope_of(project: Project, partial: bool = False) -> Scope:
    """What the expressions of a project can name; no event and no flags yet."""
    return Scope(
        traits=dict(trait_types(project)),
        events=event_properties(project),
        segments=frozenset(s.name for s in project.segments),
        journeys=frozenset(j.name for j in project.journeys),
        purposes=frozenset(t.purpose for t in project.templates),
        channels=frozenset(d.channel for d in project.destinations) | {t.channel for t in project.templates},
        partial=partial,
    )


def trait_types(project: Project) -> dict[str, Type]:
    """Trait -> declared type."""
    return {trait.name: trait.type for trait in project.traits}


def property_types(project: Project) -> dict[str, Type]:
    """Property -> type, for every property that is a typed column of an event: those with a scalar type in any of the
    project's contracts, those the stages read, and those of built-in events that some expression uses."""
    found: dict[str, Type] = dict(SYSTEM_PROPERTIES)
    builtin = {name: prop.type for contract in BUILTIN_CONTRACTS for name, prop in contract.properties.items()}
    used = {
        name
        for tree in expressions_of(project)
        for node in walk(tree)
        for name in _property_names(node)
    }  # fmt: skip
    found.update((name, builtin[name]) for name in used if name in builtin)  # type: ignore[misc]
    for contract in project.contracts:
        if CALL_CONTRACTS.get(contract.name, contract.name) is not None:
            found.update((n, p.type) for n, p in declared(contract).items() if p.type in SCALARS)  # type: ignore[misc]
    return found


def _property_names(node: Expr) -> tuple[str, ...]:
    if isinstance(node, Agg) and node.prop is not None:
        return (node.prop,)
    return (node.name,) if isinstance(node, Prop) else ()


def event_properties(project: Project) -> dict[str, dict[str, str]]:
    """Event -> property -> declared type, built-in events included. A project's contract adds to a built-in one."""
    events: dict[str, dict[str, str]] = {}
    for contract in (*BUILTIN_CONTRACTS, *project.contracts):
        event = CALL_CONTRACTS.get(contract.name, contract.name)
        if event is not None:
            events.setdefault(event, {}).update((n, p.type) for n, p in declared(contract).items())
    return events


def contracts_of(project: Project, event: str) -> tuple[Contract, ...]:
    """The contracts that speak of an event, built-in ones first."""
    every = (*BUILTIN_CONTRACTS, *project.contracts)
    return tuple(c for c in every if CALL_CONTRACTS.get(c.name, c.name) == event)


def properties_of(project: Project, event: str) -> dict[str, Property]:
    """The declared properties of an event."""
    return {name: prop for c in contracts_of(project, event) for name, prop in declared(c).items()}


def expressions_of(project: Project) -> Iterator[Expr]:
    """Every expression of a project, metrics included."""
    yield from (trait.value for trait in project.traits if trait.value is not None)
    yield from (segment.when for segment in project.segments)
    yield from project.policy.expressions
    yield from (metric.where for metric in project.metrics if metric.where is not None)
    for journey in project.journeys:
        yield from _of_journey(journey)


def _of_journey(journey: Journey) -> Iterator[Expr]:
    entry, ends = journey.entry, journey.exit
    found = (entry.on.where, entry.on.becomes, entry.when, entry.unless, entry.key, ends.goal, ends.disqualified)
    yield from (tree for tree in found if tree is not None)
    yield from _of_steps(journey.steps)


def _of_steps(steps: Iterable[Step]) -> Iterator[Expr]:
    for step in steps:
        if isinstance(step, WaitFor):
            yield from step.conditions
        elif isinstance(step, Branch):
            yield from (arm.when for arm in step.arms)
        for below in nested_steps(step):
            yield from _of_steps(below)


def type_of(tree: Expr, scope: Scope) -> Type | None:
    """The type of an expression; None for a bare NULL. Raises ExpressionError for the first thing wrong with it."""
    checking = TypeCheck(scope)
    found = checking.type(tree)
    if checking.errors:
        raise checking.errors[0]
    return found


class TypeCheck:
    """One walk over one expression; ``errors`` are all it found."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.errors: list[ExpressionError] = []

    def error(self, what: str, remedy: str | None = None) -> None:
        self.errors.append(ExpressionError(what, remedy=remedy))

    def unknown(self, noun: str, name: str, known: Iterable[str]) -> None:
        """An unknown name, unless it may stand in a file that could not be read."""
        if name and not self.scope.partial:
            self.error(f"Unknown {noun} '{name}'.", near_miss(name, known))

    def boolean(self, tree: Expr) -> None:
        """Note an error unless the expression is a condition."""
        found = self.type(tree)
        if found not in ("boolean", None):
            self.error(f"A condition is expected, but {shown(tree)} is of type {found}.", _condition_hint(found))

    def type(self, tree: Expr) -> Type | None:
        """The type of a node; None where it has none or is in error."""
        match tree:
            case Lit():
                return self._literal(tree)
            case Trait(name):
                return self._trait(name)
            case AtEntry(name):
                return self._at_entry(name)
            case Prop(name):
                return self._property(self.scope.trigger, name)
            case Flag(name):
                return self._flag(name)
            case Not(arg):
                self._condition(arg, "not")
                return "boolean"
            case IsNull(arg):
                self.type(arg)
                return "boolean"
            case Binary("and" | "or" as op, left, right):
                self._condition(left, op)
                self._condition(right, op)
                return "boolean"
            case Binary("+" | "-" | "*" as op, left, right):
                return self._arithmetic(op, left, right)
            case Binary(op, left, right):
                self._comparison(op, left, right)
                return "boolean"
            case InList(arg, items):
                found = self.type(arg)
                for item in items:
                    self._same(found, self.type(item), arg, item, "in")
                return "boolean"
            case Like(arg, _):
                if (found := self.type(arg)) not in ("string", None):
                    self.error(f"like compares text, but {shown(arg)} is of type {found}.")
                return "boolean"
            case Coalesce(args):
                return self._coalesce(args)
            case Agg():
                return self._aggregate(tree)
        return self._predicate(tree)

    def _literal(self, lit: Lit) -> Type | None:
        if lit.text is None:
            return None
        if lit.type == "integer" and not _INTEGER.fullmatch(lit.text):
            self.error(f"'{lit.text}' is not a whole number of at most 18 digits.", "Write it without an exponent.")
        if lit.type == "decimal" and not _DECIMAL.fullmatch(lit.text):
            remedy = "At most 14 digits before and after the point, no exponent."
            self.error(f"'{lit.text}' is not a number that can be compared exactly.", remedy)
        if lit.type == "timestamp" and not is_timestamp(lit.text):
            self.error(
                f"'{lit.text}' is not an instant.", "Write timestamp '2026-01-31' or '2026-01-31 18:30:00' (UTC)."
            )
        return lit.type

    def _trait(self, name: str) -> Type | None:
        if name in self.scope.traits:
            return self.scope.traits[name]
        self.unknown("trait", name, {*self.scope.traits, *self.scope.flags})
        return None

    def _at_entry(self, name: str) -> Type | None:
        if not self.scope.entry_allowed:
            what = f"'entry.{name}' is the value at entry into a journey, and there is none here."
            self.error(what, f"Only exits, wait_for and branches know it. Write '{name}'.")
        if name in self.scope.flags and name not in self.scope.traits:
            self.error(f"'{name}' is the flag of a wait_for, and no trait.", f"Write '{name}'.")
            return None
        return self._trait(name)

    def _flag(self, name: str) -> Type:
        if name not in self.scope.flags:
            remedy = "Move it behind the wait_for, or name a trait."
            self.error(f"The flag '{name}' is used where no wait_for has set it yet.", remedy)
        return "boolean"

    def _property(self, event: str | None, name: str) -> Type | None:
        known = self.scope.events.get(event or "")
        if known is None:
            return None
        if name not in known:
            if not self.scope.partial:
                remedy = near_miss(name, known) or "Declare it in the event's contract."
                self.error(f"'{event}' has no property '{name}' in its contract.", remedy)
            return None
        kind = known[name]
        if kind not in (*SCALARS, None):
            self.error(f"The property '{name}' of '{event}' is an {kind}; conditions compare single values.")
            return None
        return kind  # type: ignore[return-value]

    def _condition(self, tree: Expr, op: str) -> None:
        found = self.type(tree)
        if found not in ("boolean", None):
            what = f"'{op}' joins conditions, but {shown(tree)} is of type {found}."
            self.error(what, _condition_hint(found))

    def _arithmetic(self, op: str, left: Expr, right: Expr) -> Type | None:
        kinds = []
        for side in (left, right):
            found = self.type(side)
            if found not in (*NUMBERS, None):
                remedy = "Use older_than(x, '30 days') for time." if found == "timestamp" else None
                self.error(f"'{op}' computes with numbers, but {shown(side)} is of type {found}.", remedy)
            kinds.append(found)
        return "decimal" if "decimal" in kinds else "integer"

    def _comparison(self, op: str, left: Expr, right: Expr) -> None:
        a, b = self.type(left), self.type(right)
        if self._same(a, b, left, right, op) and op not in ("=", "<>") and "boolean" in (a, b):
            self.error(f"'{op}' does not order truth values ({shown(left)} and {shown(right)}).")

    def _same(self, a: Type | None, b: Type | None, left: Expr, right: Expr, op: str) -> bool:
        """Whether two types compare; an error where not."""
        if a is None or b is None or a == b or (a in NUMBERS and b in NUMBERS):
            return True
        remedy = None
        if {a, b} == {"timestamp", "string"}:
            text = next((s.text for s in (left, right) if isinstance(s, Lit) and s.text), "2026-01-31")
            remedy = f"Write timestamp '{text}'."
        elif "string" in (a, b) and (number := next((s for s in (left, right) if isinstance(s, Lit)), None)):
            remedy = "Write the number without quotes." if number.type == "string" else "Write the text in quotes."
        self.error(f"'{op}' compares {shown(left)} ({a}) with {shown(right)} ({b}).", remedy)
        return False

    def _coalesce(self, args: tuple[Expr, ...]) -> Type | None:
        first: Type | None = None
        for arg in args:
            found = self.type(arg)
            if first is not None and self._same(first, found, args[0], arg, "coalesce"):
                first = "decimal" if found == "decimal" else first
            first = first or found
        return first

    def _aggregate(self, agg: Agg) -> Type | None:
        known = self.known_event(agg.event)
        if agg.within_s is not None and not 0 < agg.within_s <= LONGEST_WINDOW_S:
            self.error("'within' must be longer than nothing and at most 100 years.")
        self._where(agg.where, agg.event)
        if agg.fn == "count":
            return "integer"
        if agg.fn in ("last_at", "first_at"):
            return "timestamp"
        found = self._property(agg.event, agg.prop or "") if known else None
        if agg.fn == "sum" and found not in (*NUMBERS, None):
            self.error(f"sum_of() adds numbers, but '{agg.prop}' of '{agg.event}' is of type {found}.")
            return None
        if agg.fn != "sum" and found == "boolean":
            self.error(f"{agg.fn}_of() orders values, but '{agg.prop}' of '{agg.event}' is of type boolean.")
            return None
        return found

    def known_event(self, event: str) -> bool:
        """Whether a contract speaks of the event; an error where none does."""
        if event in self.scope.events:
            return True
        if not self.scope.partial:
            hint = near_miss(event, self.scope.events) or ""
            remedy = hint if hint.startswith("Did") else "Declare it under contracts/."
            self.error(f"No contract speaks of the event '{event}'.", remedy)
        return False

    def _where(self, where: Expr | None, event: str) -> None:
        if where is not None:
            below = TypeCheck(msgspec.structs.replace(self.scope, trigger=event))
            below.boolean(where)
            self.errors += below.errors

    def _predicate(self, tree: Expr) -> Type:
        match tree:
            case EventIs(name, where):
                if not self.scope.event_allowed:
                    remedy = "It stands in goal, disqualified and wait_for; elsewhere count events('...') > 0."
                    self.error(f"event('{name}') is true only while that event is processed.", remedy)
                self.known_event(name)
                self._where(where, name)
            case InSegment(name):
                if name not in self.scope.segments:
                    self.unknown("segment", name, self.scope.segments)
            case InJourney(name):
                if not self.scope.journey_allowed:
                    remedy = "Ask for it in the journey or in the policy."
                    self.error("in_journey() cannot stand in a trait or a segment: these come before journeys.", remedy)
                if name not in self.scope.journeys:
                    self.unknown("journey", name, self.scope.journeys)
            case Consented(purpose, channel):
                if purpose not in self.scope.purposes:
                    self.unknown("purpose", purpose, self.scope.purposes)
                if channel not in self.scope.channels:
                    self.unknown("channel", channel, self.scope.channels)
            case OlderThan(arg, seconds):
                if (found := self.type(arg)) not in ("timestamp", None):
                    self.error(f"older_than() wants an instant, but {shown(arg)} is of type {found}.")
                if seconds > LONGEST_WINDOW_S:
                    self.error("older_than() reaches back at most 100 years.")
        return "boolean"


def is_timestamp(text: str) -> bool:
    """Whether a text is an instant of the language: a date, or date and time, without an offset."""
    if not _TIMESTAMP.fullmatch(text):
        return False
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _condition_hint(found: Type | None) -> str | None:
    return "Compare it, for example '... > 0'." if found in NUMBERS else None


def shown(tree: Expr) -> str:
    """An operand as it is named in a problem."""
    match tree:
        case Lit(text, "string"):
            return f"'{text}'"
        case Lit(text, _):
            return str(text)
        case Trait(name) | Prop(name) | Flag(name):
            return f"'{name}'"
        case AtEntry(name):
            return f"'entry.{name}'"
        case Agg("count", event):
            return f"events('{event}')"
        case Agg(fn, event):
            return f"{fn}('{event}')" if fn.endswith("_at") else f"{fn}_of('{event}', {tree.prop})"
        case Binary(op, _, _):
            return f"the result of '{op}'"
        case Coalesce():
            return "the result of coalesce"
    return "the condition"


def fits(value: str | int | float | bool, kind: Type) -> bool:
    """Whether a literal of YAML can be the value of a trait of this type."""
    match kind:
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "decimal":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        case "timestamp":
            return isinstance(value, str) and is_timestamp(value)
    return isinstance(value, str)
