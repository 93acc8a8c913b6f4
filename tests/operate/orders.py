"""A log whose contract wants orders of at least nothing, and what a shop sends to it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from cadenza.clock import VirtualClock, from_micros, to_micros
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.normalise import Normaliser
from cadenza.runtime.quarantine import Quarantine
from cadenza.runtime.wire import decode

NOW = 1_800_000_000_000_000


def project(least: float = 0) -> Project:
    """A project that wants a ``revenue`` of at least ``least`` of each order."""
    revenue = Property(type="decimal", minimum=least)
    return Project(name="shop", contracts=(Contract(name="Order", properties={"revenue": revenue}),))


class Shop:
    """A collector, its log and its quarantine, without threads."""

    def __init__(self, path: Path, least: float = 0) -> None:
        self.path, self.project = path, project(least)
        self.clock = VirtualClock(from_micros(NOW))
        self._normaliser = Normaliser(lambda: self.project)
        self._open()

    def _open(self) -> None:
        self.log = SqliteLog.open(self.path)
        self.quarantine = Quarantine(self.log, lambda: self.project, self.clock)

    def reopen(self) -> None:
        """As the next process would."""
        self.log.close()
        self._open()

    def want(self, least: float) -> None:
        """Deploy another contract."""
        self.project = project(least)

    def later(self, seconds: int) -> None:
        """Let time pass."""
        self.clock.advance_to(from_micros(self.now + seconds * 1_000_000))

    @property
    def now(self) -> int:
        return to_micros(self.clock.now())

    def send(self, *calls: Any, source: str = "web", **envelope: Any) -> None:
        """Collect one batch."""
        body = json.dumps({"batch": list(calls), **envelope}).encode()
        prepared = self._normaliser.prepare(decode(body, batch=True), source, self.now)
        self.log.write([prepared.batch], prepared.refused, self.now)

    def stored(self) -> list[tuple[str, dict[str, Any]]]:
        """(message id, body) of everything in the log."""
        return [(record.message_id, json.loads(record.body)) for record in self.log.read(0, 10_000)]

    def conserved(self) -> None:
        """Assert that everything is accounted for, over all, by source and by minute."""
        total = self.log.stored_counts()
        assert total.conserved, total
        for counts in self.log.source_counts().values():
            assert counts.conserved, counts
        for minute in self.log.tallies.minutes():
            assert minute.counts.conserved, minute
        assert total.stored == self.log.head().offset
        assert total.quarantined == sum(self.log.quarantine_counts().values())


def order(message_id: str | None, revenue: Any, **more: Any) -> dict[str, Any]:
    """A track call."""
    call = {"type": "track", "event": "Order", "userId": "u1", "properties": {"revenue": revenue}, **more}
    return call if message_id is None else call | {"messageId": message_id}
