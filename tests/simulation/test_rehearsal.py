"""A rehearsal leaves nothing behind, and the first real record after it is decided as without it."""

from __future__ import annotations

from cadenza.clock import VirtualClock
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.rebuild import table_hash
from cadenza.runtime.tick import Ticker
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.engine import FixedLog, HeldOutbox
from tests.simulation.test_statements import project, record, sign_up


def hashes(engine: DuckEngine) -> dict[str, tuple[int, str]]:
    return {table.name: table_hash(engine, table.name) for table in TABLES}


def test_nothing_of_a_rehearsal_stays() -> None:
    log, outbox = FixedLog([record(1, "deploy", deploy_body(project(2))), sign_up(2), sign_up(3)]), HeldOutbox()
    log.shown = 2
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, log, outbox, VirtualClock())  # type: ignore[arg-type]
    ticker.run()
    before, published = hashes(engine), dict(outbox.messages)
    ticker.rehearse()
    assert hashes(engine) == before
    assert outbox.messages == published
    log.shown = 3
    assert ticker.run().messages == 2
    assert engine.query("SELECT count(*) FROM person") == [(2,)]
    assert engine.query("SELECT count(*) FROM identifier WHERE value LIKE '%rehearsal%'") == [(0,)]
    engine.close()
