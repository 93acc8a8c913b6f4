"""kill -9 at each fault point of care: the log reads as before, ids are known, and the next run finishes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza.errors import LedgerError
from cadenza.faults import FAULT_POINTS, VARIABLE
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ledger.snapshot import read_manifest
from cadenza.ports.ledger import NewRecord, Record
from cadenza.store.parquet import ParquetFiles
from tests.durability.child import NOW

ROOT = Path(__file__).parents[2]
KILLS = {
    "archive.written": ("archive", (1, 3)), "archive.named": ("archive", (1, 2)), "archive.listed": ("archive", (1, 2)),
    "archive.dropping": ("archive", (1, 2, 4)),
    "snapshot.copied": ("snapshot", (1,)), "restore.copied": ("restore", (1, 1)),
    "retention.written": ("forget", (1, 2)), "retention.listed": ("forget", (1, 1)),
}  # fmt: skip
"""Fault point -> what is done, and at which of its passages each life ends; the life after the last one is spared."""


def new(n: int) -> NewRecord:
    return NewRecord(kind="call", source="web", message_id=f"m{n}", body=b'{"n":%d}' % n)


def fill(folder: Path) -> list[Record]:
    log = SqliteLog.open(folder / "log.db")
    for n in range(100):
        log.append([new(5 * n + i) for i in range(5)], NOW + n)
    found = log.read(0, 1_000)
    log.close()
    return found


def life(folder: Path, what: str, fault: str | None) -> int:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    environment.pop(VARIABLE, None)
    if fault:
        environment[VARIABLE] = fault
    command = [sys.executable, str(Path(__file__).with_name("child.py")), str(folder), what]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode


def test_every_fault_point_of_care_is_here() -> None:
    mine = ("archive.", "retention.", "snapshot.", "restore.")
    assert set(KILLS) == {point for point in FAULT_POINTS if point.startswith(mine)}


@pytest.mark.parametrize("point", [point for point in KILLS if point.startswith("archive.")])
def test_killed_while_archiving(point: str, tmp_path: Path) -> None:
    before = fill(tmp_path)
    what, passages = KILLS[point]
    for passage in passages:
        assert life(tmp_path, what, f"{point}:{passage}:kill") == -signal.SIGKILL, f"passage {passage} never came"
        assert read(tmp_path) == before
    assert life(tmp_path, what, None) == 0
    assert read(tmp_path) == before
    files = ParquetFiles()
    log = SqliteLog.open(tmp_path / "log.db", files=files)
    assert {a.status for a in log.append([new(n) for n in range(500)], NOW + 10**9)} == {"duplicate"}
    with log.reading() as reader:
        listed = {entry.file for entry in log.archive.entries(reader)}
    assert {path.name for path in (tmp_path / "archive").iterdir()} == listed, "nothing is left over"
    assert log._connection.execute("SELECT count(*) FROM block").fetchone() == (1,)
    log.close()
    files.close()


@pytest.mark.parametrize("point", [point for point in KILLS if point.startswith("retention.")])
def test_killed_while_deleting(point: str, tmp_path: Path) -> None:
    before = fill(tmp_path)
    what, passages = KILLS[point]
    for passage in passages:
        assert life(tmp_path, what, f"{point}:{passage}:kill") == -signal.SIGKILL, f"passage {passage} never came"
        found = read(tmp_path)
        assert found == before[-len(found) :] and len(found) >= 300, "whole files, the oldest first, and no more"
    assert life(tmp_path, what, None) == 0
    assert read(tmp_path) == before[200:]
    files = ParquetFiles()
    log = SqliteLog.open(tmp_path / "log.db", files=files)
    with log.reading() as reader:
        assert sum(gone.n for gone in log.archive.forgotten(reader)) == 200
        listed = {entry.file for entry in log.archive.entries(reader)}
    assert {path.name for path in (tmp_path / "archive").iterdir()} == listed, "nothing is left over"
    assert {a.status for a in log.append([new(n) for n in range(200, 500)], NOW + 10**9)} == {"duplicate"}
    log.close()
    files.close()


def test_killed_while_taking_a_snapshot_or_restoring(tmp_path: Path) -> None:
    state = tmp_path / "state"
    before = fill(state)
    SqliteOutbox.open(state / "outbox.db").close()
    assert life(state, "snapshot", "snapshot.copied:1:kill") == -signal.SIGKILL
    with pytest.raises(LedgerError, match="no whole snapshot"):
        read_manifest(tmp_path / "snap")
    assert life(state, "snapshot", None) == 0
    shutil.rmtree(state)
    for _ in KILLS["restore.copied"][1]:
        assert life(state, "restore", "restore.copied:1:kill") == -signal.SIGKILL
        assert not state.exists(), "all of it or nothing"
    assert life(state, "restore", None) == 0
    assert read(state) == before


def read(folder: Path) -> list[Record]:
    files = ParquetFiles()
    log = SqliteLog.open(folder / "log.db", files=files)
    found = log.read(0, 1_000)
    log.close()
    files.close()
    return found
