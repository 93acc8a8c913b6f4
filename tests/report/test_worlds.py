"""The report and the explanation over what the real engine makes of generated worlds."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from cadenza.clock import VirtualClock, from_micros
from cadenza.runtime.explain import Explanation, explain
from cadenza.runtime.explain.not_qualified import shown
from cadenza.runtime.report import report
from cadenza.runtime.tick import Ticker
from cadenza.simulate.worlds import World, seeded
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.surfaces.explain_text import explanation_text
from cadenza.surfaces.report_tables import report_text
from tests.simulation.engine import FixedLog, HeldOutbox

PERSONS = 6


@pytest.fixture(
    scope="module", params=[(1,), (5, "enters"), (8, "versions"), (3, "exits"), (3, "schedules"), (3, "at_entry")]
)
def played(request: pytest.FixtureRequest) -> Iterator[tuple[World, DuckEngine]]:
    """A world and the store after all of it."""
    seed, *additions = request.param
    world: World = seeded(seed, additions=tuple(additions))
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, FixedLog(world.records), HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    while ticker.tick(from_micros(world.horizon)).more:
        pass
    deployed = ticker.project()
    assert deployed is not None
    yield msgspec.structs.replace(world, project=deployed), engine
    engine.close()


@pytest.mark.parametrize("part", [0.4, 1.0])
def test_every_sum_holds(played: tuple[World, DuckEngine], part: float) -> None:
    world, engine = played
    at = world.records[int((len(world.records) - 1) * part)].recorded_at if part < 1 else world.horizon
    found = report(engine, world.project, as_of=from_micros(at))
    assert found.adds_up, report_text(found)


def test_every_person_is_explained_as_the_profile_says(played: tuple[World, DuckEngine]) -> None:
    world, engine = played
    for profile in engine.records(f"SELECT * FROM profile ORDER BY pid LIMIT {PERSONS}"):
        found: Explanation = explain(engine, world.project, f"p_{profile['pid']}")
        assert explanation_text(found)
        told = {f"t_{t.name}": t.value for t in found.traits}
        kept = {name: shown(value) for name, value in profile.items() if name in told}
        assert {name: told[name] for name in kept} == kept
        inside = {f"s_{stay.segment}" for stay in found.memberships if stay.until is None}
        assert inside == {name for name, value in profile.items() if name.startswith("s_") and value}
        if not found.absorbed:
            assert all(n.answer != "true" for n in found.not_qualified), "derived again, it does not qualify either"
