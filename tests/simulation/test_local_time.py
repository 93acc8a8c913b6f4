"""Waits in local time, in every zone around every change of its clock: the engine's SQL against the reference model."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import msgspec
import pytest

from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds import (
    Calendar,
    Entry,
    Exit,
    Journey,
    LocalWait,
    OpenHours,
    Outcome,
    Policy,
    TraitDefinition,
    Trigger,
    Wait,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.runtime.deploy import _fill_dimensions, prepare, run
from cadenza.simulate import local_time
from cadenza.simulate.evaluate import View
from cadenza.sql import zones
from cadenza.sql.program import Program, versions_of
from cadenza.stages.journeys import waiting
from cadenza.store.duckdb_engine import DuckEngine

CALENDARS = (
    Calendar(name="early", open=(OpenHours(on=("sat", "sun", "mon"), from_="00:30", to="03:15"),)),
    Calendar(name="late", open=(OpenHours(on=("sat", "sun"), from_="22:00", to="24:00"),), holidays=("2024-03-31",)),
)
WAITS = (
    LocalWait(days=1), LocalWait(days=1, at="02:30"), LocalWait(days=2, at="00:00"), LocalWait(until="02:30"),
    LocalWait(until="00:15", on=("sun",)), LocalWait(until="23:59", on=("sat", "mon")),
    LocalWait(business_s=7200, calendar="early"), LocalWait(business_s=4000, calendar="late"),
)  # fmt: skip
DATES = (
    LocalWait(until_date="end"), LocalWait(until_date="end", at="02:30"), LocalWait(until_date="end", minus_s=86400, at="00:00"),
    LocalWait(until_date="end", minus_s=5400),
)  # fmt: skip


def project() -> Project:
    steps = tuple(Wait(duration_s=0, local=wait) for wait in (*WAITS, *DATES))
    journey = Journey(
        name="j", owner="o", outcome=Outcome(metric="m"), entry=Entry(on=Trigger(event="E")), steps=steps,
        exit=Exit(goal=FALSE, disqualified=FALSE, superseded=False, time_limit_s=10**9),
    )  # fmt: skip
    traits = (TraitDefinition(name="end", type="timestamp", from_="traits.end"),
              TraitDefinition(name="time_zone", type="string", from_="traits.time_zone"))  # fmt: skip
    return Project(journeys=(journey,), traits=traits, policy=Policy(calendars=CALENDARS))


def edges() -> Iterator[tuple[str, datetime]]:
    """Instants around every change of the clock in 2024, in one zone of each set of equal ones."""
    seen: set[tuple[Any, ...]] = set()
    rows = msgspec.json.decode(zones.rows())
    by_zone: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_zone.setdefault(row["tz"], []).append(row)
    for zone, spans in by_zone.items():
        starts = [(datetime.fromisoformat(s["utc_from"]), s["off_s"]) for s in spans]
        turns = tuple((at, off) for at, off in starts if at.year == 2024) or tuple(off for _, off in starts[-1:])
        if turns in seen:
            continue
        seen.add(turns)
        instants = [t[0] for t in turns if isinstance(t, tuple)] or [datetime(2024, 3, 31, 1)]
        for at in instants:
            for hours in (-30, -1.5, -1, 0, 0.5, 25):
                yield zone, at + timedelta(hours=hours, microseconds=1 if hours == 25 else 0)


@pytest.fixture(scope="module")
def cases() -> list[tuple[str, datetime]]:
    return list(edges())


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    found = DuckEngine.open(None, threads=1)
    prepare(found)
    yield found
    found.close()


def filled(engine: DuckEngine, cases: list[tuple[str, datetime]], waits: int, first: int) -> Program:
    """Everybody of ``cases`` comes to (or stands at) every one of the waits ``first`` and following."""
    program = Program(project(), versions_of(project()))
    _fill_dimensions(engine, program)
    rows = [
        {"pid": i, "now": at.isoformat(), "t_time_zone": zone, "t_end": at.isoformat()}
        for i, (zone, at) in enumerate(cases)
    ]
    columns = {"pid": "BIGINT", "now": "TIMESTAMP", "t_time_zone": "VARCHAR", "t_end": "TIMESTAMP"}
    engine.execute(f"CREATE OR REPLACE TEMP TABLE w_ctx ({', '.join(f'{c} {t}' for c, t in columns.items())})")
    engine.append_json("w_ctx", columns, msgspec.json.encode(rows))
    for table, step in (("w_move", "to_step"), ("w_enr", "step")):
        engine.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT pid AS rid, pid * 100 + s AS eid, pid, 1 AS jid, s::INTEGER AS {step}, now, "
            "now + to_days(3000) AS limit_at, 'wait' AS kind, CAST(NULL AS VARCHAR) AS reason, now AS wake_at "
            f"FROM w_ctx CROSS JOIN range({first}, {first + waits}) AS r(s)"
        )
    return program


def view(zone: str, now: datetime) -> View:
    values = {"time_zone": zone, "end": now}
    return View(
        now=now, events=[], item=None, types={}, trait=values.get, member=Mock(), in_journey=Mock(), consented=Mock()
    )


def differing(
    found: dict[int, Any], wanted: dict[int, Any], cases: list[tuple[str, datetime]], waits: Any
) -> list[str]:
    wrong = [key for key in wanted if found.get(key) != wanted[key]]
    return [f"{cases[k // 100]} {waits[k % 100]}: engine {found.get(k)}, model {wanted[k]}" for k in wrong[:10]]


def test_arrivals(engine: DuckEngine, cases: list[tuple[str, datetime]]) -> None:
    program = filled(engine, cases, len(WAITS), 0)
    run(engine, waiting._rests(program, {"clock", "business"}, frozenset(), after=False))
    found = dict(engine.query("SELECT eid, wake_at FROM w_move"))
    policy = program.project.policy
    wanted = {
        i * 100 + n: local_time.rests_until(wait, policy, view(zone, at))
        for i, (zone, at) in enumerate(cases) for n, wait in enumerate(WAITS)
    }  # fmt: skip
    assert len(wanted) > 2_000
    assert not (wrong := differing(found, wanted, cases, WAITS)), "\n".join(wrong)


def test_dates(engine: DuckEngine, cases: list[tuple[str, datetime]]) -> None:
    """The date of each is the instant itself, so that it falls into the gaps and the overlaps."""
    program = filled(engine, cases, len(DATES), len(WAITS))
    run(engine, waiting._dated(program, ["end"], frozenset())[:1])
    found = dict(engine.query("SELECT eid, target FROM w_dated"))
    wanted = {
        i * 100 + len(WAITS) + n: local_time.by_date(wait, zone, at)
        for i, (zone, at) in enumerate(cases) for n, wait in enumerate(DATES)
    }  # fmt: skip
    assert not (wrong := differing(found, wanted, cases, (*WAITS, *DATES))), "\n".join(wrong)


@pytest.mark.parametrize(
    ("wait", "zone", "now", "until"),
    [  # the hour from 02:00 is skipped on 31 March 2024 and happens twice on 27 October, in Berlin
        (LocalWait(days=1), "Europe/Berlin", "2024-03-30T01:30", "2024-03-31T01:00"),
        (LocalWait(days=1, at="09:00"), "Europe/Berlin", "2024-03-30T08:00", "2024-03-31T07:00"),
        (LocalWait(until="02:30"), "Europe/Berlin", "2024-10-26T23:00", "2024-10-27T00:30"),
        (LocalWait(until="02:30"), "Europe/Berlin", "2024-10-27T00:30", "2024-10-28T01:30"),
        (LocalWait(until="09:00", on=("mon", "tue")), "Europe/Berlin", "2024-05-07T07:00", "2024-05-13T07:00"),
        (LocalWait(until="09:00"), "Pacific/Apia", "2024-05-07T20:00", "2024-05-08T20:00"),
    ],
)
def test_by_hand(engine: DuckEngine, wait: LocalWait, zone: str, now: str, until: str) -> None:
    """What the semantics say, worked out by hand, in UTC."""
    at = datetime.fromisoformat(now)
    assert local_time.by_clock(wait, zone, at) == datetime.fromisoformat(until)
