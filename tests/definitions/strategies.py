"""Generated expressions and projects."""

from __future__ import annotations

import sys
import types
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from hypothesis import strategies as st

from cadenza.definitions import kinds
from cadenza.definitions.expression import (
    Agg,
    Binary,
    Coalesce,
    Consented,
    EventIs,
    Expr,
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
from cadenza.definitions.project import Project

WORDS = st.sampled_from(["orders", "email", "a", "b_2", "order", "group", "Total", "last at", 'x"y', "select", "é"])
TEXTS = st.sampled_from(["", "x", "it's", "100%", "Order Completed", "a\nb", "--", ";", "é"])
LITERALS = st.one_of(
    st.builds(Lit, TEXTS, st.just("string")),
    st.builds(lambda n: Lit(str(n), "integer"), st.integers(-(10**12), 10**12)),
    st.builds(lambda n: Lit(f"{n / 100:.2f}", "decimal"), st.integers(-(10**9), 10**9)),
    st.sampled_from([Lit("true", "boolean"), Lit("false", "boolean")]),
    st.builds(lambda d: Lit(d.isoformat(), "timestamp"), st.dates()),
)
ITEMS = st.lists(LITERALS, min_size=1, max_size=3).map(tuple)
SECONDS = st.integers(1, 10**8)


def _over(leaf: st.SearchStrategy[Expr]) -> st.SearchStrategy[Expr]:
    """Operators over a kind of leaf."""
    return st.recursive(
        leaf,
        lambda inner: st.one_of(
            st.builds(Not, inner), st.builds(IsNull, inner),
            st.builds(Binary, st.sampled_from(["and", "or", "=", "<>", "<", "<=", ">", ">=", "+", "-", "*"]), inner, inner),
            st.builds(InList, inner, ITEMS), st.builds(Like, inner, TEXTS),
            st.builds(Coalesce, st.lists(inner, min_size=2, max_size=3).map(tuple)),
        ),
        max_leaves=8,
    )  # fmt: skip


WHERE = _over(st.one_of(st.builds(Prop, WORDS), LITERALS))
_OPTIONS = {"where": st.none() | WHERE, "within_s": st.none() | SECONDS}
AGGREGATES = st.one_of(
    st.builds(Agg, st.sampled_from(["count", "last_at", "first_at"]), TEXTS, st.none(), **_OPTIONS),
    st.builds(Agg, st.sampled_from(["sum", "min", "max"]), TEXTS, WORDS, **_OPTIONS),
)
EXPRESSIONS: st.SearchStrategy[Expr] = _over(
    st.one_of(
        st.builds(Trait, WORDS), LITERALS, AGGREGATES,
        st.builds(EventIs, TEXTS, st.none() | WHERE), st.builds(InSegment, TEXTS), st.builds(InJourney, TEXTS),
        st.builds(Consented, TEXTS, TEXTS), st.builds(OlderThan, st.builds(Trait, WORDS), SECONDS),
    )
)  # fmt: skip


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**12), 10**12) | TEXTS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
    max_leaves=4,
)


@st.composite
def struct(draw: st.DrawFn, kind: type[msgspec.Struct], depth: int = 2) -> Any:
    """Any value of a struct of ``kinds.py``, by its annotations."""
    return kind(**{name: draw(_of(hint, depth)) for name, hint in _hints(kind).items()})


@cache
def _hints(kind: type[msgspec.Struct]) -> dict[str, Any]:
    hints = get_type_hints(kind, vars(sys.modules[kind.__module__]) | vars(kinds) | {"Step": kinds.Step})
    return {name: hints[name] for name in kind.__struct_fields__}


def _of(hint: Any, depth: int) -> st.SearchStrategy[Any]:
    if hint == Expr:
        return EXPRESSIONS
    if hint is Any:
        return JSON
    if hint == kinds.Step:
        nesting = (kinds.Branch, kinds.Split, kinds.WaitFor, kinds.HandOff, kinds.Call)
        steps = [s for s in get_args(kinds.Step) if depth > 0 or s not in nesting]
        return st.one_of([struct(step, depth - 1) for step in steps])
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if Expr in args or set(get_args(Expr)) <= set(args):
            return st.none() | EXPRESSIONS
        return st.one_of([_of(arg, depth) for arg in args])
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(_of(args[0], depth), max_size=2).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXTS, _of(args[1], depth), max_size=2)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return struct(hint, depth)
    plain = {
        str: TEXTS, int: st.integers(0, 10**9), bool: st.booleans(), type(None): st.none(),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }  # fmt: skip
    return plain[hint]


_KINDS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("sources", kinds.Source), ("contracts", kinds.Contract), ("traits", kinds.TraitDefinition),
    ("segments", kinds.Segment), ("journeys", kinds.Journey), ("templates", kinds.Template),
    ("destinations", kinds.Destination), ("metrics", kinds.Metric),
)  # fmt: skip


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """Any project, valid or not."""
    found = {
        name: tuple(draw(st.lists(struct(kind), max_size=2, unique_by=lambda definition: definition.name)))
        for name, kind in _KINDS
    }
    return Project(name=draw(TEXTS), identity=draw(struct(kinds.Identity)), policy=draw(struct(kinds.Policy)), **found)


PROJECTS = projects()
