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
from cadenza.ids import ACCOUNTS
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Log, Outbox, OutboxMessage, Record
from cadenza.runtime import command
from cadenza.runtime.deploy import FAR_FUTURE, deploy, load, prepare, run
from cadenza.runtime.wave import Wave
from cadenza.sql.program import Program
from cadenza.stages import calls, effects, events, identity, journeys, tasks

T = TypeVar("T")

MAX_WAVES = 512
"""Waves of one tick; what is left is carried over."""
MAX_LANE_ROUNDS = 64
PAGE = 20_000
"""At most so many messages are published at once."""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a run is: records consumed, waves, the virtual instant, messages decided so far."""

    records: int
    waves: int
    at: datetime
    messages: int
    waiting: int
    total: int | None = None
    """How many records there are, where that is known."""


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


class Left(msgspec.Struct, frozen=True, kw_only=True):
    """What a tick has not done yet: items of the queue, the earliest timer of anybody; whether aliases are queued."""

    items: int
    timer: datetime | None
    aliases: bool


class Ticker:
    """Runs ticks on one engine and one ledger. One thread uses it."""

    def __init__(self, engine: Engine, log: Log, outbox: Outbox, clock: Clock, copied: Program | None = None) -> None:
        """``copied``: the program of a store of which this engine's is a copy, as it stands there."""
        self._engine, self._log, self._outbox, self._clock = engine, log, outbox, clock
        prepare(engine)
        self._program = load(engine, copied)
        self._controls, self._withdrew = command.load(engine), False
        row = engine.query("SELECT consumed, horizon, live_from, records, waves FROM clock")[0]
        self._consumed, self._horizon, self._live_from, self._records, self._waves = row
        self._carried = engine.query("SELECT count(*) FROM pending")[0][0]
        self._unfinished = False
        self._outcomes = False
        self._wave: Wave | None = None
        self._timed = engine.query("SELECT count(*) > 0 FROM suppression WHERE until IS NOT NULL")[0][0]
        self._next_timer: datetime | None = None
        self._timer_known = False
        self._gates = bool(self._controls.kills)
        # After a start: whatever may not have reached the outbox; what it knows it ignores.
        self._publish_all(True)

    def project(self):
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

    def next_timer(self) -> datetime | None:
        """When the next timer of anybody is due, or None."""
        if not self._timer_known:
            self._next_timer, self._timer_known = self._left(0).timer, True
        return self._next_timer

    def run(self, until: datetime | None = None, progress: Callable[[Progress], None] | None = None,
            max_records: int = 10_000) -> TickReport:  # fmt: skip
        """Ticks until the log is consumed and timers up to ``until`` (None: the last record) are done."""
        ticks = records = waves = messages = 0
        while True:
            report = self.tick(until, max_records, progress)
            ticks, records = ticks + 1, records + report.records
            waves, messages = waves + report.waves, messages + report.messages
            if not report.more:
                return msgspec.structs.replace(report, ticks=ticks, records=records, waves=waves, messages=messages)

    def tick(self, horizon: datetime | None = None, max_records: int = 10_000,
             progress: Callable[[Progress], None] | None = None, max_waves: int = MAX_WAVES) -> TickReport:  # fmt: skip
        """One tick. ``horizon``: handle timers up to here once the log is consumed; None: the last record."""
        records = self._log.read(self._consumed, max_records)
        batch, order = _until_command(records)
        behind = len(records) == max_records and order is None
        reach = self._reach(batch, order, behind, horizon)
        waves_before = self._waves
        with self._engine.transaction():
            self._work(batch, reach, progress, max_waves)
            if self._controls.taken_up:
                self._controls = command.load(self._engine)
            # A command waits for everything before it: records of busy lanes, and timers beyond the bound on waves.
            # Before the first deployment nothing can be decided, so nothing is waited for.
            clear = (not self._carried and not self._unfinished) or self._program is None
            obeyed = [order] if order is not None and clear else []
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
            more=behind or self._carried > 0 or self._unfinished or order is not None,
        )  # fmt: skip

    def _reach(self, batch: list[Record], order: Record | None, behind: bool, horizon: datetime | None) -> datetime:
        """Timers may be handled up to here: nothing recorded earlier can still come."""
        last = from_micros(batch[-1].recorded_at) if batch else self._horizon
        if order is not None:
            return from_micros(order.recorded_at)
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
        waves, carried, timer = self._waves, self._carried, self._next_timer
        try:
            with self._engine.transaction():
                self._work(batch, from_micros(batch[-1].recorded_at) if batch else self._horizon, None, 64)
                raise _TakenBack
        except _TakenBack:
            self._waves, self._carried, self._unfinished, self._next_timer = waves, carried, False, timer

    def _rehearsal(self) -> list[Record]:
        latest = self._engine.query(
            "SELECT coalesce(list(o ORDER BY f), []) FROM (SELECT max(offset_) AS o, min(offset_) AS f FROM event "
            f"WHERE type IN ('track', 'identify') AND source IS NOT NULL AND offset_ < {ACCOUNTS} GROUP BY type, name)"
        )[0][0]
        found = [record for offset in latest[:20] for record in self._log.read(offset - 1, 1) if record.kind == "call"]
        ahead = to_micros(self._horizon)
        return [
            msgspec.structs.replace(record, offset=self._consumed + i, recorded_at=ahead + i, body=_nobody(record.body))
            for i, record in enumerate(found, start=1)
        ]

    # --- the work of one tick ----------------------------------------------------------------------

    def _work(self, batch: list[Record], reach: datetime, progress, max_waves: int) -> None:
        self._unfinished = False
        if self._program is None:
            if batch:
                self._keep_for_later(batch)
            return
        self._engine.execute(
            f"SET VARIABLE horizon = TIMESTAMP '{reach}'; SET VARIABLE live_from = TIMESTAMP '{self._live_from}'"
        )
        queued = self._queue(batch)
        left = self._left(queued)
        passive = queued - left.items
        if passive:
            run(self._engine, [events.set_aside()])
        waves, left = self._run_waves(queued, left, reach, progress, max_waves)
        self._waves += waves
        self._unfinished = left.items > 0 or (left.timer is not None and left.timer <= reach)
        self._next_timer, self._timer_known = left.timer, True
        if queued:
            self._finish(left.items, passive)

    def _left(self, queued: int) -> Left:
        rechecked = self._program is not None and bool(journeys.windowed_journeys(self._program))
        items, wake, check, aliases = self._engine.query(events.left(queued > 0, rechecked))[0]
        return Left(
            items=items, timer=min((at for at in (wake, check) if at is not None), default=None), aliases=aliases
        )

    def _keep_for_later(self, batch: list[Record]) -> None:
        """Nothing is deployed yet: records wait in the store."""
        self._engine.load("t_raw", _columns(batch))
        self._engine.execute(
            "INSERT INTO pending SELECT offset_, make_timestamp(recorded_us), kind, source, message_id, body FROM t_raw"
        )
        self._carried += len(batch)

    def _queue(self, batch: list[Record]) -> int:
        """Fill the queue and find the lanes; returns how many records are queued."""
        engine, program = self._engine, self._program
        assert program is not None
        queued = len(batch) + self._carried
        engine.expect(queued)
        run(engine, [identity.lane_persons(0)])
        if not queued:
            run(engine, [events.no_records()])
            return 0
        fault("tick.before_land")
        engine.load("t_raw", _columns(batch))
        self._outcomes = self._carried > 0 or any(r.kind in ("outcome", "task", "person") for r in batch)
        run(engine, events.queue(program, self._carried > 0, identity.usable(program)))
        if program.project.identity.accounts is not None:
            queued = engine.query(events.queued())[0][0]
        run(engine, identity.arrivals(program, self._outcomes, queued > 1, events.path_index(program)))
        if queued > 1:
            self._join_lanes()
        run(engine, [identity.lane_persons(queued), events.items(program, queued > 1)])
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

    def _run_waves(self, queued: int, left: Left, reach: datetime, progress, max_waves: int) -> tuple[int, Left]:
        assert self._program is not None
        live = self._live_from < reach
        self._wave = wave = Wave(
            self._engine, self._program, self._controls, live=live, outcomes=queued > 0 and self._outcomes,
            queued=queued > 0, timed=self._timed,
        )  # fmt: skip
        done = 0
        while done < max_waves:
            fault("tick.mid_wave")
            timers = left.timer is not None and left.timer <= reach
            if not left.items and not timers:
                break
            done += 1
            alone = queued == 1 and not timers
            at = wave.run(self._waves + done, records=left.items > 0, timers=timers, aliases=left.aliases, alone=alone)
            left = self._left(queued)
            if progress is not None and done % 8 == 0:
                progress(Progress(records=self._records + queued - left.items, waves=self._waves + done,
                                  at=at or reach, messages=0, waiting=left.items))  # fmt: skip
        self._timed = wave.timed
        return done, left

    def _finish(self, items: int, passive: int) -> None:
        """Records nothing reacts to are appended; what a busy lane has left is carried over. ``items``: those not
        processed; ``passive``: the records that nothing reacts to."""
        engine, program = self._engine, self._program
        assert program is not None
        left = items
        if passive:
            run(engine, events.passive(identity.owners(self._outcomes)))
            run(engine, events.append(program, self._outcomes))
            left += engine.query("SELECT count(*) FROM t_passive")[0][0]
        if left and not self._carried:
            engine.execute("CREATE OR REPLACE TEMP TABLE t_carried AS SELECT * FROM pending")
        run(engine, events.carry(
            self._carried > 0, left > 0, passive > 0, accounts=program.project.identity.accounts is not None
        ))  # fmt: skip
        self._carried = left

    def _obey(self, record: Record) -> None:
        at = from_micros(record.recorded_at)
        if record.kind == "deploy":
            self._engine.execute(f"SET VARIABLE horizon = TIMESTAMP '{at}'")
            self._waves += 1
            first = self._program is None
            self._program = deploy(
                self._engine, record.body, record.offset, at.isoformat(), self._waves, self._controls
            )
            if first and self._carried and self._program.project.identity.accounts is not None:
                run(self._engine, [events.kept_accounts()])
            self._carried = self._engine.query("SELECT count(*) FROM pending")[0][0]
            self._timer_known = False
            return
        said = msgspec.json.decode(record.body, type=command.CommandBody)
        if said.command == "replay":
            self._live_from = datetime.fromisoformat(FAR_FUTURE)
        elif said.command == "live":
            self._live_from = at
        elif said.command in command.COMMANDS:
            self._waves += 1
            self._engine.execute(f"SET VARIABLE horizon = TIMESTAMP '{at}'; SET VARIABLE wave = {self._waves}::BIGINT")
            self._controls = command.obey(self._engine, self._controls, record.offset, said)
            if self._program is not None and self._program.calls:
                run(self._engine, command.call_off(said))
            if said.command == "stop" and self._program is not None and self._program.hands:
                run(self._engine, tasks.deployed(self._program))
            self._withdrew, self._gates, self._timer_known = True, True, False

    # --- the way out -------------------------------------------------------------------------------

    def _publish(self, after_wave: int) -> int:
        """Hand the tick's deliverable messages and cancellations to the outbox."""
        if self._gates:
            self._outbox.gate(command.gates(self._engine))
            self._gates = False
        withdrew, self._withdrew = self._withdrew, False
        if withdrew:
            self._engine.execute(f"SET VARIABLE published = {after_wave}::BIGINT")
            return self._publish_all(False)
        if self._waves > after_wave and self._live_from < self._horizon and self._wave is not None:
            self._engine.execute(f"SET VARIABLE published = {after_wave}::BIGINT")
            return self._publish_all(False, self._wave.sent, self._wave.cancelled)
        return self._publish_all(False, False, False)

    def _publish_all(self, started: bool, sent: bool = True, cancelled: bool = True) -> int:
        """Calls first, so that the outbox learns of a tick's end with the last page of its messages; how many of these."""
        if self._program is not None and self._program.calls:
            asked = effects.Publication(*calls.publication(started))
            self._hand_over(asked, 0, sent, cancelled and started)
        return self._hand_over(effects.publication(started), self._consumed, sent, cancelled)

    def _hand_over(self, publication: effects.Publication, through: int, sent: bool, cancelled: bool) -> int:
        """Publish page by page, so that no number of messages fills the memory. Only with the last page does the outbox
        learn how far it is complete; a crash between pages is mended at the next start."""
        spans = self._pages(publication) if sent else []
        fault("publish.before")
        count, page = 0, []
        for start, end in spans:
            if page:
                self._outbox.publish(page, [], 0)
                fault("publish.between_pages")
            self._engine.execute(f"SET VARIABLE page_from = {start}::BIGINT; SET VARIABLE page_to = {end}::BIGINT")
            page = self._decoded(publication.page, list[OutboxMessage])
            count += len(page)
        found = self._decoded(publication.cancellations, list[tuple[str, str]]) if cancelled else []
        if page or found or through:
            self._outbox.publish(page, [Cancellation(*pair) for pair in found], through)
        fault("publish.after")
        return count

    def _pages(self, publication: effects.Publication) -> list[tuple[int, int]]:
        first, last = self._engine.query(publication.span)[0]
        return [] if first is None else [(at, at + PAGE) for at in range(first, last + 1, PAGE)]

    def _decoded(self, query: str, kind: type[list[T]]) -> list[T]:
        text = self._engine.query(query)[0][0]
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


def _columns(batch: list[Record]) -> dict[str, tuple[str, list]]:
    return {
        "offset_": ("BIGINT", [r.offset for r in batch]), "recorded_us": ("BIGINT", [r.recorded_at for r in batch]),
        "kind": ("VARCHAR", [r.kind for r in batch]), "source": ("VARCHAR", [r.source for r in batch]),
        "message_id": ("VARCHAR", [r.message_id for r in batch]), "body": ("VARCHAR", [r.body.decode() for r in batch]),
    }  # fmt: skip
