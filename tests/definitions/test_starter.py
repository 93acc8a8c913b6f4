"""The starter project: valid, small, and never written over anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.definitions.load import load
from cadenza.definitions.starter import starter_files, write_starter
from cadenza.errors import TerminalError


def test_it_is_written_and_loads_without_problem_or_warning(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "shop"
    written = write_starter(folder)
    assert sorted(p.relative_to(folder).as_posix() for p in written) == sorted(starter_files())
    loaded = load(folder)
    assert loaded.warnings == ()
    project = loaded.project
    for kind in ("sources", "contracts", "traits", "segments", "journeys", "templates", "destinations", "metrics"):
        assert getattr(project, kind), kind
    assert project.policy.caps


def test_nothing_is_overwritten_and_nothing_is_half_written(tmp_path: Path) -> None:
    mine = tmp_path / "journeys" / "welcome.yaml"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(TerminalError, match=r"already holds journeys/welcome\.yaml"):
        write_starter(tmp_path)
    assert mine.read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [mine]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    with pytest.raises(TerminalError, match="not a folder"):
        write_starter(tmp_path / "x")


def test_twice_is_refused(tmp_path: Path) -> None:
    write_starter(tmp_path)
    with pytest.raises(TerminalError):
        write_starter(tmp_path)
