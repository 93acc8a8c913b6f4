"""What a condition says of one person at one instant, from the log alone. SQL's three-valued logic; None is unknown.

Written anew on purpose: neither the compiler to SQL nor the reference model's evaluator is used here. Instants are whole
microseconds since 1970.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

import msgspec

from cadenza.audit.knowledge import Event, Known, Person, text_of
from cadenza.clock import from_micros, iso, to_micros
from cadenza.definitions.expression import (
    Agg,
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
)  # fmt: skip
from cadenza.errors import CadenzaError

Value = Any
"""str, int (also instants), Decimal, bool, or None."""
_EXACT = Context(prec=60, rounding=ROUND_HALF_UP)
_CENT = Decimal("0.0001")
_WHOLE, _NUMBER = re.compile(r"-?[0-9]+"), re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}(:?\d{2})?)?)?", re.ASCII)


class NotDerivable(CadenzaError):
    """The log and the sends alone do not say it: where a passage stands, or what a journey set."""


class Moment(msgspec.Struct, frozen=True):
    """A person at an instant (µs), under a project. ``item``: the record that is being decided, if it is one; ``updated``:
    traits that journeys set."""

    known: Known
    person: Person
    now: int
    item: Event | None
    updated: frozenset[str] = frozenset()

    def trait(self, name: str) -> Value:
        """The value of a trait. Raises NotDerivable where a journey sets it."""
        definition = self.known.traits.get(name)
        if definition is None:
            return None
        if definition.value is not None:
            return _cast(value(definition.value, self), definition.type)
        if name in self.updated:
            raise NotDerivable(f"a journey sets the trait '{name}'.")
        said = self.person.traits.get(((definition.from_ or "").partition(".")[2], definition.type))
        return typed(said[2], definition.type) if said else None

    def trait_text(self, name: str) -> str | None:
        """The value of a trait as text."""
        definition, found = self.known.traits.get(name), self.trait(name)
        if definition is not None and definition.type == "timestamp" and isinstance(found, int):
            return iso(from_micros(found))
        return f"{found:.4f}" if isinstance(found, Decimal) else text_of(found)


def typed(text: str | None, kind: str) -> Value:
    """The text as a value of the type; None when it is not one."""
    if text is None or kind == "string":
        return text
    if kind == "integer" and _WHOLE.fullmatch(text):
        return int(text) if -(2**63) <= int(text) < 2**63 else None
    if kind == "decimal" and _NUMBER.fullmatch(text):
        return _money(Decimal(text))
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    if kind == "timestamp" and _INSTANT.fullmatch(text):
        try:
            instant = datetime.fromisoformat(text)
            return to_micros(instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant)
        except (ValueError, OverflowError):
            return None
    return None


def _money(number: Decimal) -> Decimal | None:
    if number.adjusted() >= 15:
        return None
    rounded = _EXACT.plus(number.quantize(_CENT, context=_EXACT))
    return rounded if abs(rounded) < 10**14 else None


def _cast(found: Value, kind: str) -> Value:
    if kind == "decimal" and found is not None:
        return _money(Decimal(found))
    if kind == "integer" and isinstance(found, Decimal):
        return int(found.to_integral_value(rounding=ROUND_HALF_UP))
    return found


def value(node: Expr, moment: Moment, event: Event | None = None) -> Value:
    """The value of an expression; ``event`` is the one whose properties a ``where`` reads. Raises NotDerivable."""
    match node:
        case Lit(text, kind):
            return Decimal(text) if kind == "decimal" and text is not None else typed(text, kind)
        case Trait(name):
            return moment.trait(name)
        case Prop(name):
            kind = moment.known.types.get(name, "string")
            return typed(text_of(event.properties.get(name)), kind) if event else None
        case InSegment(name):
            return value(moment.known.segments[name].when, moment) is True
        case Consented(purpose, channel):
            return moment.person.consent(purpose, channel)[0]
        case EventIs(name, where):
            item = moment.item
            return item is not None and item.name == name and (where is None or value(where, moment, item) is True)
        case Agg():
            return _over_events(node, moment)
        case OlderThan(arg, seconds):
            instant = value(arg, moment, event)
            return None if instant is None else instant + seconds * 1_000_000 <= moment.now
        case InJourney(name) | Flag(name):
            raise NotDerivable(f"where a passage stands is not in the log ('{name}').")
    return _combined(node, moment, event)


def _combined(node: Expr, moment: Moment, event: Event | None) -> Value:
    match node:
        case Not(arg):
            found = value(arg, moment, event)
            return None if found is None else not found
        case IsNull(arg):
            return value(arg, moment, event) is None
        case Coalesce(args):
            return next((found for arg in args if (found := value(arg, moment, event)) is not None), None)
        case InList(arg, items):
            asked = value(arg, moment, event)
            return _any([_compare("=", asked, value(item, moment)) for item in items])
        case Like(arg, pattern):
            text = value(arg, moment, event)
            shape = "".join(".*" if c == "%" else "." if c == "_" else re.escape(c) for c in pattern)
            return None if text is None else re.fullmatch(shape, str(text), re.DOTALL) is not None
        case Binary("and", left, right):
            return _not(_any([_not(value(left, moment, event)), _not(value(right, moment, event))]))
        case Binary("or", left, right):
            return _any([value(left, moment, event), value(right, moment, event)])
        case Binary(op, left, right):
            return _compare(op, value(left, moment, event), value(right, moment, event))
    raise NotDerivable(f"the auditor does not know {type(node).__name__}.")


def _not(found: Value) -> Value:
    return None if found is None else not found


def _any(found: list[Value]) -> Value:
    return True if any(f is True for f in found) else None if any(f is None for f in found) else False


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "+": operator.add, "-": operator.sub, "*": operator.mul,
}  # fmt: skip


def _compare(op: str, left: Value, right: Value) -> Value:
    return None if left is None or right is None else _OPERATORS[op](left, right)


def _over_events(node: Agg, moment: Moment) -> Value:
    since = None if node.within_s is None else moment.now - node.within_s * 1_000_000
    counted = [
        e for e in moment.person.events.get(node.event, ())
        if (since is None or since < e.at <= moment.now) and (node.where is None or value(node.where, moment, e) is True)
    ]  # fmt: skip
    if node.fn == "count":
        return len(counted)
    if node.fn in ("first_at", "last_at"):
        return (min if node.fn == "first_at" else max)((e.at for e in counted), default=None)
    read = [found for e in counted if (found := value(Prop(node.prop or ""), moment, e)) is not None]
    if not read:
        return None
    return sum(read) if node.fn == "sum" else max(read) if node.fn == "max" else min(read)
