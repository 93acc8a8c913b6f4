"""The log on SQLite: durable, ordered, deduplicated, checksummed, counted.

One append is one transaction (WAL, synchronous=FULL) that holds the records, what was quarantined, the
tallies and the new head together, so no crash can make them disagree. Several processes may append to one
file; ``recorded_at`` and ``offset`` are taken under the write lock and therefore strictly increase over all.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cadenza.faults import fault
from cadenza.ids import random_id
from cadenza.ledger import block as blocks, quarantine, tally
from cadenza.ledger.archive import SCHEMA as ARCHIVE_SCHEMA, ArchiveReader
from cadenza.ledger.block import Block
from cadenza.ledger.database import open_database, snapshot, sqlite_errors, transaction
from cadenza.ledger.incoming import Incoming, batches_of, same_payload
from cadenza.ledger.quarantine import Quarantined, QuarantineTable, Readmission, Readmitted, StillRefused
from cadenza.ledger.seen import PARTS, SCHEMA as SEEN_SCHEMA, SeenIndex, modulus_from
from cadenza.ledger.tally import Counts, Tallies, Tally
from cadenza.ledger.witness import Witness, check_head
from cadenza.ports.archive import ArchiveFiles
from cadenza.ports.ledger import Appended, Batch, Head, NewRecord, Record, Refused

VERSION = 3
_APPLICATION = 0x43444C47  # "CDLG"
_CACHED_BLOCKS = 16

_JOURNAL_READ = """
CREATE TABLE journal_read (file TEXT PRIMARY KEY, through INTEGER NOT NULL) WITHOUT ROWID;
"""

_SCHEMA = f"""
CREATE TABLE block (first_offset INTEGER PRIMARY KEY, n INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    writer TEXT NOT NULL, keys BLOB NOT NULL, keys_sum INTEGER NOT NULL, runs BLOB NOT NULL, times BLOB NOT NULL,
    id_sizes BLOB NOT NULL, sizes BLOB NOT NULL, ids BLOB NOT NULL, meta_sum INTEGER NOT NULL,
    body_sums BLOB NOT NULL, bodies BLOB NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), next_offset INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    fence INTEGER NOT NULL, modulus INTEGER);
INSERT INTO head VALUES (1, 1, 0, 0, NULL);
{_JOURNAL_READ}{tally.SCHEMA}{quarantine.SCHEMA}{tally.SCHEMA_2}{quarantine.SCHEMA_2}{SEEN_SCHEMA}{ARCHIVE_SCHEMA}"""
_MIGRATIONS = (
    _JOURNAL_READ + tally.FROM_1 + tally.SCHEMA_2 + quarantine.FROM_1 + quarantine.SCHEMA_2,
    ARCHIVE_SCHEMA,
)
"""From each version to the next; version 1 had no journals, no tally by the minute, and its quarantine was a list; version
2 had no archive."""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What one ``write`` did. ``verdicts`` has an entry for each record that was not stored, by its index."""

    stored: int
    first_offset: int
    verdicts: dict[int, Appended]


class SqliteLog:
    """The log port on one SQLite file. Safe to use from several threads and processes."""

    def __init__(
        self, path: Path, writer: str, connection: sqlite3.Connection, reader: sqlite3.Connection,
        files: ArchiveFiles | None,
    ) -> None:  # fmt: skip
        self._path = path
        self.archive = ArchiveReader(path, files)
        self._writer = writer
        self._connection = connection
        self._reader = reader
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._cache: OrderedDict[int, list[Record]] = OrderedDict()
        self._modulus = _modulus(connection)
        self._witness = Witness(path)
        try:
            check_head(connection, self.archive, self._witness, path)
        except BaseException:
            self._witness.close()
            raise
        self._index: SeenIndex | None = None
        self._known_next = 0
        self.tallies = Tallies(self.reading)
        self.quarantined = QuarantineTable(self.reading, self.writing)

    @classmethod
    def open(cls, path: Path, writer: str = "main", files: ArchiveFiles | None = None) -> SqliteLog:
        """Open or create the log. ``writer`` names this process in its records; ``files`` reads what is archived.
        Raises LedgerError."""
        connection = open_database(path, _APPLICATION, VERSION, _SCHEMA, _MIGRATIONS)
        reader = None
        try:
            with sqlite_errors(path):
                reader = open_database(path, _APPLICATION, VERSION, _SCHEMA, _MIGRATIONS)
                return cls(path, writer, connection, reader, files)
        except BaseException:
            connection.close()
            if reader is not None:
                reader.close()
            raise

    # --- writing ------------------------------------------------------------------------------

    def append(self, records: Sequence[NewRecord], now: int) -> list[Appended]:
        """Append and wait for the disk. ``now`` in µs; a record with ``at`` is recorded then (raised where needed:
        times strictly increase). One answer per record, in order. Raises LedgerError; then nothing was appended."""
        written = self.write(batches_of(records), (), now)
        offset, answers = written.first_offset, []
        for index in range(len(records)):
            verdict = written.verdicts.get(index)
            if verdict is None:
                verdict = Appended("stored", offset)
                offset += 1
            answers.append(verdict)
        return answers

    def quarantine(self, refused: Sequence[Refused], now: int) -> None:
        """Keep records that were not accepted. One that is refused again (same id, reason and body) counts as a
        duplicate."""
        self.write((), refused, now)

    def write(
        self, batches: Sequence[Batch], refused: Sequence[Refused], now: int,
        rejected: Mapping[tuple[str, str], int] | None = None, journals: Mapping[str, int] | None = None,
    ) -> Written:  # fmt: skip
        """One transaction: append ``batches``, keep ``refused``, count ``rejected`` ((source, reason) -> how many,
        not kept), and note how far ``journals`` (file -> place) are read. Durable when it returns. Raises
        LedgerError; then nothing of it happened."""

        def account(new: Incoming, verdicts: Mapping[int, Appended], first_offset: int, counted: Tally) -> None:
            told = {index: (new.record(index), verdict) for index, verdict in verdicts.items()}
            sources = {index: (record.source, verdict) for index, (record, verdict) in told.items()}
            tally.count(counted, batches, refused, sources, rejected or {})
            conflicts = [
                quarantine.conflict(r.source, r.message_id, r.body, r.kind, r.imported, verdict)
                for r, verdict in told.values()
                if verdict.status == "conflict"
            ]
            quarantine.keep(self._connection, [*refused, *conflicts], now, counted)
            places = (journals or {}).items()
            self._connection.executemany("INSERT OR REPLACE INTO journal_read VALUES (?, ?)", places)

        return self._append(lambda: batches, account, now)

    def readmit(
        self, accepted: Sequence[Readmission], refused: Sequence[StillRefused], now: int, who: str
    ) -> list[Readmitted]:
        """One transaction: records of quarantine go into the log as if they came now, those that are refused again stay
        with their new reason. A record that left, or was corrected, since it was read is passed over: done twice, or by
        two at once, it is done once. One answer per record, by id. Raises LedgerError; then nothing happened."""
        items = {item.id: item for item in (*accepted, *refused)}
        done = {id: Readmitted(id=id, status="passed over") for id in items}
        here: dict[int, tuple[str, str]] = {}
        taken: list[Readmission] = []

        def batches() -> list[Batch]:
            here.update(quarantine.current(self._connection, {id: item.revision for id, item in items.items()}))
            taken.extend(sorted((item for item in accepted if item.id in here), key=lambda item: item.id))
            return batches_of([
                NewRecord(
                    kind="call", source=item.source, message_id=message_id, body=body, at=item.at, imported=item.imported
                )
                for item in taken for message_id, body in item.calls
            ])  # fmt: skip

        def account(new: Incoming, verdicts: Mapping[int, Appended], first_offset: int, counted: Tally) -> None:
            done.update((item.id, _again(item)) for item in refused if item.id in here)
            index, offset = 0, first_offset
            for item in taken:
                became = [verdicts.get(index + n) for n in range(len(item.calls))]
                done[item.id] = _readmitted(item.id, became, offset)
                if done[item.id].status != "refused":
                    quarantine.admit_further(self._connection, item, became, done[item.id], now, counted)
                index, offset = index + len(became), offset + became.count(None)
            quarantine.settle(self._connection, [done[id] for id in here], here, now, who, counted)

        self._append(batches, account, now)
        return [done[id] for id in sorted(done)]

    def _append(
        self, batches: Callable[[], Sequence[Batch]], account: Callable[[Incoming, Mapping[int, Appended], int, Tally], None],
        now: int,
    ) -> Written:  # fmt: skip
        """The transaction of every append. ``account`` adds to the tally, and keeps what it is about."""
        counted: Tally = Counter()
        with self._lock, sqlite_errors(self._path):
            with transaction(self._connection):
                next_offset, _, fence = self._head_row(self._connection)
                seen = self._seen(next_offset)
                new = Incoming(batches(), seen)
                verdicts = self._judge(new, seen, next_offset)
                fresh = new.without(verdicts) if verdicts else new
                self._insert(fresh, next_offset, fence, now)
                account(new, verdicts, next_offset, counted)
                self._write_tally(counted, now)
                written_parts = seen.write_full(next_offset - 1)
                fault("log.before_commit")
            fault("log.after_commit")
            seen.forget(written_parts, next_offset - 1)
            seen.add(fresh.keys, next_offset)
            self._known_next = next_offset + len(fresh.keys)
            self._witness.saw(self._known_next)
        return Written(stored=len(fresh.keys), first_offset=next_offset, verdicts=verdicts)

    def journals_read(self) -> dict[str, int]:
        """How far each journal file is in the log, by its name."""
        with self.reading() as reader:
            return dict(reader.execute("SELECT file, through FROM journal_read"))

    def forget_journals(self, files: Sequence[str]) -> None:
        """Drop what is known of journal files that are no more."""
        with self._lock, sqlite_errors(self._path), transaction(self._connection):
            self._connection.executemany("DELETE FROM journal_read WHERE file = ?", [(name,) for name in files])

    def fence(self, now: int) -> int:
        """See the port. Durable, and in force for every process that writes to this file."""
        with self._lock, sqlite_errors(self._path):
            held = self._head_row(self._connection)[2]
            if held >= now:
                return held
            with transaction(self._connection):
                self._connection.execute("UPDATE head SET fence = max(fence, ?)", (now,))
                return self._head_row(self._connection)[2]

    def _insert(self, new: Incoming, next_offset: int, fence: int, now: int) -> None:
        """Write records as blocks, and the head."""
        if not new.keys:
            return
        times = new.times(fence, now)
        slots = ", ".join("?" * len(Block.__struct_fields__))
        for low, high in new.spans():
            row = blocks.encode(
                next_offset + low, self._writer, times[low:high], new.keys[low:high], new.runs_between(low, high),
                new.ids[low:high], new.bodies[low:high],
            )  # fmt: skip
            self._connection.execute(f"INSERT INTO block VALUES ({slots})", msgspec.structs.astuple(row))
        head = (next_offset + len(new.keys), times[-1], times[-1])
        self._connection.execute("UPDATE head SET next_offset = ?, recorded_at = ?, fence = ?", head)

    @property
    def path(self) -> Path:
        """The database file."""
        return self._path

    def size(self) -> int:
        """Bytes of the database with its -wal. Raises LedgerError."""
        with sqlite_errors(self._path):
            wal = self._path.with_name(self._path.name + "-wal")
            return self._path.stat().st_size + (wal.stat().st_size if wal.exists() else 0)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A write transaction, for the parts of this room. Raises LedgerError; then nothing of it happened."""
        with self._lock, sqlite_errors(self._path), transaction(self._connection):
            yield self._connection

    def settle_index(self, through: int) -> None:
        """Write the keys of all records up to ``through`` to the index, so that their blocks are not needed for it. In
        many small transactions: appends go on meanwhile."""
        for part in range(PARTS):
            with self._lock, sqlite_errors(self._path):
                with transaction(self._connection):
                    next_offset = self._head_row(self._connection)[0]
                    seen = self._seen(next_offset)
                    stale = seen.written_through(part) < through
                    if stale:
                        seen.write([part], next_offset - 1)
                if stale:
                    seen.forget([part], next_offset - 1)

    # --- duplicates -----------------------------------------------------------------------------

    def _judge(self, new: Incoming, seen: SeenIndex, next_offset: int) -> dict[int, Appended]:
        """Records that are not new, by index. May replace keys of new ones whose key is taken by another id."""
        if not new.keys:
            return {}
        found = seen.find(new.keys)
        if not found and len(set(new.keys)) == len(new.keys):
            return {}
        verdicts: dict[int, Appended] = {}
        mine: dict[int, tuple[int, NewRecord]] = {}
        for index in range(len(new.keys)):
            record = new.record(index)
            first = self._first_of(index, record, new, seen, found, mine)
            if first is None:
                mine[new.keys[index]] = (next_offset + index - len(verdicts), record)
            else:
                same = same_payload(first[1], record)
                verdicts[index] = Appended("duplicate" if same else "conflict", first[0])
        return verdicts

    def _first_of(
        self, index: int, record: NewRecord, new: Incoming, seen: SeenIndex,
        found: dict[int, int], mine: dict[int, tuple[int, NewRecord]],
    ) -> tuple[int, NewRecord | Record] | None:  # fmt: skip
        """The record that has this message id already, with its offset; None when it is new."""
        key, probe = new.keys[index], 0
        while True:
            holder: tuple[int, NewRecord | Record] | None = mine.get(key)
            if holder is None and (at := (found if probe == 0 else seen.find([key])).get(key)) is not None:
                first = self._at(at)
                holder = None if first is None else (at, first)
            if holder is None:
                new.keys[index] = key
                return None
            if holder[1].message_id == record.message_id:
                return holder
            probe += 1
            key = seen.probe_key(new.ids[index], probe)

    def _at(self, offset: int) -> Record | None:
        """The record at an offset, through a small cache of blocks (duplicates come in runs); None when retention
        deleted it."""
        sql = "SELECT max(first_offset) FROM block WHERE first_offset <= ?"
        first = self._connection.execute(sql, (offset,)).fetchone()[0]
        if first is None:
            return self._archived_at(offset)
        held = self._cache.get(first)
        if held is None:
            row = self._connection.execute("SELECT * FROM block WHERE first_offset = ?", (first,)).fetchone()
            if row is None:
                raise blocks.damaged(offset, offset, self._path.name)
            held = self._keep(first, list(blocks.decode(Block(*row), 0, self._path.name)))
        if offset - first >= len(held):
            raise blocks.damaged(offset, offset, self._path.name)
        return held[offset - first]

    def _archived_at(self, offset: int) -> Record | None:
        first = offset - (offset - 1) % blocks.MAX_RECORDS
        held = self._cache.get(-first)
        if held is None:
            held = self._keep(-first, self.archive.read(self._connection, first - 1, blocks.MAX_RECORDS))
        return next((record for record in held if record.offset == offset), None)

    def _keep(self, place: int, records: list[Record]) -> list[Record]:
        self._cache[place] = records
        if len(self._cache) > _CACHED_BLOCKS:
            self._cache.popitem(last=False)
        return records

    def _seen(self, next_offset: int) -> SeenIndex:
        """The index of message ids, up to date with what other processes appended. Made when first needed: those
        who only read the log do not pay for it."""
        behind = next_offset != self._known_next and self.archive.through(self._connection) >= self._known_next
        if self._index is None or behind:
            # Behind: another process archived what this one had not learnt yet; those keys are in the database.
            self._index = SeenIndex(self._connection, self._modulus, next_offset)
            self._known_next = self._index.reload_after() + 1
        if next_offset != self._known_next:
            sql = (
                "SELECT first_offset, n, writer, keys, keys_sum FROM block"
                " WHERE first_offset >= ? AND first_offset + n > ? ORDER BY first_offset"
            )
            bound = (self._known_next - blocks.MAX_RECORDS, self._known_next)
            for row in self._connection.execute(sql, bound).fetchall():
                self._index.load(blocks.decode_keys(*row, where=self._path.name), row[0])
            self._known_next = next_offset
        return self._index

    def _write_tally(self, counted: Tally, now: int) -> None:
        tally.write(self._connection, counted, now)

    # --- reading --------------------------------------------------------------------------------

    def read(self, after: int, limit: int) -> list[Record]:
        """Records with offset > ``after``, in order, at most ``limit``. Raises LedgerError that names the offset of
        the first damaged record."""
        sql = (
            "SELECT * FROM block WHERE first_offset >= (SELECT coalesce(max(first_offset), 0) FROM block"
            " WHERE first_offset <= ?) ORDER BY first_offset"
        )
        with self.reading() as reader, snapshot(reader):
            records = self.archive.read(reader, after, limit)
            through = max(after, self.archive.through(reader))
            if (left := limit - len(records)) > 0:
                found: list[Record] = []
                cursor = reader.execute(sql, (through + 1,))
                for row in cursor:
                    found.extend(blocks.decode(Block(*row), through, self._path.name))
                    if len(found) >= left:
                        break
                cursor.close()
                self._check_unbroken(found, through)
                records += found[:left]
        return records

    def _check_unbroken(self, records: Sequence[Record], after: int) -> None:
        expected = after + 1
        for record in records:
            if record.offset != expected:
                raise blocks.damaged(expected, record.offset - 1, self._path.name)
            expected += 1

    def head(self) -> Head:
        with self.reading() as reader:
            next_offset, recorded_at, _ = self._head_row(reader)
        return Head(next_offset - 1, recorded_at)

    def stored_counts(self) -> Counts:
        """The tallies over all sources."""
        return self.tallies.total()

    def source_counts(self) -> dict[str, Counts]:
        """The tallies of each source."""
        return self.tallies.by_source()

    def rejected_counts(self) -> dict[tuple[str, str], int]:
        """How many requests were refused without being kept, by (source, reason); the source is '' when unknown."""
        return self.tallies.rejected()

    def quarantine_list(
        self, limit: int = 100, source: str | None = None, reason: str | None = None
    ) -> list[Quarantined]:
        """The newest quarantined records, newest first, of one source and reason if given."""
        return self.quarantined.list(limit, source, reason)

    def quarantine_counts(self) -> dict[tuple[str, str], int]:
        """How many records are in quarantine, dropped ones included, by (source, reason)."""
        counts = sorted(self.quarantined.counts(), key=lambda c: (c.source, c.reason))
        return {(c.source, c.reason): n for c in counts if (n := c.resting + c.dropped)}

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with self._lock, self._read_lock:
            self._reader.close()
            self._connection.close()
            self._witness.close()

    def reading(self) -> _Reading:
        """The reading connection, for the parts of this room."""
        return _Reading(self._reader, self._read_lock, self._path)

    @staticmethod
    def _head_row(connection: sqlite3.Connection) -> tuple[int, int, int]:
        return connection.execute("SELECT next_offset, recorded_at, fence FROM head").fetchone()


class _Reading:
    """The reading connection, held by one thread at a time, with SQLite's errors translated."""

    def __init__(self, reader: sqlite3.Connection, lock: threading.Lock, path: Path) -> None:
        self._reader, self._lock, self._errors = reader, lock, sqlite_errors(path)

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        self._errors.__enter__()
        return self._reader

    def __exit__(self, *exception: object) -> bool | None:
        try:
            return self._errors.__exit__(*exception)  # type: ignore[arg-type]
        finally:
            self._lock.release()


def _modulus(connection: sqlite3.Connection) -> int:
    """The secret of this log's index, made once and before anything depends on it."""
    sql = "SELECT modulus FROM head"
    if connection.execute(sql).fetchone()[0] is None:
        with transaction(connection):
            connection.execute("UPDATE head SET modulus = coalesce(modulus, ?)", (modulus_from(random_id()),))
    return connection.execute(sql).fetchone()[0]


def _readmitted(id: int, became: Sequence[Appended | None], offset: int) -> Readmitted:
    """Of a record by its calls: None where one was stored, from ``offset`` on, else the verdict on it."""
    if None in became:
        return Readmitted(id=id, status="stored", offset=offset)
    verdicts = [verdict for verdict in became if verdict is not None]
    there = next((verdict for verdict in verdicts if verdict.status == "duplicate"), None)
    if there is not None:
        return Readmitted(id=id, status="duplicate", offset=there.offset)
    detail = quarantine.conflict_detail(verdicts[0].offset)
    return Readmitted(id=id, status="refused", reason="conflict", detail=detail)


def _again(item: StillRefused) -> Readmitted:
    return Readmitted(id=item.id, status="refused", reason=item.reason, detail=item.detail)
