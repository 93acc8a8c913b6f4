"""The eight calls that every client makes, and what must be stored of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from cadenza.clock import to_micros

WHEN = datetime(2026, 1, 15, 12, tzinfo=UTC)
WHEN_US = to_micros(WHEN.replace(tzinfo=None))
LARGEST = 2**53 - 1
"""The largest integer that JavaScript counts exactly; Python's clients send a larger one."""

Call = dict[str, Any]

AWKWARD = {"漢字": "naïve 🎈", "zero": 0, "no": False, "blank": "", "none": None, "inside": {"none": None, "blank": ""}}


def calls(big: int) -> list[Call]:
    """The calls, in the form of the specification. The last one is anonymous, where a client knows such a thing."""
    traits = {
        "email": "Ann.Lee@Example.com", "firstName": "Ann", "mrr": 49.5, "tags": ["a", "b"], "big": big, "none": None, "blank": "",
        "address": {"city": "Zürich", "country": "CH"}, "createdAt": "2025-01-01T00:00:00Z",
    }  # fmt: skip
    order = {
        "order_id": "o-1", "revenue": 99.9, "currency": "EUR", "big": big, "coupon": None, "note": "",
        "products": [{"product_id": "p1", "price": 49.95, "quantity": 2}], "nested": {"x": 1, "y": ["é", "漢字"]},
    }  # fmt: skip
    return [
        {"type": "identify", "userId": "user-1", "traits": traits},
        {"type": "track", "userId": "user-1", "event": "Order Completed", "properties": order},
        {"type": "page", "userId": "user-1", "category": "Docs", "name": "Home", "properties": {"section": "top"}},
        {"type": "screen", "userId": "user-1", "name": "Start", "properties": {"variant": 1}},
        {"type": "group", "userId": "user-1", "groupId": "group-1", "traits": {"name": "Acme", "employees": 12, "none": None}},
        {"type": "alias", "userId": "user-1", "previousId": "anon-1"},
        {"type": "track", "userId": "7", "event": "Awkward", "properties": AWKWARD},
        {"type": "track", "anonymousId": "anon-2", "event": "Product Viewed", "properties": {"sku": "S1", "big": -big}},
    ]  # fmt: skip


def stored_form(call: Call) -> Call:
    """What the log holds of a call, without context and time."""
    stored = {
        name: value
        for name, value in call.items()
        if name in ("type", "userId", "anonymousId", "event", "previousId", "groupId")
    }
    properties = _present(call.get("properties"))
    if call["type"] in ("page", "screen"):
        properties = _present({name: call.get(name) for name in ("name", "category")}) | properties
    traits = _present(call.get("traits"))
    if call["type"] == "group":
        properties, traits = traits, {}
    return stored | ({"properties": properties} if properties else {}) | ({"traits": traits} if traits else {})


def _present(values: dict[str, Any] | None) -> dict[str, Any]:
    return {name: value for name, value in (values or {}).items() if value is not None and value != ""}
