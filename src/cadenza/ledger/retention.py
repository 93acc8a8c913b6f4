"""Forgetting, on purpose and on the record: ids beyond the window for duplicates, and records beyond their keeping.

**Ids.** A message id is known for a declared time (30 days if not said), so that the index does not grow for ever. Ids of
imported records are kept as long as their records: importing a file again must store nothing twice, whenever.

**Records.** Whole archive files are deleted once all they hold is too old. Definitions and commands of such a file are kept, in a
small file in its place: without them a rebuild would not know the project. What was deleted is written down (table
``forgotten``), so that the sequence of offsets still adds up and a rebuild can say what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from itertools import pairwise

import msgspec

from cadenza.errors import LedgerError
from cadenza.faults import fault
from cadenza.ledger.archive import ArchiveEntry, Forgotten, checksum, digest_of, file_digest
from cadenza.ledger.archiving import insert_entry, part_name, sync
from cadenza.ledger.block import Run
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.seen import PARTS, part_bounds
from cadenza.ports.archive import ArchiveFiles
from cadenza.ports.ledger import Record

KEPT_KINDS = ("deploy", "command")
_BLOCKS_AT_ONCE = 5_000

Span = tuple[int, int]


def forget_ids(log: SqliteLog, before: int) -> int:
    """Drop the ids of records from before ``before`` (µs) from the index, but for imported ones. In many small
    transactions; appends go on meanwhile. Returns how many. Raises LedgerError."""
    with log.reading() as connection:
        done = connection.execute("SELECT coalesce(max(through), 0) FROM ids_forgotten").fetchone()[0]
    spans, through = _old_spans(log, before, done)
    dropped = _drop_ids(log, spans)
    with log.writing() as connection:
        connection.execute("INSERT OR REPLACE INTO ids_forgotten VALUES (1, ?)", (through,))
    return dropped


def forget_records(log: SqliteLog, files: ArchiveFiles, before: int, now: int, why: str) -> tuple[Forgotten, ...]:
    """Delete archive files that hold nothing recorded at ``before`` (µs) or later; ``why`` is written down. Raises
    LedgerError or StoreError; a run that was killed is finished by the next."""
    done: list[Forgotten] = []
    _delete_unlisted(log)
    try:
        with log.reading() as connection:
            entries = log.archive.entries(connection)
        for entry in entries:
            if entry.last_at >= before:
                break
            # What was thinned already holds nothing but what is kept.
            if not entry.thinned:
                done.append(_forget_file(log, files, entry, now, why))
    except OSError as error:
        remedy = "What is still listed is whole; check the disk, then try again."
        raise LedgerError(f"{error.strerror}.", where=str(log.archive.folder), remedy=remedy) from error
    return tuple(done)


def _forget_file(log: SqliteLog, files: ArchiveFiles, entry: ArchiveEntry, now: int, why: str) -> Forgotten:
    kept = [record for record in _records(log, entry) if record.kind in KEPT_KINDS]
    _drop_ids(log, [(entry.first_offset, entry.last_offset)])
    gone = Forgotten(
        first_offset=entry.first_offset, last_offset=entry.last_offset, n=entry.n - len(kept), first_at=entry.first_at,
        last_at=entry.last_at, kept=len(kept), records_digest=entry.records_digest, at=now, why=why,
    )  # fmt: skip
    if not gone.n:
        return gone
    folder = log.archive.folder
    part = folder / part_name()
    smaller = _smaller(files, part, entry, kept) if kept else None
    fault("retention.written")
    with log.writing() as connection:
        if smaller is None:
            connection.execute("DELETE FROM archive WHERE first_offset = ?", (entry.first_offset,))
        else:
            part.rename(folder / smaller.file)
            sync(folder)
            insert_entry(connection, smaller)
        row = msgspec.structs.astuple(gone)
        connection.execute(f"INSERT OR REPLACE INTO forgotten VALUES ({', '.join('?' * len(row))})", row)
    fault("retention.listed")
    (folder / entry.file).unlink(missing_ok=True)
    sync(folder)
    return gone


def _smaller(files: ArchiveFiles, part, entry: ArchiveEntry, kept: list[Record]) -> ArchiveEntry:
    """Write the file of what is kept, and what the list will say of it."""
    page = [(record, checksum(record)) for record in kept]
    files.write(part, [page])
    sync(part)
    if files.read(part, entry.first_offset, entry.last_offset) != page:
        raise LedgerError(
            "an archive file did not read back as it was written.", where=str(part), remedy="Test the disk."
        )
    digest = blake2b(digest_size=20)
    digest.update(digest_of([value for _, value in page]))
    return msgspec.structs.replace(
        entry, n=len(kept), file=f"log-{entry.first_offset:012}-{entry.last_offset:012}-kept.parquet",
        size=part.stat().st_size, digest=file_digest(part), records_digest=digest.digest(), imported=[],
    )  # fmt: skip


def _records(log: SqliteLog, entry: ArchiveEntry) -> Iterator[Record]:
    first = entry.first_offset
    while first <= entry.last_offset:
        found = log.archive.records(entry, first, 10_000)
        yield from found
        first = found[-1].offset + 1


def _delete_unlisted(log: SqliteLog) -> None:
    """Files whose deletion was written down, and that a crash left there."""
    with log.reading() as connection:
        listed = {entry.file for entry in log.archive.entries(connection)}
        gone = log.archive.forgotten(connection)
    for one in gone:
        name = f"log-{one.first_offset:012}-{one.last_offset:012}.parquet"
        if name not in listed:
            (log.archive.folder / name).unlink(missing_ok=True)


def _drop_ids(log: SqliteLog, spans: list[Span]) -> int:
    """Remove the keys of these offsets from the index, one range of keys after the other."""
    if not spans:
        return 0
    listed = msgspec.json.encode(spans).decode()
    sql = (
        "DELETE FROM seen WHERE key BETWEEN ? AND ? AND EXISTS (SELECT 1 FROM json_each(?) AS span"
        " WHERE offset BETWEEN span.value ->> 0 AND span.value ->> 1)"
    )
    if len(spans) == 1:
        sql, listed = "DELETE FROM seen WHERE key BETWEEN ? AND ? AND offset BETWEEN ? AND ?", ""
    dropped = 0
    for part in range(PARTS):
        with log.writing() as connection:
            bounds = part_bounds(part)
            parameters = (*bounds, *spans[0]) if not listed else (*bounds, listed)
            dropped += connection.execute(sql, parameters).rowcount
    return dropped


def _old_spans(log: SqliteLog, before: int, after: int) -> tuple[list[Span], int]:
    """Spans of records that were not imported, with offset > ``after`` and recorded before ``before``; and how far."""
    spans: list[Span] = []
    with log.reading() as connection:
        for entry in log.archive.entries(connection, after):
            if entry.last_at >= before:
                return spans, after
            low = max(entry.first_offset, after + 1)
            for first, last in [*entry.imported, (entry.last_offset + 1, entry.last_offset)]:
                if first > low:
                    _join(spans, low, first - 1)
                low = max(low, last + 1)
            after = entry.last_offset
    while rows := _old_blocks(log, before, after):
        for first_offset, n, runs in rows:
            at = first_offset
            for run in msgspec.json.decode(runs, type=list[Run]):
                if not run.imported and at + run.n - 1 > after:
                    _join(spans, max(at, after + 1), at + run.n - 1)
                at += run.n
            after = first_offset + n - 1
    return spans, after


def _old_blocks(log: SqliteLog, before: int, after: int) -> list[tuple[int, int, bytes]]:
    """Blocks all of whose records are from before ``before``: one after them began earlier."""
    sql = "SELECT first_offset, n, runs, recorded_at FROM block WHERE first_offset > ? ORDER BY first_offset LIMIT ?"
    with log.reading() as connection:
        rows = connection.execute(sql, (after, _BLOCKS_AT_ONCE)).fetchall()
    return [row[:3] for row, following in pairwise(rows) if following[3] <= before]


def _join(spans: list[Span], first: int, last: int) -> None:
    if spans and spans[-1][1] == first - 1:
        spans[-1] = (spans[-1][0], last)
    else:
        spans.append((first, last))
