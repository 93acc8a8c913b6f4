"""Opening the ledger's SQLite files: the same durability, the same errors, for the log and the outbox."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cadenza.errors import LedgerError

_BUSY_S = 30.0
_CHECKPOINT_PAGES = 8_000
"""The WAL is folded into the file when it holds about 32 MB; the default of 4 MB does it in every large commit."""
_CACHE_KIB = 65_536
"""With the default of 2 MB the index of message ids is read from the file again in every commit."""


def open_database(
    path: Path, application_id: int, version: int, schema: str, migrations: Sequence[str] = ()
) -> sqlite3.Connection:
    """A connection to ``path`` in WAL mode with synchronous=FULL; creates the file and its schema.

    ``migrations`` lead an older file here, one for each version from 1 on: the first makes version 2 of version 1.

    Raises LedgerError when the file is not ours, is newer than this program, or cannot be opened.
    """
    with sqlite_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            # Before the file has its first page; later it would take a VACUUM.
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            _prepare(connection, path, application_id, version, schema, migrations)
        except BaseException:
            connection.close()
            raise
    return connection


def _prepare(
    connection: sqlite3.Connection,
    path: Path,
    application_id: int,
    version: int,
    schema: str,
    migrations: Sequence[str],
) -> None:
    """Create the schema once, or migrate it; several processes may try at the same time."""
    with transaction(connection):
        found_id = connection.execute("PRAGMA application_id").fetchone()[0]
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if tables and (found_id != application_id or found < 1):
            raise LedgerError("This file is not the ledger it should be.", where=str(path), remedy="Name another file.")
        if found > version:
            raise LedgerError(
                f"The file has schema version {found}; this Cadenza knows {version}.",
                where=str(path), remedy="Use the newer Cadenza that wrote it.",
            )  # fmt: skip
        if tables and found == version:
            return
        for script in migrations[found - 1 : version - 1] if tables else (schema,):
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {application_id}")
        connection.execute(f"PRAGMA user_version = {version}")


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """BEGIN IMMEDIATE .. COMMIT; rolls back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def snapshot(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything read within sees the database as it is at the first read."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the file system's errors into LedgerError that says what to do."""
    try:
        yield
    except sqlite3.OperationalError as error:
        remedy = "Check free disk space, permissions and that no other program holds the file; then try again."
        raise LedgerError(f"SQLite: {error}.", where=str(path), remedy=remedy) from error
    except sqlite3.DatabaseError as error:
        remedy = "Keep a copy of the file with its -wal and -shm, test the disk, and restore the newest backup."
        raise LedgerError(f"SQLite: {error}.", where=str(path), remedy=remedy) from error
    except OSError as error:
        raise LedgerError(
            f"{error.strerror}.", where=str(path), remedy="Check the path and its permissions."
        ) from error
