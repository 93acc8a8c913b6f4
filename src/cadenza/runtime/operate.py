"""What those who run a project look at: the records as they come, and the doctor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from cadenza.clock import Clock
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.runtime.doctor import Doctor
from cadenza.runtime.tail import Tail, Wanted


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
