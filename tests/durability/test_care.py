"""The daily round, and what a project declares about its log."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cadenza.clock import to_micros
from cadenza.definitions.kinds import LogKeeping
from cadenza.definitions.load import load
from cadenza.errors import CadenzaError, DefinitionError, LedgerError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.care import Care, keeping
from cadenza.store.parquet import ParquetFiles
from cadenza.workspace import Workspace

START = datetime(2026, 3, 1)


class At:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.instant = START

    def now(self) -> datetime:
        return self.instant


@pytest.fixture
def kept(tmp_path: Path):
    files = ParquetFiles()
    log, outbox = SqliteLog.open(tmp_path / "log.db", files=files), SqliteOutbox.open(tmp_path / "outbox.db")
    clock = At()
    declared = LogKeeping(archive_after_s=3600, keep_s=40 * 86400)
    yield clock, log, outbox, Care(log, outbox, files, clock, lambda: declared)  # type: ignore[arg-type]
    log.close()
    outbox.close()
    files.close()


def add(log: SqliteLog, clock: At, name: str) -> None:
    log.append([NewRecord(kind="call", source="web", message_id=name, body=b"{}")], to_micros(clock.now()))


def test_the_daily_round_waits_for_a_quiet_moment(kept) -> None:
    clock, log, outbox, care = kept
    add(log, clock, "a")
    add(log, clock, "b")
    upkeep = care.upkeep()
    clock.instant += timedelta(minutes=30)
    assert upkeep.step() is None and upkeep.step() is None, "not decided yet"
    clock.instant += timedelta(hours=2)
    assert upkeep.step() is not None, "an hour late it does not wait any longer"
    clock.instant += timedelta(hours=24)
    outbox.publish([], [], log.head().offset)
    assert upkeep.step() is None, "something may have come just now"
    done = upkeep.step()
    assert done is not None and upkeep.step() is None, "nothing came since the last look; then not before tomorrow"
    clock.instant += timedelta(days=50)
    add(log, clock, "c")
    clock.instant += timedelta(hours=2)
    add(log, clock, "d")
    outbox.publish([], [], 4)
    done = upkeep.step()
    assert done is not None
    assert [(f.first_offset, f.last_offset) for f in done.archived] == [(2, 2)]
    assert [(f.first_offset, f.n, f.why) for f in done.deleted] == [
        (1, 1, "older than 40 days"),
        (2, 1, "older than 40 days"),
    ]


def project(folder: Path, log: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cadenza.yaml").write_text(f"project: p\nlog: {log}\n")
    return folder


def test_what_is_declared_is_read_and_checked(tmp_path: Path) -> None:
    found = load(project(tmp_path, "{ archive_after: 2 days, keep: 400 days, duplicates: 7 days }")).project.log
    assert found == LogKeeping(archive_after_s=2 * 86400, keep_s=400 * 86400, duplicates_s=7 * 86400)
    for wrong in ("{ keep: 400 days }", "{ archive_after: 9 days, keep: 9 days, duplicates: 1 day }",
                  "{ archive_after: 1 day, keep: 9 days }", "{ keep: a while }"):  # fmt: skip
        with pytest.raises(DefinitionError) as caught:
            load(project(tmp_path, wrong))
        assert [(p.file, p.line) for p in caught.value.problems] == [("cadenza.yaml", 2)]


def test_for_once_something_else_may_be_said() -> None:
    declared = LogKeeping(keep_s=400 * 86400)
    assert keeping(declared, None, None).archive_after_s == 30 * 86400
    assert keeping(declared, "2 hours", "60 days") == LogKeeping(archive_after_s=7200, keep_s=60 * 86400)
    for older, keep in (("soon", None), (None, "-1 days"), (None, "20 days")):
        with pytest.raises(CadenzaError):
            keeping(declared, older, keep)


def test_a_rebuild_says_what_it_cannot_cover(tmp_path: Path) -> None:
    folder = tmp_path / "shop"
    Workspace.create(folder)
    with Workspace.open(folder) as workspace:
        workspace.apply()
        for n in range(3):
            call = b'{"type":"track","event":"Signed Up","userId":"u%d","occurred_at":1,"properties":{}}' % n
            workspace._log.append([NewRecord(kind="call", source="website", message_id=f"m{n}", body=call)], 1)
        workspace.run(None)
        workspace.care.maintain(LogKeeping(archive_after_s=0, keep_s=0, duplicates_s=0))
        report = workspace.rebuild(True)
        assert report.verified is False and sum(gone.n for gone in report.deleted) == 2
        with pytest.raises(LedgerError, match=r"2 records up to offset 3 were deleted.*--without-deleted"):
            workspace.rebuild(False)
        assert workspace.query("SELECT count(*) AS n FROM person")[0]["n"] == 3, "the store is left alone"
        report = workspace.rebuild(False, without_deleted=True)
        assert report.records == 2
        assert workspace.query("SELECT count(*) AS n FROM person")[0]["n"] == 1
        assert workspace.deployed().name == "my_shop", "the deployment was kept"
        assert workspace.rebuild(True).verified is True
