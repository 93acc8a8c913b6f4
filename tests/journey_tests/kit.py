"""Projects with journey tests, run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from cadenza.clock import VirtualClock
from cadenza.definitions.kinds_testing import Expectation, JourneyTest
from cadenza.definitions.load import Loaded, load
from cadenza.definitions.starter import starter_files
from cadenza.runtime.testing import JourneyTests, SuiteResult
from cadenza.store.duckdb_engine import DuckEngine


@contextmanager
def scratch() -> Iterator[DuckEngine]:
    """An engine with an empty store in memory."""
    engine = DuckEngine.open(None, threads=1)
    try:
        yield engine
    finally:
        engine.close()


def run(loaded: Loaded, *names: str, journey: str | None = None) -> SuiteResult:
    """Run tests of a loaded project."""
    return JourneyTests(lambda: loaded, scratch, VirtualClock()).run(names, journey)


def starter(folder: Path, **changes: tuple[str, ...]) -> Path:
    """The starter project in a folder. ``changes``: file's name and folder -> texts ``old=>new`` for what is changed
    in it, or one text for the whole file."""
    for name, content in starter_files().items():
        text = content.decode()
        for change in changes.get(Path(name).stem + Path(name).parent.name, ()):
            old, arrow, new = change.partition("=>")
            assert old in text, old
            text = text.replace(old, new) if arrow else change
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def loaded(folder: Path, **changes: tuple[str, ...]) -> Loaded:
    """The starter project with changes, loaded."""
    return load(starter(folder, **changes))


def asking(test: JourneyTest, *wanted: Expectation) -> JourneyTest:
    """The test with other expectations, for each of its persons."""
    every = [msgspec.structs.replace(w, person=actor.name) for actor in test.persons for w in wanted]
    return msgspec.structs.replace(test, expect=tuple(every))


__all__ = ["asking", "loaded", "run", "scratch", "starter"]
