"""Conditions, run in Python: what ``definitions/expression.py`` trees mean for one person at one instant.

SQL's three-valued logic with None for NULL. Written from ``docs/explanation/semantics.md``, without any SQL, so
that it can contradict the engine. Every value that arrives is read as text first and then converted.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Union

import msgspec

from cadenza.clock import iso
from cadenza.definitions.expression import (
    Agg,
    AtEntry,
    Binary,
    Coalesce,
    Consented,
    DateReached,
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
    Scheduled,
    Trait,
    walk,
)  # fmt: skip
from cadenza.simulate.clocks import ZONES, meant_by, scheduled_after

Value = Union[str, int, Decimal, bool, datetime, None]

_EXACT = Context(prec=76, rounding=ROUND_HALF_UP)
_QUANTUM = Decimal("0.0001")
_INTEGER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?"
)


class Event(msgspec.Struct, frozen=True):
    """A record of a person. ``name`` is what conditions see (None: nothing); properties as read by ``read_json``."""

    offset: int
    name: str | None
    occurred_at: datetime
    properties: Mapping[str, Any]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that a condition can see of one person at one item. ``item`` is the record being processed, if it is one."""

    now: datetime
    events: Sequence[Event]
    item: Event | None
    types: Mapping[str, str]
    """Declared types of event properties, by name."""
    trait: Callable[[str], Value]
    member: Callable[[str], bool]
    in_journey: Callable[[str], bool]
    consented: Callable[[str, str], bool]
    flags: Mapping[str, bool] = {}
    entered: Mapping[str, Value] = {}
    """Values of traits at the entry of the passage that asks."""


def read_json(body: bytes) -> dict[str, Any]:
    """A JSON object with every number kept as its text."""
    return json.loads(body, parse_int=_Number, parse_float=_Number)  # type: ignore[no-any-return]


class _Number(str):
    """A number as it was written."""


def json_text(value: Any) -> str | None:
    """The text of a value read by ``read_json``: JSON for an object or an array; None for null."""
    if isinstance(value, str):
        return str(value)
    return None if value is None else _json(value)


def _json(value: Any) -> str:
    if isinstance(value, _Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k, ensure_ascii=False)}:{_json(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_json, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def convert(text: str | None, kind: str) -> Value:
    """The text as a value of the type, or None when it is not one.

    >>> convert('12.34565', 'decimal'), convert('2.0', 'integer'), convert('true', 'boolean')
    (Decimal('12.3457'), None, True)
    """
    if text is None or kind == "string":
        return text
    if kind == "integer":
        number = int(text) if _INTEGER.fullmatch(text) else None
        return number if number is not None and -(2**63) <= number < 2**63 else None
    if kind == "decimal":
        return _decimal(Decimal(text)) if _DECIMAL.fullmatch(text) else None
    if kind == "boolean":
        return {"true": True, "false": False}.get(text)
    return _timestamp(text) if kind == "timestamp" else None


def _decimal(number: Decimal) -> Decimal | None:
    if number.adjusted() >= 15:
        return None
    rounded = _EXACT.plus(number.quantize(_QUANTUM, context=_EXACT))  # no minus zero
    return rounded if abs(rounded) < 10**14 else None


def _timestamp(text: str) -> datetime | None:
    if not _TIMESTAMP.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text)
        return instant.astimezone(UTC).replace(tzinfo=None) if instant.tzinfo else instant
    except (ValueError, OverflowError):
        return None


def coerce(value: Value, kind: str) -> Value:
    """A computed value as the declared type of its trait."""
    if value is None:
        return None
    if kind == "integer" and isinstance(value, Decimal):
        return int(value.to_integral_value(rounding=ROUND_HALF_UP))
    if kind == "decimal" and isinstance(value, (int, Decimal)):
        return _decimal(Decimal(value))
    return value if kind != "string" else text_of(value)


def text_of(value: Value) -> str | None:
    """The canonical text of a value: decimals with four digits, instants as RFC 3339."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return iso(value)
    return f"{value.quantize(_QUANTUM, context=_EXACT):f}" if isinstance(value, Decimal) else str(value)


def holds(node: Expr | None, view: View, event: Event | None = None) -> bool:
    """Whether the condition is TRUE; no condition is."""
    return node is None or evaluate(node, view, event) is True


def evaluate(node: Expr, view: View, event: Event | None = None) -> Value:
    """The value of a tree. ``event`` is the one whose properties a ``where`` or an entry key reads."""
    match node:
        case Lit(text, kind):
            return Decimal(text) if kind == "decimal" and text is not None else convert(text, kind)
        case Trait(name):
            return view.trait(name)
        case AtEntry(name):
            return view.entered.get(name)
        case Prop(name):
            return convert(json_text(event.properties.get(name)), view.types.get(name, "string")) if event else None
        case Flag(name):
            return view.flags.get(name)
        case InSegment(name):
            return view.member(name)
        case InJourney(name):
            return view.in_journey(name)
        case Consented(purpose, channel):
            return view.consented(purpose, channel)
        case EventIs(name, where):
            return view.item is not None and view.item.name == name and holds(where, view, view.item)
        case Agg():
            return _aggregate(node, view)
        case OlderThan(arg, seconds):
            instant = evaluate(arg, view, event)
            return None if instant is None else instant + timedelta(seconds=seconds) <= view.now  # type: ignore[operator]
        case DateReached():
            target = _reached_at(node, view)
            return None if target is None else target <= view.now
        case Scheduled(arg):
            due = _scheduled(node, view, view.now - timedelta(microseconds=1)) == view.now
            return due and evaluate(arg, view, event) is True
    return _operate(node, view, event)


def _operate(node: Expr, view: View, event: Event | None) -> Value:
    match node:
        case Not(arg):
            value = evaluate(arg, view, event)
            return None if value is None else not value
        case IsNull(arg):
            return evaluate(arg, view, event) is None
        case Coalesce(args):
            return next((v for v in (evaluate(a, view, event) for a in args) if v is not None), None)
        case InList(arg, items):
            return _or([_binary("=", evaluate(arg, view, event), evaluate(i, view)) for i in items])
        case Like(arg, pattern):
            text = evaluate(arg, view, event)
            wild = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in pattern)
            return None if text is None else re.fullmatch(wild, str(text), re.DOTALL) is not None
        case Binary(op, left, right):
            return _binary(op, evaluate(left, view, event), evaluate(right, view, event))
    raise AssertionError(f"unknown node {node!r}")


def _or(values: Sequence[Value]) -> bool | None:
    return True if True in values else None if None in values else False


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def _binary(op: str, left: Value, right: Value) -> Value:
    if op == "or":
        return _or([left, right])
    if op == "and":
        return False if left is False or right is False else None if left is None or right is None else True
    if left is None or right is None:
        return None
    if op in _COMPARE:
        return _COMPARE[op](left, right)
    arithmetic = {"+": _EXACT.add, "-": _EXACT.subtract, "*": _EXACT.multiply}[op]
    result = arithmetic(Decimal(left), Decimal(right))  # type: ignore[arg-type]
    return int(result) if isinstance(left, int) and isinstance(right, int) else result


def _counted(node: Agg, view: View) -> list[Event]:
    start = None if node.within_s is None else view.now - timedelta(seconds=node.within_s)
    return [
        e for e in view.events
        if e.name == node.event and (start is None or start < e.occurred_at <= view.now) and holds(node.where, view, e)
    ]  # fmt: skip


def _reached_at(node: DateReached, view: View) -> datetime | None:
    value, zone = evaluate(node.arg, view), text_of(evaluate(node.right, view))
    assert value is None or isinstance(value, datetime)
    return meant_by(value, zone if zone in ZONES else node.fallback, node.minus_s, node.at)


def _scheduled(node: Scheduled, view: View, after: datetime) -> datetime | None:
    zone = text_of(evaluate(node.right, view))
    zone = zone if zone in ZONES else node.fallback
    return None if zone is None else scheduled_after(node.cron, zone, after)


def _aggregate(node: Agg, view: View) -> Value:
    events = _counted(node, view)
    if node.fn == "count":
        return len(events)
    if node.fn in ("last_at", "first_at"):
        pick = max if node.fn == "last_at" else min
        return pick((e.occurred_at for e in events), default=None)
    values: list[Any] = [v for e in events if (v := evaluate(Prop(node.prop or ""), view, e)) is not None]
    if node.fn == "sum":
        return sum(values) if values else None
    return (max if node.fn == "max" else min)(values, default=None)


def changes_at(node: Expr, view: View, value_of: Callable[[str], Expr | None]) -> Iterator[datetime]:
    """The instants after now at which passing time alone may change the condition; ``value_of`` gives the
    expression of a trait that is computed."""
    for part in walk(node):
        if isinstance(part, Agg) and part.within_s is not None:
            yield from (e.occurred_at + timedelta(seconds=part.within_s) for e in _counted(part, view))
        elif isinstance(part, OlderThan):
            instant = evaluate(part.arg, view)
            if isinstance(instant, datetime) and instant + timedelta(seconds=part.seconds) > view.now:
                yield instant + timedelta(seconds=part.seconds)
        elif isinstance(part, DateReached):
            target = _reached_at(part, view)
            if target is not None and target > view.now:
                yield target
        elif isinstance(part, Scheduled):
            at = _scheduled(part, view, view.now) if evaluate(part.arg, view) is True else None
            if at is not None:
                yield at
        elif isinstance(part, Trait) and (inner := value_of(part.name)) is not None:
            yield from changes_at(inner, view, value_of)
