"""kill -9 at each fault point of the tick and of publishing, several times in one life: the store, the outbox and a
rebuild are what they are when nothing happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza.faults import FAULT_POINTS
from cadenza.runtime.rebuild import rebuild
from cadenza.simulate.worlds import seeded
from tests.simulation import stored
from tests.simulation.strategies import play
from tests.simulation.test_engine_agrees import difference

ROOT = Path(__file__).parents[2]
WORLD = seeded(*stored.KILLED)
KILLS = {
    "tick.before_land": (1, 3),
    "tick.mid_wave": (2, 17, 9),
    "tick.before_commit": (1, 4),
    "tick.after_commit": (3, 2),
    "publish.before": (1, 4),
    "publish.between_pages": (1, 2),
    "publish.after": (3, 4),
}
"""Fault point -> at which of its passages each life ends; the life after the last one is spared."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("undisturbed")
    stored.live(folder, WORLD)
    return stored.observed(folder, WORLD)


def _life(folder: Path, fault: str | None) -> int:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    environment.pop("CADENZA_FAULT", None)
    if fault:
        environment["CADENZA_FAULT"] = fault
    command = [sys.executable, stored.__file__, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def test_every_fault_point_of_the_tick_is_here() -> None:
    assert set(KILLS) == {point for point in FAULT_POINTS if point.startswith(("tick.", "publish."))}


def test_the_world_is_worth_killing(undisturbed) -> None:
    rows, messages = undisturbed
    assert difference(play(WORLD), rows) is None
    assert {m.state for m in messages} == {"ready", "cancelled"}
    assert any(row[4] == "merged" for row in rows["memberships"]) or any(row[2] == "merged" for row in rows["ends"])
    assert any(record.kind == "outcome" for record in WORLD.records)


@pytest.mark.slow
@pytest.mark.parametrize("point", KILLS)
def test_killed_and_started_again(point: str, undisturbed, tmp_path: Path) -> None:
    for passage in KILLS[point]:
        assert _life(tmp_path, f"{point}:{passage}:kill") == -signal.SIGKILL, f"passage {passage} was never reached"
    assert _life(tmp_path, None) == 0
    rows, messages = stored.observed(tmp_path, WORLD)
    expected, expected_messages = undisturbed
    assert (found := difference(expected, rows)) is None, found
    deliverable = sorted(row[0] for row in rows["messages"] if row[5])
    assert sorted(m.message.message_id for m in messages) == deliverable, (
        "each message is handed over once, or it is lost"
    )
    assert messages == expected_messages
    report = rebuild(tmp_path, True)
    assert report.verified, [check for check in report.tables if not check.same]
    assert report.records == len(WORLD.records) and {"message", "enrollment", "event"} <= {
        c.table for c in report.tables
    }
