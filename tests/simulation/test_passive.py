"""A record to which nothing reacts decides nothing, however the log is cut: also in a lane in which persons merge, where
it has to wait for its turn."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cadenza.clock import VirtualClock, from_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Exit, Wait
from cadenza.runtime.tick import Ticker
from cadenza.simulate.worlds import World
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.audit_faults import Town, town_project
from tests.simulation.engine import FixedLog, HeldOutbox, run_engine
from tests.simulation.strategies import play
from tests.simulation.test_engine_agrees import difference


def _world() -> World:
    """Two journeys that somebody enters at once, of which one lets nobody be in the other: the next item notices. Before
    that comes an event that nobody knows, and after it two persons turn out to be one."""
    given = town_project()
    never = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=9 * 86_400)
    first = replace(given.journeys[0], holdout=None, exit=never, steps=(Wait(duration_s=86_400),))
    alone = replace(first, name="alone", exit=replace(never, disqualified=parse("in_journey('first')")))
    project = replace(given, journeys=(first, alone), policy=replace(given.policy, holdout=None))
    log = Town(project)
    log.add("call", type="identify", userId="ann", traits={"email": "ann@example.com"})
    log.at_hour(1)
    log.track("ann", "Order Completed")
    log.at_hour(2)
    log.track("ann", "Unheard Of")
    log.add("call", type="track", anonymousId="a1", event="Unheard Of")
    log.at_hour(4)
    log.add("call", type="identify", userId="ann", anonymousId="a1")
    return World(project=project, records=tuple(log.records), horizon=log.at)


@pytest.mark.parametrize("batches", [(1000,), (1,), (3,), (4,)])
def test_it_decides_nothing(batches: tuple[int, ...]) -> None:
    world = _world()
    found = run_engine(world.project, list(world.records), batches, False, from_micros(world.horizon))
    assert difference(play(world), found) is None
    assert [reason for *_, reason in found["ends"]] == ["disqualified"]


def _waves(log: Town) -> int:
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, FixedLog(log.records), HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    waves = ticker.run(from_micros(log.at)).waves
    engine.close()
    return waves


def test_somebody_new_does_not_wait_record_by_record() -> None:
    """Their first record brings two identifiers and the others one: nobody merges, so those have no turn of their own."""
    log = Town(town_project())
    for n in range(5):
        log.add("call", type="identify", userId=f"u{n}", traits={"email": f"u{n}@example.com"})
        for _ in range(20):
            log.track(f"u{n}", "Unheard Of")
    assert _waves(log) <= 4


def test_before_and_after_a_merge_they_come_all_together() -> None:
    log = Town(town_project())
    log.add("call", type="identify", userId="ann", traits={"email": "ann@example.com"})
    for _ in range(20):
        log.add("call", type="track", anonymousId="a1", event="Unheard Of")
        log.track("ann", "Unheard Of")
    log.add("call", type="identify", userId="ann", anonymousId="a1")
    for _ in range(20):
        log.add("call", type="track", anonymousId="a1", event="Unheard Of")
    assert _waves(log) <= 8
