"""Moving the oldest blocks of the log into archive files, one range at a time.

The order is what makes a crash harmless: write a file beside the others → wait for the disk → read it back and compare →
in one transaction, that takes effect only when it is durable: give it its name, list it → then remove the blocks, a few at a time,
so that appends never wait long. Until the list has it, the blocks are the log; after that, the file is. A file that a
crash left over is not listed and is removed by the next run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from cadenza.errors import LedgerError
from cadenza.faults import fault
from cadenza.ids import random_id
from cadenza.ledger.archive import ArchiveEntry, checksum, digest_of, file_digest
from cadenza.ledger.log import SqliteLog
from cadenza.ports.archive import ArchiveFiles
from cadenza.ports.ledger import Record

MOST_RECORDS = 200_000
MOST_BYTES = 128_000_000
"""A file holds at most so many records and bytes of bodies, for one block more or less."""
_PAGE = 10_000
_DROPPED_AT_ONCE = 16
_VACUUMED_AT_ONCE = 2_000
PART = ".part"
"""The ending of a file that is not finished."""


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What one run did: the files it made, and why it stopped where it did."""

    files: tuple[ArchiveEntry, ...]
    records: int
    log_bytes: int
    """Size of the log's database file afterwards."""


def archive(
    log: SqliteLog, files: ArchiveFiles, before: int, consumed: int, now: int, most_records: int = MOST_RECORDS
) -> Archived:
    """Move what was recorded before ``before`` (µs) and is decided (offset <= ``consumed``) into files.

    The last block always stays. Safe beside writers, readers and another run; a run that was killed is finished by the next.
    Raises LedgerError or StoreError; then what is listed is whole and the rest is still in the log.
    """
    reader = log.archive
    try:
        reader.folder.mkdir(exist_ok=True)
        _remove_left_over(log)
        made = []
        _drop_blocks(log)
        while (span := _next_span(log, before, consumed, most_records)) is not None:
            entry = _write(log, files, *span, now)
            if entry is None:
                break
            made.append(entry)
            _drop_blocks(log)
        _vacuum(log)
    except OSError as error:
        raise LedgerError(
            f"{error.strerror}.", where=str(reader.folder),
            remedy="Nothing is lost: what is not archived is still in the log. Check the disk, then archive again.",
        ) from error  # fmt: skip
    return Archived(files=tuple(made), records=sum(entry.n for entry in made), log_bytes=log.size())


def _next_span(log: SqliteLog, before: int, consumed: int, most_records: int) -> tuple[int, int] | None:
    """First and last offset of the next file. A block is closed when the one after it began before ``before``."""
    sql = (
        "SELECT first_offset, n, length(bodies), lead(recorded_at) OVER (ORDER BY first_offset) FROM block"
        " WHERE first_offset > ? ORDER BY first_offset"
    )
    first = last = records = size = 0
    with log.reading() as connection:
        cursor = connection.execute(sql, (log.archive.through(connection),))
        for offset, n, length, next_at in cursor:
            full = records and (records + n > most_records or size + length > MOST_BYTES)
            if full or next_at is None or next_at > before or offset + n - 1 > consumed:
                break
            first, last = first or offset, offset + n - 1
            records, size = records + n, size + length
        cursor.close()
    return (first, last) if first else None


def _write(log: SqliteLog, files: ArchiveFiles, first: int, last: int, now: int) -> ArchiveEntry | None:
    """Write, verify and list one file; None when another run was faster."""
    folder = log.archive.folder
    part = folder / part_name()
    pages = _Pages(log, first, last)
    files.write(part, pages)
    sync(part)
    fault("archive.written")
    if _read_back(files, part, first, last) != pages.digest.digest():
        part.unlink()
        raise LedgerError(
            "an archive file did not read back as it was written.", where=str(part),
            remedy="Nothing was removed from the log. Test the disk and the memory, then archive again.",
        )  # fmt: skip
    entry = ArchiveEntry(
        first_offset=first, last_offset=last, n=last - first + 1, first_at=pages.first_at, last_at=pages.last_at,
        file=f"log-{first:012}-{last:012}.parquet", size=part.stat().st_size, digest=file_digest(part),
        records_digest=pages.digest.digest(), imported=pages.imported, archived_at=now,
    )  # fmt: skip
    log.settle_index(last)
    return entry if _list(log, entry, part) else None


def _list(log: SqliteLog, entry: ArchiveEntry, part: Path) -> bool:
    with log.writing() as connection:
        if log.archive.through(connection) != entry.first_offset - 1:
            part.unlink()
            return False
        part.rename(log.archive.folder / entry.file)
        sync(log.archive.folder)
        fault("archive.named")
        insert_entry(connection, entry)
    fault("archive.listed")
    return True


def insert_entry(connection, entry: ArchiveEntry) -> None:
    """List a file, inside the caller's transaction."""
    row = msgspec.structs.astuple(msgspec.structs.replace(entry, imported=[]))
    spans = msgspec.json.encode(entry.imported).decode()
    at = ArchiveEntry.__struct_fields__.index("imported")
    slots = ", ".join("?" * len(row))
    connection.execute(f"INSERT OR REPLACE INTO archive VALUES ({slots})", (*row[:at], spans, *row[at + 1 :]))


class _Pages:
    """The records of a range, page by page, with what there is to say of them all once they have been read."""

    def __init__(self, log: SqliteLog, first: int, last: int) -> None:
        self._log, self._first, self._last = log, first, last
        self.digest = blake2b(digest_size=20)
        self.imported: list[tuple[int, int]] = []
        self.first_at = self.last_at = 0

    def __iter__(self) -> Iterator[list[tuple[Record, int]]]:
        after = self._first - 1
        while after < self._last:
            records = self._log.read(after, min(_PAGE, self._last - after))
            _require_text(records)
            page = [(record, checksum(record)) for record in records]
            self.digest.update(digest_of([value for _, value in page]))
            self.first_at, self.last_at = self.first_at or records[0].recorded_at, records[-1].recorded_at
            self._note_imported(records)
            after = records[-1].offset
            yield page

    def _note_imported(self, records: Sequence[Record]) -> None:
        for record in records:
            if not record.imported:
                continue
            if self.imported and self.imported[-1][1] == record.offset - 1:
                self.imported[-1] = (self.imported[-1][0], record.offset)
            else:
                self.imported.append((record.offset, record.offset))


def _require_text(records: Sequence[Record]) -> None:
    for record in records:
        try:
            record.body.decode()
        except UnicodeDecodeError:
            raise LedgerError(
                f"The body of the record at offset {record.offset} is not UTF-8 and cannot be archived.",
                where=f"offset {record.offset}", remedy="What comes before it can be; the log keeps the rest.",
            ) from None  # fmt: skip


def _read_back(files: ArchiveFiles, part: Path, first: int, last: int) -> bytes:
    """The digest of the file's records, from what the file says of them."""
    digest = blake2b(digest_size=20)
    for low in range(first, last + 1, _PAGE):
        found = files.read(part, low, min(low + _PAGE - 1, last))
        digest.update(digest_of([checksum(record) for record, _ in found]))
        if any(checksum(record) != stored for record, stored in found):
            return b""
    return digest.digest()


def _drop_blocks(log: SqliteLog) -> None:
    """Remove blocks that the archive has. Few at a time: appends wait meanwhile."""
    sql = (
        "DELETE FROM block WHERE first_offset IN"
        " (SELECT first_offset FROM block WHERE first_offset <= ? ORDER BY first_offset LIMIT ?)"
    )
    while True:
        with log.writing() as connection:
            removed = connection.execute(sql, (log.archive.through(connection), _DROPPED_AT_ONCE)).rowcount
            fault("archive.dropping")
        if removed < _DROPPED_AT_ONCE:
            return


def _vacuum(log: SqliteLog) -> None:
    """Give free pages of the database back to the file system, where it was made so that it can."""
    while True:
        with log.writing() as connection:
            before = connection.execute("PRAGMA freelist_count").fetchone()[0]
            connection.execute(f"PRAGMA incremental_vacuum({_VACUUMED_AT_ONCE})").fetchall()
            after = connection.execute("PRAGMA freelist_count").fetchone()[0]
        if not after or after == before:
            return


def _remove_left_over(log: SqliteLog) -> None:
    """Remove what a killed run left: unfinished files, and named ones whose range is still in the log."""
    with log.writing() as connection:
        through = log.archive.through(connection)
        listed = {entry.file for entry in log.archive.entries(connection)}
        head = connection.execute("SELECT next_offset - 1 FROM head").fetchone()[0]
        for path in log.archive.folder.iterdir():
            if path.suffix == PART and not _alive(path):
                path.unlink()
            elif path.name not in listed and path.name.startswith("log-") and path.suffix == ".parquet":
                first, last = (int(part) for part in path.stem.split("-")[1:3])
                if through < first <= last <= head:
                    path.unlink()


def part_name() -> str:
    """A name for a file that is being written: no other process, and no later run, takes it for its own."""
    return f"{os.getpid()}-{random_id()}{PART}"


def _alive(path: Path) -> bool:
    """Whether the process that writes this file still runs."""
    try:
        os.kill(int(path.name.partition("-")[0]), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk. Raises OSError."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
