"""Every template of the library is a project without warnings, whose own tests pass and reach nearly all of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cadenza.definitions import library
from cadenza.definitions.library import BLUEPRINTS, blueprint_files
from cadenza.definitions.load import load
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace
from tests.journey_tests.kit import run

LEAST = 85
"""Percent of every journey that its tests reach."""
PARTS = ("**What it is for.**", "**Adapt it.**", "**Measure.**")


@pytest.mark.parametrize("name", [b.name for b in BLUEPRINTS])
def test_a_template_is_whole(name: str, tmp_path: Path) -> None:
    Workspace.create(tmp_path / "made", name)
    found = load(tmp_path / "made")
    assert found.project.name == name
    assert [str(warning) for warning in found.warnings] == []
    assert found.project.contracts and found.project.traits and found.project.metrics and found.project.policy.caps
    assert {t.name for t in found.project.templates} and found.test_problems == ()
    page = (tmp_path / "made" / "README.md").read_text(encoding="utf-8")
    assert all(part in page for part in PARTS)
    results = run(found)
    assert [f"{f.file}:{f.line}: {f.expected}: {f.happened}" for t in results.tests for f in t.failures] == []
    assert {c.journey: [p.words for p in c.points if not p.reached] for c in results.coverage if c.share < LEAST} == {}
    assert results.engines == 1


def test_templates_are_listed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["init", "--list-templates"]) == 0
    told = capsys.readouterr().out
    assert all(b.name in told and b.summary in told for b in BLUEPRINTS)
    assert main(["init", str(tmp_path / "x"), "--template", "abandond_cart"]) == 1
    assert "Did you mean 'abandoned_cart'?" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
    assert main(["init", str(tmp_path / "x"), "--template", "abandoned_cart", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["files"]) == len(blueprint_files("abandoned_cart"))


def test_no_two_templates_say_the_same() -> None:
    """What several need is a piece that they share, not a copy."""
    seen: dict[bytes, str] = {}
    for found in BLUEPRINTS:
        own = Path(library.__file__).parent / "journeys" / found.name
        for path in sorted(own.rglob("*.yaml")):
            assert seen.setdefault(path.read_bytes(), f"{found.name}/{path.name}") == f"{found.name}/{path.name}"
