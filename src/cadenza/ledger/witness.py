"""A second witness of how far the log goes, so that a lost tail is noticed.

SQLite takes a damaged or missing ``-wal`` for one that ends earlier, and opens without a word: what was acknowledged and was only there
is gone. So after each commit the log's next offset is written to a small file beside it, without waiting for the disk. It is never
ahead of what was committed; when the database is behind it, records are missing.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from pathlib import Path

from cadenza.errors import LedgerError
from cadenza.ledger.archive import ArchiveReader

_FORM = struct.Struct("<QI")


class Witness:
    """The file beside one log, held open."""

    def __init__(self, log: Path) -> None:
        self.path = log.with_name(log.name + "-head")
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        self._highest = 0

    def saw(self, next_offset: int) -> None:
        """Note that everything before ``next_offset`` is committed. A disk that cannot hold it costs the note only."""
        if next_offset > self._highest:
            self._highest = next_offset
            raw = struct.pack("<Q", next_offset)
            try:
                os.pwrite(self._file, _FORM.pack(next_offset, zlib.crc32(raw)), 0)
            except OSError:
                return

    def said(self) -> int:
        """The next offset as it was noted; 0 when nothing can be read."""
        found = os.pread(self._file, _FORM.size, 0)
        if len(found) != _FORM.size:
            return 0
        next_offset, total = _FORM.unpack(found)
        return next_offset if zlib.crc32(found[:8]) == total else 0

    def close(self) -> None:
        """Let go of the file; again does nothing."""
        held, self._file = self._file, -1
        if held >= 0:
            os.close(held)


def check_head(connection: sqlite3.Connection, archive: ArchiveReader, witness: Witness, log: Path) -> None:
    """Raise LedgerError unless the head is where the records end, and not before the witness."""
    noted = witness.said()
    connection.execute("BEGIN")
    try:
        row = connection.execute("SELECT next_offset, recorded_at, fence FROM head").fetchone()
        block = connection.execute(
            "SELECT first_offset + n, recorded_at FROM block ORDER BY first_offset DESC LIMIT 1"
        ).fetchone()
        end = block[0] if block else archive.through(connection) + 1
    finally:
        connection.execute("ROLLBACK")
    if row is None or row[0] != end or row[2] < row[1] or (block and row[1] < block[1]):
        raise LedgerError(
            "The head of the log does not fit its records: the file was changed or damaged.", where=str(log),
            remedy="Keep a copy of the file with its -wal, test the disk, and restore the newest snapshot.",
        )  # fmt: skip
    if row[0] < noted:
        raise LedgerError(
            f"Records {row[0]} to {noted - 1} were acknowledged and are missing: the log or its -wal was damaged, cut or replaced.",
            where=str(log),
            remedy=f"Keep a copy, test the disk, and restore the newest snapshot. To go on without them, remove {witness.path.name}"
            " and run 'cadenza rebuild'.",
        )
