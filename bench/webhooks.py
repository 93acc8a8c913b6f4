"""What a webhook costs: verifying it at the door, and mapping it when it is taken into the log.

    python -m bench.webhooks [--small] [--json]

A Shopify order of about 3.6 KB (12 lines; HMAC over the body, 14 expressions) and a HubSpot request of 100 changes. The
baseline is decoding the same payload as JSON, once, with the same library, in the same run.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import statistics
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from bench.figures import Figure, Meter, as_json, run_module
from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.kinds import Source, Webhook
from cadenza.definitions.presets import with_preset
from cadenza.definitions.project import Project
from cadenza.runtime.webhooks import Mapped, Request, Webhooks

SECRET = "a shared secret"
URL = "https://collect.example/v1/webhooks/hooks"
ROUNDS = 15


def shopify() -> tuple[bytes, dict[str, str]]:
    """An order and its headers."""
    line = {"id": 866550311766439020, "product_id": 788032119674292922, "variant_id": 49148385, "sku": "IPOD2008PINK",
            "title": "IPod Nano - 8GB", "quantity": 1, "price": "199.00", "vendor": None, "taxable": True, "grams": 200}  # fmt: skip
    order = {
        "id": 820982911946154508, "name": "#9999", "currency": "USD", "email": "jon@example.com", "financial_status": "paid",
        "total_price": "378.00", "total_tax": "30.00", "total_discounts": "20.00", "updated_at": "2026-11-22T11:59:58-05:00",
        "total_shipping_price_set": {"shop_money": {"amount": "10.00", "currency_code": "USD"}}, "discount_codes": [{"code": "X"}],
        "customer": {"id": 115310627314723954, "first_name": "John", "last_name": "Smith", "email": "jon@example.com"},
        "line_items": [line] * 12, "billing_address": {"zip": "40202", "city": "Louisville"}, "note_attributes": [],
    }  # fmt: skip
    body = as_json(order)
    made = base64.b64encode(hmac.new(SECRET.encode(), body, hashlib.sha256).digest()).decode()
    return body, {"x-shopify-topic": "orders/paid", "x-shopify-hmac-sha256": made}


def hubspot(clock: VirtualClock) -> tuple[bytes, dict[str, str]]:
    """A request of 100 changes and its headers."""
    changes = [
        {"eventId": n, "subscriptionId": 1235, "portalId": 62515, "appId": 54321, "occurredAt": 1795348740124,
         "subscriptionType": "contact.propertyChange", "attemptNumber": 0, "objectId": n, "propertyName": "city",
         "propertyValue": "Louisville", "changeSource": "CRM_UI"}
        for n in range(100)
    ]  # fmt: skip
    body, stamp = as_json(changes), str(to_micros(clock.now()) // 1000)
    signed = f"POST{URL}".encode() + body + stamp.encode()
    made = base64.b64encode(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest()).decode()
    return body, {"x-hubspot-signature-v3": made, "x-hubspot-request-timestamp": stamp}


def door(preset: str, clock: VirtualClock) -> Webhooks:
    """The endpoint of a preset."""
    webhook = with_preset(Webhook(preset=preset, secrets=("env:S",), url=URL))
    project = Project(sources=(Source(name="hooks", kind="webhook", webhook=webhook),))
    return Webhooks(lambda: project, clock, lambda _: SECRET, lambda *_: False)


def micros(act: Callable[[], Any], times: int) -> float:
    """The median cost of one act (µs of processor time)."""
    found = []
    for _ in range(ROUNDS):
        with Meter() as meter:
            for _ in range(times):
                act()
        found.append(meter.cpu_s / times * 1e6)
    return statistics.median(found)


def measured(name: str, webhooks: Webhooks, body: bytes, headers: dict[str, str], now: int, calls: int, times: int) -> list[Figure]:  # fmt: skip
    """The figures of one kind of webhook."""
    request = Request(headers, body)

    def verified() -> object:
        return webhooks.verify("hooks", request, now)

    def mapped() -> Mapped:
        return webhooks.map("hooks", body, headers)

    verified()
    assert len(mapped().decoded.calls) == calls and not mapped().decoded.bad
    bare = micros(lambda: msgspec.json.decode(body), times)
    baseline = f"JSON decode {bare:.1f} µs, {len(body):,} bytes"
    return [
        Figure(bench="webhooks", name=f"{name}: verify", value=(cost := micros(verified, times)), unit="µs",
               baseline=baseline, ratio=cost / bare),
        Figure(bench="webhooks", name=f"{name}: map to {calls} call{'s' if calls > 1 else ''}",
               value=(cost := micros(mapped, times)), unit="µs", baseline=baseline, ratio=cost / bare),
    ]  # fmt: skip


def figures(chosen: argparse.Namespace) -> list[Figure]:
    """All figures."""
    clock, times = VirtualClock(), 2 if chosen.small else 200
    now = to_micros(clock.now())
    return [
        *measured("Shopify order", door("shopify_orders", clock), *shopify(), now, 1, times),
        *measured("HubSpot, 100 changes", door("hubspot_changes", clock), *hubspot(clock), now, 100, max(2, times // 10)),
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(run_module(None, __doc__ or "", figures))
