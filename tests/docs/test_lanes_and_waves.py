"""The waves of the worked example are those that the tick runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from cadenza.runtime.wave import Wave
from cadenza.workspace import Workspace
from tests.docs import pages
from tests.docs.played import write_files

PAGE = pages.ROOT / "docs" / "explanation" / "lanes-and-waves.md"
MARKS = ("<!-- waves: a test runs the tick and compares these rows -->", "<!-- end of waves -->")
Seen = list[dict[int, tuple[str, datetime]]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What each wave took: lane -> (record or timer, instant)."""
    taken: Seen = []
    run = Wave.run

    def watched(self: Wave, number: int, **present: bool) -> datetime | None:
        at = run(self, number, **present)
        if not present["alone"]:
            rows = self._engine.query("SELECT lane, timer_at, record_at FROM w_next")
            taken.append({lane: ("timer", timer) if timer else ("record", record) for lane, timer, record in rows})
        return at

    monkeypatch.setattr(Wave, "run", watched)
    return taken


def table(waves: Seen) -> list[str]:
    """The waves as rows of Markdown; lanes in the order in which they first had an item."""
    lanes = sorted(
        {lane for wave in waves for lane in wave}, key=lambda lane: min(w[lane][1] for w in waves if lane in w)
    )
    cells = [[f"{w[lane][0]}, {w[lane][1]:%Y-%m-%d %H:%M}" if lane in w else "" for lane in lanes] for w in waves]
    return [f"| {n} | {' | '.join(row)} |" for n, row in enumerate(cells, 1)]


def test_the_waves(seen: Seen, tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    with Workspace.open(tmp_path) as workspace:
        workspace.apply(history_of="calls")
        workspace.import_source("calls")
        workspace.run(None)
    text = PAGE.read_text(encoding="utf-8").split(MARKS[0])[1].split(MARKS[1])[0]
    assert table(seen) == [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]
