"""What is forgotten is forgotten on the record, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.errors import LedgerError
from cadenza.ledger import seen as seen_module
from cadenza.ledger.archive import Forgotten
from cadenza.ledger.archiving import archive
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.retention import forget_ids, forget_records
from cadenza.ports.ledger import NewRecord
from tests.ledger.test_archive import LATER, NOW, everything, new, opened


def fill(log: SqliteLog) -> None:
    """An import, a deployment, then 20 commits of three calls; a command after the sixth."""
    log.append([new("i1", at=1_000), new("i2", at=2_000)], NOW)
    log.append([NewRecord(kind="deploy", source="cadenza", message_id="d1", body=b'{"d":1}')], NOW)
    for n in range(20):
        log.append([new(f"m{n}-{i}") for i in range(3)], NOW + (n + 1) * 1000)
        if n == 5:
            log.append([NewRecord(kind="command", source="cadenza", message_id="c1", body=b'{"c":1}')], NOW + 6_500)


def archived(tmp_path: Path, log: SqliteLog, files) -> None:
    archive(log, files, LATER, 10**9, LATER, most_records=16)


def test_old_records_are_deleted_and_what_was_deleted_is_written_down(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log)
        archived(tmp_path, log, files)
        before = everything(log)
        with log.reading() as reader:
            entries = log.archive.entries(reader)
        done = forget_records(log, files, NOW + 12_000, LATER, "older than 1 day")
        assert done == tuple(
            Forgotten(
                first_offset=e.first_offset, last_offset=e.last_offset, n=e.n - 1, first_at=e.first_at, last_at=e.last_at,
                kept=1, records_digest=e.records_digest, at=LATER, why="older than 1 day",
            )
            for e in entries[:2]
        )  # fmt: skip
        with log.reading() as reader:
            assert log.archive.forgotten(reader) == list(done)
            listed = {entry.file for entry in log.archive.entries(reader)}
        assert {path.name for path in (tmp_path / "archive").iterdir()} == listed
        gone = {offset for f in done for offset in range(f.first_offset, f.last_offset + 1)}
        kept = [r for r in before if r.offset not in gone or r.kind in ("deploy", "command")]
        assert len(kept) == len(before) - sum(f.n for f in done)
        assert everything(log) == kept
        for after in (0, 2, 3, 15, 32, 40):
            for limit in (1, 2, 5, 100):
                assert log.read(after, limit) == [r for r in kept if r.offset > after][:limit]
        assert forget_records(log, files, NOW + 12_000, LATER, "again") == ()
        assert log.append([new("next")], LATER)[0].offset == len(before) + 1
    with opened(tmp_path) as (log, _):
        assert everything(log)[:-1] == kept


def test_a_range_with_nothing_to_keep_leaves_no_file(tmp_path):
    with opened(tmp_path) as (log, files):
        for n in range(10):
            log.append([new(f"m{n}")], NOW + n)
        archive(log, files, LATER, 10**9, LATER, most_records=4)
        forget_records(log, files, NOW + 4, LATER, "test")
        assert [r.offset for r in everything(log)] == [5, 6, 7, 8, 9, 10]
        assert len(list((tmp_path / "archive").iterdir())) == 2
        forget_records(log, files, LATER, LATER, "test")
        assert [r.offset for r in everything(log)] == [10], "the newest block is in no archive file"
        assert log.read(3, 1)[0].offset == 10
        log._connection.execute("DELETE FROM forgotten WHERE first_offset = 5")
        with pytest.raises(LedgerError, match="offsets 5 to 8"):
            everything(log)


def test_an_id_whose_record_was_deleted_is_new_again(tmp_path, monkeypatch):
    monkeypatch.setattr(seen_module, "PART_KEYS", 2)
    with opened(tmp_path) as (log, files), opened(tmp_path, "other") as (other, _):
        other.append([new("x")], NOW - 1)
        fill(log)
        other.append([new("y")], NOW + 100_000)
        archived(tmp_path, log, files)
        assert forget_records(log, files, NOW + 12_000, LATER, "test")
        for handle in (log, other):
            assert handle.append([new("m0-1" + str(id(handle)))], LATER)[0].status == "stored"
        assert other.append([new("m0-0"), new("m19-0")], LATER)[0].status == "stored", "though it is in its memory"
        assert other.append([new("m0-0"), new("m19-0")], LATER)[0].status == "duplicate"
        assert log.append([new("m0-0"), new("m19-0")], LATER)[1].status == "duplicate"


@pytest.mark.parametrize("moved", [False, True])
def test_ids_are_forgotten_after_their_window_but_for_imported_ones(tmp_path, monkeypatch, moved):
    monkeypatch.setattr(seen_module, "PART_KEYS", 2)
    with opened(tmp_path) as (log, files):
        fill(log)
        if moved:
            archived(tmp_path, log, files)
        log.settle_index(log.head().offset)
    with opened(tmp_path) as (log, _):
        held = log._connection.execute("SELECT count(*) FROM seen").fetchone()[0]
        # The block before the one that began at the edge is wholly older; whole files are too.
        dropped = forget_ids(log, NOW + 9_000)
        assert dropped == held - log._connection.execute("SELECT count(*) FROM seen").fetchone()[0]
        assert 10 < dropped <= 28
        assert forget_ids(log, NOW + 9_000) == 0
        assert {a.status for a in log.append([new("i1", at=1_000), new("i2", at=2_000)], LATER)} == {"duplicate"}
        assert log.append([new("m19-1"), new("m9-0")], LATER)[1].status == "duplicate"
        assert log.append([new("m0-0")], LATER)[0].status == "stored", "beyond the window"
        assert log.append([new("m0-0")], LATER + 1)[0].status == "duplicate"
