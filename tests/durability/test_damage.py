"""Damaged files: it starts with everything that was acknowledged, or it refuses with what to do. Never silently less."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cadenza.errors import CadenzaError, LedgerError, StoreError
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.rebuild import rebuild
from cadenza.workspace import Workspace
from tests.durability.test_crash import ROOT
from tests.durability.test_snapshot import call

NOW = 1_800_000_000_000_000


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A log whose first half is in the file and whose second half only in its -wal, as a killed process leaves it."""
    made, left = tmp_path_factory.mktemp("made"), tmp_path_factory.mktemp("left")
    log = SqliteLog.open(made / "log.db")
    for n in range(12):
        log.append([call(n)], NOW + n)
        if n == 5:
            log._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for path in made.iterdir():
        shutil.copy(path, left / path.name)
    acknowledged = [record.message_id for record in log.read(0, 100)]
    log.close()
    return left, acknowledged


def opened(folder: Path) -> list[str] | None:
    """What the log says; None when it refuses."""
    try:
        with contextlib.closing(SqliteLog.open(folder / "log.db")) as log:
            found = [record.message_id for record in log.read(0, 100)]
            assert log.head().offset == len(found)
            return found
    except CadenzaError as error:
        assert error.remedy, error
        return None


def damaged(written: tuple[Path, list[str]], folder: Path, name: str, change) -> list[str] | None:
    source, acknowledged = written
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(source, folder)
    content = bytearray((source / name).read_bytes())
    changed = change(content)
    if changed is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(changed)
    found = opened(folder)
    assert found is None or found == acknowledged, f"{len(found)} of {len(acknowledged)} records, without a word"
    return found


def flip(at: int):
    def change(content: bytearray) -> bytearray:
        content[at] ^= 0x10
        return content

    return change


@pytest.mark.parametrize("name", ["log.db", "log.db-wal", "log.db-head"])
def test_a_flipped_byte_anywhere(written, tmp_path: Path, name: str) -> None:
    size = (written[0] / name).stat().st_size
    step = max(1, size // 150) | 1
    outcomes = [damaged(written, tmp_path / "log", name, flip(at)) is None for at in range(0, size, step)]
    assert name == "log.db-head" or any(outcomes), "some of it was noticed"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log.db", "log.db-wal"])
def test_a_flipped_byte_everywhere(written, tmp_path: Path, name: str) -> None:
    for at in range(0, (written[0] / name).stat().st_size, 11):
        damaged(written, tmp_path / "log", name, flip(at))


@pytest.mark.parametrize("name", ["log.db", "log.db-wal"])
def test_a_file_that_was_cut_or_lost(written, tmp_path: Path, name: str) -> None:
    size = (written[0] / name).stat().st_size
    for keep in [size - 1, size - 4096, size // 2, 4096, 100, 1, 0]:
        found = damaged(written, tmp_path / "log", name, lambda content, keep=keep: content[:keep])
        # The end of the file may be in the -wal as well; the end of the -wal is nowhere else.
        assert found is None or (name == "log.db" and keep > 4096), keep
    assert damaged(written, tmp_path / "log", name, lambda content: None) is None


def test_a_lost_tail_is_named_with_what_to_do(written, tmp_path: Path) -> None:
    shutil.copytree(written[0], tmp_path / "log")
    (tmp_path / "log" / "log.db-wal").unlink()
    with pytest.raises(LedgerError, match=r"Records 7 to 12 were acknowledged and are missing.*log.db-head"):
        SqliteLog.open(tmp_path / "log" / "log.db")
    (tmp_path / "log" / "log.db-head").unlink()
    assert opened(tmp_path / "log") == written[1][:6], "accepted by a person"


FILLER = """
import resource, signal, sys
from pathlib import Path
from cadenza.errors import LedgerError
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import NewRecord
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = SqliteLog.open(Path(sys.argv[1]) / "log.db")
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
for n in range(40):
    try:
        log.append([NewRecord(kind="call", source="web", message_id=f"m{n}", body=b"x" * 9000)], n + 1)
        print(n, flush=True)
    except LedgerError as error:
        assert error.remedy
"""


@pytest.mark.parametrize("room", [120_000, 150_000, 200_000, 333_333])
def test_a_full_disk(tmp_path: Path, room: int) -> None:
    """Every file of the process stops growing at ``room`` bytes, in the middle of some write."""
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path), str(room)], capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": f"{ROOT / 'src'}"}, check=True,
    )  # fmt: skip
    acknowledged = [f"m{line}" for line in done.stdout.split()]
    assert acknowledged and len(acknowledged) < 40
    with contextlib.closing(SqliteLog.open(tmp_path / "log.db")) as log:
        assert [record.message_id for record in log.read(0, 100)] == acknowledged
        assert log.append([call(99)], NOW)[0].status == "stored", "with room again it goes on"


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as a killed server leaves it: the store's last ticks are in its -wal."""
    made, left = tmp_path_factory.mktemp("made") / "shop", tmp_path_factory.mktemp("left") / "shop"
    Workspace.create(made)
    with Workspace.open(made) as workspace:
        workspace.apply()
        workspace.run(None)
        workspace._engine.execute("CHECKPOINT")
        for n in range(6):
            workspace._log.append([call(n)], 1)
            workspace.run(None)
        shutil.copytree(made, left)
    assert (left / ".cadenza" / "store.duckdb.wal").stat().st_size > 1000
    return left


@pytest.mark.parametrize("how", ["lost", "cut", "empty", "flipped early", "flipped late"])
def test_a_damaged_wal_of_the_store_loses_nothing(decided: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(decided, folder)
    path = folder / ".cadenza" / "store.duckdb.wal"
    content = bytearray(path.read_bytes())
    if how == "lost":
        path.unlink()
    elif how.startswith("flipped"):
        content[len(content) // (10 if how.endswith("early") else 2)] ^= 0x10
        path.write_bytes(content)
    else:
        path.write_bytes(content[: len(content) // 2 if how == "cut" else 0])
    with Workspace.open(folder) as workspace:
        try:
            workspace.run(None)
        except StoreError as error:
            assert "cadenza rebuild" in str(error.remedy)
            workspace.rebuild(False)
        assert workspace.query("SELECT count(*) AS n FROM person")[0]["n"] == 6
    assert rebuild(folder / ".cadenza", True).verified


def test_a_store_that_is_ahead_of_its_log_is_refused(decided: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    shutil.copytree(decided, folder)
    for path in (folder / ".cadenza").glob("log.db*"):
        path.unlink()
    with Workspace.open(folder) as workspace:
        workspace._log.append([NewRecord(kind="call", source="web", message_id="x", body=b"{}")], 1)
        with pytest.raises(StoreError, match=r"decided records up to offset 7, but the log ends at 1.*rebuild"):
            workspace.run(None)


def test_the_limit_of_this_process_is_untouched() -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
