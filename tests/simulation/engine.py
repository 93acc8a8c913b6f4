"""Run the real engine over a world and observe it in the model's terms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from cadenza.clock import VirtualClock, iso
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Cancellation, Gate, Head, OutboxMessage, Record, Stopped
from cadenza.runtime.tick import Ticker
from cadenza.simulate.evaluate import json_text, read_json
from cadenza.store.duckdb_engine import DuckEngine

Rows = dict[str, list[tuple[Any, ...]]]


class FixedLog:
    """A log whose records are given; readers see those up to ``shown``."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = list(records)
        self.shown = len(self._records)

    def read(self, after: int, limit: int) -> list[Record]:
        return [r for r in self._records[: self.shown] if r.offset > after][:limit]

    def head(self) -> Head:
        last = self._records[self.shown - 1] if self.shown else None
        return Head(last.offset, last.recorded_at) if last else Head(0, 0)


class HeldOutbox:
    """Keeps what is published."""

    def __init__(self) -> None:
        self.messages: dict[str, OutboxMessage] = {}
        self.cancellations: dict[str, str] = {}
        self.through = 0
        self.gates: dict[tuple[str | None, str | None], bool] = {}

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        for message in messages:
            self.messages.setdefault(message.message_id, message)
        for cancellation in cancellations:
            self.cancellations.setdefault(cancellation.message_id, cancellation.reason)
        self.through = through

    def gate(self, gates: Sequence[Gate]) -> list[Stopped]:
        """What kill switches say is kept, too."""
        self.gates = {(g.journey, g.channel): g.closed for g in gates}
        return []


MOST_WAVES = 20_000
"""Far more than any of these worlds takes."""


def run_engine(
    project: Project, records: Sequence[Record], batches: Sequence[int], restarts: bool, horizon: datetime,
    folder: Path | None = None, max_waves: int = 512,
    after: Callable[[DuckEngine, HeldOutbox], None] | None = None,
) -> Rows:  # fmt: skip
    """The engine's observations after the records, taken in slices of ``batches`` (cycled), and timers up to
    ``horizon``. ``restarts``: the store is closed and opened between slices (needs ``folder``); ``after`` gets the store
    and the outbox at the end."""
    log, outbox = FixedLog(records), HeldOutbox()
    path = folder / "store.duckdb" if folder else None
    engine = DuckEngine.open(path, threads=1)
    ticker = Ticker(engine, log, outbox, VirtualClock())  # type: ignore[arg-type]
    shown, turn = 0, 0
    while shown < len(records):
        shown = min(len(records), shown + max(1, batches[turn % len(batches)]))
        turn += 1
        log.shown = shown
        _through(ticker, None, max_waves)
        if restarts and path is not None:
            engine.close()
            engine = DuckEngine.open(path, threads=1)
            ticker = Ticker(engine, log, outbox, VirtualClock())  # type: ignore[arg-type]
    _through(ticker, horizon, max_waves)
    found = observe(engine, project)
    if after is not None:
        after(engine, outbox)
    engine.close()
    return found


def _through(ticker: Ticker, horizon: datetime | None, max_waves: int) -> None:
    """Ticks until nothing is left. An engine with a fault may never come there: better a failure than a run that hangs."""
    waves, more = 0, True
    while more:
        report = ticker.tick(horizon, max_waves=max_waves)
        waves, more = waves + report.waves, report.more
        assert waves < MOST_WAVES, f"the engine does not come to an end: {waves} waves"


def observe(engine: DuckEngine, project: Project) -> Rows:
    """The store's content as the model's observations."""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        return sorted((tuple(_plain(v) for v in row) for row in engine.query(sql)), key=repr)

    traits = [
        f"SELECT pid, '{t.name}' AS trait, {_trait_text(t.name, t.type)} AS value FROM profile WHERE t_{t.name} IS NOT NULL"
        for t in project.traits
        if f"t_{t.name}" in _columns(engine)
    ]
    path = "(SELECT jid, step, path FROM journey_step UNION ALL SELECT jid, -1, 'end' FROM journey_version UNION ALL SELECT jid, -2, 'start' FROM journey_version)"
    return {
        "identifiers": rows("SELECT type, value, pid FROM identifier"),
        "traits": rows(" UNION ALL ".join(traits)) if traits else [],
        "memberships": rows("SELECT pid, segment, ts, entered, cause FROM membership"),
        "enrollments": rows(f"SELECT e.eid, e.pid, v.journey, e.key, e.entered_at, s.path, e.wake_at FROM enrollment e JOIN journey_version v USING (jid) JOIN {path} s ON s.jid = e.jid AND s.step = e.step"),
        "ends": rows("SELECT eid, ts, reason FROM enrollment_end"),
        "transitions": rows(f"SELECT t.eid, t.ts, t.cause, a.path, b.path FROM transition t JOIN {path} a ON a.jid = t.jid AND a.step = t.from_step JOIN {path} b ON b.jid = t.jid AND b.step = t.to_step"),
        "refusals": rows("SELECT r.pid, v.journey, r.ts, r.key, r.reason, r.rule FROM refusal r JOIN journey_version v USING (jid)"),
        "nonqualified": rows("SELECT v.journey, n.hour, n.rule, sum(n.n)::BIGINT FROM nonqualified n JOIN journey_version v USING (jid) GROUP BY ALL"),
        "assignments": rows("SELECT holdout, pid, arm FROM assignment"),
        "decisions": rows(f"SELECT d.eid, s.path, d.ts, d.verdict, d.reason, d.until FROM decision d JOIN {path} s USING (jid, step)"),
        "choices": rows(f"SELECT d.eid, s.path, d.ts, d.verdict, json_extract_string(d.evidence, '$.template') FROM decision d JOIN {path} s USING (jid, step) WHERE json_exists(d.evidence, '$.choice') AND json_extract_string(d.evidence, '$.choice') IS NOT NULL"),
        "messages": rows("SELECT message_id, pid, template, address, planned_at, deliverable FROM message"),
        "cancellations": rows("SELECT message_id, reason FROM cancellation"),
        "tasks": sorted((_task(row) for row in engine.query("SELECT task_id, pid, team, assignee, title, priority, opened_at, due_at, context, recent, live FROM task")), key=repr),
        "calls": sorted((_call(row) for row in engine.query("SELECT call_id, pid, destination, purpose, planned_at, context, refused, deliverable FROM service_call")), key=repr),
        "answers": rows("SELECT call_id, pid, ts, result, reason, trait FROM service_answer"),
        "task_changes": rows("SELECT task_id, pid, ts, change, by_, outcome, team, assignee, note, refused, ends FROM task_change"),
    }  # fmt: skip


def _columns(engine: DuckEngine) -> set[str]:
    return {r[0] for r in engine.query("SELECT column_name FROM duckdb_columns() WHERE table_name = 'profile'")}


def _trait_text(name: str, kind: str) -> str:
    if kind == "timestamp":
        return f"strftime(t_{name}, '%Y-%m-%dT%H:%M:%S.%fZ')"
    return f"CAST(t_{name} AS VARCHAR)"


def _task(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A task with what it shows in the model's terms."""
    *before, context, recent, live = row
    events = ((e["event"], datetime.fromisoformat(e["at"].removesuffix("Z"))) for e in msgspec.json.decode(recent))
    return (*before, tuple(msgspec.json.decode(context).items()), tuple(events), live)


def _call(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A call with what it sends in the model's terms."""
    *before, context, refused, deliverable = row
    sent = read_json(context.encode())
    return (*before, tuple((name, json_text(value)) for name, value in sent.items()), refused, deliverable)


def _plain(value: Any) -> Any:
    return value


__all__ = ["FixedLog", "HeldOutbox", "iso", "observe", "run_engine"]
