"""A store in which a project is in force, and rows written straight into it: a history without its records."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.trials.ahead import Ahead, ticker_on
from cadenza.sql.tables import BY_NAME
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.tape import T0

MORE = {"event": {"p_message_id": "VARCHAR", "p_order_id": "VARCHAR"}, "profile": {"s_pro": "BOOLEAN"}}
"""Columns beyond the fixed ones."""


class Filling:
    """Rows of a history that is written straight into the store."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, Any]]] = {}
        self._offset = 10_000_000

    def add(self, table: str, **row: Any) -> None:
        said = {k: v.isoformat(" ") if isinstance(v, datetime) else v for k, v in row.items()}
        self.rows.setdefault(table, []).append(said)

    def event(self, pid: int, name: str, at: datetime, properties: dict[str, Any]) -> None:
        self._offset += 1
        fields = {f"p_{k}": v for k, v in properties.items() if k in ("message_id", "order_id")}
        self.add("event", offset_=self._offset, pid=pid, origin_pid=pid, type="track", name=name, occurred_at=at,
                 recorded_at=at, source="s", message_id=str(self._offset), **fields)  # fmt: skip
        self.add("event_payload", offset_=self._offset, properties=msgspec.json.encode(properties).decode())

    def write(self, engine: Engine) -> None:
        for table, rows in self.rows.items():
            more = MORE.get(table, {})
            engine.append_json(table, BY_NAME[table].columns | more, msgspec.json.encode(rows))


@contextmanager
def deployed(wanted: Project) -> Iterator[Engine]:
    """A store in memory in which a project is in force."""
    engine = DuckEngine.open(None, threads=1)
    log = Ahead(0)
    log.add([(to_micros(T0 - timedelta(days=9)), "deploy", "d", deploy_body(wanted))])
    ticker_on(engine, log).run()
    yield engine
    engine.close()
