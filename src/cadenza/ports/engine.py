"""The engine port: what the runtime needs of an analytical SQL store. ``store/duckdb_engine.py`` is the default."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol


class Engine(Protocol):
    """One connection to the store. Results are always read to the end."""

    def execute(self, sql: str, parameters: Sequence[Any] | None = None) -> None:
        """Run a statement and drop its result. Raises StoreError with the statement's head."""
        ...

    def query(self, sql: str, parameters: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of a query (parameters are positional ``?``)."""
        ...

    def records(self, sql: str, parameters: Sequence[Any] | None = None) -> list[dict[str, Any]]:
        """All rows of a query as dictionaries by column name."""
        ...

    def append_json(self, table: str, columns: Mapping[str, str], rows: bytes) -> int:
        """Append a JSON array of objects to a table (columns: name -> type); returns how many."""
        ...

    def load(self, table: str, columns: Mapping[str, tuple[str, Sequence[Any]]]) -> None:
        """Replace a temporary table by these columns (name -> type and values, all equally many).

        Types: BIGINT, or VARCHAR of texts.
        """
        ...

    def expect(self, rows: int) -> None:
        """A hint: about how many rows the next statements handle, so that small ones are not planned at length."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing: commit at the end of the block, roll back on an exception."""
        ...

    def reader(self) -> "Engine":
        """A second connection for reading from another thread."""
        ...

    def close(self) -> None: ...
