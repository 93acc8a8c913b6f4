"""Expressions compiled to Python closures: one value for one row, many thousand times a second.

What ``sql/expression.py`` is for all customers at once this is for one: the payload of a webhook now, the decision of a
session later. It knows the operators, with SQL's three-valued logic (None is NULL); what a leaf reads from the row
(a trait, a field of a payload) is the caller's. Held to the SQL by a differential test.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any, Union

from cadenza.definitions.expression import Binary, Coalesce, InList, IsNull, Like, Lit, Not

Value = Union[str, int, Decimal, bool, datetime, None]
Closure = Callable[[Any], Any]
"""From a row to a value."""

_EXACT = Context(prec=76, rounding=ROUND_HALF_UP)
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "<>": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_WHOLE: dict[str, Callable[[int, int], int]] = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_EXACTLY: dict[str, Callable[[Decimal, Decimal], Decimal]] = {
    "+": _EXACT.add, "-": _EXACT.subtract, "*": _EXACT.multiply,
}  # fmt: skip


def closure(node: Any, leaf: Callable[[Any], Closure]) -> Closure:
    """The function of an expression's tree, which must be well typed. ``leaf`` gives that of every node that is not an
    operator or a literal; it may call back with what is below it."""
    match node:
        case Lit():
            return _constant(literal(node))
        case Not(arg):
            return _not(closure(arg, leaf))
        case IsNull(arg):
            inner = closure(arg, leaf)
            return lambda row: inner(row) is None
        case Binary("and", left, right):
            return _and(closure(left, leaf), closure(right, leaf))
        case Binary("or", left, right):
            return _or(closure(left, leaf), closure(right, leaf))
        case Binary(op, left, right) if op in _COMPARE:
            return _comparison(op, closure(left, leaf), closure(right, leaf))
        case Binary(op, left, right):
            return _arithmetic(op, closure(left, leaf), closure(right, leaf))
        case InList(arg, items):
            return _in(closure(arg, leaf), [literal(item) for item in items])
        case Like(arg, pattern):
            return _like(closure(arg, leaf), pattern)
        case Coalesce(args):
            return _coalesce([closure(arg, leaf) for arg in args])
    return leaf(node)


def literal(node: Lit) -> Value:
    """The value of a literal; an instant is naive UTC."""
    if node.text is None:
        return None
    match node.type:
        case "integer":
            return int(node.text)
        case "decimal":
            return Decimal(node.text)
        case "boolean":
            return node.text == "true"
        case "timestamp":
            return datetime.fromisoformat(node.text)
    return node.text


def _constant(value: Value) -> Closure:
    return lambda row: value


def _not(inner: Closure) -> Closure:
    def negated(row: Any) -> Value:
        value = inner(row)
        return None if value is None else not value

    return negated


def _and(left: Closure, right: Closure) -> Closure:
    def both(row: Any) -> Value:
        a = left(row)
        if a is False:
            return False
        b = right(row)
        return False if b is False else None if a is None or b is None else True

    return both


def _or(left: Closure, right: Closure) -> Closure:
    def either(row: Any) -> Value:
        a = left(row)
        if a is True:
            return True
        b = right(row)
        return True if b is True else None if a is None or b is None else False

    return either


def _comparison(op: str, left: Closure, right: Closure) -> Closure:
    compare = _COMPARE[op]

    def compared(row: Any) -> Value:
        a, b = left(row), right(row)
        return None if a is None or b is None else compare(a, b)

    return compared


def _arithmetic(op: str, left: Closure, right: Closure) -> Closure:
    whole, exactly = _WHOLE[op], _EXACTLY[op]

    def computed(row: Any) -> Value:
        a, b = left(row), right(row)
        if a is None or b is None:
            return None
        if isinstance(a, int) and isinstance(b, int):
            return whole(a, b)
        return exactly(Decimal(a), Decimal(b))

    return computed


def _in(inner: Closure, items: list[Value]) -> Closure:
    known = {item for item in items if item is not None}
    missing = None if None in items else False

    def listed(row: Any) -> Value:
        value = inner(row)
        return None if value is None else True if value in known else missing

    return listed


def _like(inner: Closure, pattern: str) -> Closure:
    matches = like(pattern)

    def alike(row: Any) -> Value:
        value = inner(row)
        return None if value is None else matches(value)

    return alike


def like(pattern: str) -> Callable[[str], bool]:
    """SQL's LIKE for one pattern: ``%`` any run, ``_`` one character, no escape. Each piece between two ``%`` is looked for
    once, from the left, so that no text can make it slow.

    >>> like('a%_c')('abcbc')
    True
    """
    pieces = [_piece(part) for part in pattern.split("%")]
    first, last = pieces[0], pieces[-1]
    if len(pieces) == 1:
        return lambda text: first.fullmatch(text) is not None
    shortest = len(pattern.split("%")[-1])

    def matches(text: str) -> bool:
        found = first.match(text)
        for piece in pieces[1:-1]:
            found = found and piece.search(text, found.end())
        at = len(text) - shortest
        return found is not None and at >= found.end() and last.match(text, at) is not None

    return matches


def _piece(part: str) -> re.Pattern[str]:
    return re.compile("".join("." if character == "_" else re.escape(character) for character in part), re.DOTALL)


def _coalesce(inner: list[Closure]) -> Closure:
    def first(row: Any) -> Value:
        for one in inner:
            value = one(row)
            if value is not None:
                return value
        return None

    return first
