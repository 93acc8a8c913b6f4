"""The auditor over what the engine did with a generated world."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cadenza.audit.auditor import AuditReport, audit
from cadenza.audit.rules import Sent
from cadenza.ports.ledger import Record
from cadenza.runtime.audit import store_sends, with_decisions
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.engine import HeldOutbox


def audited(records: Sequence[Record], engine: DuckEngine, outbox: HeldOutbox) -> AuditReport:
    """Worlds have no delivery: a message counts as handed over just before the first record that reports on it, unless a
    kill switch was closed somewhere then, which the records do not heed."""
    reported: dict[str, int] = {}
    closed: set[tuple[str | None, str | None]] = set()
    for record in records:
        body = msgspec.json.decode(record.body)
        reach = (body.get("journey"), body.get("channel"))
        if record.kind == "command" and body["command"] in ("kill", "release"):
            (closed.add if body["command"] == "kill" else closed.discard)(reach)
        if record.kind == "outcome" and not closed:
            reported.setdefault(body["properties"]["message_id"], record.offset - 1)
    out = {}
    for mark, message in outbox.messages.items():
        if message.message_class == "call":
            continue
        cancelled, claimed = mark in outbox.cancellations, mark in reported
        state = "cancelled" if cancelled else "sent" if claimed and message.deliverable else "ready"
        out[mark] = Sent(message=message, state=state, claim_head=reported.get(mark, 0))
    return audit(lambda: records, with_decisions(out, store_sends(engine)))
