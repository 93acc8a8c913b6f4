"""Contracts judge a normalised body alike, whichever way it came in."""

from __future__ import annotations

from typing import Any

import pytest

from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.runtime.contracts import ContractChecker, contracts_in_force

ORDER = Contract(
    name="Order Completed",
    properties={
        "order_id": Property(type="string", required=True, max_length=5),
        "revenue": Property(type="decimal", required=True, minimum=0, maximum=100),
        "currency": Property(type="string", enum=("GBP", "EUR")),
        "placed_at": Property(type="timestamp"),
        "gift": Property(type="boolean"),
        "items": Property(type="array"),
        "note": Property(type="string", personal=True, max_length=3),
    },
)
CHECKER = ContractChecker(Project(contracts=(ORDER, Contract(
    name="identify", properties={"email": Property(type="string", personal=True)}, on_violation="flag",
))))  # fmt: skip


def check(**properties: Any) -> list[str]:
    body = {"type": "track", "event": "Order Completed", "properties": {"order_id": "1", "revenue": 1} | properties}
    return [v.reason for v in CHECKER.check(body)]


def test_whatever_keeps_the_contract_passes() -> None:
    assert check(currency="GBP", placed_at="2026-01-01T00:00:00Z", gift=True, items=[{"sku": 1}], other={"x": 1}) == []


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({"order_id": None}, "contract: Order Completed.order_id required"),
        ({"order_id": ""}, "contract: Order Completed.order_id required"),
        ({"order_id": "123456"}, "contract: Order Completed.order_id maxLength"),
        ({"order_id": 7}, "contract: Order Completed.order_id type"),
        ({"revenue": -0.01}, "contract: Order Completed.revenue minimum"),
        ({"revenue": 100.01}, "contract: Order Completed.revenue maximum"),
        ({"revenue": "12"}, "contract: Order Completed.revenue type"),
        ({"currency": "USD"}, "contract: Order Completed.currency enum"),
        ({"placed_at": "yesterday"}, "contract: Order Completed.placed_at format"),
        ({"gift": "yes"}, "contract: Order Completed.gift type"),
        ({"items": {}}, "contract: Order Completed.items type"),
    ],
)
def test_each_rule(properties: dict[str, Any], reason: str) -> None:
    assert check(**properties) == [reason]


@pytest.mark.parametrize("absent", [None, ""])
def test_null_and_empty_are_absent(absent: Any) -> None:
    assert check(currency=absent, gift=absent, placed_at=absent) == []


def test_messages_name_the_rule_and_hide_personal_values() -> None:
    body = {
        "type": "track",
        "event": "Order Completed",
        "properties": {"order_id": "1", "revenue": -5, "note": "secret"},
    }
    messages = " ".join(v.message for v in CHECKER.check(body))
    assert "revenue must be at least 0; it is -5." in messages
    assert "secret" not in messages


def test_identify_is_judged_by_its_traits() -> None:
    violations = CHECKER.check({"type": "identify", "userId": "1", "traits": {"email": 5}})
    assert [(v.reason, v.action) for v in violations] == [("contract: identify.email type", "flag")]
    assert CHECKER.check({"type": "identify", "userId": "1"}) == []


def test_a_record_without_contract_is_not_judged() -> None:
    assert CHECKER.check({"type": "track", "event": "Something Else", "properties": {"revenue": "x"}}) == []
    assert not CHECKER.covers("track", "Something Else")
    assert CHECKER.covers("track", "Order Completed") and CHECKER.covers("identify", None)


def test_properties_that_are_no_object() -> None:
    [violation] = CHECKER.check({"type": "track", "event": "Order Completed", "properties": [1]})
    assert violation.reason == "contract: Order Completed.properties type"


def test_builtin_contracts_hold_and_can_only_be_added_to() -> None:
    [violation] = CHECKER.check({"type": "track", "event": "Consent Updated", "properties": {
        "purpose": "marketing", "channel": "email", "granted": "yes",
    }})  # fmt: skip
    assert (violation.property, violation.action) == ("granted", "quarantine")
    own = Contract(name="Consent Updated", properties={
        "granted": Property(type="string"), "campaign": Property(type="string", required=True),
    })  # fmt: skip
    merged = contracts_in_force(Project(contracts=(own,)))["Consent Updated"]
    assert merged.properties["granted"].type == "boolean"
    assert merged.properties["campaign"].required


def test_a_page_is_judged_as_page_viewed() -> None:
    page = Contract(name="Page Viewed", properties={"section": Property(type="string", required=True)})
    checker = ContractChecker(Project(contracts=(page,)))
    assert [v.property for v in checker.check({"type": "page", "properties": {"path": "/"}})] == ["section"]
