"""A snapshot is one instant, and a restored project goes on from there."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import msgspec
import pytest

from cadenza.clock import SystemClock
from cadenza.definitions.kinds import LogKeeping
from cadenza.errors import LedgerError, OperatingError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ledger.snapshot import copy_ledger, seal
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.rebuild import rebuild
from cadenza.runtime.snapshots import restore, take
from cadenza.workspace import Workspace
from tests.deliver.outbox_kit import an_outbox_message


def call(n: int) -> NewRecord:
    body = b'{"type":"track","event":"Signed Up","userId":"u%d","occurred_at":1,"properties":{}}' % n
    return NewRecord(kind="call", source="website", message_id=f"m{n}", body=body)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A project with an archived part, a decided part, a tail that nobody decided, and a message that waits."""
    folder = tmp_path / "shop"
    Workspace.create(folder)
    with Workspace.open(folder) as workspace:
        workspace.apply()
        for n in range(5):
            workspace._log.append([call(n)], 1)
        workspace.run(None)
        workspace.care.maintain(LogKeeping(archive_after_s=0))
        workspace._outbox.publish([an_outbox_message("waits")], [], 0)
        workspace._log.append([call(5)], 1)
    return folder


def records(state: Path) -> list[str]:
    with Workspace.open(state.parent) as workspace:
        return [record.message_id for record in workspace._log.read(0, 1000)]


@pytest.mark.parametrize("with_store", [True, False])
def test_what_is_restored_goes_on(shop: Path, tmp_path: Path, with_store: bool) -> None:
    if with_store:
        taken = take(shop / ".cadenza", tmp_path / "snap", SystemClock())
    else:
        with Workspace.open(shop) as holding:
            holding.status()
            (tmp_path / "snap").mkdir()
            copy_ledger(shop / ".cadenza", tmp_path / "snap")
        taken = seal(tmp_path / "snap", 1)
    assert taken.with_store is with_store and taken.head == 7
    fresh = tmp_path / "fresh"
    shutil.copytree(shop, fresh, ignore=shutil.ignore_patterns(".cadenza"))
    done = restore(tmp_path / "snap", fresh, send_waiting=False)
    assert (done.held, done.rebuilt) == (1, None if with_store else 7)
    assert records(fresh / ".cadenza") == records(shop / ".cadenza")
    with Workspace.open(fresh) as workspace:
        assert {row.message.message_id: row.state for row in workspace.messages()}["waits"] == "ambiguous"
        workspace.run(None)
        assert workspace.query("SELECT count(*) AS n FROM person")[0]["n"] == 6
        assert workspace._log.append([call(3), call(99)], 1)[0].status == "duplicate"
        workspace.run(None)
    report = rebuild(fresh / ".cadenza", True)
    assert report.verified and report.records == 8


@pytest.mark.parametrize("name", ["log.db", "outbox.db", "store.duckdb", "archive"])
@pytest.mark.parametrize("how", ["flip", "cut", "lose"])
def test_a_damaged_snapshot_is_refused_whole(shop: Path, tmp_path: Path, name: str, how: str) -> None:
    snap = tmp_path / "snap"
    take(shop / ".cadenza", snap, SystemClock())
    path = next((snap / name).iterdir()) if name == "archive" else snap / name
    content = bytearray(path.read_bytes())
    path.unlink()
    if how == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif how == "cut":
        path.write_bytes(content[:-1])
    with pytest.raises(LedgerError, match=r"damaged|missing"):
        restore(snap, tmp_path / "fresh", send_waiting=True)
    assert not (tmp_path / "fresh" / ".cadenza").exists()


def test_nothing_is_overwritten_and_half_a_snapshot_is_none(shop: Path, tmp_path: Path) -> None:
    snap = tmp_path / "snap"
    take(shop / ".cadenza", snap, SystemClock())
    with pytest.raises(OperatingError, match="holds something"):
        take(shop / ".cadenza", snap, SystemClock())
    with pytest.raises(OperatingError, match="state already"):
        restore(snap, shop, send_waiting=True)
    (snap / "snapshot.json").unlink()
    with pytest.raises(LedgerError, match="no whole snapshot"):
        restore(snap, tmp_path / "fresh", send_waiting=True)
    with pytest.raises(LedgerError, match="nothing to take"):
        take(tmp_path / "nowhere", tmp_path / "other", SystemClock())


def test_log_and_outbox_are_of_one_instant(tmp_path: Path) -> None:
    """A writer that never stops: the log first, then the outbox, so the outbox may never know more than the log."""
    state = tmp_path / "state"
    log, outbox = SqliteLog.open(state / "log.db"), SqliteOutbox.open(state / "outbox.db")
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            log.append([call(n)], 1)
            outbox.publish([], [], n)

    log.append([call(0)], 1)
    writer = threading.Thread(target=write)
    writer.start()
    for n in range(5):
        (tmp_path / f"copy{n}").mkdir()
        copy_ledger(state, tmp_path / f"copy{n}")
    stop.set()
    writer.join()
    for n in range(5):
        one, other = (
            SqliteLog.open(tmp_path / f"copy{n}" / "log.db"),
            SqliteOutbox.open(tmp_path / f"copy{n}" / "outbox.db"),
        )
        head, through = one.head().offset, other.published_through()
        assert head - 2 <= through < head
        assert len(one.read(0, 10**6)) == head
        one.close()
        other.close()
    log.close()
    outbox.close()


def test_a_manifest_cannot_write_elsewhere(shop: Path, tmp_path: Path) -> None:
    snap = tmp_path / "snap"
    take(shop / ".cadenza", snap, SystemClock())
    manifest = msgspec.json.decode((snap / "snapshot.json").read_bytes())
    manifest["files"]["../../evil"] = manifest["files"]["log.db"]
    (snap / "snapshot.json").write_bytes(msgspec.json.encode(manifest))
    with pytest.raises(LedgerError, match="outside"):
        restore(snap, tmp_path / "fresh", send_waiting=True)
