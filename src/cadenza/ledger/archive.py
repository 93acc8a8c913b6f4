"""The archived part of the log: files outside the database, listed in it, read as if they were still there.

The list (table ``archive``) is in the log's database, so one transaction says both that a range is in a file and where the
log goes on. A file is trusted when its size and digest are those of the list; a record when its checksum is right;
a range when no offset is missing but those that retention deleted, which table ``forgotten`` names.

**Checksum of a record**: CRC-32 of the UTF-8 text ``OFFSET:RECORDED_AT:IMPORTED:`` and the lengths and values of writer,
kind, source, message id and body, each as ``LENGTH:VALUE``; ``RECORDED_AT`` in µs, ``IMPORTED`` 0 or 1.
"""

from __future__ import annotations

import sqlite3
import sys
import zlib
from array import array
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from cadenza.errors import CadenzaError, LedgerError
from cadenza.ledger.block import damaged
from cadenza.ports.archive import ArchiveFiles
from cadenza.ports.ledger import Record

FOLDER = "archive"
"""Beside the log."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS archive (first_offset INTEGER PRIMARY KEY, last_offset INTEGER NOT NULL, n INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, file TEXT NOT NULL, size INTEGER NOT NULL, digest BLOB NOT NULL,
    records_digest BLOB NOT NULL, imported TEXT NOT NULL, archived_at INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS forgotten (first_offset INTEGER PRIMARY KEY, last_offset INTEGER NOT NULL, n INTEGER NOT NULL,
    first_at INTEGER NOT NULL, last_at INTEGER NOT NULL, kept INTEGER NOT NULL, records_digest BLOB NOT NULL,
    at INTEGER NOT NULL, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS ids_forgotten (one INTEGER PRIMARY KEY CHECK (one = 1), through INTEGER NOT NULL);
"""


class ArchiveEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One file of the archive. ``n`` records between the two offsets; fewer than there are offsets where retention
    deleted some. ``first_at`` and ``last_at``: recorded (µs). ``imported``: spans of imported records."""

    first_offset: int
    last_offset: int
    n: int
    first_at: int
    last_at: int
    file: str
    size: int
    digest: bytes
    records_digest: bytes
    imported: list[tuple[int, int]]
    archived_at: int

    @property
    def thinned(self) -> bool:
        """Whether retention deleted records of it."""
        return self.n < self.last_offset - self.first_offset + 1


class Forgotten(msgspec.Struct, frozen=True, kw_only=True):
    """A range of the log that retention deleted: ``n`` records, but for ``kept`` (definitions and commands).
    ``records_digest`` is what the list said of its records; ``at`` when (µs), ``why`` the rule."""

    first_offset: int
    last_offset: int
    n: int
    first_at: int
    last_at: int
    kept: int
    records_digest: bytes
    at: int
    why: str


class ArchiveReader:
    """Reads the archived part of one log. Used under the lock of the connection that it is handed."""

    def __init__(self, log: Path, files: ArchiveFiles | None) -> None:
        self.folder = log.parent / FOLDER
        self._log, self._files = log, files
        self._trusted: dict[str, tuple[int, bytes]] = {}

    def through(self, connection: sqlite3.Connection) -> int:
        """The last offset that is in the archive, or was; the log's blocks go on after it."""
        sql = (
            "SELECT max(coalesce((SELECT last_offset FROM archive ORDER BY first_offset DESC LIMIT 1), 0),"
            " coalesce((SELECT last_offset FROM forgotten ORDER BY first_offset DESC LIMIT 1), 0))"
        )
        return connection.execute(sql).fetchone()[0]

    def entries(self, connection: sqlite3.Connection, after: int = 0) -> list[ArchiveEntry]:
        """The files that hold records with offset > ``after``, in order."""
        sql = (
            "SELECT * FROM archive WHERE last_offset > ?1 AND first_offset >= (SELECT coalesce(max(first_offset), 0)"
            " FROM archive WHERE first_offset <= ?1 + 1) ORDER BY first_offset"
        )
        return [_entry(row) for row in connection.execute(sql, (after,))]

    def forgotten(self, connection: sqlite3.Connection) -> list[Forgotten]:
        """What retention deleted, in order."""
        rows = connection.execute("SELECT * FROM forgotten ORDER BY first_offset")
        return [Forgotten(**dict(zip(Forgotten.__struct_fields__, row, strict=True))) for row in rows]

    def read(self, connection: sqlite3.Connection, after: int, limit: int) -> list[Record]:
        """Archived records with offset > ``after``, in order, at most ``limit``; what retention deleted is left out.
        Raises LedgerError that names the file and what to do."""
        records: list[Record] = []
        expected = after + 1
        for entry in self.entries(connection, after):
            if expected < entry.first_offset:
                self.require_forgotten(connection, expected, entry.first_offset - 1)
                expected = entry.first_offset
            records += self.records(entry, expected, limit - len(records))
            if len(records) >= limit:
                return records
            expected = entry.last_offset + 1
        through = self.through(connection)
        if expected <= through:
            self.require_forgotten(connection, expected, through)
        return records

    def records(self, entry: ArchiveEntry, first: int, limit: int) -> list[Record]:
        """Records of one file from offset ``first`` on, at most ``limit``. Raises LedgerError."""
        files = self._port()
        self.trust(entry)
        last = entry.last_offset if entry.thinned else min(entry.last_offset, first + limit - 1)
        try:
            found = files.read(self.folder / entry.file, first, last)
        except CadenzaError as error:
            raise self._broken(entry, f"cannot be read ({error.what[:200]})") from error
        check(found, entry.file)
        if not entry.thinned and [r.offset for r, _ in found] != list(range(first, last + 1)):
            raise self._broken(entry, f"lacks records between offsets {first} and {last}")
        return [record for record, _ in found[:limit]]

    def trust(self, entry: ArchiveEntry, again: bool = False) -> None:
        """Compare size and digest of a file with the list, once (or ``again``). Raises LedgerError."""
        path = self.folder / entry.file
        try:
            stat = path.stat()
            if not again and self._trusted.get(entry.file) == (stat.st_mtime_ns, entry.digest):
                return
            if stat.st_size != entry.size or file_digest(path) != entry.digest:
                raise self._broken(entry, "was changed or damaged: size or digest is not the one of the list")
        except FileNotFoundError:
            raise self._broken(entry, "is missing") from None
        except OSError as error:
            raise self._broken(entry, f"cannot be read ({error.strerror})") from error
        self._trusted[entry.file] = (stat.st_mtime_ns, entry.digest)

    def require_forgotten(self, connection: sqlite3.Connection, first: int, last: int) -> None:
        """Raise LedgerError unless retention deleted every offset from ``first`` to ``last``."""
        expected = first
        sql = "SELECT first_offset, last_offset FROM forgotten WHERE last_offset >= ? ORDER BY first_offset"
        for low, high in connection.execute(sql, (first,)):
            if low > expected:
                last = min(last, low - 1)
                break
            expected = max(expected, high + 1)
            if expected > last:
                return
        raise damaged(expected, last, self._log.name)

    def _port(self) -> ArchiveFiles:
        if self._files is None:
            raise LedgerError(
                "records of this log are in its archive, which was not opened.", where=str(self._log),
                remedy="Open the log with the archive's files.",
            )  # fmt: skip
        return self._files

    def _broken(self, entry: ArchiveEntry, what: str) -> LedgerError:
        return LedgerError(
            f"The archive file of offsets {entry.first_offset} to {entry.last_offset} {what}.",
            where=f"{FOLDER}/{entry.file}",
            remedy="Everything else is intact. Put this file back from a snapshot or another copy; its BLAKE2b-160 "
            f"digest is {entry.digest.hex()}.",
        )


def _entry(row: Sequence) -> ArchiveEntry:
    values = dict(zip(ArchiveEntry.__struct_fields__, row, strict=True))
    values["imported"] = msgspec.json.decode(values["imported"], type=list[tuple[int, int]])
    return ArchiveEntry(**values)


def checksum(record: Record) -> int:
    """The checksum of a record (see the module)."""
    head = f"{record.offset}:{record.recorded_at}:{record.imported:d}:"
    total = zlib.crc32(head.encode())
    for text in (record.writer, record.kind, record.source, record.message_id):
        value = text.encode()
        total = zlib.crc32(b"%d:%s" % (len(value), value), total)
    return zlib.crc32(record.body, zlib.crc32(b"%d:" % len(record.body), total))


def check(found: Iterable[tuple[Record, int]], file: str) -> None:
    """Raise LedgerError for the first record whose checksum is wrong."""
    for record, stored in found:
        if checksum(record) != stored:
            raise damaged(record.offset, record.offset, f"{FOLDER}/{file}")


def digest_of(checksums: Sequence[int]) -> bytes:
    """Four bytes of each checksum, little endian: what a range's digest is made of."""
    packed = array("I", checksums)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()


def file_digest(path: Path) -> bytes:
    """BLAKE2b-160 of a file. Raises OSError."""
    digest = blake2b(digest_size=20)
    with path.open("rb") as opened:
        while piece := opened.read(1 << 20):
            digest.update(piece)
    return digest.digest()
