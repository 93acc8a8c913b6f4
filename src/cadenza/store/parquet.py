"""Archive files as Parquet, written and read by DuckDB: any tool of the trade can read them.

Columns: ``offset``, ``recorded_at`` (UTC), ``writer``, ``kind``, ``source``, ``message_id``, ``imported``, ``body`` (the
record's JSON as text) and ``checksum`` (CRC-32, see ``ledger/archive.py``). Rows are in the order of the log.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path

from cadenza.errors import StoreError
from cadenza.ports.ledger import Record
from cadenza.store.duckdb_engine import DuckEngine

GROUP_RECORDS = 10_240
"""Records of a row group: what is unpacked at least when a few records are read."""
_MEMORY = "512MB"
_COLUMNS = (
    '"offset", make_timestamp(recorded_us) AS recorded_at, writer, kind, source, message_id, imported, body, checksum'
)


class ParquetFiles:
    """The archive port over an engine of its own, in memory, opened when it is first needed."""

    def __init__(self) -> None:
        self._engine: DuckEngine | None = None
        self._lock = threading.Lock()

    def write(self, path: Path, pages: Iterable[Sequence[tuple[Record, int]]]) -> None:
        """See the port."""
        engine = DuckEngine.open(None, threads=1, memory=_MEMORY)
        try:
            for number, page in enumerate(pages):
                engine.load("page", _columns(page))
                engine.execute(
                    ("INSERT INTO archived" if number else "CREATE TABLE archived AS") + " SELECT * FROM page"
                )
            target = str(path).replace("'", "''")
            engine.execute(
                f"COPY (SELECT {_COLUMNS} FROM archived) TO '{target}'"
                f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {GROUP_RECORDS})"
            )
        finally:
            engine.close()

    def read(self, path: Path, first: int, last: int) -> list[tuple[Record, int]]:
        """See the port."""
        with self._lock:
            if self._engine is None:
                self._engine = DuckEngine.open(None, threads=1, memory=_MEMORY)
            rows = self._engine.query(
                'SELECT "offset", epoch_us(recorded_at), writer, kind, source, message_id, imported, body, checksum'
                ' FROM read_parquet(?) WHERE "offset" BETWEEN ? AND ? ORDER BY "offset"',
                [str(path), first, last],
            )
        try:
            return [(_record(row), row[8]) for row in rows]
        except (TypeError, AttributeError) as error:
            raise StoreError(f"a row is not a record: {error}.", where=path.name) from error

    def close(self) -> None:
        """Give the memory back."""
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None


def _record(row: tuple) -> Record:
    offset, recorded_at, writer, kind, source, message_id, imported, body, _ = row
    return Record(
        offset=offset, recorded_at=recorded_at, writer=writer, kind=kind, source=source, message_id=message_id,
        imported=imported, body=body.encode(),
    )  # fmt: skip


def _columns(page: Sequence[tuple[Record, int]]) -> dict[str, tuple[str, list]]:
    records = [record for record, _ in page]
    return {
        "offset": ("BIGINT", [r.offset for r in records]),
        "recorded_us": ("BIGINT", [r.recorded_at for r in records]),
        "writer": ("VARCHAR", [r.writer for r in records]),
        "kind": ("VARCHAR", [r.kind for r in records]),
        "source": ("VARCHAR", [r.source for r in records]),
        "message_id": ("VARCHAR", [r.message_id for r in records]),
        "imported": ("BOOLEAN", [r.imported for r in records]),
        "body": ("VARCHAR", [r.body.decode() for r in records]),
        "checksum": ("UINTEGER", [checksum for _, checksum in page]),
    }
