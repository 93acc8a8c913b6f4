"""The development mailbox: messages go into a SQLite file on this machine and to nobody else. The default channel.

A message id is stored once, so handing a message over again after a crash changes nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cadenza.clock import Clock, SystemClock, to_micros
from cadenza.errors import OperatingError
from cadenza.ports.channel import Delivery, Rendered

_SCHEMA = """
CREATE TABLE IF NOT EXISTS mail (number INTEGER PRIMARY KEY, message_id TEXT NOT NULL UNIQUE, channel TEXT NOT NULL,
    address TEXT NOT NULL, subject TEXT NOT NULL, text TEXT, html TEXT, planned_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL, headers TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS mail_by_address ON mail (address, number);
"""
_COLUMNS = "message_id, channel, address, subject, text, html, planned_at, received_at, headers"


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """A message in the mailbox; instants in µs."""

    message_id: str
    channel: str
    address: str
    subject: str
    text: str | None
    html: str | None
    planned_at: int
    received_at: int
    headers: dict[str, str]


class Mailbox:
    """The mailbox as channel, and as something to read. Safe to use from several threads and processes."""

    idempotent = True

    def __init__(self, path: Path, connection: sqlite3.Connection, clock: Clock) -> None:
        self._path, self._connection, self._clock = path, connection, clock
        self._lock = threading.Lock()

    @classmethod
    def open(cls, path: Path, clock: Clock | None = None) -> Mailbox:
        """Open or create the mailbox. Raises OperatingError."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=30.0, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
        except (sqlite3.Error, OSError) as error:
            raise _trouble(path, error) from error
        return cls(path, connection, clock or SystemClock())

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        """Store the messages; ``retry`` when the file cannot be written."""
        try:
            await asyncio.to_thread(self._store, batch)
        except OperatingError as error:
            return [Delivery(status="retry", detail=str(error))] * len(batch)
        return [
            Delivery(status="accepted", detail="in the mailbox", provider_id=message.message_id) for message in batch
        ]

    def _store(self, batch: list[Rendered]) -> None:
        now = to_micros(self._clock.now())
        rows = [
            (m.message_id, m.channel, m.address, m.subject, m.text, m.html, m.planned_at, now,
             msgspec.json.encode(m.headers).decode())
            for m in batch
        ]  # fmt: skip
        slots = ", ".join("?" * 9)
        with self._using() as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(f"INSERT OR IGNORE INTO mail ({_COLUMNS}) VALUES ({slots})", rows)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def list(self, limit: int = 100, offset: int = 0) -> list[Mail]:
        """The newest messages first."""
        return self._read(f"SELECT {_COLUMNS} FROM mail ORDER BY number DESC LIMIT ? OFFSET ?", limit, offset)

    def get(self, message_id: str) -> Mail | None:
        """One message, or None."""
        found = self._read(f"SELECT {_COLUMNS} FROM mail WHERE message_id = ?", message_id)
        return found[0] if found else None

    def search(self, text: str, limit: int = 100) -> list[Mail]:
        """Messages with ``text`` in address, subject, body or id (any case), newest first."""
        like = "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        where = " OR ".join(
            rf"{column} LIKE ?1 ESCAPE '\'" for column in ("address", "subject", "text", "html", "message_id")
        )
        return self._read(f"SELECT {_COLUMNS} FROM mail WHERE {where} ORDER BY number DESC LIMIT ?2", like, limit)

    def count(self) -> int:
        """How many messages there are."""
        with self._using() as connection:
            return connection.execute("SELECT count(*) FROM mail").fetchone()[0]

    async def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _read(self, sql: str, *parameters: object) -> list[Mail]:  # type: ignore[valid-type]  # ``list`` above
        with self._using() as connection:
            rows = connection.execute(sql, parameters).fetchall()
        return [
            Mail(**dict(zip(_COLUMNS.split(", ")[:-1], row[:-1], strict=True)), headers=msgspec.json.decode(row[-1]))
            for row in rows
        ]

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                yield self._connection
            except sqlite3.Error as error:
                raise _trouble(self._path, error) from error


def _trouble(path: Path, error: Exception) -> OperatingError:
    return OperatingError(
        f"The mailbox cannot be used: {error}.",
        where=str(path), remedy="Check free disk space and rights; the file may be deleted, only development mail is in it.",
    )  # fmt: skip
