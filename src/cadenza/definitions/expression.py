"""The one expression language: text -> typed tree.

A condition is a SQL boolean expression over traits plus a few functions (``events``, ``sum_of``,
``last_at``, ``event``, ``in_segment``, ``in_journey``, ``consented``, ``older_than`` ...). It is
parsed by sqlglot, restricted to a whitelist, and turned into the frozen nodes below, which know
nothing of SQL text. ``sql/expression.py`` compiles them to SQL, ``simulate/evaluate.py`` runs them
in Python; both follow SQL's three-valued logic.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, Union

import msgspec
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from cadenza.errors import ExpressionError

Type = Literal["string", "integer", "decimal", "boolean", "timestamp"]

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_DURATION = re.compile(r"^\s*(\d+)\s*(second|minute|hour|day|week)s?\s*$")


def duration_seconds(text: str) -> int:
    """Seconds of a duration such as ``'30 days'``; a day is 24 hours. Raises ExpressionError.

    >>> duration_seconds('2 days')
    172800
    """
    match = _DURATION.match(text)
    if not match:
        raise ExpressionError(
            f"'{text}' is not a duration.", remedy="Write for example '30 minutes', '5 days', '2 weeks'."
        )
    return int(match[1]) * _UNITS[match[2]]


class Node(msgspec.Struct, frozen=True, tag_field="node"):
    """Base of all expression nodes."""


class Lit(Node, frozen=True, tag="lit"):
    """A literal; ``text`` is its canonical text, None is NULL."""

    text: str | None
    type: Type


class Trait(Node, frozen=True, tag="trait"):
    """The value of a trait of the person."""

    name: str


class AtEntry(Node, frozen=True, tag="at_entry"):
    """The value that a trait of the person had when the passage began; only in exits and steps of a journey."""

    name: str


class Prop(Node, frozen=True, tag="prop"):
    """A property of an event; only inside ``where`` and entry keys."""

    name: str


class Flag(Node, frozen=True, tag="flag"):
    """What a ``wait_for ... as NAME`` ended with: matched (true) or timed out (false)."""

    name: str


class Not(Node, frozen=True, tag="not"):
    arg: "Expr"


class IsNull(Node, frozen=True, tag="is_null"):
    arg: "Expr"


class Binary(Node, frozen=True, tag="binary"):
    """``op`` is one of ``and or = <> < <= > >= + - *``."""

    op: str
    left: "Expr"
    right: "Expr"


class InList(Node, frozen=True, tag="in"):
    arg: "Expr"
    items: tuple[Lit, ...]


class Like(Node, frozen=True, tag="like"):
    """SQL LIKE: ``%`` any run, ``_`` one character, no escape."""

    arg: "Expr"
    pattern: str


class Coalesce(Node, frozen=True, tag="coalesce"):
    args: tuple["Expr", ...]


class Agg(Node, frozen=True, tag="agg"):
    """An aggregate over the person's track events called ``event``.

    ``fn``: count, sum, min, max, last_at, first_at. With ``within_s`` only events whose
    occurred_at lies in (now - within, now]. ``where`` is over the event's properties; an event
    counts when it is TRUE. count of nothing is 0; the others are NULL.
    """

    fn: str
    event: str
    prop: str | None = None
    where: Union["Expr", None] = None
    within_s: int | None = None


class EventIs(Node, frozen=True, tag="event"):
    """TRUE when the item being processed is a track event called ``name`` for which ``where`` is TRUE,
    else FALSE; never NULL."""

    name: str
    where: Union["Expr", None] = None


class InSegment(Node, frozen=True, tag="in_segment"):
    """Membership after the present item; never NULL."""

    name: str


class InJourney(Node, frozen=True, tag="in_journey"):
    """Whether the person has a live enrollment in the journey; never NULL."""

    name: str


class Consented(Node, frozen=True, tag="consented"):
    """Whether the latest explicit statement for purpose and channel grants; no statement is no."""

    purpose: str
    channel: str


class OlderThan(Node, frozen=True, tag="older_than"):
    """Whether ``arg`` + ``seconds`` <= now; NULL when ``arg`` is."""

    arg: "Expr"
    seconds: int


class DateReached(Node, frozen=True, tag="date_reached"):
    """Whether the instant that the date ``arg`` means in a zone has come; NULL when that is not known. Not written: see
    ``implied.py``. ``right`` is the zone, ``fallback`` the one for those without; ``at`` the local time."""

    arg: "Expr"
    right: "Expr"
    minus_s: int
    at: str | None
    fallback: str | None


class Scheduled(Node, frozen=True, tag="scheduled"):
    """Whether now is a time of the schedule ``cron`` on the clock of a zone, and ``arg`` TRUE. Not written: see
    ``implied.py``. ``right`` is the zone, ``fallback`` the one for those without."""

    arg: "Expr"
    right: "Expr"
    cron: str
    fallback: str | None


Expr = Union[
    Lit, Trait, AtEntry, Prop, Flag, Not, IsNull, Binary, InList, Like, Coalesce,
    Agg, EventIs, InSegment, InJourney, Consented, OlderThan, DateReached, Scheduled,
]  # fmt: skip

TRUE = Lit("true", "boolean")
FALSE = Lit("false", "boolean")


def children(node: Expr) -> tuple[Expr, ...]:
    """The direct operands of a node, in order (``where`` included)."""
    match node:
        case Not(arg) | IsNull(arg) | OlderThan(arg, _) | Like(arg, _):
            return (arg,)
        case Binary(_, left, right) | DateReached(left, right) | Scheduled(left, right):
            return (left, right)
        case InList(arg, items):
            return (arg, *items)
        case Coalesce(args):
            return args
        case Agg(where=where) | EventIs(where=where) if where is not None:
            return (where,)
    return ()


def walk(node: Expr) -> Iterator[Expr]:
    """The node and everything below it, parents first."""
    yield node
    for child in children(node):
        yield from walk(child)


def parse(text: str | int | float | bool) -> Expr:
    """The tree of an expression's text. Raises ExpressionError naming what is not allowed.

    >>> parse("orders >= 3 and in_segment('vip')").op
    'and'
    """
    if isinstance(text, bool):
        return TRUE if text else FALSE
    return parse_with(str(text), _leaf, children)


def parse_with(text: str, leaf: Leaf, below: Callable[[Any], tuple[Any, ...]]) -> Any:
    """The tree of a text in the language whose own parts ``leaf`` knows; ``below`` gives the operands of its nodes.
    Raises ExpressionError."""
    if len(text) > LONGEST:
        raise ExpressionError(f"The expression is longer than {LONGEST:,} characters.", remedy="Split it into traits.")
    try:
        tree = sqlglot.parse_one(text, dialect="duckdb")
        node = structured(tree, text, leaf)
    except SqlglotError as error:
        raise ExpressionError(f"'{text}' is not an expression: {_first_line(error)}.") from error
    except RecursionError as error:
        raise _too_deep() from error
    if depth_of(node, below) > DEEPEST:
        raise _too_deep()
    return node


LONGEST = 4_000
"""Characters of one expression."""
DEEPEST = 100
"""Levels of one expression; everything that walks a tree may recurse."""


def depth_of(node: Any, below: Callable[[Any], tuple[Any, ...]] = children) -> int:
    """Levels of a tree; a leaf has one."""
    deepest, level = 0, [node]
    while level:
        deepest, level = deepest + 1, [child for parent in level for child in below(parent)]
    return deepest


def _too_deep() -> ExpressionError:
    remedy = "Use 'in (...)' for long lists, or split it into traits."
    return ExpressionError(f"The expression is nested more than {DEEPEST} levels deep.", remedy=remedy)


def _first_line(error: Exception) -> str:
    first = str(error).splitlines()[0].split(". Line")[0]
    return "something is missing in it" if first.startswith("Required keyword") else first


_BINARY = {
    exp.And: "and", exp.Or: "or", exp.EQ: "=", exp.NEQ: "<>", exp.LT: "<", exp.LTE: "<=",
    exp.GT: ">", exp.GTE: ">=", exp.Add: "+", exp.Sub: "-", exp.Mul: "*",
}  # fmt: skip


_INSTANTS = ("timestamp", "timestampntz", "date")

Leaf = Callable[[exp.Expr, str], Any]
"""What a language makes of the parts that are its own: columns and functions. Raises ExpressionError."""


def _convert(tree: exp.Expr, text: str) -> Expr:
    return structured(tree, text, _leaf)


def structured(tree: exp.Expr, text: str, leaf: Leaf) -> Any:
    """The operators and literals that all languages of Cadenza share; ``leaf`` says what everything else is."""

    def below(part: exp.Expr) -> Any:
        return structured(part, text, leaf)

    for kind, op in _BINARY.items():
        if type(tree) is kind:
            return Binary(op, below(tree.this), below(tree.expression))
    match tree:
        case exp.Paren():
            return below(tree.this)
        case exp.Not():
            return Not(below(tree.this))
        case exp.Neg(this=exp.Literal(is_string=False) as number):
            lit = _literal(number)
            return Lit(f"-{lit.text}", lit.type)
        case exp.Literal():
            return _literal(tree)
        case exp.Boolean():
            return TRUE if tree.this else FALSE
        case exp.Is():
            return _is(tree, text, leaf)
        case exp.Between():
            arg = below(tree.this)
            low, high = below(tree.args["low"]), below(tree.args["high"])
            return Binary("and", Binary(">=", arg, low), Binary("<=", arg, high))
        case exp.In():
            return _in(tree, text, leaf)
        case exp.Like(expression=exp.Literal(is_string=True) as pattern):
            return Like(below(tree.this), pattern.this)
        case exp.Coalesce():
            return Coalesce(tuple(below(a) for a in (tree.this, *tree.expressions)))
        case exp.Cast(this=exp.Literal(is_string=True) as instant) if tree.to.is_type(*_INSTANTS):
            return Lit(instant.this, "timestamp")
    return leaf(tree, text)


def _leaf(tree: exp.Expr, text: str) -> Expr:
    match tree:
        case exp.Column():
            return _column(tree, text)
        case exp.Anonymous():
            return _function(tree, text)
    raise _refused(tree, text)


def _refused(tree: exp.Expr, text: str) -> ExpressionError:
    return ExpressionError(
        f"'{tree.sql(dialect='duckdb')}' is not allowed in the expression '{text}'.",
        remedy="Allowed: comparison, and/or/not, + - *, in, between, like, is null, coalesce, and "
        + ", ".join(sorted(FUNCTIONS))
        + ".",
    )


def _literal(tree: exp.Literal) -> Lit:
    if tree.is_string:
        return Lit(tree.this, "string")
    return Lit(tree.this, "decimal" if "." in tree.this else "integer")


def _column(tree: exp.Column, text: str) -> Expr:
    if len(tree.parts) == 2 and tree.table == "entry":
        return AtEntry(tree.name)
    if len(tree.parts) != 1:
        raise _refused(tree, text)
    return Trait(tree.name)


def _is(tree: exp.Is, text: str, leaf: Leaf) -> Expr:
    arg = structured(tree.this, text, leaf)
    match tree.expression:
        case exp.Null():
            return IsNull(arg)
        case exp.Boolean(this=value):
            test = arg if value else Not(arg)
            return Coalesce((test, FALSE))
        case exp.Not(this=exp.Null()):
            return Not(IsNull(arg))
    raise _refused(tree, text)


def _in(tree: exp.In, text: str, leaf: Leaf) -> Expr:
    items = [structured(item, text, leaf) for item in tree.expressions]
    if not items or not all(isinstance(item, Lit) for item in items):
        raise _refused(tree, text)
    return InList(structured(tree.this, text, leaf), tuple(items))  # type: ignore[arg-type]


def _string(tree: exp.Expr, text: str) -> str:
    if isinstance(tree, exp.Literal) and tree.is_string:
        return tree.this
    raise ExpressionError(f"'{tree.sql()}' must be a quoted name in '{text}'.")


def arguments(tree: exp.Anonymous, text: str) -> tuple[list[exp.Expr], dict[str, exp.Expr]]:
    """The positional and the named arguments of a function."""
    positional: list[exp.Expr] = []
    named: dict[str, exp.Expr] = {}
    for arg in tree.expressions:
        if isinstance(arg, (exp.Kwarg, exp.PropertyEQ, exp.Lambda)):
            key = arg.expressions[0].name if isinstance(arg, exp.Lambda) else arg.this.name
            named[key] = arg.this if isinstance(arg, exp.Lambda) else arg.expression
        else:
            positional.append(arg)
    return positional, named


def _properties(tree: exp.Expr, text: str) -> Expr:
    """A ``where``: its columns are properties of the event."""
    return _to_props(_convert(tree, text), text)


def _to_props(node: Expr, text: str) -> Expr:
    match node:
        case Trait(name):
            return Prop(name)
        case Not(arg):
            return Not(_to_props(arg, text))
        case IsNull(arg):
            return IsNull(_to_props(arg, text))
        case Binary(op, left, right):
            return Binary(op, _to_props(left, text), _to_props(right, text))
        case InList(arg, items):
            return InList(_to_props(arg, text), items)
        case Like(arg, pattern):
            return Like(_to_props(arg, text), pattern)
        case Coalesce(args):
            return Coalesce(tuple(_to_props(a, text) for a in args))
        case Lit():
            return node
    raise ExpressionError(f"A where may use only the event's properties, in '{text}'.")


def parse_where(text: str | bool) -> Expr:
    """A condition over one event's properties (entry ``where``, entry ``key``)."""
    return _to_props(parse(text), str(text))


def _function(tree: exp.Anonymous, text: str) -> Expr:
    name = tree.name.lower()
    if name not in FUNCTIONS:
        raise _refused(tree, text)
    positional, named = arguments(tree, text)
    low, high, allowed = FUNCTIONS[name]
    unknown = set(named) - set(allowed)
    if not low <= len(positional) <= high or unknown:
        raise ExpressionError(
            f"{name}() in '{text}' takes {low}{'' if low == high else f' to {high}'} argument(s)"
            + (f" and {', '.join(f'{a} => ...' for a in allowed)}" if allowed else "")
            + "."
        )
    where = _properties(named["where"], text) if "where" in named else None
    within = duration_seconds(_string(named["within"], text)) if "within" in named else None
    return _build(name, positional, where, within, text)


def _build(name: str, args: list[exp.Expr], where: Expr | None, within: int | None, text: str) -> Expr:
    match name:
        case "event":
            return EventIs(_string(args[0], text), where)
        case "events":
            return Agg("count", _string(args[0], text), None, where, within)
        case "last_at" | "first_at":
            return Agg(name, _string(args[0], text), None, where, within)
        case "sum_of" | "min_of" | "max_of":
            prop = args[1]
            if not isinstance(prop, exp.Column) or len(prop.parts) != 1:
                raise ExpressionError(f"The second argument of {name}() is a property name, in '{text}'.")
            return Agg(name[:3], _string(args[0], text), prop.name, where, within)
        case "in_segment":
            return InSegment(_string(args[0], text))
        case "in_journey":
            return InJourney(_string(args[0], text))
        case "consented":
            return Consented(_string(args[0], text), _string(args[1], text))
        case _:
            return OlderThan(_convert(args[0], text), duration_seconds(_string(args[1], text)))


FUNCTIONS: dict[str, tuple[int, int, tuple[str, ...]]] = {
    "event": (1, 1, ("where",)),
    "events": (1, 1, ("where", "within")),
    "sum_of": (2, 2, ("where", "within")),
    "min_of": (2, 2, ("where", "within")),
    "max_of": (2, 2, ("where", "within")),
    "last_at": (1, 1, ("where", "within")),
    "first_at": (1, 1, ("where", "within")),
    "in_segment": (1, 1, ()),
    "in_journey": (1, 1, ()),
    "consented": (2, 2, ()),
    "older_than": (2, 2, ()),
}
"""Functions of the language: name -> (fewest, most positional arguments, named arguments)."""
