"""The log on SQLite: durable, ordered, deduplicated, checksummed, counted.

One append is one transaction (WAL, synchronous=FULL) that holds the records, what was quarantined, the
tallies and the new head together, so no crash can make them disagree. Several processes may append to one
file; ``recorded_at`` and ``offset`` are taken under the write lock and therefore strictly increase over all.

**Same id, same payload?** A client that retries may stamp a new ``sentAt``, which moves the corrected
``occurred_at``, and its context may name another attempt. So two calls with one message id are the same when they
agree without ``occurred_at``, ``context`` and ``flags``. If they do not agree the second is a conflict: the first
stays, the second goes to quarantine.
"""

from __future__ import annotations

import sqlite3
import threading
from bisect import bisect_right
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any

import msgspec

from cadenza.errors import LedgerError
from cadenza.faults import fault
from cadenza.ids import random_id
from cadenza.ledger import block as blocks
from cadenza.ledger.block import Block, Run
from cadenza.ledger.database import open_database, sqlite_errors, transaction
from cadenza.ledger.seen import SCHEMA as SEEN_SCHEMA
from cadenza.ledger.seen import SeenIndex, modulus_from
from cadenza.ports.ledger import Appended, Batch, Head, NewRecord, Record, Refused

VERSION = 1
_APPLICATION = 0x43444C47  # "CDLG"
_CACHED_BLOCKS = 16
MAX_ID = 100
"""Characters of a message id."""
_NOISE = ("occurred_at", "context", "flags")

_SCHEMA = f"""
CREATE TABLE block (first_offset INTEGER PRIMARY KEY, n INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    writer TEXT NOT NULL, keys BLOB NOT NULL, keys_sum INTEGER NOT NULL, runs BLOB NOT NULL, times BLOB NOT NULL,
    id_sizes BLOB NOT NULL, sizes BLOB NOT NULL, ids BLOB NOT NULL, meta_sum INTEGER NOT NULL,
    body_sums BLOB NOT NULL, bodies BLOB NOT NULL);
CREATE TABLE head (one INTEGER PRIMARY KEY CHECK (one = 1), next_offset INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    fence INTEGER NOT NULL, modulus INTEGER);
INSERT INTO head VALUES (1, 1, 0, 0, NULL);
CREATE TABLE tally (source TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (source, outcome, reason)) WITHOUT ROWID;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, message_id TEXT, body BLOB NOT NULL, digest BLOB UNIQUE);
CREATE INDEX quarantine_by_reason ON quarantine (source, reason);
{SEEN_SCHEMA}"""


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What one ``write`` did. ``verdicts`` has an entry for each record that was not stored, by its index."""

    stored: int
    first_offset: int
    verdicts: dict[int, Appended]


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record as it is kept. ``at`` is when it came (µs)."""

    id: int
    at: int
    source: str
    reason: str
    detail: str
    message_id: str | None
    body: bytes


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Tallies since the log began. ``received = stored + duplicate + quarantined + rejected``, always:
    they change in the transaction that stores what they count."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    rejected: int = 0


class SqliteLog:
    """The log port on one SQLite file. Safe to use from several threads and processes."""

    def __init__(self, path: Path, writer: str, connection: sqlite3.Connection, reader: sqlite3.Connection) -> None:
        self._path = path
        self._writer = writer
        self._connection = connection
        self._reader = reader
        self._lock = threading.Lock()
        self._read_lock = threading.Lock()
        self._cache: OrderedDict[int, list[Record]] = OrderedDict()
        self._modulus = _modulus(connection)
        self._index: SeenIndex | None = None
        self._known_next = 0

    @classmethod
    def open(cls, path: Path, writer: str = "main") -> SqliteLog:
        """Open or create the log. ``writer`` names this process in its records. Raises LedgerError."""
        connection = open_database(path, _APPLICATION, VERSION, _SCHEMA)
        reader = None
        try:
            with sqlite_errors(path):
                reader = open_database(path, _APPLICATION, VERSION, _SCHEMA)
                return cls(path, writer, connection, reader)
        except BaseException:
            connection.close()
            if reader is not None:
                reader.close()
            raise

    # --- writing ------------------------------------------------------------------------------

    def append(self, records: Sequence[NewRecord], now: int) -> list[Appended]:
        """Append and wait for the disk. ``now`` in µs; a record with ``at`` is recorded then (raised where needed:
        times strictly increase). One answer per record, in order. Raises LedgerError; then nothing was appended."""
        written = self.write(_batches(records), (), now)
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
        rejected: Mapping[tuple[str, str], int] | None = None,
    ) -> Written:  # fmt: skip
        """One transaction: append ``batches``, keep ``refused``, count ``rejected`` ((source, reason) -> how many,
        not kept). Durable when it returns. Raises LedgerError; then nothing of it happened."""
        tally: Counter[tuple[str, str, str]] = Counter()
        with self._lock, sqlite_errors(self._path):
            with transaction(self._connection):
                next_offset, _, fence = self._head_row(self._connection)
                seen = self._seen(next_offset)
                new = _Incoming(batches, seen)
                verdicts = self._judge(new, seen, next_offset)
                conflicts = [_conflict(new.record(i), v) for i, v in verdicts.items() if v.status == "conflict"]
                _count(tally, new, refused, verdicts, rejected or {})
                fresh = new.without(verdicts) if verdicts else new
                self._insert(fresh, next_offset, fence, now)
                self._keep_refused([*refused, *conflicts], now, tally)
                self._write_tally(tally)
                written_parts = seen.write_full(next_offset - 1)
                fault("log.before_commit")
            fault("log.after_commit")
            seen.forget(written_parts, next_offset - 1)
            seen.add(fresh.keys, next_offset)
            self._known_next = next_offset + len(fresh.keys)
        return Written(stored=len(fresh.keys), first_offset=next_offset, verdicts=verdicts)

    def fence(self, now: int) -> int:
        """See the port. Durable, and in force for every process that writes to this file."""
        with self._lock, sqlite_errors(self._path):
            held = self._head_row(self._connection)[2]
            if held >= now:
                return held
            with transaction(self._connection):
                self._connection.execute("UPDATE head SET fence = max(fence, ?)", (now,))
                return self._head_row(self._connection)[2]

    def _insert(self, new: _Incoming, next_offset: int, fence: int, now: int) -> None:
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

    # --- duplicates -----------------------------------------------------------------------------

    def _judge(self, new: _Incoming, seen: SeenIndex, next_offset: int) -> dict[int, Appended]:
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
                same = _same_payload(first[1], record)
                verdicts[index] = Appended("duplicate" if same else "conflict", first[0])
        return verdicts

    def _first_of(
        self, index: int, record: NewRecord, new: _Incoming, seen: SeenIndex,
        found: dict[int, int], mine: dict[int, tuple[int, NewRecord]],
    ) -> tuple[int, NewRecord | Record] | None:  # fmt: skip
        """The record that has this message id already, with its offset; None when it is new."""
        key, probe = new.keys[index], 0
        while True:
            holder: tuple[int, NewRecord | Record] | None = mine.get(key)
            if holder is None and (at := (found if probe == 0 else seen.find([key])).get(key)) is not None:
                holder = (at, self._at(at))
            if holder is None:
                new.keys[index] = key
                return None
            if holder[1].message_id == record.message_id:
                return holder
            probe += 1
            key = seen.probe_key(new.ids[index], probe)

    def _at(self, offset: int) -> Record:
        """The record at an offset, through a small cache of blocks (duplicates come in runs)."""
        sql = "SELECT max(first_offset) FROM block WHERE first_offset <= ?"
        first = self._connection.execute(sql, (offset,)).fetchone()[0]
        held = self._cache.get(first)
        if held is None:
            row = self._connection.execute("SELECT * FROM block WHERE first_offset = ?", (first,)).fetchone()
            if row is None:
                raise blocks.damaged(offset, offset, self._path.name)
            held = self._cache[first] = list(blocks.decode(Block(*row), 0, self._path.name))
            if len(self._cache) > _CACHED_BLOCKS:
                self._cache.popitem(last=False)
        if offset - first >= len(held):
            raise blocks.damaged(offset, offset, self._path.name)
        return held[offset - first]

    def _seen(self, next_offset: int) -> SeenIndex:
        """The index of message ids, up to date with what other processes appended. Made when first needed: those
        who only read the log do not pay for it."""
        if self._index is None:
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

    # --- tallies and quarantine ---------------------------------------------------------------

    def _keep_refused(self, refused: Sequence[Refused], now: int, tally: Counter[tuple[str, str, str]]) -> None:
        sql = "INSERT OR IGNORE INTO quarantine (at, source, reason, detail, message_id, body, digest) VALUES (?, ?, ?, ?, ?, ?, ?)"
        for item in refused:
            row = (now, item.source, item.reason, item.detail, item.message_id, item.body, _digest(item))
            if self._connection.execute(sql, row).rowcount:
                tally[item.source, "quarantined", item.reason] += 1
            else:
                tally[item.source, "duplicate", ""] += 1

    def _write_tally(self, tally: Counter[tuple[str, str, str]]) -> None:
        sql = "INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n"
        self._connection.executemany(sql, [(*key, n) for key, n in tally.items() if n])

    # --- reading --------------------------------------------------------------------------------

    def read(self, after: int, limit: int) -> list[Record]:
        """Records with offset > ``after``, in order, at most ``limit``. Raises LedgerError that names the offset of
        the first damaged record."""
        sql = (
            "SELECT * FROM block WHERE first_offset >= (SELECT coalesce(max(first_offset), 0) FROM block"
            " WHERE first_offset <= ?) ORDER BY first_offset"
        )
        records: list[Record] = []
        with self._reading() as reader:
            cursor = reader.execute(sql, (after + 1,))
            for row in cursor:
                records.extend(blocks.decode(Block(*row), after, self._path.name))
                if len(records) >= limit:
                    break
            cursor.close()
        del records[limit:]
        self._check_unbroken(records, after)
        return records

    def _check_unbroken(self, records: Sequence[Record], after: int) -> None:
        expected = after + 1
        for record in records:
            if record.offset != expected:
                raise blocks.damaged(expected, record.offset - 1, self._path.name)
            expected += 1

    def head(self) -> Head:
        with self._reading() as reader:
            next_offset, recorded_at, _ = self._head_row(reader)
        return Head(next_offset - 1, recorded_at)

    def stored_counts(self) -> Counts:
        """The tallies over all sources."""
        with self._reading() as reader:
            return Counts(**dict(reader.execute("SELECT outcome, sum(n) FROM tally GROUP BY outcome")))

    def source_counts(self) -> dict[str, Counts]:
        """The tallies of each source."""
        with self._reading() as reader:
            rows = reader.execute("SELECT source, outcome, sum(n) FROM tally GROUP BY source, outcome").fetchall()
        found: dict[str, dict[str, int]] = {}
        for source, outcome, n in rows:
            found.setdefault(source, {})[outcome] = n
        return {source: Counts(**outcomes) for source, outcomes in sorted(found.items())}

    def quarantine_list(
        self, limit: int = 100, source: str | None = None, reason: str | None = None
    ) -> list[Quarantined]:
        """The newest quarantined records, newest first, of one source and reason if given."""
        sql = (
            "SELECT id, at, source, reason, detail, message_id, body FROM quarantine WHERE source = coalesce(?, source)"
            " AND reason = coalesce(?, reason) ORDER BY id DESC LIMIT ?"
        )
        with self._reading() as reader:
            rows = reader.execute(sql, (source, reason, limit)).fetchall()
        return [
            msgspec.convert(dict(zip(Quarantined.__struct_fields__, row, strict=True)), Quarantined) for row in rows
        ]

    def quarantine_counts(self) -> dict[tuple[str, str], int]:
        """How many records are in quarantine, by (source, reason)."""
        sql = "SELECT source, reason, count(*) FROM quarantine GROUP BY source, reason ORDER BY source, reason"
        with self._reading() as reader:
            return {(source, reason): n for source, reason, n in reader.execute(sql)}

    def rejected_counts(self) -> dict[tuple[str, str], int]:
        """How many requests were refused without being kept, by (source, reason); the source is '' when unknown."""
        with self._reading() as reader:
            rows = reader.execute("SELECT source, reason, n FROM tally WHERE outcome = 'rejected' ORDER BY 1, 2")
            return {(source, reason): n for source, reason, n in rows}

    def close(self) -> None:
        """Close the file; what was appended stays."""
        with self._lock, self._read_lock:
            self._reader.close()
            self._connection.close()

    def _reading(self) -> _Reading:
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


class _Incoming:
    """The records of one write, as columns over all its batches."""

    def __init__(self, batches: Sequence[Batch], seen: SeenIndex) -> None:
        self.batches = batches
        self.ids = [message_id.encode() for batch in batches for message_id in batch.ids]
        self.bodies = [body for batch in batches for body in batch.bodies]
        self.keys = seen.keys_of(self.ids)
        self._ends = list(accumulate(len(batch.ids) for batch in batches))

    def record(self, index: int) -> NewRecord:
        """One of them as a record."""
        batch = self.batches[bisect_right(self._ends, index)]
        kind: Any = batch.kind
        return NewRecord(
            kind=kind, source=batch.source, message_id=self.ids[index].decode(), body=self.bodies[index],
            imported=batch.imported,
        )  # fmt: skip

    def without(self, dropped: Mapping[int, object]) -> _Incoming:
        """The same records but those at the indexes ``dropped``."""
        kept = object.__new__(_Incoming)
        indexes = [index for index in range(len(self.ids)) if index not in dropped]
        kept.ids, kept.bodies = [self.ids[i] for i in indexes], [self.bodies[i] for i in indexes]
        kept.keys = [self.keys[i] for i in indexes]
        kept.batches, low = [], 0
        for batch, high in zip(self.batches, self._ends, strict=True):
            mine = [i - low for i in range(low, high) if i not in dropped]
            ats = batch.ats and [batch.ats[i] for i in mine]
            ids, bodies = [batch.ids[i] for i in mine], [batch.bodies[i] for i in mine]
            kept.batches.append(msgspec.structs.replace(batch, ids=ids, bodies=bodies, ats=ats))
            low = high
        kept._ends = list(accumulate(len(batch.ids) for batch in kept.batches))
        return kept

    def times(self, fence: int, now: int) -> Sequence[int]:
        """``recorded_at`` of each: its own instant or now, raised to stay above all before it."""
        if all(batch.ats is None for batch in self.batches):
            start = max(now, fence + 1)
            return range(start, start + len(self.ids))
        times, last = [], fence
        for batch in self.batches:
            for at in batch.ats or [None] * len(batch.ids):
                last = max(now if at is None else at, last + 1)
                times.append(last)
        return times

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where to cut them into blocks of a size that is good to read back."""
        if len(self.ids) <= blocks.MAX_RECORDS and sum(map(len, self.bodies)) <= blocks.MAX_BYTES:
            yield 0, len(self.ids)
            return
        low = size = 0
        for index, body in enumerate(self.bodies):
            if index > low and (index - low >= blocks.MAX_RECORDS or size + len(body) > blocks.MAX_BYTES):
                yield low, index
                low, size = index, 0
            size += len(body)
        yield low, len(self.ids)

    def runs_between(self, low: int, high: int) -> list[Run]:
        """What neighbours share, for the records from ``low`` to ``high``."""
        runs: list[Run] = []
        start = 0
        for batch, end in zip(self.batches, self._ends, strict=True):
            n = min(end, high) - max(start, low)
            if n > 0:
                last = runs[-1] if runs else None
                if last and (last.kind, last.source, last.imported) == (batch.kind, batch.source, batch.imported):
                    n += runs.pop().n
                runs.append(Run(n, batch.kind, batch.source, batch.imported))
            start = end
        return runs


def _batches(records: Sequence[NewRecord]) -> list[Batch]:
    """Neighbours of one kind and source become one batch. Raises LedgerError for an id that is too long."""
    batches = []
    for (kind, source, imported), group in groupby(records, lambda r: (r.kind, r.source, r.imported)):
        members = list(group)
        for record in members:
            if not 0 < len(record.message_id) <= MAX_ID:
                what = f"The message id '{record.message_id[:40]}' has {len(record.message_id)} characters."
                raise LedgerError(what, remedy=f"Ids have 1 to {MAX_ID} characters.")
        ats = [record.at for record in members]
        batches.append(Batch(
            kind=kind, source=source, imported=imported, ids=[record.message_id for record in members],
            bodies=[record.body for record in members], ats=ats if any(at is not None for at in ats) else None,
        ))  # fmt: skip
    return batches


def _count(
    tally: Counter[tuple[str, str, str]], new: _Incoming, refused: Sequence[Refused],
    verdicts: Mapping[int, Appended], rejected: Mapping[tuple[str, str], int],
) -> None:  # fmt: skip
    """Add what came in, and where it went but for quarantine (which counts what it keeps)."""
    for batch in new.batches:
        tally[batch.source, "received", ""] += len(batch.ids)
        tally[batch.source, "stored", ""] += len(batch.ids)
    for index, verdict in verdicts.items():
        source = new.record(index).source
        tally[source, "stored", ""] -= 1
        if verdict.status == "duplicate":
            tally[source, "duplicate", ""] += 1
    for item in refused:
        tally[item.source, "received", ""] += 1
    for (source, reason), n in rejected.items():
        tally[source, "received", ""] += n
        tally[source, "rejected", reason] += n


def _modulus(connection: sqlite3.Connection) -> int:
    """The secret of this log's index, made once and before anything depends on it."""
    sql = "SELECT modulus FROM head"
    if connection.execute(sql).fetchone()[0] is None:
        with transaction(connection):
            connection.execute("UPDATE head SET modulus = coalesce(modulus, ?)", (modulus_from(random_id()),))
    return connection.execute(sql).fetchone()[0]


def _conflict(record: NewRecord, verdict: Appended) -> Refused:
    return Refused(
        source=record.source, reason="conflict", message_id=record.message_id, body=record.body,
        detail=f"The id is that of the record at offset {verdict.offset}, whose payload differs; the first is kept.",
    )  # fmt: skip


def _digest(item: Refused) -> bytes | None:
    """What makes two refusals the same one (a retry); None for those without an id: each is kept."""
    if item.message_id is None:
        return None
    digest = blake2b(digest_size=16)
    for part in (item.source.encode(), item.reason.encode(), item.message_id.encode(), item.body):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def _same_payload(first: NewRecord | Record, second: NewRecord) -> bool:
    if first.kind != second.kind:
        return False
    return first.body == second.body or _payload(first.body) == _payload(second.body)


def _payload(body: bytes) -> bytes:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in _NOISE}
    return msgspec.json.encode(value, order="sorted")
