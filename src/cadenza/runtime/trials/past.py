"""History decided again: the records of a log, unchanged and in their places, under other deployments than it held.

Reading only. Nothing here can append to the log, and what the tick would publish goes nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from cadenza.clock import MICROSECOND, VirtualClock, from_micros, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import OperatingError
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Head, Log, OutboxMessage, Record
from cadenza.runtime.deploy import FAR_FUTURE, deploy_body, prepare
from cadenza.runtime.tick import Progress, Ticker, TickReport

PAGE = 10_000
"""Records of one tick."""


class NowhereOutbox:
    """What is published here reaches nobody; it is counted."""

    def __init__(self) -> None:
        self.messages = 0

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        self.messages += len(messages)


class Past:
    """The records of a log recorded up to ``until`` (µs). Offsets are the log's own, so that persons have the ids,
    holdouts and splits that they really have."""

    def __init__(self, log: Log, until: int) -> None:
        self._log, self._until = log, until
        self._draft: bytes | None = None
        self._dropping = self._silent = False
        self._first: int | None = None

    def up_to(self, until: int) -> None:
        """Show the records recorded up to this instant (µs)."""
        self._until = until

    def replace(self, body: bytes) -> None:
        """The first deployment deploys this instead; later ones are left out."""
        self._draft = body

    def leave_out(self) -> None:
        """Leave out every deployment from here on."""
        self._dropping = True

    def silence(self) -> None:
        """Leave out, from here on, what says whether messages are real."""
        self._silent = True

    def read(self, after: int, limit: int) -> list[Record]:
        """See the port. As many as asked for while there are any, although some are left out."""
        found: list[Record] = []
        while len(found) < limit:
            page = self._log.read(after, limit)
            if not page:
                break
            after = page[-1].offset
            for record in page:
                if record.recorded_at > self._until:
                    return found[:limit]
                if (shown := self._shown(record)) is not None:
                    found.append(shown)
        return found[:limit]

    def _shown(self, record: Record) -> Record | None:
        if record.kind == "command" and self._silent:
            return None if msgspec.json.decode(record.body).get("command") in ("live", "replay") else record
        if record.kind != "deploy":
            return record
        if self._draft is not None and record.offset == self.first_deployment():
            return msgspec.structs.replace(record, body=self._draft)
        return None if self._dropping or self._draft is not None else record

    def first_deployment(self) -> int:
        """The offset of the first deployment. Raises OperatingError when there is none."""
        if self._first is None:
            self._first = _first_deployment(self._log)
        return self._first

    def head(self) -> Head:
        """The last record that is shown, whatever it is."""
        offset, at = last_before(self._log, self._until + 1)
        return Head(offset, at)


class _Announced:
    """A log of one record, shown until it was obeyed: a deployment that stands between two offsets."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def read(self, after: int, limit: int) -> list[Record]:
        return [self._record]


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What deciding history again took. ``records``: those it read."""

    records: int
    waves: int
    ticks: int


Progressing = Callable[[Progress], None] | None


def replay(engine: Engine, log: Log, until: datetime, progress: Progressing = None) -> Replayed:
    """Decide the log as it is, with the timers up to ``until``, into an empty store."""
    past = Past(log, to_micros(until))
    ticker = _ticker(engine, past)
    return _replayed(ticker.run(until, _counting(progress, past), PAGE))


def replay_under(
    engine: Engine, log: Log, draft: Project, since: datetime | None, until: datetime, progress: Progressing = None,
    delivered: bool = True,
) -> Replayed:  # fmt: skip
    """Decide the log into an empty store with ``draft`` in force from ``since`` on, whatever was deployed later.

    Before ``since`` things are as they really were; timers due at ``since`` come before the draft, as before any
    record. None: the draft takes the place of the first deployment. ``delivered``: messages of the draft count as handed
    over when they are decided, although the log reports nothing of them; otherwise every exit would withdraw them, and
    caps would count too few. Raises OperatingError when nothing was deployed.
    """
    past = Past(log, to_micros(until))
    counting = _counting(progress, past)
    if since is None:
        past.replace(deploy_body(draft))
        past.first_deployment()
        if delivered:
            assume_delivered(engine)
            past.silence()
        return _replayed(_ticker(engine, past).run(until, counting, PAGE))
    past.up_to(to_micros(since) - 1)
    ticker = _ticker(engine, past)
    before = ticker.run(None, counting, PAGE)
    announced = _obey(engine, _deployment(draft, ticker.consumed(), to_micros(since)), counting)
    past.up_to(to_micros(until))
    past.leave_out()
    if delivered:
        assume_delivered(engine)
        past.silence()
    after = _ticker(engine, past).run(until, counting, PAGE)
    parts = (before, announced, after)
    return Replayed(
        records=before.records + after.records, waves=sum(p.waves for p in parts), ticks=sum(p.ticks for p in parts)
    )


def put_in_force(engine: Engine, draft: Project, at: datetime) -> None:
    """Deploy a draft in a store of its own, at an instant that it stands at; timers due then come before it."""
    consumed = engine.query("SELECT consumed FROM clock")[0][0]
    _obey(engine, _deployment(draft, consumed, to_micros(at)), None)


def assume_delivered(engine: Engine) -> None:
    """From now on messages of this store count as handed over when they are decided, as in a replay: nothing withdraws
    them."""
    prepare(engine)
    engine.execute(f"UPDATE clock SET live_from = TIMESTAMP '{FAR_FUTURE}'")


def last_before(log: Log, at: int) -> tuple[int, int]:
    """(offset, recorded_at) of the last record before an instant (µs); zeros when there is none. A search by halves:
    ``recorded_at`` rises with the offset."""
    low, high = 0, log.head().offset
    found = (0, 0)
    while low < high:
        middle = (low + high) // 2
        page = log.read(middle, 1)
        if page and page[0].recorded_at < at:
            found = (page[0].offset, page[0].recorded_at)
            low = page[0].offset
        else:
            high = middle
    return found


def _ticker(engine: Engine, log: object) -> Ticker:
    return Ticker(engine, log, NowhereOutbox(), VirtualClock())  # type: ignore[arg-type]


def _obey(engine: Engine, record: Record, progress: Progressing) -> TickReport:
    """The deployment stands after the record whose offset it shares: everything up to it is decided, with the timers."""
    ticker = _ticker(engine, _Announced(record))
    waves = ticks = 0
    while True:
        report = ticker.tick(progress=progress)
        waves, ticks = waves + report.waves, ticks + 1
        if report.records:
            return msgspec.structs.replace(report, waves=waves, ticks=ticks)


def _deployment(draft: Project, offset: int, at: int) -> Record:
    return Record(
        offset=offset, recorded_at=at, writer="trial", kind="deploy", source="cadenza", message_id="trial",
        imported=False, body=deploy_body(draft),
    )  # fmt: skip


def _first_deployment(log: Log) -> int:
    after = 0
    while page := log.read(after, PAGE):
        for record in page:
            if record.kind == "deploy":
                return record.offset
        after = page[-1].offset
    raise OperatingError(
        "nothing was ever deployed, so there is no history of decisions.", remedy="'cadenza apply' deploys the project."
    )


def _counting(progress: Progressing, past: Past) -> Progressing:
    if progress is None:
        return None
    total = past.head().offset
    return lambda done: progress(msgspec.structs.replace(done, total=total))


def _replayed(report: TickReport) -> Replayed:
    return Replayed(records=report.records, waves=report.waves, ticks=report.ticks)


def end_of(log: Log) -> datetime:
    """The instant of the log's last record. Raises OperatingError when it is empty."""
    head = log.head()
    if not head.offset:
        raise OperatingError("the log is empty, so there is no history.", remedy="Import a source, or send events.")
    return from_micros(head.recorded_at)


def just_after(at: datetime) -> datetime:
    """The exclusive end of a time whose last instant is ``at``."""
    return at + MICROSECOND
