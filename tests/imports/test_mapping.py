"""The whitelist of mapping expressions."""

from __future__ import annotations

import pytest

from cadenza.definitions.mapping import check_columns, columns_of, has_aggregate, parse_mapping
from cadenza.errors import ExpressionError

ALLOWED = [
    "list({'sku': sku, 'name': coalesce(trim(name), sku)} order by line_number)",
    "count(*) filter (where quantity > 1)",
    "left(md5(cast(customer as varchar)), 2) < 'd9'",
    "payload ->> '$.items[0]'",
    "case when a like 'C%' then 1 else 2 end",
    "count(distinct (a, b))",
    "try_strptime(a, '%d.%m.%Y')",
    "try_cast(a as decimal(18, 3)) * -1",
    "placed_at + interval '1 day'",
    "zones.time_zone",
]
REFUSED = [
    "*", "a.b.c", "", "a; drop table x", "drop table x", "select 1", "from x", "(select 1)", "a in (select 1)",
    "exists(select 1)", "list(x order by (select 1))", "read_csv('/etc/passwd')", "read_text('x')", "getenv('HOME')",
    "random()", "uuid()", "now()", "current_timestamp", "today()", "row_number() over ()", "lag(a) over (order by b)",
    "unnest(a)", "any_value(a)", "first(a)", "arg_min(a, b)", "list(a)", "string_agg(a, ',')", "a := 1",
    "current_setting('memory_limit')", "nextval('s')", "a collate nocase", "columns(*)", "$1", "?",
]  # fmt: skip


@pytest.mark.parametrize("text", ALLOWED)
def test_allowed(text: str) -> None:
    assert parse_mapping(text) is not None


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(ExpressionError):
        parse_mapping(text)


def test_columns_and_aggregates() -> None:
    tree = parse_mapping("sum(Quantity * price) + min(zones.offset)")
    assert columns_of(tree) == {("", "Quantity"), ("", "price"), ("zones", "offset")}
    assert has_aggregate(tree)
    assert not has_aggregate(parse_mapping("Quantity * price"))


def test_unknown_column_has_a_hint() -> None:
    with pytest.raises(ExpressionError, match="Did you mean 'quantity'"):
        check_columns(parse_mapping("quantty + 1"), ["quantity", "price"], "quantty + 1")
    check_columns(parse_mapping("QUANTITY"), ["quantity"], "QUANTITY")
