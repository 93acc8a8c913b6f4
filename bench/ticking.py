"""A ticker with everything in memory but its store, that counts what it does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec

from bench.figures import as_json
from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Head, OutboxMessage, Record
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.tick import Ticker
from cadenza.store.duckdb_engine import DuckEngine


class MemoryLog:
    """A log that only lives as long as the benchmark. Offsets are positions, from 1."""

    def __init__(self) -> None:
        self._records: list[Record] = []

    def add(self, kind: str, body: bytes, at: int) -> None:
        """Append one record recorded at ``at`` (µs), which must be later than the last."""
        offset = len(self._records) + 1
        self._records.append(Record(offset=offset, recorded_at=at, writer="bench", kind=kind, source="shop",
                                    message_id=f"m{offset}", imported=False, body=body))  # fmt: skip

    def read(self, after: int, limit: int) -> list[Record]:
        return self._records[after : after + limit]

    def head(self) -> Head:
        return Head(len(self._records), self._records[-1].recorded_at) if self._records else Head(0, 0)


class CountingOutbox:
    """Counts what is published."""

    def __init__(self) -> None:
        self.messages = self.cancellations = 0

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        self.messages += len(messages)
        self.cancellations += len(cancellations)


class Statements(msgspec.Struct):
    """How many SQL statements ran: all of them, and in each wave."""

    total: int = 0
    waves: list[int] = []
    inside: bool = False

    def saw(self, sql: str) -> None:
        """Take note of one statement."""
        self.total += 1
        if sql.startswith("SET VARIABLE wave"):
            self.waves.append(0)
            self.inside = True
        elif self.inside and sql.startswith("UPDATE clock"):
            self.inside = False
        if self.inside:
            self.waves[-1] += 1

    def per_wave(self) -> tuple[float, int]:
        """(mean, most) statements of a wave."""
        return (sum(self.waves) / len(self.waves), max(self.waves)) if self.waves else (0.0, 0)


@contextmanager
def counted() -> Iterator[Statements]:
    """Count the statements of every engine in this process, for the length of a ``with`` block."""
    found, plain = Statements(), DuckEngine.query

    def query(self: DuckEngine, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        found.saw(sql)
        return plain(self, sql, parameters)

    DuckEngine.query = query  # type: ignore[method-assign]
    try:
        yield found
    finally:
        DuckEngine.query = plain  # type: ignore[method-assign]


class Bench:
    """One project, ticked over an engine and a log in memory. ``publish_s``, ``publish_cpu_s``: what handing messages over
    to the outbox took in the last tick, which is not part of deciding."""

    def __init__(self, engine: Engine, project: Project, at: datetime) -> None:
        self.log, self.outbox, self.at = MemoryLog(), CountingOutbox(), at
        self.publish_s = self.publish_cpu_s = 0.0
        start = to_micros(at)
        self.log.add("deploy", deploy_body(project), start)
        self.log.add("command", as_json({"command": "live"}), start + 1)
        self.ticker = Ticker(engine, self.log, self.outbox, VirtualClock())  # type: ignore[arg-type]
        while self.ticker.tick().more:
            pass
        self._time_publication()

    def reopen(self, engine: Engine) -> None:
        """Go on with another connection to the store, as after a restart."""
        self.ticker = Ticker(engine, self.log, self.outbox, VirtualClock())  # type: ignore[arg-type]
        self._time_publication()

    def _time_publication(self) -> None:
        plain: Callable[[int], int] = self.ticker._publish

        def publish(after_wave: int) -> int:
            wall, cpu = time.perf_counter(), time.process_time()
            found = plain(after_wave)
            self.publish_s, self.publish_cpu_s = time.perf_counter() - wall, time.process_time() - cpu
            return found

        self.ticker._publish = publish  # type: ignore[method-assign]
