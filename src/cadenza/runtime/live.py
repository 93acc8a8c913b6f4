"""The live tick: decide what came and what is due by the clock, and do nothing when there is nothing.

Timers may be handled up to an instant only when no record can come before it any more. The log's fence promises
that, so every tick with a horizon is behind a fence.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from cadenza.clock import Clock, from_micros, to_micros
from cadenza.errors import OperatingError, StoreError
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log
from cadenza.runtime.tick import Progress, Ticker, TickReport


class Live:
    """One ticker against the clock. One thread uses it."""

    def __init__(self, ticker: Ticker, engine: Engine, log: Log, clock: Clock) -> None:
        if ticker.consumed() > log.head().offset:
            raise StoreError(
                f"the store has decided records up to offset {ticker.consumed()}, but the log ends at {log.head().offset}.",
                where="store.duckdb", remedy="If the log is the right one, 'cadenza rebuild' makes the store anew from it.",
            )  # fmt: skip
        self._ticker, self._engine, self._log, self._clock = ticker, engine, log, clock
        self._more = True
        self._rehearsed = False
        self._next_due: datetime | None = None

    def step(self, max_records: int = 10_000) -> TickReport | None:
        """One tick up to the present; None when no record waits and no timer is due. Cheap then: one look at the log."""
        now = self._clock.now()
        waiting = self._log.head().offset > self._ticker.consumed()
        if not waiting and not self._more and (self._next_due is None or self._next_due > now):
            self._rehearse()
            return None
        report = self._ticker.tick(self._fenced(now), max_records)
        # Only a tick changes the store, so what is due next holds until the next tick.
        self._more, self._next_due = report.more, self._ticker.next_timer()
        return report

    def _rehearse(self) -> None:
        """Once, in the first idle moment: the first record that comes then finds its SQL generated."""
        if not self._rehearsed:
            self._rehearsed = True
            self._ticker.rehearse()

    def run(self, until: datetime | None, progress: Callable[[Progress], None] | None = None) -> TickReport:
        """Ticks until the log is consumed and timers up to ``until`` are done; None: no further than the last record.
        Raises OperatingError when ``until`` has not come yet: what happens before it is not known."""
        if until is not None:
            if until > self._clock.now():
                raise OperatingError(
                    f"{until} (UTC) has not come yet.",
                    remedy="Nobody knows what will happen until then; name an earlier instant.",
                )
            self._fenced(until)
        else:
            self._log.head()  # what collectors have accepted comes into the log first
        return self._ticker.run(until, progress)

    def _fenced(self, instant: datetime) -> datetime:
        return from_micros(self._log.fence(to_micros(instant)))
