"""The benchmarks run, at sizes at which their figures mean nothing. No time is asserted here."""

from __future__ import annotations

import importlib.util
from argparse import Namespace
from pathlib import Path

import pytest

import bench.__main__ as everything
from bench import backtest, collect, curve, dbos_peer, forward, live, overload, rebuild, take_in, wave, webhooks, year
from bench.figures import Figure, number, percentile, table
from bench.shop import FIRST_PID, NOON, WRITTEN, Written, fill, happens, later, make_project
from bench.ticking import Bench
from cadenza.clock import to_micros
from cadenza.runtime.deploy import deploy_body
from cadenza.store.duckdb_engine import DuckEngine


def test_the_table_tells_missed_aims_from_met_ones() -> None:
    fine = Figure(bench="b", name="fast", value=1234.5, unit="ms", aim=2000)
    slow = Figure(bench="b", name="slow", value=10, unit="journeys/s", better="more", baseline="a peer", ratio=3, ratio_better="more", ratio_aim=100)  # fmt: skip
    shown = Figure(bench="b", name="no aim", value=0, unit="s")
    assert (fine.meets(), slow.meets(), shown.meets()) == (True, False, None)
    lines = table([fine, slow, shown]).splitlines()
    assert "1,234 ms" in lines[2] and "≤ 2,000" in lines[2] and "met" in lines[2]
    assert "3 x" in lines[3] and "≥ 100" in lines[3] and "a peer" in lines[3] and "MISSED" in lines[3]
    assert "met" not in lines[4] and "MISSED" not in lines[4]


def test_percentiles_and_numbers() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile(list(range(100)), 0.99) == 99
    assert [number(v) for v in (0, 0.01234, 12.345, 1234567)] == ["0", "0.0123", "12.3", "1,234,567"]
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


@pytest.fixture
def shop(tmp_path: Path) -> tuple[DuckEngine, Bench]:
    engine = DuckEngine.open(tmp_path / "store.duckdb")
    bench = Bench(engine, make_project(tmp_path / "project", 10), NOON)
    program = bench.ticker.program()
    assert program is not None
    fill(engine, program, 300, later(NOON, 1))
    return engine, bench


def test_the_filled_store_is_what_a_tick_would_have_made(shop: tuple[DuckEngine, Bench], tmp_path: Path) -> None:
    engine, bench = shop
    columns = "pid, t_email, t_phone, t_time_zone, t_plan, t_open_tickets, t_orders, t_lifetime_revenue, s_vip, s_complained, c_marketing_email, c_marketing_sms, check_at"
    before = engine.query(f"SELECT {columns} FROM profile ORDER BY pid")
    enrolled = engine.query("SELECT * FROM enrollment ORDER BY eid")
    # A deployment recomputes everyone's profile from the ledgers; the same project leaves the journeys alone.
    bench.log.add("deploy", deploy_body(make_project(tmp_path / "project", 10)), to_micros(NOON) + 10)
    while bench.ticker.tick().more:
        pass
    assert len(before) == 300
    assert engine.query(f"SELECT {columns} FROM profile ORDER BY pid") == before
    assert engine.query("SELECT * FROM enrollment ORDER BY eid") == enrolled
    assert engine.query("SELECT count(*), count(DISTINCT pid) FROM enrollment") == [(600, 300)]
    same_arena = "SELECT count(*) FROM enrollment AS a JOIN enrollment AS b USING (pid) WHERE a.eid < b.eid AND a.jid % 10 = b.jid % 10"
    assert engine.query(same_arena) == [(0,)]
    assert engine.query("SELECT count(*) FROM enrollment WHERE wake_at IS NULL OR step < 0") == [(0,)]
    engine.close()


def test_the_bare_copy_holds_the_rows_a_tick_wrote(shop: tuple[DuckEngine, Bench]) -> None:
    engine, bench = shop
    written = Written(engine, WRITTEN)
    for n in range(300):
        bench.log.add("call", wave.as_json(happens(n, n, later(NOON, 2))), to_micros(later(NOON, 2)) + n)
    bench.ticker.tick(later(NOON, 3))
    rows = written.collect()
    assert rows["event"] == 300 == engine.query(f"SELECT count(*) FROM event WHERE offset_ < {FIRST_PID}")[0][0]
    moved = engine.query(
        "SELECT count(DISTINCT eid) FROM (SELECT eid FROM transition UNION ALL SELECT eid FROM enrollment_end)"
    )
    assert rows["enrollment"] == moved[0][0] > 0
    written.write_bare()
    for table_name, count in rows.items():
        assert engine.query(f"SELECT count(*) FROM bare_{table_name}") == [(count,)]
    written.drop()
    engine.close()


def test_wave() -> None:
    found = wave.figures(Namespace(small=True, persons=200, due=200))
    assert [f.bench for f in found] == ["wave"] * 5
    one, crowd, _, due, handed = found
    assert all(f.value > 0 and f.cpu_s for f in found)
    assert one.aim == 100 and crowd.aim == 1000 and due.ratio_aim == 5
    assert one.ratio and crowd.ratio and due.ratio
    for figure in (one, crowd, due):
        assert "prototype" in figure.note and "statements" in figure.note and " 0.0 a wave" not in figure.note
    assert "200 event" in crowd.note and "transition" in due.note
    assert not handed.note.startswith("0 messages")


def test_year() -> None:
    decide = {f.name: f for f in year.figures(Namespace(small=True))}
    assert decide["import four days"].value > 0
    assert decide["decide four days"].aim == 60 and "statements a wave" in decide["decide four days"].note
    assert 0 < decide["peak memory, import and decide"].value < 1536


def test_live() -> None:
    p50, p99 = live.figures(Namespace(small=True, persons=200))
    assert "MISSING" not in p50.note and not p50.note.startswith("0 orders")
    assert 0 < p50.value <= p99.value
    assert (p50.aim, p99.aim) == (400, 1500)


def test_the_journey_that_dbos_runs_too(tmp_path: Path) -> None:
    run = dbos_peer.cadenza_run(tmp_path, 60)
    assert run.journeys == 60 and "append" in run.note


def test_dbos_beside_cadenza() -> None:
    if importlib.util.find_spec("dbos") is None:
        pytest.skip("DBOS is a peer for 'make bench' only and is not installed")
    peer, few, many = dbos_peer.figures(Namespace(small=True))
    assert peer.name.startswith("DBOS") and peer.value > 0
    assert (few.ratio_aim, many.ratio_aim) == (100, 400)
    assert few.ratio and many.ratio and "extrapolated" in many.baseline


def test_collect() -> None:
    found = collect.figures(Namespace(small=True, only="collector", connections=4))
    assert [f.aim for f in found] == [15_000, 25, 300_000, 25]
    assert all(f.value > 0 for f in found)
    mixed = collect.measure("cadenza", 1, 0.5, 4)
    assert mixed["stored"] >= mixed["single"]["events"] + mixed["batch"]["events"]


def test_overload() -> None:
    """What it acknowledged is there, or it would have ended with an error."""
    found = overload.figures(Namespace(small=True, seconds=60))
    assert [f.aim for f in found] == [None, 1024, None] * 2
    assert all(f.value > 0 for f in found) and "refused with 429" in found[0].note


def test_take_in() -> None:
    decoded, *moved, read = take_in.figures(Namespace(small=True))
    assert decoded.value > 0 and read.value > 0
    assert [figure.ratio_aim for figure in moved] == [1.25, 1.25]


@pytest.mark.parametrize("archived", [False, True])
def test_rebuild(archived: bool) -> None:
    [found] = rebuild.figures(Namespace(small=True, archived=archived))
    assert found.value > 0 and found.ratio and found.ratio > 1


def test_backtest() -> None:
    [found] = backtest.figures(Namespace(small=True))
    assert found.aim == 60 and " 0 entered" not in found.note
    assert "statements a wave" in found.note and " 0.0 statements" not in found.note


def test_curve() -> None:
    few, many, small, large = curve.figures(Namespace(small=True, movers=10_000))
    assert (few.ratio, small.ratio) == (1, 1) and few.baseline == many.baseline
    # The same people move, whatever the number of journeys and of persons.
    assert few.note.partition("; ")[2] == many.note.partition("; ")[2] != ""
    assert small.note.partition("; ")[2] == large.note.partition("; ")[2] != "0 moves"


def test_forward() -> None:
    [found] = forward.figures(Namespace(small=True, persons=0, days=0, rate=0.05))
    assert found.name == "500 people, 20 journeys, 2 days" and found.note.startswith("50 events")
    assert " 0 entered" not in found.note and " 0 messages" not in found.note


def test_every_benchmark_is_in_the_list() -> None:
    modules = {p.stem for p in Path(everything.__file__).parent.glob("*.py")}
    assert set(everything.NAMES) <= modules
    with pytest.raises(SystemExit):
        everything.main(["nothing_of_that_name"])


def test_a_benchmark_that_fails_is_said_to(capfd: pytest.CaptureFixture[str]) -> None:
    assert everything.run_one("nothing_of_that_name", small=True) is None
    assert "nothing_of_that_name failed" in capfd.readouterr().err


def test_webhooks_runs() -> None:
    found = webhooks.figures(Namespace(small=True))
    assert [figure.name for figure in found] == [
        "Shopify order: verify", "Shopify order: map to 1 call", "HubSpot, 100 changes: verify",
        "HubSpot, 100 changes: map to 100 calls",
    ]  # fmt: skip
