"""Expressions compiled to SQL over one row per person of a wave (the alias ``c``).

The compiler notes what the row must hold: trait columns, window terms, memberships, properties of
the item. The stage that builds the row (``stages/profiles``) supplies exactly these.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from sqlglot import exp

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
from cadenza.ids import BUCKETS, fingerprint
from cadenza.sql.columns import Schema, consent_column, entry_column, expand
from cadenza.sql.local_time import clock_seconds, instant_of
from cadenza.sql.schedules import next_time
from cadenza.sql.step import all_of, column, query, sql, text

ROW = "c"


def term_name(agg: Agg) -> str:
    """The column that holds an aggregate of a wave's person: ``a_`` and a content hash."""
    return "a_" + fingerprint([msgspec.json.encode(agg, order="sorted")])[:10]


class Needs:
    """What compiled expressions read of the wave's row."""

    def __init__(self) -> None:
        self.traits: set[str] = set()
        self.terms: dict[str, Agg] = {}
        self.properties: set[str] = set()
        self.journeys: set[str] = set()
        self.consents: set[tuple[str, str]] = set()


class Compiler:
    """Expression trees to SQL trees. ``events``: the names present in the wave; an ``event(...)`` on any other
    is FALSE and costs nothing. None means every name may be present. ``at_entry`` gives the SQL of a trait's value at
    entry, from its name and column; without it the passage is the row ``e``."""

    def __init__(
        self, schema: Schema, needs: Needs, events: frozenset[str] | None = None,
        at_entry: Callable[[str, str], exp.Expr] | None = None,
    ) -> None:  # fmt: skip
        self._at_entry = at_entry or (lambda _, kept: column(kept, "e"))
        self._schema = schema
        self._needs = needs
        self._events = events
        self._properties_of = ROW, "e_"

    def condition(self, tree: Expr) -> exp.Expr:
        """The SQL of an expression, live traits expanded."""
        return self._compile(expand(tree, self._schema.live))

    def stored_value(self, tree: Expr) -> exp.Expr:
        """The SQL of a stored trait's value in terms of aggregates and ``from`` traits only."""
        return self._compile(expand(tree, self._schema.values))

    def boundaries(self, tree: Expr) -> list[exp.Expr]:
        """The instants after ``now`` at which the expression may change because time passed (NULL: none)."""
        found = []
        for node in walk(expand(tree, self._schema.live)):
            match node:
                case Agg(within_s=within) if within is not None:
                    self._compile(node)
                    found.append(column("b" + term_name(node)[1:], ROW))
                case DateReached():
                    at = self._reached_at(node)
                    found.append(exp.Case(ifs=[exp.If(this=exp.GT(this=at, expression=_now()), true=at.copy())]))
                case Scheduled(arg):
                    at = next_time(node.cron, _now(), self._zone(node))
                    found.append(exp.Case(ifs=[exp.If(this=self._compile(arg), true=at)]))
                case OlderThan(arg, seconds):
                    at = shifted(self._compile(arg), seconds)
                    found.append(exp.Case(ifs=[exp.If(this=exp.GT(this=at, expression=_now()), true=at.copy())]))
        return found

    def _compile(self, node: Expr) -> exp.Expr:
        match node:
            case Lit():
                return literal(node)
            case Trait(name):
                self._needs.traits.add(name)
                return column(f"t_{name}", ROW)
            case AtEntry(name):
                kind = self._schema.traits.get(name)
                return exp.Null() if kind is None else self._at_entry(name, entry_column(name, kind))
            case Prop(name):
                alias, prefix = self._properties_of
                if alias == ROW:
                    self._needs.properties.add(name)
                return column(prefix + name, alias)
            case Not(arg):
                return exp.Not(this=exp.paren(self._compile(arg), copy=False))
            case IsNull(arg):
                return exp.Is(this=exp.paren(self._compile(arg), copy=False), expression=exp.Null())
            case Binary(op, left, right):
                return self._binary(op, left, right)
            case InList(arg, items):
                return exp.In(this=_operand(self._compile(arg)), expressions=[literal(item) for item in items])
            case Like(arg, pattern):
                return exp.Like(this=self._compile(arg), expression=text(pattern))
            case Coalesce(args):
                first, *rest = (self._compile(a) for a in args)
                return exp.Coalesce(this=first, expressions=rest)
            case Flag():
                raise AssertionError("flags are resolved when a journey is flattened")
        return self._function(node)

    def _binary(self, op: str, left: Expr, right: Expr) -> exp.Expr:
        a, b = self._compile(left), self._compile(right)
        if op in ("and", "or"):
            return _junction(op, a, b)
        return exp.paren(_OPERATORS[op](this=_operand(a), expression=_operand(b)), copy=False)

    def _function(self, node: Expr) -> exp.Expr:
        match node:
            case Agg(fn=fn):
                name = term_name(node)
                self._needs.terms[name] = node
                term = column(name, ROW)
                return exp.Coalesce(this=term, expressions=[exp.Literal.number(0)]) if fn == "count" else term
            case EventIs(name, where):
                return self._event_is(name, where)
            case InSegment(name):
                return column(f"n_{name}", ROW)
            case InJourney(name):
                self._needs.journeys.add(name)
                return column(f"j_{name}", ROW)
            case Consented(purpose, channel):
                self._needs.consents.add((purpose, channel))
                return column(consent_column(purpose, channel), ROW)
            case DateReached():
                return exp.paren(exp.LTE(this=self._reached_at(node), expression=_now()), copy=False)
            case Scheduled(arg):
                before = exp.Sub(this=_now(), expression=exp.func("to_microseconds", exp.Literal.number(1)))
                due = exp.EQ(this=next_time(node.cron, before, self._zone(node)), expression=_now())
                return exp.paren(exp.And(this=exp.paren(self._compile(arg), copy=False), expression=due), copy=False)
            case OlderThan(arg, seconds):
                return exp.paren(exp.LTE(this=shifted(self._compile(arg), seconds), expression=_now()), copy=False)
        raise AssertionError(f"no SQL for {node!r}")

    def _reached_at(self, node: DateReached) -> exp.Expr:
        value = exp.cast(self._compile(node.arg), "timestamp", dialect="duckdb")
        return instant_of(value, self._zone(node), node.minus_s, None if node.at is None else clock_seconds(node.at))

    def _zone(self, node: DateReached | Scheduled) -> exp.Expr:
        own = exp.cast(self._compile(node.right), "varchar", dialect="duckdb")
        if node.fallback is None:
            return own
        known = exp.In(this=own.copy(), query=query("SELECT tz FROM tz_rule").subquery())
        return exp.Case(ifs=[exp.If(this=known, true=own)], default=text(node.fallback))

    def _event_is(self, name: str, where: Expr | None) -> exp.Expr:
        if self._events is not None and name not in self._events:
            return exp.false()
        parts: list[exp.Expr] = [exp.EQ(this=column("name", ROW), expression=text(name))]
        if where is not None:
            parts.append(self._compile(where))
        return exp.Coalesce(this=exp.paren(all_of(parts)), expressions=[exp.false()])

    def over_events(self, tree: Expr) -> exp.Expr:
        """A ``where`` over rows of the table ``event`` (alias ``e``)."""
        before, self._properties_of = self._properties_of, ("e", "p_")
        try:
            return self._compile(tree)
        finally:
            self._properties_of = before


def _operand(tree: exp.Expr) -> exp.Expr:
    """A condition inside a comparison, in parentheses: ``a = b IS NULL`` means ``(a = b) IS NULL`` in SQL."""
    return exp.paren(tree, copy=False) if isinstance(tree, exp.Not | exp.Is | exp.In | exp.Like) else tree


def _junction(op: str, a: exp.Expr, b: exp.Expr) -> exp.Expr:
    absorbing = op == "or"
    for one, other in ((a, b), (b, a)):
        if isinstance(one, exp.Boolean):
            return one if bool(one.this) is absorbing else other
    kind = exp.And if op == "and" else exp.Or
    return exp.paren(kind(this=a, expression=b), copy=False)


_OPERATORS: dict[str, type[exp.Binary]] = {
    "=": exp.EQ, "<>": exp.NEQ, "<": exp.LT, "<=": exp.LTE, ">": exp.GT, ">=": exp.GTE,
    "+": exp.Add, "-": exp.Sub, "*": exp.Mul,
}  # fmt: skip


def _now() -> exp.Expr:
    return column("now", ROW)


def literal(node: Lit) -> exp.Expr:
    """A literal of the language as SQL."""
    if node.text is None:
        return exp.Null()
    match node.type:
        case "boolean":
            return exp.true() if node.text == "true" else exp.false()
        case "string":
            return text(node.text)
        case "timestamp":
            return exp.cast(text(node.text), "timestamp", dialect="duckdb")
    return sql(node.text).copy()


def shifted(instant: exp.Expr, seconds: int) -> exp.Expr:
    """``instant`` + ``seconds``."""
    return exp.paren(exp.Add(this=instant, expression=exp.func("to_seconds", exp.Literal.number(seconds))))


def bucket(salt: exp.Expr, unit: exp.Expr) -> exp.Expr:
    """``ids.bucket`` in SQL: the first 8 bytes of MD5 of 'salt:unit', little endian, modulo 10,000."""
    seed = exp.DPipe(this=exp.DPipe(this=salt, expression=text(":")), expression=exp.cast(unit, "varchar"))
    hashed = exp.func("md5_number_upper", seed)
    return exp.cast(exp.Mod(this=hashed, expression=exp.Literal.number(BUCKETS)), "integer")


def aggregate(agg: Agg, compiler: Compiler) -> tuple[exp.Expr, exp.Expr | None]:
    """(value, boundary) of an aggregate, over ``event e`` joined to the wave's persons ``w``."""
    where: list[exp.Expr] = [exp.EQ(this=column("name", "e"), expression=text(agg.event))]
    if agg.where is not None:
        where.append(compiler.over_events(agg.where))
    boundary = None
    at = column("occurred_at", "e")
    if agg.within_s is not None:
        leaves = shifted(at, agg.within_s)
        where.append(exp.GT(this=leaves.copy(), expression=column("now", "w")))
        boundary = _filtered(exp.Min(this=leaves.copy()), where)
    subject = column(f"p_{agg.prop}", "e") if agg.prop else at
    functions: dict[str, exp.Expr] = {
        "count": exp.Count(this=exp.Star()), "sum": exp.Sum(this=subject), "min": exp.Min(this=subject),
        "max": exp.Max(this=subject), "last_at": exp.Max(this=at.copy()), "first_at": exp.Min(this=at.copy()),
    }  # fmt: skip
    return _filtered(functions[agg.fn], where), boundary


def _filtered(function: exp.Expr, where: list[exp.Expr]) -> exp.Expr:
    return exp.Filter(this=function.copy(), expression=exp.Where(this=all_of(where)))
