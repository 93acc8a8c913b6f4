"""The engine and the reference model agree on everything that can be observed, whatever the batches and restarts.

``run_engine(project, records, batches, restarts, horizon, folder, max_waves)`` (``tests/simulation/engine.py``) puts the
records, which begin with the deploy record, through the real tick, in slices of the sizes ``batches`` (over and over);
``restarts``: the store is closed and opened between slices; ``max_waves``: waves a tick does before it leaves the rest.

``CADENZA_SEEDS=first:last`` runs other seeds; a failure prints its seed, the first difference and the smallest world.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.clock import from_micros
from cadenza.simulate.additions import ADDITIONS
from cadenza.simulate.worlds import Dice, World, seeded
from cadenza.stages import events
from cadenza.stages.journeys import reach
from cadenza.store import duckdb_engine
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.audited import audited
from tests.simulation.engine import HeldOutbox
from tests.simulation.strategies import Rows, batches, play, smaller, story, worlds

engine = pytest.importorskip("tests.simulation.engine", reason="the engine's side of the comparison is not there yet")

FIRST, LAST = (int(n) for n in os.environ.get("CADENZA_SEEDS", "0:6").split(":"))
LARGER = "CADENZA_SEEDS" in os.environ
TOWNS, RECORDS = 6, 40
ROWS_SHOWN = 12


def difference(model: Rows, engine_rows: Rows) -> str | None:
    """The first kind of row on which the two differ, with the rows that only one of them has."""
    for name in ("identifiers", "traits", "memberships", *sorted({*model, *engine_rows})):
        here, there = Counter(model.get(name, [])), Counter(engine_rows.get(name, []))
        if here != there:
            only = [f"  only model:  {row}" for row in sorted(here - there, key=repr)[:ROWS_SHOWN]]
            only += [f"  only engine: {row}" for row in sorted(there - here, key=repr)[:ROWS_SHOWN]]
            counts = f"{sum((here - there).values())} rows only in the model, {sum((there - here).values())} only in the engine"
            return f"{name}: {counts}\n" + "\n".join(only)
    return None


class Way(msgspec.Struct, frozen=True):
    """How the engine is driven; nothing of it may matter."""

    batches: tuple[int, ...] = (1000,)
    restarts: bool = False
    max_waves: int = 512


def by_engine(world: World, way: Way) -> Rows:
    """What the engine makes of a world; the auditor must have nothing to say about it."""

    def audit(store: DuckEngine, outbox: HeldOutbox) -> None:
        report = audited(world.records, store, outbox)
        assert report.clean, "\n".join(map(str, report.violations[:ROWS_SHOWN]))

    with tempfile.TemporaryDirectory() as folder:
        return engine.run_engine(  # type: ignore[no-any-return]
            world.project,
            list(world.records),
            way.batches,
            way.restarts,
            from_micros(world.horizon),
            Path(folder),
            way.max_waves,
            audit,
        )


def compared(world: World, way: Way) -> str | None:
    """None, or what differs; an error of the engine differs too."""
    expected = play(world)
    try:
        return difference(expected, by_engine(world, way))
    except Exception as error:  # any error at all is a finding, and can be made smaller like the others
        return f"{type(error).__name__}: {error}"


def agree(world: World, way: Way, name: str) -> None:
    if compared(world, way) is None:
        return
    least = smaller(world, lambda w: compared(w, way) is not None, most_tries=60)
    pytest.fail(f"{name}, {way}\n{compared(least, way)}\n\nsmallest world:\n{story(least)}", pytrace=False)


@pytest.mark.parametrize("seed", range(FIRST, LAST))
def test_seeded_worlds(seed: int) -> None:
    dice = Dice(-seed - 1)
    sizes = tuple((1000, 150, 60, 20)[dice.below(4)] for _ in range(1 + dice.below(3)))
    way = Way(sizes, dice.below(4) == 0, (512, 512, 3)[dice.below(3)])
    agree(seeded(seed, RECORDS, TOWNS), way, f"seed {seed}")


@pytest.mark.parametrize("seed", range(FIRST, LAST if LARGER else FIRST + 1))
@pytest.mark.parametrize("addition", sorted(ADDITIONS))
def test_additions_to_the_language(addition: str, seed: int) -> None:
    """Each part of the language that not every world has; ``CADENZA_SEEDS`` gives more seeds of it too."""
    dice = Dice(-seed - 1)
    way = Way(((1000,), (60, 20), (150, 7))[dice.below(3)], dice.below(4) == 0, (512, 3)[dice.below(2)])
    agree(seeded(seed, RECORDS, 3 if LARGER else 1, (addition,)), way, f"{addition}, seed {seed}")


@pytest.mark.parametrize("seed", range(40 + FIRST, min(40 + LAST, 44 + FIRST)))
def test_what_many_share_decides_alike(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Busy waves run statements for all that could be: here all waves do, small ones are planned like large ones,
    and a wave takes no more than two lanes."""
    monkeypatch.setattr(reach, "FEW", 0)
    monkeypatch.setattr(duckdb_engine, "_SMALL", 0)
    monkeypatch.setattr(events, "MOST_LANES", 2)
    agree(seeded(seed), Way((150,)), f"seed {seed}")


@pytest.mark.slow
@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True)
@given(worlds(most_records=25), st.builds(Way, batches(), st.booleans(), st.sampled_from([512, 1])))
def test_drawn_worlds(world: World, way: Way) -> None:
    found = compared(world, way)
    assert found is None, f"{way}\n{found}\n\n{story(world)}"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100 + FIRST, min(100 + LAST, 103 + FIRST)))
def test_batches_and_restarts_change_nothing(seed: int) -> None:
    """Also one record at a time, which is what a quiet live system does."""
    world = seeded(seed, most_records=28)
    ways = [Way(), Way((1,)), Way((7, 1, 30), restarts=True), Way((5, 1000), max_waves=1)]
    first, *others = (by_engine(world, way) for way in ways)
    for way, other in zip(ways[1:], others, strict=True):
        assert (found := difference(first, other)) is None, f"seed {seed}: {ways[0]} against {way}\n{found}"
