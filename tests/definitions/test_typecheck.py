"""Types of expressions and of columns, as the SQL compiler reads them."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings

from cadenza.definitions.check import check, property_types, scope_of, trait_types, type_of
from cadenza.definitions.expression import Expr, parse, parse_where
from cadenza.definitions.kinds import Contract, Property, Segment, TraitDefinition
from cadenza.definitions.project import Project
from cadenza.errors import ExpressionError
from tests.definitions.strategies import EXPRESSIONS, PROJECTS

PROJECT = Project(
    contracts=(
        Contract(name="Order Completed", properties={
            "revenue": Property(type="decimal"), "quantity": Property(type="integer"), "code": Property(type="string"),
            "gift": Property(type="boolean"), "due": Property(type="timestamp"), "products": Property(type="array"),
        }),
        Contract(name="identify", properties={"revenue": Property(type="string")}),
        Contract(name="page", properties={"depth": Property(type="integer")}),
    ),
    traits=(
        TraitDefinition(name="orders", type="integer", value=parse("events('Order Completed')")),
        TraitDefinition(name="revenue", type="decimal", from_="traits.revenue"),
        TraitDefinition(name="email", type="string", from_="traits.email"),
        TraitDefinition(name="vip", type="boolean", from_="traits.vip"),
        TraitDefinition(name="seen", type="timestamp", from_="traits.seen"),
    ),
)  # fmt: skip
SCOPE = scope_of(PROJECT)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("orders", "integer"), ("orders + 1", "integer"), ("orders + 1.0", "decimal"), ("orders * revenue", "decimal"),
        ("orders > 1.5", "boolean"), ("revenue = orders", "boolean"), ("events('Order Completed')", "integer"),
        ("sum_of('Order Completed', quantity)", "integer"), ("sum_of('Order Completed', revenue)", "decimal"),
        ("min_of('Order Completed', code)", "string"), ("max_of('Order Completed', due)", "timestamp"),
        ("last_at('Order Completed')", "timestamp"), ("coalesce(orders, 1.5)", "decimal"),
        ("coalesce(email, 'x')", "string"), ("vip", "boolean"), ("not vip", "boolean"), ("email is null", "boolean"),
        ("seen > timestamp '2026-01-01 10:00:00'", "boolean"), ("older_than(seen, '2 days')", "boolean"),
        ("events('Page Viewed', where => depth > 2 and path like '/a%') > 0", "boolean"),
        ("email in ('a', 'b')", "boolean"), ("orders between 1 and 2.5", "boolean"), ("vip is true", "boolean"),
        ("events('Order Completed', where => gift) > 0", "boolean"), ("'text'", "string"), ("-1.5", "decimal"),
    ],
)  # fmt: skip
def test_the_type_of_an_expression(text: str, kind: str) -> None:
    assert type_of(parse(text), SCOPE) == kind


def test_the_first_error_is_raised() -> None:
    with pytest.raises(ExpressionError, match=r"Unknown trait 'ordrs'.*Did you mean 'orders'"):
        type_of(parse("ordrs > 1"), SCOPE)


def test_properties_are_read_of_the_event_at_hand() -> None:
    scope = msgspec.structs.replace(SCOPE, trigger="Order Completed")
    assert type_of(parse_where("revenue"), scope) == "decimal"
    with pytest.raises(ExpressionError, match="no property 'email'"):
        type_of(parse_where("email"), scope)


def test_events_are_for_goals_and_waits() -> None:
    tree = parse("event('Order Completed', where => revenue > 5)")
    with pytest.raises(ExpressionError, match="only while"):
        type_of(tree, SCOPE)
    assert type_of(tree, msgspec.structs.replace(SCOPE, event_allowed=True)) == "boolean"


def test_columns_of_traits_and_properties() -> None:
    assert trait_types(PROJECT) == {
        "orders": "integer", "revenue": "decimal", "email": "string", "vip": "boolean", "seen": "timestamp",
    }  # fmt: skip
    types = property_types(PROJECT)
    assert types["revenue"] == "decimal", "the trait of the same name in identify is no property"
    assert types["depth"] == "integer"
    assert "products" not in types
    assert types["granted"] == "boolean"
    assert "path" not in types


def test_properties_of_built_in_events_are_columns_once_used() -> None:
    used = Segment(name="a", when=parse("events('Page Viewed', where => path = '/x') > 0"))
    assert property_types(msgspec.structs.replace(PROJECT, segments=(used,)))["path"] == "string"


@settings(max_examples=150, deadline=None)
@given(EXPRESSIONS)
def test_any_expression_has_a_type_or_an_error(tree: Expr) -> None:
    try:
        found = type_of(tree, SCOPE)
    except ExpressionError as error:
        assert error.what
    else:
        assert found in ("string", "integer", "decimal", "boolean", "timestamp")


@settings(max_examples=30, deadline=None)
@given(PROJECTS)
def test_any_project_can_be_checked(project: Project) -> None:
    problems, warnings = check(project)
    for problem in (*problems, *warnings):
        assert problem.what.endswith((".", "'", ":")) or problem.what
        assert str(problem)
