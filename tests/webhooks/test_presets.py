"""The ready mappings: recorded examples of each system, signed by its recipe, sent through the collector to the log."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from cadenza.clock import from_micros
from cadenza.definitions.kinds import Webhook, WebhookRecord
from cadenza.definitions.presets import preset, preset_names, with_preset
from tests.webhooks.kit import URL, hooks, signed

EXAMPLES = Path(__file__).parent / "examples"
CASES = [
    pytest.param(file.stem, case, id=f"{file.stem}: {case['example']}")
    for file in sorted(EXAMPLES.glob("*.yaml"))
    for case in YAML(typ="safe", pure=True).load(file)
]


def definition(name: str) -> str:
    needs = f"\nurl: {URL}" if preset(name).scheme == "hubspot" else ""
    return f"preset: {name}\nsecrets: env:SECRET{needs}"


def stored(opened: Any) -> list[dict[str, Any]]:
    """What the log holds, in the terms of the examples."""
    found = []
    for record in opened.site.log.read(0, 1_000):
        body = json.loads(record.body)
        body["occurred_at"] = from_micros(body["occurred_at"])
        found.append({"id": record.message_id, **body})
    return found


def expected(case: dict[str, Any]) -> list[dict[str, Any]]:
    wanted = [dict(call) for call in case.get("calls", [])]
    for call in wanted:
        call["occurred_at"] = call["occurred_at"].replace(tzinfo=None)
    return wanted


@pytest.mark.parametrize(("name", "case"), CASES)
def test_a_recorded_webhook_becomes_its_calls(name, case, tmp_path):
    body = case["payload"].encode()
    headers = signed(preset(name).scheme or "", body) | case.get("headers", {})
    with hooks(tmp_path, definition(name)) as opened:
        assert opened.send(body, headers).status == 200
        assert stored(opened) == expected(case)
        refused = [item.reason for item in opened.quarantined()]
        assert refused == ([case["quarantined"]] if "quarantined" in case else [])
        assert tallied(opened) == {f"ignored: {rule}": n for rule, n in case.get("ignored", {}).items()}


@pytest.mark.parametrize(("name", "case"), CASES)
def test_its_redelivery_is_a_duplicate(name, case, tmp_path):
    body = case["payload"].encode()
    headers = signed(preset(name).scheme or "", body) | case.get("headers", {})
    with hooks(tmp_path, definition(name)) as opened:
        for _ in range(3):
            assert opened.send(body, headers).status == 200
        assert len(opened.stored()) == len(case.get("calls", []))
        assert all(item.reason != "conflict" for item in opened.quarantined())


def tallied(opened: Any) -> Counter[str]:
    """Rejections counted in the log, by reason."""
    return Counter({reason: n for (_, reason), n in opened.site.log.rejected_counts().items()})


def test_every_preset_has_examples_and_every_record_one():
    called = {
        (name, call["id"].split(":")[-1] if not call["id"].split(":")[-1].isdigit() else call["id"].split(":")[-2])
        for name, case in ((param.values[0], param.values[1]) for param in CASES)
        for call in case.get("calls", [])
    }
    assert {param.values[0] for param in CASES} == set(preset_names())
    untried = {(name, record.name) for name in preset_names() for record in preset(name).records} - called
    # A closing is mapped as its opening is; the id of a booking is hashed.
    assert untried == {
        ("intercom_tickets", "ticket_closed"), ("intercom_tickets", "conversation_closed"),
        ("calendly_bookings", "meeting_booked"),
    }  # fmt: skip


@pytest.mark.parametrize("name", preset_names())
def test_filling_in_twice_changes_nothing(name):
    once = with_preset(preset(name))
    assert with_preset(once) == once


def test_a_definition_overrides_its_preset_key_by_key():
    base = preset("stripe_invoices")
    mine = with_preset(Webhook(
        preset="stripe_invoices", secrets=("env:S",), window_s=60, ignore=("plan.*",), without=("charge_refunded",),
        records=(
            WebhookRecord(name="invoice_paid", event="Order Completed", properties={"revenue": "0", "extra": "id"}),
            WebhookRecord(name="own", call="identify", topics=("customer.created",), anonymous_id="data.object.id"),
        ),
    ))  # fmt: skip
    assert (mine.scheme, mine.topic, mine.window_s) == ("stripe", "type", 60)
    assert mine.ignore == ("plan.*", *base.ignore)
    assert [record.name for record in mine.records] == ["invoice_paid", "invoice_payment_failed", "own"]
    paid, theirs = mine.records[0], base.records[0]
    assert (paid.event, paid.topics, paid.user_id, paid.traits) == (
        "Order Completed", theirs.topics, theirs.user_id, theirs.traits,
    )  # fmt: skip
    assert paid.properties == {**theirs.properties, "revenue": "0", "extra": "id"}


def test_an_unknown_preset_is_left_for_the_checks():
    assert with_preset(Webhook(preset="shopify")) == Webhook(preset="shopify")
    with pytest.raises(KeyError):
        preset("shopify")
