"""The language: what parses, what is refused, and that nothing else happens."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings, strategies as st

from cadenza.definitions.expression import Expr, Trait, parse, parse_where, walk
from cadenza.definitions.expression_text import write
from cadenza.errors import ExpressionError
from tests.definitions.strategies import EXPRESSIONS, WHERE

TOKENS = st.sampled_from(
    [
        "orders",
        "email",
        "events(",
        "sum_of(",
        "event(",
        "in_segment(",
        "consented(",
        "older_than(",
        "coalesce(",
        ")",
        ",",
        "=>",
        "where",
        "within",
        "'30",
        "days'",
        "'x'",
        "3",
        "4.5",
        "1e5",
        "and",
        "or",
        "not",
        "=",
        "<>",
        "<",
        ">=",
        "+",
        "-",
        "*",
        "/",
        "%",
        "in",
        "(",
        "is",
        "null",
        "like",
        "between",
        "true",
        "false",
        "timestamp",
        "date",
        "select",
        "from",
        ";",
        "--",
        "/*",
        "'",
        '"',
        "::",
        ".",
        "?",
        "$1",
        "@",
        "case",
        "when",
        "then",
        "end",
        "exists",
        "interval",
        "[",
        "]",
        "{",
        "}",
        "->",
        "->>",
        "||",
        "~",
        "lambda",
        "x:",
        "*",
        ",",
        "null",
        "cast(",
        "as",
        "current_date",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(TOKENS, max_size=14).map(" ".join), st.text(max_size=40)))
@example("(" * 2000 + "a" + ")" * 2000)
@example("not " * 900 + "a")
@example(" or ".join(["a"] * 700))
@example("-" * 500 + "1")
@example("cast('x' as timestamp)")
@example("a in ()")
@example("sum_of('x', )")
@example("event()")
@example("events(where => a)")
@example("a = 'x' 'y'")
@example("''")
@example("$$")
def test_any_text_parses_or_is_refused_as_an_expression_error(text: str) -> None:
    for parsing in (parse, parse_where):
        try:
            parsing(text)
        except ExpressionError as error:
            assert error.what


@settings(max_examples=200, deadline=None)
@given(EXPRESSIONS)
def test_an_expression_survives_being_written_and_parsed(tree: Expr) -> None:
    assert parse(write(tree)) == tree


@settings(max_examples=200, deadline=None)
@given(WHERE)
def test_a_where_survives_being_written_and_parsed(tree: Expr) -> None:
    assert parse_where(write(tree)) == tree


@pytest.mark.parametrize(
    "text",
    [
        "(select 1)", "exists (select 1)", "case when a then b end", "a in (select b)", "read_csv('/etc/passwd')",
        "getenv('HOME')", "now() > a", "current_date > a", "random() > 1", "a.b = 1", "a ~ 'x'", "a similar to 'x'",
        "a ilike 'x'", "a / 2 > 1", "a % 2 = 1", "a || b = 'x'", "a -> b", "a::int = 1", "*", "a, b", "a; b",
        "x -> x + 1", "[1, 2]", "{'a': 1}", "a[1]", "row_number() over ()", "$1 = 1", "? = 1", "null",
        "a in (b)", "a in (null)", "a like b", "a like 'x' escape '!'", "events(a)", "events('a', within => 3)",
        "events('a', were => b)", "sum_of('a', 'b')", "sum_of('a', b.c)", "older_than(a, 3)",
        "events('a', where => in_segment('b'))", "events('a', where => events('b') > 0)",
    ],
)  # fmt: skip
def test_what_the_language_does_not_have_is_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse(text)


def test_a_where_reads_properties_and_the_rest_reads_traits() -> None:
    tree = parse("orders > 1 and events('E', where => orders > 1) > 0")
    assert [node.name for node in walk(tree) if isinstance(node, Trait)] == ["orders"]


def test_long_and_deep_expressions_are_refused() -> None:
    with pytest.raises(ExpressionError, match="longer than"):
        parse("a" * 5000)
    with pytest.raises(ExpressionError, match="nested"):
        parse(" or ".join(["a"] * 150))
