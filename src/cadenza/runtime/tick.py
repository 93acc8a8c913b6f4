"""The tick: one slice of the log, and the timers up to a horizon, become one commit of the store.

A tick takes records, joins them into lanes, and runs waves until no lane has an item due (or the bound on waves
is reached: what a busy lane has left waits in the store). Then it commits once, with the log offset, and
publishes to the outbox; publishing is idempotent, so a crash between the two loses and doubles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeVar

import msgspec

from cadenza.clock import Clock, from_micros, to_micros
from cadenza.faults import fault
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Log, Outbox, OutboxMessage, Record
from cadenza.runtime.deploy import FAR_FUTURE, deploy, load, prepare, run
from cadenza.runtime.wave import Wave
from cadenza.sql.program import Program
from cadenza.stages import effects, events, identity, profiles

T = TypeVar("T")

MAX_WAVES = 512
"""Waves of one tick; what is left is carried over."""
RAW_COLUMNS = {"offset_": "BIGINT", "recorded_us": "BIGINT", "kind": "VARCHAR", "source": "VARCHAR",
               "message_id": "VARCHAR", "body": "VARCHAR"}  # fmt: skip
MAX_LANE_ROUNDS = 64


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: records consumed, waves, the virtual instant, messages decided so far."""

    records: int
    waves: int
    at: datetime
    messages: int
    waiting: int


class TickReport(msgspec.Struct, frozen=True, kw_only=True):
    """What one tick (or a run of ticks) did. ``carried``: records left for the next tick."""

    ticks: int
    records: int
    waves: int
    messages: int
    carried: int
    consumed: int
    horizon: datetime
    more: bool


class Ticker:
    """Runs ticks on one engine and one ledger. One thread uses it."""

    def __init__(self, engine: Engine, log: Log, outbox: Outbox, clock: Clock) -> None:
        self._engine, self._log, self._outbox, self._clock = engine, log, outbox, clock
        prepare(engine)
        self._program = load(engine)
        row = engine.query("SELECT consumed, horizon, live_from, records, waves FROM clock")[0]
        self._consumed, self._horizon, self._live_from, self._records, self._waves = row
        self._carried = engine.query("SELECT count(*) FROM pending")[0][0]
        self._unfinished = False
        # After a start: whatever may not have reached the outbox; what it knows it ignores.
        self._hand_over(*effects.publication(started=True))

    def project(self):  # noqa: ANN201
        """The deployed project, or None."""
        return self._program.project if self._program else None

    def program(self) -> Program | None:
        """What the deployed project compiles to, or None."""
        return self._program

    def consumed(self) -> int:
        """The log offset up to which the store is a function of the log."""
        return self._consumed

    def horizon(self) -> datetime:
        """The instant up to which timers have been handled."""
        return self._horizon

    def run(self, until: datetime | None = None, progress: Callable[[Progress], None] | None = None,
            max_records: int = 10_000) -> TickReport:  # fmt: skip
        """Ticks until the log is consumed and timers up to ``until`` (None: the last record) are done."""
        ticks = records = waves = messages = 0
        while True:
            report = self.tick(until, max_records, progress)
            ticks, records = ticks + 1, records + report.records
            waves, messages = waves + report.waves, messages + report.messages
            if not report.more:
                return msgspec.structs.replace(
                    report, ticks=ticks, records=records, waves=waves, messages=messages
                )

    def tick(self, horizon: datetime | None = None, max_records: int = 10_000,
             progress: Callable[[Progress], None] | None = None, max_waves: int = MAX_WAVES) -> TickReport:  # fmt: skip
        """One tick. ``horizon``: handle timers up to here once the log is consumed; None: the last record."""
        records = self._log.read(self._consumed, max_records)
        batch, command = _until_command(records)
        behind = len(records) == max_records and command is None
        reach = self._reach(batch, command, behind, horizon)
        waves_before = self._waves
        with self._engine.transaction():
            self._work(batch, reach, progress, max_waves)
            # A command waits for everything before it: records of busy lanes, and timers beyond the bound on waves.
            # Before the first deployment nothing can be decided, so nothing is waited for.
            clear = (not self._carried and not self._unfinished) or self._program is None
            obeyed = [command] if command is not None and clear else []
            for record in obeyed:
                self._obey(record)
            consumed = [*batch, *obeyed]
            if consumed:
                self._consumed = consumed[-1].offset
            self._horizon = max(self._horizon, reach)
            self._records += len(consumed)
            self._engine.query(
                "UPDATE clock SET consumed = ?, horizon = ?, live_from = ?, records = ?, waves = ?",
                [self._consumed, self._horizon, self._live_from, self._records, self._waves],
            )
            fault("tick.before_commit")
        fault("tick.after_commit")
        messages = self._publish(waves_before)
        self._engine.checkpoint_if_large()  # type: ignore[attr-defined]
        return TickReport(
            ticks=1, records=len(consumed), waves=self._waves - waves_before, messages=messages, carried=self._carried,
            consumed=self._consumed, horizon=self._horizon,
            more=behind or self._carried > 0 or self._unfinished or command is not None,
        )  # fmt: skip

    def _reach(self, batch: list[Record], command: Record | None, behind: bool, horizon: datetime | None) -> datetime:
        """Timers may be handled up to here: nothing recorded earlier can still come."""
        last = from_micros(batch[-1].recorded_at) if batch else self._horizon
        if command is not None:
            return from_micros(command.recorded_at)
        if behind or horizon is None:
            return max(last, self._horizon)
        return max(last, horizon, self._horizon)

    def rehearse(self) -> None:
        """Decide the latest record of each kind once more, for a person who does not exist, and take it back.

        Generating a wave's SQL for the first time costs more than running it. A server does this while it is
        idle, so that the first real record is not the one that waits. Nothing of it stays.
        """
        if self._program is None or self._carried:
            return
        batch = self._rehearsal()
        waves, carried = self._waves, self._carried
        try:
            with self._engine.transaction():
                self._work(batch, from_micros(batch[-1].recorded_at) if batch else self._horizon, None, 64)
                raise _TakenBack
        except _TakenBack:
            self._waves, self._carried, self._unfinished = waves, carried, False

    def _rehearsal(self) -> list[Record]:
        latest = self._engine.query(
            "SELECT coalesce(list(o ORDER BY f), []) FROM (SELECT max(offset_) AS o, min(offset_) AS f FROM event "
            "WHERE type IN ('track', 'identify') AND source IS NOT NULL GROUP BY type, name)"
        )[0][0]
        found = [record for offset in latest[:20] for record in self._log.read(offset - 1, 1) if record.kind == "call"]
        ahead = to_micros(self._horizon)
        return [
            msgspec.structs.replace(record, offset=self._consumed + i, recorded_at=ahead + i, body=_nobody(record.body))
            for i, record in enumerate(found, start=1)
        ]

    # --- the work of one tick ----------------------------------------------------------------------

    def _work(self, batch: list[Record], reach: datetime, progress, max_waves: int) -> None:  # noqa: ANN001
        self._unfinished = False
        if self._program is None:
            if batch:
                self._keep_for_later(batch)
            return
        self._engine.execute(f"SET VARIABLE horizon = TIMESTAMP '{reach}'")
        self._engine.execute(f"SET VARIABLE live_from = TIMESTAMP '{self._live_from}'")
        queued = self._queue(batch)
        waves = self._run_waves(queued, progress, max_waves)
        self._waves += waves
        self._unfinished = waves >= max_waves
        if queued:
            self._finish(queued)

    def _keep_for_later(self, batch: list[Record]) -> None:
        """Nothing is deployed yet: records wait in the store."""
        run(self._engine, [events.raw()])
        self._engine.append_json("t_raw", RAW_COLUMNS, _rows(batch))
        self._engine.execute(
            "INSERT INTO pending SELECT offset_, make_timestamp(recorded_us), kind, source, message_id, body FROM t_raw"
        )
        self._carried += len(batch)

    def _queue(self, batch: list[Record]) -> int:
        """Fill the queue and find the lanes; returns how many records are queued."""
        engine, program = self._engine, self._program
        assert program is not None
        queued = len(batch) + self._carried
        run(engine, [events.raw()])
        engine.execute("CREATE OR REPLACE TEMP TABLE t_lane_person (pid BIGINT, lane BIGINT)")
        if not queued:
            engine.execute("CREATE OR REPLACE TEMP TABLE t_payload (offset_ BIGINT, properties VARCHAR)")
            engine.execute("CREATE OR REPLACE TEMP TABLE t_queue (recorded_at TIMESTAMP, kind VARCHAR, p_message_id VARCHAR)")
            return 0
        if batch:
            engine.append_json("t_raw", RAW_COLUMNS, _rows(batch))
        fault("tick.before_land")
        run(engine, events.queue(program, self._carried > 0))
        index_of = {path: i + 1 for i, path in enumerate(events.json_paths(program))}
        outcomes = self._carried > 0 or any(r.kind == "outcome" for r in batch)
        self._outcomes = outcomes
        run(engine, identity.arrivals(program, outcomes, queued > 1, index_of))
        if queued > 1:
            self._join_lanes()
        run(engine, [identity.lane_persons(), events.items(program)])
        run(engine, profiles.tick_traits(program, index_of, events.typed))
        engine.execute(events.extracted())
        return queued

    def _join_lanes(self) -> None:
        for _ in range(MAX_LANE_ROUNDS):
            run(self._engine, [identity.lane_round()])
            changed = self._engine.query(
                "SELECT count(*) FROM t_lane_next AS n JOIN t_lane AS l ON l.offset_ = n.offset_ WHERE n.lane <> l.lane"
            )[0][0]
            if not changed:
                return
            run(self._engine, [identity.lane_settle()])
        # A chain longer than 2^64 records cannot be; pointer jumping halves the way in every round.
        raise AssertionError("lanes did not settle")

    def _run_waves(self, queued: int, progress, max_waves: int) -> int:  # noqa: ANN001
        assert self._program is not None
        wave = Wave(self._engine, self._program, live=self._live_from < self._horizon_now())
        done = 0
        while done < max_waves:
            fault("tick.mid_wave")
            found = wave.run(self._waves + done + 1, records=queued > 0)
            if found is None:
                break
            done += 1
            if progress is not None and done % 8 == 0:
                progress(Progress(records=self._records + queued - found.waiting, waves=self._waves + done,
                                  at=found.at, messages=0, waiting=found.waiting))  # fmt: skip
        return done

    def _horizon_now(self) -> datetime:
        return self._engine.query("SELECT getvariable('horizon')")[0][0]

    def _finish(self, queued: int) -> None:
        """Records nothing reacts to are appended; what a busy lane has left is carried over."""
        engine, program = self._engine, self._program
        assert program is not None
        done = engine.query("SELECT count(*) FROM t_done")[0][0]
        if done < queued:
            run(engine, events.passive(identity.owners(self._outcomes)))
            run(engine, events.append(program, self._outcomes))
            done = engine.query("SELECT count(*) FROM t_done")[0][0]
        left = queued - done
        if left and not self._carried:
            engine.execute("CREATE OR REPLACE TEMP TABLE t_carried AS SELECT * FROM pending")
        run(engine, events.carry(self._carried > 0, left > 0))
        self._carried = left

    def _obey(self, record: Record) -> None:
        at = from_micros(record.recorded_at)
        if record.kind == "deploy":
            self._engine.execute(f"SET VARIABLE horizon = TIMESTAMP '{at}'")
            self._waves += 1
            self._program = deploy(self._engine, record.body, record.offset, at.isoformat(), self._waves)
            self._carried = self._engine.query("SELECT count(*) FROM pending")[0][0]
            return
        command = msgspec.json.decode(record.body).get("command")
        if command == "replay":
            self._live_from = datetime.fromisoformat(FAR_FUTURE)
        elif command == "live":
            self._live_from = at

    # --- the way out -------------------------------------------------------------------------------

    def _publish(self, after_wave: int) -> int:
        """Hand the tick's deliverable messages and cancellations to the outbox."""
        if self._waves > after_wave and self._live_from < self._horizon:
            self._engine.execute(f"SET VARIABLE published = {after_wave}::BIGINT")
            return self._hand_over(*effects.publication(started=False))
        return self._hand_over(None, None)

    def _hand_over(self, messages: str | None, cancellations: str | None) -> int:
        found = self._decoded(messages, list[OutboxMessage])
        withdrawn = [Cancellation(*pair) for pair in self._decoded(cancellations, list[tuple[str, str]])]
        fault("publish.before")
        self._outbox.publish(found, withdrawn, self._consumed)
        fault("publish.after")
        return len(found)

    def _decoded(self, query: str | None, kind: type[list[T]]) -> list[T]:
        text = self._engine.query(query)[0][0] if query is not None else None
        return msgspec.json.decode(text, type=kind) if text is not None else []


class _TakenBack(Exception):
    """Ends a rehearsal's transaction."""


def _nobody(body: bytes) -> bytes:
    """A record's body for the person of the rehearsal."""
    said = msgspec.json.decode(body)
    traits = {k: v for k, v in said.get("traits", {}).items() if k != "email"} | {"email": "nobody@rehearsal.invalid"}
    return msgspec.json.encode({**said, "userId": "rehearsal.invalid", "anonymousId": None, "traits": traits})


def _until_command(records: list[Record]) -> tuple[list[Record], Record | None]:
    """The records before the first command or deployment, and that one."""
    for i, record in enumerate(records):
        if record.kind in ("command", "deploy"):
            return records[:i], record
    return records, None


def _rows(batch: list[Record]) -> bytes:
    return msgspec.json.encode(
        [
            {"offset_": r.offset, "recorded_us": r.recorded_at, "kind": r.kind, "source": r.source,
             "message_id": r.message_id, "body": r.body.decode()}
            for r in batch
        ]
    )  # fmt: skip
