"""A world lived on the real log, outbox and store, in files: each slice of records is appended, then ticked."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from cadenza.clock import VirtualClock, from_micros
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import OutboxRow, SqliteOutbox
from cadenza.ports.ledger import NewRecord, Record
from cadenza.runtime import tick
from cadenza.runtime.tick import Ticker
from cadenza.simulate.worlds import World, seeded
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.engine import Rows, observe

SLICE = 10
KILLED = (1382, 24, 2)
"""The world that ``test_crash`` kills: merges, messages, cancellations, outcomes, ends by time limit."""


def append(folder: Path, records: Sequence[Record]) -> None:
    """Records to the log as they are, each at its own instant."""
    log = SqliteLog.open(folder / "log.db")
    _append(log, records)
    log.close()


def _append(log: SqliteLog, records: Sequence[Record]) -> None:
    new = [
        NewRecord(kind=r.kind, source=r.source, message_id=r.message_id, body=r.body, at=r.recorded_at)  # type: ignore[arg-type]
        for r in records
    ]
    for record, appended in zip(records, log.append(new, records[-1].recorded_at), strict=True):
        assert (appended.status, appended.offset) == ("stored", record.offset)


def slices(records: Sequence[Record]) -> Iterator[list[Record]]:
    """The log in parts; an outcome begins one, for it comes after its message was handed over."""
    part: list[Record] = []
    for record in records:
        if len(part) == SLICE or (part and record.kind == "outcome"):
            yield part
            part = []
        part.append(record)
    yield part


def live(folder: Path, world: World) -> None:
    """Go on from wherever the files are, to the horizon of the world."""
    log, outbox = SqliteLog.open(folder / "log.db"), SqliteOutbox.open(folder / "outbox.db")
    engine = DuckEngine.open(folder / "store.duckdb", threads=1)
    ticker = Ticker(engine, log, outbox, VirtualClock())
    ticker.run()
    for part in slices(world.records):
        if part[-1].offset > log.head().offset:
            _append(log, part)
            ticker.run()
    ticker.run(from_micros(world.horizon))
    engine.close()
    outbox.close()
    log.close()


def observed(folder: Path, world: World) -> tuple[Rows, list[OutboxRow]]:
    """What the store says, in the model's terms, and what is in the outbox."""
    engine = DuckEngine.open(folder / "store.duckdb", threads=1)
    rows = observe(engine, world.project)
    engine.close()
    outbox = SqliteOutbox.open(folder / "outbox.db")
    messages = outbox.list(100_000)
    outbox.close()
    return rows, messages


if __name__ == "__main__":
    tick.PAGE = 1  # So that a world's few messages take several pages to publish.
    live(Path(sys.argv[1]), seeded(*KILLED))
