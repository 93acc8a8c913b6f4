"""A small project with one file source, a scratch engine and a real log."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import VirtualClock
from cadenza.definitions.kinds import Contract, Property, RecordMapping, Source
from cadenza.definitions.project import Project
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.imports import ImportReport, import_source
from cadenza.store.duckdb_engine import DuckEngine

ORDER = RecordMapping(
    call="track", event="Order Completed", message_id="'order-' || no", timestamp="at", user_id="customer",
    properties={"order_id": "no", "revenue": "try_cast(amount as decimal(18, 3))"},
)  # fmt: skip
CONTRACT = Contract(name="Order Completed", properties={
    "order_id": Property(type="string", required=True),
    "revenue": Property(type="decimal", required=True, minimum=0),
})  # fmt: skip


class Bench:
    """Imports files into one log."""

    def __init__(self, folder: Path, log: SqliteLog) -> None:
        self.folder = folder
        self.log = log
        self.clock = VirtualClock(datetime(2030, 1, 1))
        self.seen: list[Any] = []

    def source(self, text: str, records: tuple[RecordMapping, ...] = (ORDER,), **more: Any) -> Source:
        form = more.get("format", "csv")
        (self.folder / f"data.{form}").write_text(text, encoding="utf-8")
        return Source(
            **({"name": "shop", "kind": "file", "path": f"data.{form}", "format": form, "records": records} | more)
        )

    def run(self, source: Source, contracts: tuple[Contract, ...] = (CONTRACT,)) -> ImportReport:
        project = Project(sources=(source,), contracts=contracts)
        engine = DuckEngine.open(None)
        try:
            report = import_source(project, source.name, self.folder, engine, self.log, self.clock, self.seen.append)
        finally:
            engine.close()
        assert report.conserved
        return report

    def calls(self) -> list[dict[str, Any]]:
        return [msgspec.json.decode(r.body) for r in self.log.read(0, 10_000) if r.kind == "call"]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    log = SqliteLog.open(tmp_path / "log.db")
    yield Bench(tmp_path, log)
    log.close()
