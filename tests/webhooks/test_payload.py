"""The payload language: what may be said, what type it has, and what it makes of a payload."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from cadenza.definitions.payload_types import PayloadScope, Want, read_payload
from cadenza.errors import ExpressionError
from cadenza.runtime.closures import closure
from cadenza.runtime.webhooks.conversions import Unmappable
from cadenza.runtime.webhooks.mapping import _leaf, _Row
from tests.webhooks.test_closures import TEXTS

PAYLOAD = {
    "id": 7, "name": "Ann", "empty": "", "nothing": None, "price": "19.90", "rate": 0.1, "paid": True, "count": 3,
    "at": "2026-11-22T10:00:00+02:00", "created": 1700000000, "created_ms": 1700000000123, "cents": 1999, "big": 2**63,
    "customer": {"email": "Ann@X.example", "order": {"id": 1}}, "a key": 1, "tags": ["x", "y"],
    "lines": [{"sku": "a", "n": 2, "price": "1.50"}, {"sku": "b", "n": 1, "price": "2.25"}, {"sku": "c", "price": None}],
    "payload": {"payload": "inner"}, "item": "field", "yes": "TRUE", "uri": "https://x.example/e/1/i/2",
}  # fmt: skip


def value_of(text: str, want: Want = "value", scope: PayloadScope = PayloadScope(item=True)):  # noqa: B008
    row = _Row(PAYLOAD, {"id": 9, "n": "4"}, None, {"x-topic": "t"})
    return closure(read_payload(text, want, scope), _leaf)(row)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("id", 7), ("customer.email", "Ann@X.example"), ('customer."order".id', 1), ("payload.customer.order.id", 1),
        ("payload['a key']", 1), ("tags[0]", "x"), ("tags[-1]", "y"), ("tags[2]", None), ("tags[-3]", None),
        ("lines[1].sku", "b"), ("missing.deep.path", None), ("id.deeper", None), ("tags.name", None), ("empty", None),
        ("nothing", None), ("payload.payload.payload", "inner"), ("payload.item", "field"), ("item.id", 9),
        ("text(id)", "7"), ("text(rate)", "0.1"), ("text(paid)", "true"), ("decimal(price)", Decimal("19.90")),
        ("decimal(rate)", Decimal("0.1")), ("integer(item.n)", 4), ("integer(price) is null or true", None),
        ("boolean(yes)", True), ("timestamp(at)", datetime(2026, 11, 22, 8)), ("big", 2**63),
        ("epoch_seconds(created)", datetime(2023, 11, 14, 22, 13, 20)),
        ("epoch_millis(created_ms)", datetime(2023, 11, 14, 22, 13, 20, 123000)),
        ("minor_units(cents)", Decimal("19.99")), ("minor_units(cents, 'JPY')", Decimal(1999)),
        ("minor_units(cents, 'kwd')", Decimal("1.999")), ("lower(customer.email)", "ann@x.example"),
        ("upper(name)", "ANN"), ("trim('  x ')", "x"), ("replace(name, 'n', 'm')", "Amm"),
        ("split_part(uri, '/', -1)", "2"), ("split_part(uri, '/', 4)", "e"), ("split_part(uri, '/', 99)", None),
        ("'n-' || id || '-' || item.id", "n-7-9"), ("'n-' || nothing", None), ("size(lines)", 3), ("size(missing)", None),
        ("sum_of(lines, price)", Decimal("3.75")), ("sum_of(lines, price * n)", Decimal("5.25")),
        ("sum_of(lines, price, where => sku = 'b')", Decimal("2.25")), ("sum_of(lines, price, where => sku = 'z')", None),
        ("count_of(lines)", 3), ("count_of(lines, where => n >= 2)", 1), ("count_of(missing)", 0),
        ("pick(lines[0], 'sku', 'n')", {"sku": "a", "n": 2}), ("pick(lines, 'n')", [{"n": 2}, {"n": 1}, {}]),
        ("header('X-Topic')", "t"), ("header('x-other')", None), ("coalesce(empty, nothing, name)", "Ann"),
        ("count > 2", True), ("count > 2.5", True), ("price > 19", True), ("'19.90' = price", True), ("id = tags[0]", False),
        ("name = 'Ann' and paid", True), ("not paid", False), ("name like 'A%'", True), ("name in ('Ann', 'Bob')", True),
        ("count in (1, 3)", True), ("at >= timestamp '2026-11-22 08:00:00'", True), ("missing = 'x'", None),
        ("count between 1 and 3", True), ("count + 1", Decimal(4)), ("size(lines) + 1", 4), ("price * 2", Decimal("39.80")), ("1 + 2", 3),
    ],
)  # fmt: skip
def test_what_an_expression_gives(text, value):
    if text.startswith("integer(price)"):
        with pytest.raises(Unmappable):
            value_of(text)
    else:
        found = value_of(text)
        assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "want", "problem"),
    [
        ("ordr(id)", "value", "There is no function 'ordr' in the expression 'ordr(id)'."),
        ("lowr(id)", "value", "There is no function 'lowr' in the expression 'lowr(id)'. Did you mean 'lower'?"),
        ("(select 1)", "value", "'(SELECT 1)' is not allowed"), ("current_timestamp", "value", "is not allowed"),
        ("cast(id as integer)", "value", "is not allowed"), ("count(id)", "value", "is not allowed"),
        ("id +", "value", "is not an expression"), ("trim(id, 'x')", "value", "trim() in"),
        ("sum_of(lines)", "value", "sum_of() in 'sum_of(lines)' takes 2 argument(s)."),
        ("pick(lines, sku)", "value", "pick() wants quoted names"), ("header(name)", "value", "header() wants a quoted name"),
        ("split_part(a, '/', 0)", "value", "not 0"), ("split_part(a, '/', b)", "value", "is a number, not 0"),
        ("a[b]", "value", "An index is a number or a quoted name"),
        ("lower(a).b", "value", "is not a path"), ("a < b", "condition", "'<' cannot order 'a' and 'b', which may be anything."),
        ("name", "array", None), ("lower(name)", "array", "is not the path of an array"),
        ("size(lines)", "condition", "A condition is expected, but size(lines) is of type integer."),
        ("size(lines)", "instant", "Write epoch_seconds(size(lines)) or epoch_millis(size(lines))."),
        ("epoch_seconds(a) and b", "condition", "'and' joins conditions, but epoch_seconds(a) is of type timestamp."),
        ("lower(a) + 1", "value", "'+' computes with numbers, but lower(a) is of type string."),
        ("lower(a) > 1", "condition", "'>' compares lower(a) (string) with 1 (integer)."),
        ("boolean(a) < true", "condition", "'<' does not order truth values"),
        ("epoch_seconds(a) = '2026-01-01'", "condition", "Write timestamp '2026-01-01'."),
        ("coalesce(lower(a), size(b))", "value", "coalesce mixes integer and string."),
        ("boolean(size(a))", "value", "boolean() wants boolean, but size(a) is of type integer"),
        ("timestamp(a) like 'x'", "condition", "like compares text"), ("a = timestamp 'soon'", "condition", "'soon' is not an instant."),
        ("x" * 5000, "value", "longer than 4,000 characters"), ("not " * 150 + "a", "condition", "nested more than 100"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_words(text, want, problem):
    if problem is None:
        read_payload(text, want, PayloadScope())
        return
    with pytest.raises(ExpressionError) as raised:
        read_payload(text, want, PayloadScope())
    assert problem in str(raised.value)


def test_item_needs_an_each():
    with pytest.raises(ExpressionError, match="There is no 'item' here"):
        read_payload("item.id", "text", PayloadScope())


def test_a_declared_field_has_its_type():
    scope = PayloadScope({"price": "decimal", "customer.email": "string", "item.n": "integer"}, item=True)
    assert value_of("price", scope=scope) == Decimal("19.90")
    assert value_of("item.n", scope=scope) == 4
    with pytest.raises(ExpressionError, match=r"'price' \(decimal\)"):
        read_payload("price = 'x'", "condition", scope)
    with pytest.raises(ExpressionError, match=r"epoch_seconds\(price\)"):
        read_payload("price", "instant", scope)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("decimal(name)", "a number was expected, not a text"),
        ("decimal(lines)", "not an array"),
        ("decimal(paid)", "not a truth value"),
        ("integer(rate)", "a whole number was expected"),
        ("boolean(name)", "true or false was expected, not a text"),
        ("boolean(id)", "not a number"),
        ("timestamp(name)", "a date and time was expected, not a text"),
        ("timestamp(id)", "not a number"),
        ("text(customer)", "a text was expected, not an object"),
        ("text(tags)", "not an array"),
        ("epoch_seconds(big * big * big)", "not so large a number"),
        ("size(name)", "an array was expected, not a text"),
        ("sum_of(name, x)", "an array was expected"),
        ("sum_of(lines, sku)", "a number was expected, not a text"),
    ],
)
def test_what_does_not_fit_is_told_without_the_value(text, found):
    with pytest.raises(Unmappable) as raised:
        value_of(text)
    assert found in str(raised.value)
    assert "Ann" not in str(raised.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "id"]), inner, max_size=3),
    max_leaves=10,
)
CALLS = [
    "text(a)", "integer(a)", "decimal(a)", "boolean(a)", "timestamp(a)", "epoch_seconds(a)", "epoch_millis(a)",
    "minor_units(a, b)", "lower(a)", "split_part(a, 'x', 2)", "replace(a, b, 'x')", "pick(a, 'b')", "size(a)",
    "sum_of(a, b)", "count_of(a, where => b = 'x')", "a || b", "a.b[0].id", "a[-1]", "a = b", "a > 1", "a like 'x%'",
    "a in ('x', 'y')", "coalesce(a.b, b)", "a and b", "a + b",
]  # fmt: skip


@given(payload=JSON, text=st.sampled_from(CALLS))
def test_any_payload_gives_a_value_or_is_unmappable(payload, text):
    """Nothing else is ever raised, whatever another system sends."""
    compute = closure(read_payload(text, "value", PayloadScope()), _leaf)
    try:
        compute(_Row(payload, None, None, {}))
    except Unmappable as error:
        assert "expected" in str(error)
