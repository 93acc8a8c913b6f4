"""The tests that come with projects are run, and reach nearly everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.definitions.load import load
from tests.journey_tests.kit import run, starter

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("name", "least"), [("starter", 100), ("online-retail", 80)])
def test_the_tests_of_a_project_pass(name: str, least: int, tmp_path: Path) -> None:
    folder = starter(tmp_path) if name == "starter" else ROOT / "examples" / name
    results = run(load(folder))
    assert [f"{f.file}:{f.line}: {f.expected}: {f.happened}" for t in results.tests for f in t.failures] == []
    assert {c.journey: c.share for c in results.coverage if c.share < least} == {}
    assert results.engines == 1, "nobody of one test has an identifier of another"
