"""Schedules: their times in every zone around every change of its clock, and whom they wake."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec
import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Entry, Exit, Journey, Outcome, Segment, TraitDefinition, Trigger, Wait
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record
from cadenza.runtime.deploy import deploy_body, prepare
from cadenza.runtime.tick import Ticker
from cadenza.simulate.clocks import scheduled_after
from cadenza.sql.schedules import SCHEDULE_DIMENSIONS, next_time, schedule_rows
from cadenza.sql.step import column, query
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.engine import FixedLog, HeldOutbox
from tests.simulation.test_local_time import edges

CRONS = ("0 9 * * *", "30 2 * * *", "*/20 0-3 * * *", "15 0 * * SUN", "59 23 28-31 * *", "0 0 1 1 *")


def test_times_in_every_zone() -> None:
    """The engine's SQL against the reference model."""
    cases, engine = list(edges()), DuckEngine.open(None, threads=1)
    prepare(engine)
    for table, rows in schedule_rows(CRONS).items():
        columns = SCHEDULE_DIMENSIONS[table]
        engine.execute(f"CREATE TEMP TABLE {table} ({', '.join(f'{c} {k}' for c, k in columns.items())})")
        engine.append_json(table, columns, msgspec.json.encode(rows))
    columns = {"pid": "BIGINT", "now": "TIMESTAMP", "zone": "VARCHAR"}
    engine.execute("CREATE TEMP TABLE w_ctx (pid BIGINT, now TIMESTAMP, zone VARCHAR)")
    rows = [{"pid": i, "now": at.isoformat(), "zone": zone} for i, (zone, at) in enumerate(cases)]
    engine.append_json("w_ctx", columns, msgspec.json.encode(rows))
    for cron in CRONS:
        found = query("SELECT c.pid FROM w_ctx AS c").select(next_time(cron, column("now", "c"), column("zone", "c")))
        for pid, at in engine.query(found.sql(dialect="duckdb")):
            zone, now = cases[pid]
            assert at == scheduled_after(cron, zone, now), f"{cron} in {zone} after {now}"
    engine.close()


@pytest.mark.parametrize(
    ("cron", "zone", "times"),
    [  # the hour from 02:00 is skipped on 31 March 2024 and happens twice on 27 October, in Berlin; UTC
        ("30 2 * * *", "Europe/Berlin", ["2024-03-30T01:30", "2024-03-31T01:00", "2024-04-01T00:30"]),
        (
            "*/30 2 * * *",
            "Europe/Berlin",
            ["2024-03-30T01:00", "2024-03-30T01:30", "2024-03-31T01:00", "2024-04-01T00:00"],
        ),
        ("30 2 * * *", "Europe/Berlin", ["2024-10-26T00:30", "2024-10-27T00:30", "2024-10-28T01:30"]),
        ("0 3 * * SUN", "Europe/Berlin", ["2024-10-27T02:00", "2024-11-03T02:00"]),
        ("0 9 29 2 *", "America/New_York", ["2024-02-29T14:00", "2028-02-29T14:00"]),
    ],
)
def test_by_hand(cron: str, zone: str, times: list[str]) -> None:
    """What S2 says, worked out by hand."""
    at: datetime | None = datetime.fromisoformat(times[0]) - timedelta(hours=1)
    for time in times:
        assert at is not None
        at = scheduled_after(cron, zone, at)
        assert at == datetime.fromisoformat(time)


def _project() -> Project:
    on = Trigger(schedule="0 9 * * *", segment="gold", zone="Europe/London")
    journey = Journey(
        name="j", owner="o", outcome=Outcome(metric="m"), entry=Entry(on=on, again="after_exit"), arena=None,
        exit=Exit(goal=FALSE, disqualified=FALSE, superseded=False, time_limit_s=10**6), steps=(Wait(duration_s=3600),),
    )  # fmt: skip
    traits = (TraitDefinition(name="plan", type="string", from_="traits.plan"),)
    return Project(journeys=(journey,), traits=traits, segments=(Segment(name="gold", when=parse("plan = 'gold'")),))


def _call(offset: int, at: str, user: str, plan: str) -> Record:
    body = msgspec.json.encode({"type": "identify", "userId": user, "traits": {"plan": plan}})
    return _record(offset, at, "call", body)


def _record(offset: int, at: str, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=to_micros(datetime.fromisoformat(at)), writer="main", kind=kind, source="test",
        message_id=f"m{offset}", imported=False, body=body,
    )  # fmt: skip


def test_only_members_are_woken_and_no_time_is_missed() -> None:
    """The engine is down for days; the times come in their place. Who leaves the segment has no timer by it."""
    records = [
        _record(1, "2024-05-06T00:00", "deploy", deploy_body(_project())),
        _call(2, "2024-05-06T01:00", "a", "gold"), _call(3, "2024-05-06T02:00", "b", "free"),
        _call(4, "2024-05-07T08:00:00.000001", "a", "free"), _call(5, "2024-05-08T08:00", "a", "gold"),
        _call(6, "2024-05-08T12:00", "b", "gold"),
    ]  # fmt: skip
    engine, log = DuckEngine.open(None, threads=1), FixedLog(records)
    ticker = Ticker(engine, log, HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    log.shown = 3
    while ticker.tick().more:
        pass
    assert engine.query("SELECT pid, check_at FROM profile ORDER BY pid") == [(2, datetime(2024, 5, 6, 8)), (3, None)]
    log.shown = 6
    while ticker.tick(datetime(2024, 5, 9, 12)).more:
        pass
    entered = engine.query("SELECT pid, entered_at FROM enrollment ORDER BY entered_at, pid")
    wanted = [(2, 6), (2, 7), (2, 9), (3, 9)]
    # On the 8th 'a' came back by a record at the very time: too late for it.
    assert entered == [(pid, datetime(2024, 5, day, 8)) for pid, day in wanted]
    seen = engine.query("SELECT DISTINCT segment, entered, cause FROM membership WHERE segment <> 'gold'")
    assert seen == [("entry:j", True, "time")]
    engine.close()
