"""Closures say what the SQL says: generated expressions over generated rows, both ways."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from cadenza.definitions.expression import Binary, Coalesce, Expr, InList, IsNull, Like, Lit, Not, Trait, parse
from cadenza.runtime.closures import Closure, closure, like
from cadenza.sql.columns import SQL_TYPE, Schema
from cadenza.sql.expression import Compiler, Needs, literal
from cadenza.store.duckdb_engine import DuckEngine

TYPES = {
    "i": "integer", "j": "integer", "d": "decimal", "e": "decimal", "s": "string", "u": "string",
    "b": "boolean", "c": "boolean", "t": "timestamp", "v": "timestamp",
}  # fmt: skip
SCHEMA = Schema(
    traits={},
    from_traits=dict(TYPES),
    stored={},
    live={},
    values={},
    properties={},
    segments=(),
    consents=(),
    channels=(),
)
TEXTS = st.text(st.sampled_from("ab%_é\n'"), max_size=6)
INSTANTS = st.integers(0, 10**9).map(lambda n: datetime(2026, 1, 1) + timedelta(microseconds=n * 997))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "integer": st.integers(-1_000, 1_000), "decimal": st.integers(-(10**6), 10**6).map(lambda n: Decimal(n).scaleb(-2)),
    "string": TEXTS, "boolean": st.booleans(), "timestamp": INSTANTS,
}  # fmt: skip
ROWS = st.fixed_dictionaries({name: st.none() | VALUES[kind] for name, kind in TYPES.items()})


def _lit(kind: str) -> st.SearchStrategy[Expr]:
    return VALUES[kind].map(lambda value: Lit(_text(value), kind))  # type: ignore[arg-type]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else value.isoformat(" ") if isinstance(value, datetime) else str(value)  # fmt: skip


def _of(kind: str, depth: int) -> st.SearchStrategy[Expr]:
    """Well-typed expressions of a type."""
    leaves = st.one_of(st.sampled_from([Trait(n) for n, k in TYPES.items() if k == kind]), _lit(kind))
    if depth == 0:
        return leaves
    inner = st.deferred(lambda: _of(kind, depth - 1))
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    forms: list[st.SearchStrategy[Any]] = [leaves, st.builds(Coalesce, several)]
    if kind in ("integer", "decimal"):
        forms.append(st.builds(Binary, st.sampled_from("+-*"), inner, leaves))
    if kind == "boolean":
        below = {other: _of(other, depth - 1) for other in VALUES}
        compared = ["integer", "decimal", "string", "timestamp"]
        forms += [
            st.builds(Not, inner), st.builds(Binary, st.sampled_from(["and", "or"]), inner, inner),
            st.one_of(*below.values()).map(IsNull), st.builds(Like, below["string"], TEXTS),
            *(st.builds(Binary, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), below[k], below[k]) for k in compared),
            st.builds(Binary, st.sampled_from(["=", "<>", "<", ">="]), below["integer"], below["decimal"]),
            st.builds(Binary, st.sampled_from(["=", "<>"]), inner, inner),
            *(st.builds(InList, below[k], st.lists(_lit(k), min_size=1, max_size=3).map(tuple)) for k in VALUES),
        ]  # fmt: skip
    return st.one_of(*forms)


EXPRESSIONS = st.one_of(_of("boolean", 3), _of("decimal", 2), _of("integer", 2), _of("string", 2), _of("timestamp", 2))


def trait_leaf(node: Any) -> Closure:
    """Reads a trait from a row that is a dict."""
    assert isinstance(node, Trait)
    return lambda row: row[node.name]


@pytest.fixture(scope="module")
def engine():
    opened = DuckEngine.open(None)
    yield opened
    opened.close()


def by_sql(engine: DuckEngine, tree: Expr, row: dict[str, Any]) -> Any:
    condition = Compiler(SCHEMA, Needs()).condition(tree).sql(dialect="duckdb")
    columns = ", ".join(f"CAST({_sql(row[n], k)} AS {SQL_TYPE[k]}) AS t_{n}" for n, k in TYPES.items())
    return engine.query(f"SELECT {condition} FROM (SELECT {columns}) AS c")[0][0]


def _sql(value: Any, kind: str) -> str:
    return "NULL" if value is None else literal(Lit(_text(value), kind)).sql(dialect="duckdb")  # type: ignore[arg-type]


@settings(max_examples=250, deadline=None)
@given(tree=EXPRESSIONS, row=ROWS)
def test_closures_and_sql_agree(engine, tree, row):
    assert closure(tree, trait_leaf)(row) == by_sql(engine, tree, row)


@pytest.mark.parametrize("b", [True, False, None])
@pytest.mark.parametrize("c", [True, False, None])
def test_every_truth_table(engine, b, c):
    row = dict.fromkeys(TYPES) | {"b": b, "c": c}
    for text in (
        "b and c", "b or c", "not b", "b = c", "b <> c", "b in (true)", "b in (true, false)", "coalesce(b, c)", "b is null",
        "not (b and c)", "not (b or not c)", "b is true", "b is not false", "(b and c) is null", "(b or c) is null",
    ):  # fmt: skip
        tree = parse(text)
        assert closure(tree, trait_leaf)(row) is by_sql(engine, tree, row), text


def test_written_expressions_agree_too(engine):
    row = {"i": 3, "j": None, "d": Decimal("2.50"), "e": None, "s": "a%b", "u": None, "b": None, "c": False,
           "t": datetime(2026, 1, 2), "v": None}  # fmt: skip
    for text in (
        "i + d * 2 > 7.99", "b or c", "b and c", "not b", "j is null and u is null", "coalesce(u, s) like 'a_b'",
        "i between 1 and 3", "j in (1, 2)", "i in (1, 3)", "b is not true", "t >= timestamp '2026-01-02'",
        "s <> 'a' or u = 'x'", "coalesce(e, d) = 2.5", "c = (j is null)", "(not c) = c", "(i in (1, 2)) = c", "(s like 'a%') <> c",
        "(j is null) in (true)",
    ):  # fmt: skip
        tree = parse(text)
        assert closure(tree, trait_leaf)(row) == by_sql(engine, tree, row), text


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, pattern=TEXTS)
def test_like_agrees(engine, text, pattern):
    found = engine.query(f"SELECT {_sql(text, 'string')} LIKE {_sql(pattern, 'string')}")[0][0]
    assert like(pattern)(text) is found


def test_no_text_makes_like_slow():
    """A pattern of many wildcards over a long text would take a backtracking matcher longer than anybody waits."""
    assert like("%a" * 50 + "%b")("a" * 100_000) is False
