"""A small project as files, and ways to change one and see what the loader says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cadenza.definitions.load import Loaded, load
from cadenza.definitions.starter import starter_files
from cadenza.errors import DefinitionError

Files = dict[str, str]


def write_files(folder: Path, files: Files) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def starter() -> Files:
    """The starter project without its tests, which a change of anything else would break: path -> text."""
    return {name: content.decode() for name, content in starter_files().items() if not name.startswith("tests/")}


@pytest.fixture
def read(tmp_path: Path) -> Callable[[Files], Loaded]:
    """Load a project given as files."""
    return lambda files: load(write_files(tmp_path, files))


@pytest.fixture
def complaints(tmp_path: Path) -> Callable[[Files], list[str]]:
    """The problems of a project given as files, as a user reads them; empty when there are none."""

    def find(files: Files) -> list[str]:
        try:
            return [str(problem) for problem in load(write_files(tmp_path, files)).test_problems]
        except DefinitionError as error:
            return [str(problem) for problem in error.problems]

    return find
