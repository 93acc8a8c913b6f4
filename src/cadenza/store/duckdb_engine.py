"""The default engine: DuckDB, one file, one process. The only place that imports duckdb."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from cadenza.errors import StoreError, StoreInUse

_SETTINGS = (
    # The defaults checkpoint inside every commit; the tick thread checkpoints between ticks instead.
    "SET wal_autocheckpoint='1GB'",
    "SET auto_checkpoint_skip_wal_threshold=1000000000000",
    "SET dynamic_or_filter_threshold=2000",
    "SET TimeZone='UTC'",
    "SET preserve_insertion_order=true",
    "SET memory_limit='1GB'",
)
_STORAGE = "v1.5.0"
_SMALL = 2_000
"""Statements that are expected to handle fewer rows run on one thread, without the optimizers below."""
_NOT_WHEN_SMALL = (
    "statistics_propagation", "common_subexpressions", "common_subplan", "column_lifetime", "projection_pullup",
    "projection_placement", "outer_join_simplification", "duplicate_groups", "redundant_order_keys", "join_elimination",
    "aggregate_reuse", "top_n_window_elimination",
)  # fmt: skip
"""They save time where there are many rows; where there is one, they are a fifth of a statement's cost."""
_PARSED, _PARSED_LENGTH = 1_000, 100_000
"""So many statements, up to so many characters, are kept parsed."""
_SEPARATOR = "\x1e"
WAL_BOUND = 64 * 1024 * 1024
"""Checkpoint between ticks when the WAL is larger (bytes): bounds replay at open to about a second."""


class DuckEngine:
    """One DuckDB connection; see ``ports.engine.Engine``."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, path: Path | None) -> None:
        self._connection = connection
        self._path = path
        self._depth = 0
        self._threads = 0
        self._small = False
        self._statements: dict[str, duckdb.Statement | str | None] = {}

    @classmethod
    def open(cls, path: Path | None, threads: int = 2, memory: str = "1GB") -> "DuckEngine":
        """Open (or create) the store; None is in memory. Raises StoreError with a remedy."""
        try:
            if path is None:
                connection = duckdb.connect(":memory:")
            else:
                connection = duckdb.connect(str(path), config={"storage_compatibility_version": _STORAGE})
        except duckdb.Error as error:
            raise _opening_error(path, error) from error
        for setting in _SETTINGS:
            connection.execute(setting).fetchall()
        connection.execute(f"SET threads={int(threads)}").fetchall()
        connection.execute(f"SET memory_limit='{memory}'").fetchall()
        engine = cls(connection, path)
        engine._threads = int(threads)
        return engine

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> None:
        self.query(sql, parameters)

    def query(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        try:
            if parameters:
                return self._connection.execute(sql, parameters).fetchall()
            return self._connection.execute(self._parsed(sql)).fetchall()
        except duckdb.Error as error:
            raise StoreError(
                f"{type(error).__name__}: {error}", where=f"statement '{sql[:300]}'",
                remedy="If the store is damaged, 'cadenza rebuild' makes it anew from the log.",
            ) from error  # fmt: skip

    def _parsed(self, sql: str) -> str | duckdb.Statement:
        """A statement that was seen before comes parsed: parsing is a fifth of a small statement's cost."""
        if sql in self._statements:
            found = self._statements[sql]
            if found is None:
                statements = self._connection.extract_statements(sql)
                found = self._statements[sql] = statements[0] if len(statements) == 1 else sql
            return found
        if len(sql) < _PARSED_LENGTH:
            if len(self._statements) >= _PARSED:
                self._statements.clear()
            self._statements[sql] = None
        return sql

    def records(self, sql: str, parameters: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        rows = self.query(sql, parameters)
        names = [column[0] for column in self._connection.description or ()]
        return [dict(zip(names, row, strict=True)) for row in rows]

    def append_json(self, table: str, columns: Mapping[str, str], rows: bytes) -> int:
        shape = "{" + ",".join(f'"{name}":"{kind}"' for name, kind in columns.items()) + "}"
        names = ", ".join(f'"{name}"' for name in columns)
        result = self.query(
            f"INSERT INTO {table} ({names}) SELECT {names} FROM "
            f"(SELECT unnest(from_json(?::JSON, '[{shape}]'), max_depth := 2))",
            [rows.decode()],
        )
        return int(result[0][0]) if result else 0

    def load(self, table: str, columns: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
        packed = {name: _packed(kind, values) for name, (kind, values) in columns.items()}
        lists = ", ".join(f'{sql} AS "{name}"' for name, (sql, _) in packed.items())
        rows = ", ".join(f'unnest("{name}") AS "{name}"' for name in columns)
        self.query(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {rows} FROM (SELECT {lists})",
            [parameter for _, parameter in packed.values()],
        )

    def expect(self, rows: int) -> None:
        small = rows < _SMALL
        if small == self._small:
            return
        self._small = small
        self.execute(f"SET threads={1 if small else self._threads}")
        self.execute(f"SET disabled_optimizers='{','.join(_NOT_WHEN_SMALL) if small else ''}'")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; nested blocks join the outer one."""
        if self._depth:
            yield
            return
        self.execute("BEGIN TRANSACTION")
        self._depth = 1
        try:
            yield
        except BaseException:
            self._depth = 0
            self._connection.execute("ROLLBACK").fetchall()
            raise
        self._depth = 0
        self.execute("COMMIT")

    def checkpoint_if_large(self, bound: int = WAL_BOUND) -> bool:
        """Checkpoint when the WAL passed ``bound`` bytes; call between ticks only."""
        if self._path is None:
            return False
        wal = self._path.with_name(self._path.name + ".wal")
        if not wal.exists() or wal.stat().st_size < bound:
            return False
        self.execute("CHECKPOINT")
        return True

    def reader(self) -> "DuckEngine":
        connection = self._connection.cursor()
        connection.execute("SET TimeZone='UTC'").fetchall()
        return DuckEngine(connection, self._path)

    def close(self) -> None:
        self._connection.close()


def _packed(kind: str, values: Sequence[Any]) -> tuple[str, str | None]:
    """(the list as SQL, its parameter). Texts are split, which is many times faster than to read them as JSON."""
    if kind == "VARCHAR":
        joined = _SEPARATOR.join(values)
        if joined.count(_SEPARATOR) == max(len(values) - 1, 0):
            return f"string_split(?::VARCHAR, '{_SEPARATOR}')", joined if values else None
    return f"from_json(?::JSON, '[\"{kind}\"]')", msgspec.json.encode(values).decode() if values else None


def _opening_error(path: Path | None, error: duckdb.Error) -> StoreError:
    text = str(error)
    if "lock" in text.lower():
        return StoreInUse(
            "the store is in use by another process.", where=str(path),
            remedy="Use the running server's API (see .cadenza/server.json), or stop it first.",
        )  # fmt: skip
    return StoreError(
        f"the store cannot be opened: {text.splitlines()[0]}", where=str(path),
        remedy="The log is whole without it: 'cadenza rebuild' makes the store anew.",
    )  # fmt: skip
