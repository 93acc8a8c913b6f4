"""The archived part of the log reads as if it had never moved."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.errors import LedgerError, StoreError
from cadenza.ledger import archiving, seen as seen_module
from cadenza.ledger.archive import checksum
from cadenza.ledger.archiving import archive
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import NewRecord, Record
from cadenza.store.parquet import ParquetFiles

NOW = 1_800_000_000_000_000
LATER = NOW + 10**12


def new(message_id: str, text: str = "", at: int | None = None) -> NewRecord:
    body = b'{"type":"track","text":"%s"}' % text.encode()
    return NewRecord(kind="call", source="web", message_id=message_id, body=body, at=at, imported=at is not None)


@contextlib.contextmanager
def opened(folder: Path, writer: str = "main"):
    files = ParquetFiles()
    log = SqliteLog.open(folder / "log.db", writer, files)
    try:
        yield log, files
    finally:
        log.close()
        files.close()


def fill(log: SqliteLog, commits: int, each: int = 3, start: int = 0) -> None:
    for n in range(start, start + commits):
        log.append([new(f"m{n}-{i}", f"é\n漢{n}") for i in range(each)], NOW + n * 1000)


def everything(log: SqliteLog) -> list[Record]:
    return log.read(0, 1_000_000)


def test_the_log_reads_the_same_after_its_oldest_part_was_archived(tmp_path):
    with opened(tmp_path) as (log, files):
        log.append([new("old", at=1_000), new("older", at=2_000)], NOW)
        fill(log, 20)
        before = everything(log)
        done = archive(log, files, NOW + 10_000, 10**9, LATER)
        assert (done.records, [(f.first_offset, f.last_offset) for f in done.files]) == (32, [(1, 32)])
        assert done.files[0].imported == [(1, 2)]
        assert log._connection.execute("SELECT min(first_offset) FROM block").fetchone() == (33,)
        assert everything(log) == before
        for after in (0, 1, 31, 32, 33, 40, len(before)):
            for limit in (1, 2, 7, 1000):
                assert log.read(after, limit) == before[after : after + limit]
        assert archive(log, files, NOW + 10_000, 10**9, LATER).files == ()
        assert len(archive(log, files, NOW + 15_000, 10**9, LATER).files) == 1
        assert everything(log) == before
    with opened(tmp_path) as (log, _):
        assert everything(log) == before


def test_only_what_is_decided_and_closed_is_archived(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 10)
        assert archive(log, files, LATER, 7, LATER).records == 6, "blocks up to the offset that the store consumed"
        assert archive(log, files, NOW, 10**9, LATER).records == 0
        assert archive(log, files, LATER, 10**9, LATER).records == 21, "the last block stays"
        assert log._connection.execute("SELECT count(*) FROM block").fetchone() == (1,)
        assert len(everything(log)) == 30


def test_files_are_bounded(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 20)
        done = archive(log, files, LATER, 10**9, LATER, most_records=10)
        assert [(f.first_offset, f.n) for f in done.files] == [(1 + 9 * i, 9) for i in range(6)] + [(55, 3)]
        assert [r.offset for r in everything(log)] == list(range(1, 61))
        assert [r.offset for r in log.read(8, 3)] == [9, 10, 11], "a read goes on over the end of a file"


def test_any_tool_reads_the_files_and_the_checksum_is_as_described(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 3)
        expected = everything(log)[:6]
        name = archive(log, files, LATER, 10**9, LATER).files[0].file
    rows = duckdb.sql(f"SELECT * FROM read_parquet('{tmp_path / 'archive' / name}')")
    assert rows.columns == [
        "offset", "recorded_at", "writer", "kind", "source", "message_id", "imported", "body", "checksum",
    ]  # fmt: skip
    assert [(row[0], row[5], row[7].encode(), row[8]) for row in rows.fetchall()] == [
        (r.offset, r.message_id, r.body, checksum(r)) for r in expected
    ]


def test_ids_in_the_archive_are_still_known(tmp_path, monkeypatch):
    monkeypatch.setattr(seen_module, "PART_KEYS", 8)
    with opened(tmp_path) as (log, files), opened(tmp_path, "idle") as (idle, _), opened(tmp_path, "new") as (other, _):
        idle.append([new("first")], NOW)
        fill(log, 100, each=7)
        archive(log, files, LATER, 10**9, LATER)
        again = [new(f"m{n}-{i}", f"é\n漢{n}") for n in range(100) for i in range(7)]
        for handle in (log, idle, other):
            assert {a.status for a in handle.append(again, LATER)} == {"duplicate"}
        assert log.append([new("m3-1", "other")], LATER)[0].status == "conflict"
        assert other.append([new("first"), new("fresh")], LATER)[1].status == "stored"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "changed or damaged"),
        (lambda path: path.write_bytes(b"PAR1"), "changed or damaged"),
        (lambda path: flip(path, 10), "changed or damaged"),
        (lambda path: flip(path, -20), "changed or damaged"),
    ],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path, damage, said):
    with opened(tmp_path) as (log, files):
        fill(log, 10)
        file = archive(log, files, LATER, 10**9, LATER).files[0].file
        everything(log)
        damage(tmp_path / "archive" / file)
        with pytest.raises(LedgerError, match=said) as caught:
            everything(log)
        assert caught.value.where == f"archive/{file}"
        assert "snapshot" in str(caught.value.remedy)
        assert [r.offset for r in log.read(27, 10)] == [28, 29, 30], "what is not in that file can still be read"


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def test_a_damaged_record_is_found_though_its_file_is_the_listed_one(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 4)
        entry = archive(log, files, LATER, 10**9, LATER).files[0]
        path = tmp_path / "archive" / entry.file
        duckdb.sql(
            f"COPY (SELECT * REPLACE (CASE WHEN \"offset\" = 5 THEN 'x' ELSE body END AS body) FROM '{path}') TO '{path}.new' (FORMAT parquet)"
        )
        Path(f"{path}.new").replace(path)
        log._connection.execute(
            "UPDATE archive SET size = ?, digest = ?", (path.stat().st_size, archiving.file_digest(path))
        )
        with pytest.raises(LedgerError, match="offset 5"):
            everything(log)


def test_a_range_that_is_in_no_file_and_no_block_is_found(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 20)
        archive(log, files, LATER, 10**9, LATER, most_records=10)
        log._connection.execute("DELETE FROM archive WHERE first_offset = 10")
        assert len(log.read(0, 9)) == 9
        with pytest.raises(LedgerError, match="offsets 10 to 18"):
            everything(log)


def test_without_the_archives_files_archived_records_are_refused(tmp_path):
    with opened(tmp_path) as (log, files):
        fill(log, 3)
        archive(log, files, LATER, 10**9, LATER)
    log = SqliteLog.open(tmp_path / "log.db")
    with pytest.raises(LedgerError, match="archive"):
        log.read(0, 10)
    assert len(log.read(6, 10)) == 3
    log.close()


class Failing(ParquetFiles):
    """Writes what it should not, or fails."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def write(self, path, pages):
        pages = list(pages)
        if self.how == "fails":
            raise StoreError("IO Error: No space left on device")
        if self.how == "loses":
            pages[0].pop(1)
        if self.how == "changes":
            record, _ = pages[0][1]
            changed = Record(**{f: getattr(record, f) for f in record.__struct_fields__} | {"body": b"{}"})
            pages[0][1] = (changed, checksum(changed))
        super().write(path, pages)


@pytest.mark.parametrize("how", ["fails", "loses", "changes"])
def test_a_file_that_is_not_what_was_written_never_replaces_the_log(tmp_path, how):
    with opened(tmp_path) as (log, _):
        fill(log, 5)
        before = everything(log)
        with pytest.raises((LedgerError, StoreError)):
            archive(log, Failing(how), LATER, 10**9, LATER)
        assert everything(log) == before
        assert log._connection.execute("SELECT sum(n) FROM block").fetchone() == (15,)
        assert archive(log, ParquetFiles(), LATER, 10**9, LATER).records == 12
        assert everything(log) == before
        assert len(list((tmp_path / "archive").iterdir())) == 1, "what was left over is gone"


def test_the_database_shrinks(tmp_path):
    with opened(tmp_path) as (log, files):
        for n in range(40):
            log.append([new(f"big{n}", "x" * 100_000)], NOW + n)
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        full = (tmp_path / "log.db").stat().st_size
        archive(log, files, LATER, 10**9, LATER)
        with contextlib.closing(sqlite3.connect(tmp_path / "log.db")) as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert (tmp_path / "log.db").stat().st_size < full / 10


AWKWARD = st.text(max_size=20).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(AWKWARD.filter(bool), min_size=2, max_size=12, unique=True), source=AWKWARD,
    texts=st.lists(AWKWARD, min_size=12, max_size=12), cut=st.integers(0, 12),
)  # fmt: skip
def test_whatever_a_record_says_comes_back(tmp_path_factory, ids, source, texts, cut):
    with opened(tmp_path_factory.mktemp("any")) as (log, files):
        for i, (message_id, text) in enumerate(zip(ids, texts, strict=False)):
            log.append([NewRecord(kind="call", source=source, message_id=message_id, body=text.encode())], NOW + i)
        before = everything(log)
        archive(log, files, LATER, cut, LATER)
        assert everything(log) == before
