"""Time to come: a copy of the store, run forward by the same tick on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import datetime

from cadenza.clock import VirtualClock
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Head, Log, Record
from cadenza.runtime.tick import Ticker
from cadenza.runtime.trials.backtest import Progressing, Scratch, covers, named, opened_store
from cadenza.runtime.trials.past import NowhereOutbox, assume_delivered, replay
from cadenza.sql.program import Program

Fork = Callable[[Engine], AbstractContextManager[Engine]]


class Ahead:
    """A log of records that have not happened. Offsets go on where the store stands."""

    def __init__(self, consumed: int) -> None:
        self._first, self._records = consumed + 1, list[Record]()

    def add(self, records: Sequence[tuple[int, str, str, bytes]]) -> None:
        """Append (recorded_at in µs, kind, message id, body), in order of time; instants are raised so that they
        strictly increase."""
        at = self._records[-1].recorded_at if self._records else 0
        for wanted, kind, message_id, body in records:
            at = max(at + 1, wanted)
            self._records.append(
                Record(offset=self._first + len(self._records), recorded_at=at, writer="trial", kind=kind, source="trial",
                       message_id=message_id, imported=False, body=body)
            )  # fmt: skip

    def read(self, after: int, limit: int) -> list[Record]:
        """See the port."""
        start = max(after + 1 - self._first, 0)
        return self._records[start : start + limit]

    def head(self) -> Head:
        """See the port."""
        return Head(self._records[-1].offset, self._records[-1].recorded_at) if self._records else Head(0, 0)


@contextmanager
def from_now(
    log: Log, scratch: Scratch, real: Scratch, fork: Fork, at: datetime, progress: Progressing | None
) -> Iterator[Engine]:
    """A store of its own as the real one is at ``at``: a copy, or made from the log where that cannot be had. Messages
    count as handed over when they are decided."""
    with ExitStack() as opened:
        engine = opened_store(opened, real)
        if engine is not None and covers(engine, log, at):
            made = opened.enter_context(fork(engine))
        else:
            made = opened.enter_context(scratch())
            replay(made, log, at, named(progress, "Deciding what really ran"))
        assume_delivered(made)
        yield made


def ticker_on(engine: Engine, ahead: Ahead, copied: Program | None = None) -> Ticker:
    """The tick over records that have not happened; what it publishes goes nowhere. ``copied``: see ``Ticker``."""
    return Ticker(engine, ahead, NowhereOutbox(), VirtualClock(), copied)  # type: ignore[arg-type]
