"""The auditor's material: the log, and what was sent, each read where it is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from cadenza.audit.auditor import AuditReport, audit
from cadenza.audit.rules import Sent
from cadenza.clock import to_micros
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, OutboxMessage, Record

PAGE = 10_000
"""Records that are read at once."""
_DECIDED = """
SELECT m.message_id, m.origin_pid, v.journey, s.path, m.channel, m.destination, m.address, m.template, m.template_version,
  m.message_class, m.purpose, m.planned_at, m.deliverable, x.message_id IS NOT NULL AS cancelled
FROM message AS m JOIN journey_version AS v ON v.jid = m.jid JOIN journey_step AS s ON s.jid = m.jid AND s.step = m.step
LEFT JOIN cancellation AS x ON x.message_id = m.message_id
"""


class Auditing:
    """Audits one project. ``reading`` gives the store; it is asked for what was decided to be sent, and for nothing else."""

    def __init__(self, log: Log, outbox: SqliteOutbox, reading: Callable[[], AbstractContextManager[Engine]]) -> None:
        self._log, self._outbox, self._reading = log, outbox, reading

    def run(self, progress: Callable[[int, int], None] | None = None) -> AuditReport:
        """Everything that was sent, against everything that was recorded until it was decided. ``progress`` gets records
        read, and records in all. Raises LedgerError, StoreError."""
        # The outbox first: whatever is in it by now was decided before, so the store must know it.
        out = {sent.message.message_id: sent for sent in outbox_sends(self._outbox)}
        with self._reading() as engine, engine.transaction():
            consumed: int = engine.query("SELECT consumed FROM clock")[0][0]
            sends = with_decisions(out, store_sends(engine))
        told = None if progress is None else lambda offset: progress(offset, consumed)
        return audit(lambda: _through(self._log, consumed), sends, told)


def with_decisions(out: dict[str, Sent], decided: list[Sent]) -> list[Sent]:
    """Everything decided, standing where the outbox says; and what only the outbox has."""
    known = {sent.message.message_id for sent in decided}
    stray = [msgspec.structs.replace(sent, decided=False) for mark, sent in out.items() if mark not in known]
    return [_standing(sent, out.get(sent.message.message_id)) for sent in decided] + stray


def _standing(decided: Sent, out: Sent | None) -> Sent:
    """What goes out is what the outbox holds; whom it was planned for, only the store says, since the outbox may have been
    told after a merge. A cancellation counts wherever it is."""
    if out is None or (decided.state == "cancelled" and not out.handed_over):
        return decided
    message = msgspec.structs.replace(out.message, person=decided.message.person)
    return msgspec.structs.replace(out, message=message)


def outbox_sends(outbox: SqliteOutbox) -> Iterator[Sent]:
    """The messages in the outbox; calls of services are none. Raises LedgerError."""
    every = (row for row in outbox.every() if row[0].message_class != "call")
    return (Sent(message=m, state=state, claim_head=head, settled_at=at) for m, state, head, at in every)


def store_sends(engine: Engine) -> list[Sent]:
    """What was decided to be sent, each under the person it was planned for."""
    return [_decided(*row) for row in engine.query(_DECIDED)]


def _decided(*row: Any) -> Sent:
    fields: dict[str, Any] = dict(zip(_COLUMNS, row, strict=False))
    fields |= {"planned_at": to_micros(fields["planned_at"]), "context": ""}
    state = "cancelled" if row[-1] else "ready" if fields["deliverable"] else "replayed"
    return Sent(message=OutboxMessage(**fields), state=state)


_COLUMNS = (
    "message_id", "person", "journey", "step", "channel", "destination", "address", "template", "template_version",
    "message_class", "purpose", "planned_at", "deliverable",
)  # fmt: skip


def _through(log: Log, last: int) -> Iterator[Record]:
    """The records up to an offset."""
    after = 0
    while after < last and (page := log.read(after, min(PAGE, last - after))):
        for record in page:
            if record.offset <= last:
                yield record
        after = page[-1].offset
