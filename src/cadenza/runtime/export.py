"""Export: every table of the catalogue as one Parquet file, for any other tool."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cadenza.errors import OperatingError
from cadenza.ports.engine import Engine
from cadenza.sql.tables import TABLES


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One file written."""

    table: str
    file: str
    rows: int
    personal: bool
    """Whether the table holds personal data."""


def export(engine: Engine, target: Path) -> tuple[Exported, ...]:
    """Write every table to ``target`` (made when missing), all as of one instant. Raises OperatingError when the
    folder holds files already, so that nothing is overwritten by accident."""
    target.mkdir(parents=True, exist_ok=True)
    if any(target.iterdir()):
        raise OperatingError("the folder is not empty.", where=str(target), remedy="Name a new or empty folder.")
    with engine.transaction():
        return tuple(_write(engine, table.name, table.personal, target) for table in TABLES)


def _write(engine: Engine, table: str, personal: bool, target: Path) -> Exported:
    file = target / f"{table}.parquet"
    quoted = str(file).replace("'", "''")
    rows = engine.query(f"COPY (FROM {table}) TO '{quoted}' (FORMAT parquet)")
    return Exported(table=table, file=file.name, rows=int(rows[0][0]), personal=personal)
