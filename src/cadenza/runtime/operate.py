"""What those who run a project look at: the records as they come, and the doctor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from cadenza.clock import Clock
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ledger.quarantine import ReasonCount
from cadenza.runtime.doctor import Doctor, journal_bytes
from cadenza.runtime.measures import Measures
from cadenza.runtime.published_measures import Publisher, published
from cadenza.runtime.tail import Tail, Wanted


class Figures(msgspec.Struct, frozen=True):
    """What the ledger counts: (source, outcome, reason, n), refused records, and bytes that are not in the log yet."""

    tally: list[tuple[str, str, str, int]]
    quarantine: list[ReasonCount]
    journal_bytes: int


class Operate:
    """For use beside a running server: it needs the ledger, never the store."""

    def __init__(
        self, log: SqliteLog, outbox: Callable[[], SqliteOutbox], state: Path, journals: Path, clock: Clock
    ) -> None:
        self._log, self._outbox, self._state, self._journals, self._clock = log, outbox, state, journals, clock

    def tail(self, wanted: Wanted, redact: bool = False) -> Tail:
        """Records as they come."""
        return Tail(self._log, wanted, redact)

    def doctor(self) -> Doctor:
        """What looks for trouble."""
        return Doctor(self._log, self._outbox(), self._state, self._journals, self._clock)

    def figures(self) -> Figures:
        """For metrics: a few reads of small tables, one index scan of the quarantine. Raises LedgerError."""
        waiting = journal_bytes(self._log, self._journals)
        return Figures(self._log.tallies.entries(), self._log.quarantined.counts(), waiting)

    def publisher(self, name: str, measures: Measures) -> Publisher:
        """What tells the measures of the collector ``name``, a process of its own, to the others."""
        return Publisher(self._journals, name, measures)

    def published_measures(self) -> Iterator[tuple[str, str]]:
        """(name, measures as text) of each collector that runs as a process of its own."""
        return published(self._journals, self._clock)
