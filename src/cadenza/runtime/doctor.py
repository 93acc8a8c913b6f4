"""Looks for what is wrong with a project's ledger and its surroundings, beside a running server or without one.

Each check gives findings: how grave, what, the evidence, and what to do. A check that cannot be made is a finding too.
Nothing is changed. The store is not read here: what it says of itself comes from whoever holds it.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import msgspec

from cadenza.clock import Clock, from_micros, iso, to_micros
from cadenza.errors import CadenzaError
from cadenza.ledger.journal import journal_files
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox

Severity = Literal["ok", "warning", "error"]
PAGE = 5_000
"""Records that are read at once."""
MOST_DAMAGE = 5
"""Damaged places that are named; after so many the file is replaced, not mended."""
LATE_US = 300_000_000
"""A message that is due for so long is not being delivered."""
BEHIND_RECORDS = 100_000
JOURNAL_BYTES = 64 * 1024 * 1024
LOW_BYTES, FULL_BYTES = 2 * 1024**3, 256 * 1024**2
LOW_DAYS = 14
AHEAD_US = 2_000_000
"""The log's head may be so far ahead of the clock: many records of one instant are told apart by microseconds."""
_DAY_US = 86_400_000_000
_COUNTED_AND_THERE = (
    "SELECT (SELECT coalesce(sum(n), 0) FROM tally WHERE outcome = 'stored'), (SELECT next_offset - 1 FROM head),"
    " (SELECT coalesce(sum(n), 0) FROM tally WHERE outcome = 'quarantined'),"
    " (SELECT count(*) FROM quarantine WHERE state IN ('resting', 'dropped'))"
)


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found. ``remedy`` is None when nothing has to be done."""

    check: str
    severity: Severity
    what: str
    evidence: str = ""
    remedy: str | None = None


class Doctor:
    """Examines one project. ``state``: the folder that holds the log."""

    def __init__(self, log: SqliteLog, outbox: SqliteOutbox, state: Path, journals: Path, clock: Clock) -> None:
        self._log, self._outbox, self._state, self._journals, self._clock = log, outbox, state, journals, clock

    def examine(self, quick: bool, progress: Callable[[int, int], None] | None = None) -> list[Finding]:
        """All checks; ``quick`` reads no records. ``progress`` gets records read and records in all."""
        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("conservation", self._conservation), ("outbox", self._outbox_age), ("journal", self._journal),
            ("disk", self._disk), ("clock", self._clocks),
        ]  # fmt: skip
        if not quick:
            checks.insert(1, ("records", lambda: self._records(progress or (lambda done, total: None))))
            checks.insert(2, ("messages", self._messages))
        return [finding for name, check in checks for finding in _tried(name, check)]

    def lag(self, consumed: int) -> Finding:
        """How far the store, which has ``consumed`` so much, is behind the log. Raises LedgerError."""
        behind = self._log.head().offset - consumed
        told = f"{behind:,} records of the log are not decided yet."
        if behind > BEHIND_RECORDS:
            remedy = "If it does not shrink: is a server running, does /health/ready complain, is the machine busy?"
            return Finding(check="lag", severity="warning", what=told, evidence=f"consumed {consumed:,}", remedy=remedy)
        if behind < 0:
            remedy = "The log was replaced by an older one: restore the newest backup of the log, or 'cadenza rebuild'."
            return Finding(check="lag", severity="error", what="the store knows more than the log.", evidence=f"consumed {consumed:,}, head {consumed + behind:,}", remedy=remedy)  # fmt: skip
        return Finding(check="lag", severity="ok", what=told, evidence=f"consumed {consumed:,}")

    # --- what came and what became of it ----------------------------------------------------------

    def _conservation(self) -> Iterator[Finding]:
        total, broken = self._log.tallies.total(), 0
        for source, counts in self._log.tallies.by_source().items():
            if not counts.conserved:
                broken += 1
                yield _lost(f"source '{source}'", msgspec.structs.asdict(counts))
        minutes = self._log.tallies.minutes()
        for minute in minutes:
            if not minute.counts.conserved:
                broken += 1
                where = f"source '{minute.source}', minute {iso(from_micros(minute.minute))}"
                yield _lost(where, msgspec.structs.asdict(minute.counts))
        with self._log.reading() as reader:
            # One statement sees one state of the file, though a server writes to it.
            stored, head, quarantined, kept = reader.execute(_COUNTED_AND_THERE).fetchone()
        if kept != quarantined:
            broken += 1
            yield _lost("quarantine", {"counted": quarantined, "there": kept})
        if head != stored:
            broken += 1
            yield _lost("log", {"counted": stored, "there": head})
        if not broken:
            told = f"{total.received:,} received = {total.stored:,} stored + {total.duplicate:,} duplicate + {total.quarantined:,} quarantined + {total.rejected:,} rejected"
            yield Finding(
                check="conservation",
                severity="ok",
                what=told,
                evidence=f"and in each of {len(minutes):,} source minutes",
            )

    def _records(self, progress: Callable[[int, int], None]) -> Iterator[Finding]:
        """Every record: its checksum, its place, its time, its source."""
        head, after, last_at, read, damaged = self._log.head().offset, 0, -1, 0, 0
        by_source: Counter[str] = Counter()
        while after < head and damaged < MOST_DAMAGE:
            try:
                page = self._log.read(after, PAGE)
            except CadenzaError as error:
                damaged += 1
                yield Finding(
                    check="checksums",
                    severity="error",
                    what=error.what,
                    evidence=error.where or "",
                    remedy=error.remedy,
                )
                after = self._beyond(after)
                continue
            if not page:
                break
            for record in page:
                if record.recorded_at <= last_at and read:
                    yield Finding(
                        check="sequence", severity="error", what=f"the record at offset {record.offset} was recorded before the one before it.",
                        evidence=f"{record.recorded_at} after {last_at}", remedy="Keep a copy of the log, and report this: it is a defect.",
                    )  # fmt: skip
                last_at = record.recorded_at
            by_source.update(record.source for record in page)
            read, after = read + len(page), page[-1].offset
            progress(after, head)
        if damaged:
            return
        yield Finding(check="checksums", severity="ok", what=f"{read:,} records are as they were written.")
        if read == head:
            counted = {s: c.stored for s, c in self._log.tallies.by_source().items() if c.stored}
            # Records may have come since the head was looked at: only what is missing is wrong.
            less = {source: n for source, n in by_source.items() if counted.get(source, 0) < n}
            if less or sum(counted.values()) < read:
                yield _lost("records by source", {"counted": counted, "there": dict(by_source)})

    def _beyond(self, after: int) -> int:
        """Where reading goes on after damage: behind the block that cannot be read."""
        with self._log.reading() as reader:
            low = reader.execute(
                "SELECT min(first_offset + n - 1) FROM block WHERE first_offset + n - 1 > ?", (after,)
            ).fetchone()[0]
        first = low if low is not None else after + PAGE
        # The damage may lie anywhere in the page: go on block by block until one reads.
        while first < self._log.head().offset:
            try:
                self._log.read(after, first - after)
            except CadenzaError:
                return first
            after = first
            with self._log.reading() as reader:
                low = reader.execute(
                    "SELECT min(first_offset + n - 1) FROM block WHERE first_offset + n - 1 > ?", (after,)
                ).fetchone()[0]
            first = low if low is not None else after + PAGE
        return first

    def _messages(self) -> Iterator[Finding]:
        """Every message of the outbox: its checksum and its state; and the file that holds them."""
        remedy = "Keep a copy of outbox.db with its -wal, test the disk, and restore the newest snapshot."
        for told in self._outbox.check():
            yield Finding(check="messages", severity="error", what=f"outbox.db: {told}.", remedy=remedy)
        damaged = self._outbox.damaged(MOST_DAMAGE)
        for message_id in damaged:
            yield Finding(
                check="messages", severity="error", what=f"message '{message_id}' is not as it was written.",
                evidence="it is not handed over, and ends as failed when it is due", remedy=remedy,
            )  # fmt: skip
        if not damaged:
            yield Finding(check="messages", severity="ok", what="the messages are as they were written.")

    # --- what waits ------------------------------------------------------------------------------------

    def _outbox_age(self) -> Iterator[Finding]:
        now, since, counts = self._now(), self._outbox.due_since(self._now()), self._outbox.counts()
        told = ", ".join(f"{n:,} {state}" for state, n in counts.items()) or "no messages"
        if counts.get("ambiguous"):
            yield Finding(
                check="outbox", severity="warning", what=f"{counts['ambiguous']:,} messages may or may not have been sent.", evidence=told,
                remedy="'cadenza messages --state ambiguous' lists them; ask the provider. They are never sent again by guess.",
            )  # fmt: skip
        if since is not None and now - since > LATE_US:
            yield Finding(
                check="outbox", severity="warning", what=f"a message is due since {iso(from_micros(since))}.", evidence=told,
                remedy="Is a server running? Does /health/ready complain of a destination?",
            )  # fmt: skip
        else:
            yield Finding(check="outbox", severity="ok", what="no message is late.", evidence=told)

    def _journal(self) -> Iterator[Finding]:
        waiting = journal_bytes(self._log, self._journals)
        told = f"{waiting:,} bytes in the collectors' journals are not in the log yet."
        if waiting > JOURNAL_BYTES:
            remedy = "If it does not shrink: is a server running? What is accepted is safe there, but not decided."
            yield Finding(check="journal", severity="warning", what=told, remedy=remedy)
        else:
            yield Finding(check="journal", severity="ok", what=told)

    # --- the surroundings --------------------------------------------------------------------------------

    def _disk(self) -> Iterator[Finding]:
        free, head = shutil.disk_usage(self._state).free, self._log.head().offset
        files = [path for path in self._state.iterdir() if path.is_file()]
        held = sum(path.stat().st_size for path in files)
        lately = sum(m.counts.stored for m in self._log.tallies.minutes(self._now() - _DAY_US))
        daily = held / head * lately if head else 0.0
        days = free / daily if daily > 0 else None
        evidence = f"{_gb(free)} free; {_gb(held)} held" + (f"; about {_gb(daily)} a day" if daily >= 1e6 else "")
        remedy = "Free some, or move the old part of the log away with 'cadenza archive'."
        if free < FULL_BYTES:
            yield Finding(check="disk", severity="error", what="the disk is full.", evidence=evidence, remedy=remedy)
        elif free < LOW_BYTES or (days is not None and days < LOW_DAYS):
            told = (
                "the disk is nearly full."
                if days is None
                else f"the disk is full in {days:,.0f} days at the pace of the last day."
            )
            yield Finding(check="disk", severity="warning", what=told, evidence=evidence, remedy=remedy)
        else:
            yield Finding(check="disk", severity="ok", what="there is room.", evidence=evidence)

    def _clocks(self) -> Iterator[Finding]:
        ahead = self._log.head().recorded_at - self._now()
        if ahead > AHEAD_US:
            yield Finding(
                check="clock", severity="warning" if ahead < _DAY_US else "error",
                what=f"the log is {ahead / 1e6:,.0f} s ahead of this machine's clock.", evidence=f"head {iso(from_micros(self._log.head().recorded_at))}",
                remedy="Was the clock set back? New records follow the log's time, so timers come early until the clock has caught up.",
            )  # fmt: skip
        else:
            yield Finding(check="clock", severity="ok", what="the clock is not behind the log.")

    def _now(self) -> int:
        return to_micros(self._clock.now())


def journal_bytes(log: SqliteLog, journals: Path) -> int:
    """Bytes that collectors accepted and that are not in the log yet. Raises LedgerError."""
    read, waiting = log.journals_read(), 0
    for path in journal_files(journals):
        # A file may go at any moment: then all of it is in the log.
        with suppress(FileNotFoundError):
            waiting += max(0, path.stat().st_size - read.get(path.name, 0))
    return waiting


def _tried(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """The findings of a check; that it cannot be made is one."""
    try:
        yield from check()
    except CadenzaError as error:
        yield Finding(check=name, severity="error", what=error.what, evidence=error.where or "", remedy=error.remedy)
    except OSError as error:
        yield Finding(check=name, severity="error", what=f"{error.strerror}.", evidence=str(error.filename or ""))


def _lost(where: str, counted: dict[str, object]) -> Finding:
    return Finding(
        check="conservation", severity="error", what=f"{where}: received is not stored + duplicate + quarantined + rejected."
        if "received" in counted else f"{where}: what is counted is not what is there.",
        evidence=", ".join(f"{name} {n}" for name, n in counted.items()),
        remedy="The file was changed by something else than Cadenza, or damaged: keep a copy, test the disk, restore the newest backup.",
    )  # fmt: skip


def _gb(n: float) -> str:
    return f"{n / 1e9:,.1f} GB" if n >= 1e8 else f"{n / 1e6:,.1f} MB"
