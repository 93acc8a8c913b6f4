"""A webhook that was accepted and not yet read when the process died means the same after the restart."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from cadenza.clock import VirtualClock
from cadenza.definitions.starter import write_starter
from cadenza.runtime.receipt import write_receipt
from cadenza.runtime.webhooks import request_of
from cadenza.workspace import Workspace
from tests.collect.asgi import NOW, RECEIVED
from tests.webhooks.kit import SECRET, signed

PAYLOAD = json.dumps({
    "id": 5, "updated_at": "2026-11-22T11:30:00Z", "currency": "EUR", "email": "ann@example.com",
    "financial_status": "paid", "total_price": "19.99",
}).encode()  # fmt: skip


def test_it_is_mapped_by_the_project_in_force(tmp_path: Path) -> None:
    write_starter(tmp_path)
    (tmp_path / "secret.txt").write_text(SECRET)
    source = (
        f"source: orders\nkind: webhook\nwebhook:\n  preset: shopify_orders\n  secrets: 'file:{tmp_path}/secret.txt'\n"
    )
    (tmp_path / "sources" / "orders.yaml").write_text(source)
    headers = signed("shopify", PAYLOAD) | {"X-Shopify-Topic": "orders/paid"}
    with Workspace.open(tmp_path, VirtualClock(NOW)) as workspace:
        workspace.apply()
        workspace.tick()
        collector = workspace.collector()
        request = request_of([(n.encode(), v.encode()) for n, v in headers.items()], b"", PAYLOAD)
        receipt = workspace.webhooks.verify("orders", request, RECEIVED)
        asyncio.run(collector.keep(RECEIVED, write_receipt(receipt), PAYLOAD))
        collector.close()
    with Workspace.open(tmp_path, VirtualClock(NOW)) as workspace:
        workspace.run()
        found = workspace.query("SELECT name, p_revenue FROM event")
        assert [(row["name"], float(row["p_revenue"])) for row in found] == [("Order Completed", 19.99)]
        person = workspace.query("SELECT t_email FROM profile")
        assert [row["t_email"] for row in person] == ["ann@example.com"]
