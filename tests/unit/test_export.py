"""Export writes every table, and never over anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.errors import OperatingError
from cadenza.runtime.deploy import prepare
from cadenza.runtime.export import export
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine


@pytest.fixture
def engine() -> DuckEngine:
    engine = DuckEngine.open(None)
    prepare(engine)
    engine.execute("INSERT INTO person (pid, created_at) VALUES (7, TIMESTAMP '2026-01-01')")
    return engine


def test_every_table_is_a_file(engine: DuckEngine, tmp_path: Path) -> None:
    target = tmp_path / "it's here"
    written = {e.table: e for e in export(engine, target)}
    assert set(written) == {t.name for t in TABLES}
    assert written["person"].rows == 1
    quoted = str(target / "person.parquet").replace("'", "''")
    assert engine.query(f"SELECT pid FROM '{quoted}'") == [(7,)]


def test_a_folder_with_files_is_left_alone(engine: DuckEngine, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OperatingError, match="not empty"):
        export(engine, tmp_path)
