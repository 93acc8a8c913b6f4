"""Rebuild: the store made anew from the log alone, and the proof that it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import msgspec

import cadenza
from cadenza.clock import SystemClock
from cadenza.errors import LedgerError, StoreError, StoreInUse
from cadenza.ledger.archive import Forgotten
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Cancellation, Gate, OutboxMessage, Stopped
from cadenza.runtime.tick import Progress, Ticker
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.store.parquet import ParquetFiles

NOT_COMPARED = {"clock", "pending", "tz_rule", "journey_version", "journey_step", "journey_hop", "deployment"}
"""Where the store stands and what it was told, not what it made of the log."""
PROGRESS_COLUMNS = {"wave"}
"""Columns that count work, which depends on how the log was cut."""


class TableCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A table in the store and as rebuilt: rows and a hash of all rows, independent of their order."""

    table: str
    rows: int
    rebuilt_rows: int
    same: bool


class RebuildReport(msgspec.Struct, frozen=True, kw_only=True):
    """``verified``: every table is the same; None when the store was replaced without comparing. ``resumed_from``: the
    offset up to which an interrupted rebuild had come before."""

    records: int
    waves: int
    verified: bool | None
    tables: tuple[TableCheck, ...]
    deleted: tuple[Forgotten, ...] = ()
    """What retention deleted from the log: the new store knows nothing of it."""
    resumed_from: int = 0


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """What a store that is being built is built from, beside it in a file: the same code, the same log."""

    code: str
    log: str


def _with_total(progress: Callable[[Progress], None], total: int) -> Callable[[Progress], None]:
    return lambda done: progress(msgspec.structs.replace(done, total=total))


class _NoOutbox:
    """A rebuild hands nothing over: what was decided has been published already."""

    def publish(
        self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int
    ) -> None: ...

    def gate(self, gates: Sequence[Gate]) -> list[Stopped]:
        return []


def rebuild(
    state_dir: Path, verify: bool, progress: Callable[[Progress], None] | None = None, without_deleted: bool = False
) -> RebuildReport:
    """Make the store of a project anew from its log; ``verify``: make it beside the present one and compare.

    The new store is built in a file of its own and takes the old one's place only when it is whole. One that was
    interrupted goes on where it was, if the log and Cadenza are still the same. Raises
    LedgerError when there is no log, or when retention deleted records, unless ``without_deleted``; StoreError when the
    store cannot be opened (``verify``).
    """
    if not (state_dir / "log.db").exists():
        raise LedgerError("there is no log to rebuild from.", where=str(state_dir), remedy="Name a project folder.")
    path, fresh = state_dir / "store.duckdb", state_dir / "store.rebuilt.duckdb"
    files = ParquetFiles()
    log = SqliteLog.open(state_dir / "log.db", files=files)
    try:
        with log.reading() as reader:
            deleted = tuple(log.archive.forgotten(reader))
        if deleted and not (verify or without_deleted):
            raise _not_covered(deleted, state_dir)
        until = _horizon(path)
        engine = _begun(fresh, log) or _begin(fresh, log)
        try:
            ticker = Ticker(engine, log, _NoOutbox(), SystemClock())  # type: ignore[arg-type]
            resumed_from = ticker.consumed()
            ticker.run(until, progress and _with_total(progress, log.head().offset))
            engine.execute("CHECKPOINT")
            records, waves = engine.query("SELECT records, waves FROM clock")[0]
            checks: tuple[TableCheck, ...] = ()
            if verify:
                present = DuckEngine.open(path)
                checks = compare(present, engine)
                present.close()
        finally:
            engine.close()
    finally:
        log.close()
        files.close()
    if verify:
        _remove(fresh)
    else:
        _remove(path)
        _note(fresh).unlink(missing_ok=True)
        fresh.rename(path)
        _catch_up(state_dir)
    return RebuildReport(
        records=records, waves=waves, tables=checks,
        verified=all(c.same for c in checks) if verify else None, deleted=deleted, resumed_from=resumed_from,
    )  # fmt: skip


def _begin(fresh: Path, log: SqliteLog) -> DuckEngine:
    """A new store, with a note of what it is built from."""
    _remove(fresh)
    engine = DuckEngine.open(fresh)
    identity = _identity(log)
    if identity:
        _note(fresh).write_bytes(msgspec.json.encode(_Begun(code=code_digest(), log=identity)))
    return engine


def _begun(fresh: Path, log: SqliteLog) -> DuckEngine | None:
    """The store that an interrupted rebuild left, if it can be gone on with; None otherwise."""
    try:
        note = msgspec.json.decode(_note(fresh).read_bytes(), type=_Begun)
        if not fresh.exists() or note != _Begun(code=code_digest(), log=_identity(log)):
            return None
        engine = DuckEngine.open(fresh)
    except StoreInUse:
        raise
    except (OSError, msgspec.DecodeError, StoreError):
        return None
    try:
        if engine.query("SELECT consumed FROM clock")[0][0] <= log.head().offset:
            return engine
    except (StoreError, IndexError):
        # It was interrupted before its first tables were whole.
        engine.close()
        return None
    engine.close()
    return None


def _identity(log: SqliteLog) -> str:
    """What tells this log from another: its first record that is left."""
    first = log.read(0, 1)
    return f"{first[0].offset}|{first[0].recorded_at}|{first[0].message_id}" if first else ""


@lru_cache(maxsize=1)
def code_digest() -> str:
    """SHA-256 over the code and the SQL of the installed Cadenza: other code may decide otherwise."""
    folder, digest = Path(cadenza.__file__).parent, hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".py", ".sql")):
        digest.update(f"{path.relative_to(folder)}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _note(fresh: Path) -> Path:
    return fresh.with_suffix(".json")


def _not_covered(deleted: Sequence[Forgotten], state_dir: Path) -> LedgerError:
    count, last = sum(gone.n for gone in deleted), deleted[-1].last_offset
    return LedgerError(
        f"{count} records up to offset {last} were deleted by retention; a store made anew would know nothing of them.",
        where=str(state_dir / "log.db"),
        remedy="Restore the store from a snapshot; or say --without-deleted to go on without what they told.",
    )


def _horizon(path: Path):
    """How far the present store is in time; None when there is none that opens."""
    if not path.exists():
        return None
    try:
        engine = DuckEngine.open(path)
    except StoreInUse:
        raise
    except StoreError:
        # What is to be replaced need not open: live ticks will handle timers since the last record.
        return None
    try:
        return engine.query("SELECT horizon FROM clock")[0][0]
    except StoreError:
        return None
    finally:
        engine.close()


def _catch_up(state_dir: Path) -> None:
    """Whatever the outbox may lack is published; what it knows it ignores."""
    log, outbox = SqliteLog.open(state_dir / "log.db"), SqliteOutbox.open(state_dir / "outbox.db")
    engine = DuckEngine.open(state_dir / "store.duckdb")
    try:
        Ticker(engine, log, outbox, SystemClock())
    finally:
        engine.close()
        outbox.close()
        log.close()


def _remove(path: Path) -> None:
    for name in (path, path.with_name(path.name + ".wal"), _note(path)):
        name.unlink(missing_ok=True)


def compare(present: Engine, rebuilt: Engine) -> tuple[TableCheck, ...]:
    """Each table of both stores by count and hash."""
    checks = []
    for table in TABLES:
        if table.name in NOT_COMPARED:
            continue
        one, other = table_hash(present, table.name), table_hash(rebuilt, table.name)
        checks.append(TableCheck(table=table.name, rows=one[0], rebuilt_rows=other[0], same=one == other))
    return tuple(checks)


def table_hash(engine: Engine, table: str) -> tuple[int, str]:
    """(rows, hash) of a table; the order of rows and columns that count work do not matter."""
    if table == "nonqualified":
        source = "(SELECT jid, hour, rule, sum(n) AS n FROM nonqualified GROUP BY ALL)"
        columns = ["jid", "hour", "rule", "n"]
    else:
        source = table
        columns = sorted(
            name
            for (name,) in engine.query(
                "SELECT column_name FROM duckdb_columns() WHERE table_name = ? AND database_name = current_database()",
                [table],
            )
            if name not in PROGRESS_COLUMNS
        )
    row = ", ".join(f'"{name}"' for name in columns)
    rows, mixed, total = engine.query(
        f"SELECT count(*), bit_xor(hash({row})), sum(CAST(hash({row}) AS HUGEINT)) FROM {source}"
    )[0]
    return rows, f"{mixed}:{total}"
