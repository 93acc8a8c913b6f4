"""The generated worlds are wild enough: a model with any of the seeded faults differs from the model on some of them."""

from __future__ import annotations

import pytest

from tests.simulation.engine_faults import SHOWN_BY
from tests.simulation.planting import PLANTED, SOURCE, worlds_that_show
from tests.simulation.seeded_faults import FAULTS, SEEDS


def test_every_fault_can_be_planted() -> None:
    """What they replace stands in the model, once."""
    sources = {module: (SOURCE / f"{module}.py").read_text() for module, _, _ in PLANTED.values()}
    assert {name: n for name, (module, right, _) in PLANTED.items() if (n := sources[module].count(right)) != 1} == {}


def test_a_model_with_a_fault_runs() -> None:
    """The other faults are asked for in the long run only."""
    for name in ("disqualified_before_goal", "merge_triggers"):
        assert next(worlds_that_show(name), None)


@pytest.mark.long
@pytest.mark.parametrize("name", PLANTED)
def test_some_world_shows_the_fault(name: str) -> None:
    assert next(worlds_that_show(name), None), f"none of the worlds {SEEDS} shows the fault '{name}'"


def test_every_fault_is_planted_or_said_why_not() -> None:
    """Faults of a part that not every world has are shown by worlds that have it."""
    plain = {f.name for f in FAULTS if not isinstance(SHOWN_BY[f.name], tuple)}
    assert plain - set(PLANTED) == {"exits_after_steps"}
