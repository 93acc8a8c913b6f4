"""What is particular to the log on SQLite: checksums, the index of ids, schema versions, transactions."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest

from cadenza.errors import LedgerError
from cadenza.ledger import block as blocks, log as log_module, seen as seen_module
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import Batch, NewRecord, Refused

NOW = 1_800_000_000_000_000


def new(message_id: str, text: str = "") -> NewRecord:
    body = b'{"type":"track","text":"%s"}' % text.encode()
    return NewRecord(kind="call", source="web", message_id=message_id, body=body)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "log.db"


def written(place: Path, records: list[NewRecord]) -> None:
    log = SqliteLog.open(place)
    log.append(records, NOW)
    log.close()


def damage(place: Path, needle: bytes) -> None:
    """Flip one bit of the file, in the first byte of ``needle``."""
    content = bytearray(place.read_bytes())
    assert content.count(needle) == 1
    content[content.index(needle)] ^= 1
    place.write_bytes(content)


def test_a_flipped_byte_in_a_body_is_found_and_its_offset_and_the_remedy_named(place):
    filler = "." * 16_384
    written(place, [new(f"m{n}", f"<{n}>{filler}") for n in range(1, 8)])
    damage(place, b"<5>")
    log = SqliteLog.open(place)
    with pytest.raises(LedgerError) as caught:
        log.read(0, 100)
    assert caught.value.where == "log.db, offset 4"
    assert "offsets 4 to 5" in caught.value.what or "offset 5" in caught.value.what
    assert "backup" in str(caught.value.remedy)
    log.close()


def test_small_commits_are_named_exactly(place):
    log = SqliteLog.open(place)
    for n in range(1, 6):
        log.append([new(f"m{n}", f"<{n}>")], NOW)
    log.close()
    damage(place, b"<3>")
    log = SqliteLog.open(place)
    assert len(log.read(3, 10)) == 2, "what comes after can still be read"
    with pytest.raises(LedgerError, match="offset 3"):
        log.read(0, 10)
    log.close()


@pytest.mark.parametrize(
    "column", ["runs", "id_sizes", "sizes", "ids", "body_sums", "bodies", "meta_sum", "recorded_at", "writer"]
)
@pytest.mark.parametrize("cut", [False, True])
def test_damage_in_any_column_is_found(place, column, cut):
    written(place, [new("m1", "a"), new("m2", "b")])
    raw = sqlite3.connect(place)
    value = raw.execute(f"SELECT {column} FROM block").fetchone()[0]
    if isinstance(value, bytes):
        changed = value[:-1] if cut else bytes([value[0] ^ 1]) + value[1:]
    else:
        changed = value + 1 if isinstance(value, int) else value + "x"
    raw.execute(f"UPDATE block SET {column} = ?", (changed,))
    raw.commit()
    raw.close()
    with pytest.raises(LedgerError, match="offset"), contextlib.closing(SqliteLog.open(place)) as log:
        log.read(0, 10)


def test_damaged_keys_are_found_before_anything_is_appended(place):
    written(place, [new("m1")])
    raw = sqlite3.connect(place)
    raw.execute("UPDATE block SET keys = zeroblob(8)")
    raw.commit()
    raw.close()
    log = SqliteLog.open(place)
    with pytest.raises(LedgerError, match="checksum"):
        log.append([new("m2")], NOW)
    assert log.head().offset == 1
    log.close()


def test_a_missing_block_is_found(place):
    log = SqliteLog.open(place)
    for n in range(1, 4):
        log.append([new(f"m{n}")], NOW)
    raw = sqlite3.connect(place)
    raw.execute("DELETE FROM block WHERE first_offset = 2")
    raw.commit()
    raw.close()
    with pytest.raises(LedgerError, match="offset 2"):
        log.read(0, 10)
    log.close()


def test_ids_with_the_same_key_are_told_apart(place, monkeypatch):
    """With a modulus of 61 many keys collide: only comparing the ids themselves can be right."""
    monkeypatch.setattr(log_module, "modulus_from", lambda secret: 61)
    log = SqliteLog.open(place)
    ids = [f"id-{n}" for n in range(40)]
    assert len({int.from_bytes(i.encode(), "little") % 61 for i in ids}) < 40
    for low in range(0, 40, 5):
        assert {a.status for a in log.append([new(i) for i in ids[low : low + 5]], NOW)} == {"stored"}
    assert {a.status for a in log.append([new(i) for i in reversed(ids)], NOW)} == {"duplicate"}
    assert [r.message_id for r in log.read(0, 100)] == ids
    log.close()


@pytest.mark.parametrize("filtered", [0, 4_000_000])
def test_ids_that_left_memory_are_still_known(place, monkeypatch, filtered):
    monkeypatch.setattr(seen_module, "PART_KEYS", 4)
    monkeypatch.setattr(seen_module, "_FILTERED", filtered)
    log = SqliteLog.open(place)
    for n in range(60):
        log.append([new(f"order-{n}-{i}") for i in range(100)], NOW)
    in_memory = log._index.resting()
    on_disk = log._connection.execute("SELECT count(*) FROM seen").fetchone()[0]
    assert on_disk > 4000
    assert in_memory + on_disk == 6000
    for handle in (log, SqliteLog.open(place)):
        again = [new(f"order-{n}-{i}") for n in range(60) for i in range(100)]
        assert {a.status for a in handle.append(again, NOW)} == {"duplicate"}
        assert handle.append([new("fresh" + str(id(handle)))], NOW)[0].status == "stored"
        handle.close()


def test_other_writers_blocks_are_learnt_also_after_they_left_their_memory(place, monkeypatch):
    monkeypatch.setattr(seen_module, "PART_KEYS", 2)
    one, two = SqliteLog.open(place, "one"), SqliteLog.open(place, "two")
    for n in range(30):
        (one if n % 3 else two).append([new(f"order-{n}-{i}") for i in range(50)], NOW)
    again = [new(f"order-{n}-{i}") for n in range(30) for i in range(50)]
    assert {a.status for a in one.append(again, NOW)} == {"duplicate"}
    assert {a.status for a in two.append(again, NOW)} == {"duplicate"}
    assert {r.writer for r in one.read(0, 10_000)} == {"one", "two"}
    one.close()
    two.close()


def test_large_appends_are_cut_into_blocks_and_read_back_whole(place):
    log = SqliteLog.open(place)
    batches = [
        Batch(
            kind="call", source=f"s{b}", ids=[f"{b}-{i}" for i in range(1500)], bodies=[b"{}" + b" " * (b * 600)] * 1500
        )
        for b in range(3)
    ]
    log.write(batches, (), NOW)
    sizes = [n for (n,) in log._connection.execute("SELECT n FROM block")]
    assert len(sizes) > 2
    assert max(sizes) <= blocks.MAX_RECORDS
    found = log.read(0, 10_000)
    assert [(r.source, r.message_id, len(r.body)) for r in found] == [
        (f"s{b}", f"{b}-{i}", 2 + b * 600) for b in range(3) for i in range(1500)
    ]
    assert [r.recorded_at for r in found] == list(range(NOW, NOW + 4500))
    log.close()


def test_times_survive_where_duplicates_fell_out(place):
    log = SqliteLog.open(place)
    log.append([new("b")], NOW)
    batch = Batch(
        kind="call", source="web", ids=["a", "b", "c"], bodies=[new("").body] * 3, ats=[NOW + 10, NOW + 20, NOW + 30]
    )
    log.write([batch], (), NOW)
    assert [(r.message_id, r.recorded_at) for r in log.read(1, 10)] == [("a", NOW + 10), ("c", NOW + 30)]
    log.close()


def test_a_failed_write_leaves_nothing_behind(place, monkeypatch):
    log = SqliteLog.open(place)
    log.append([new("a")], NOW)

    def fail(tally: object, now: int) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(log, "_write_tally", fail)
    bad = Refused(source="web", reason="type", detail="", body=b"{}")
    with pytest.raises(LedgerError, match=r"disk I/O error.*free disk space"):
        log.write([Batch(kind="call", source="web", ids=["b"], bodies=[b"{}"])], [bad], NOW)
    monkeypatch.undo()
    log.close()
    log = SqliteLog.open(place)
    assert log.append([new("a")], NOW)[0].status == "duplicate"
    assert log.head().offset == 1
    assert log.quarantine_counts() == {}
    assert log.append([new("b")], NOW)[0].status == "stored"
    log.close()


def test_a_first_write_that_fails_does_not_spoil_the_index(place, monkeypatch):
    log = SqliteLog.open(place)
    monkeypatch.setattr(log, "_write_tally", lambda tally, now: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        log.append([new("order-1")], NOW)
    monkeypatch.undo()
    assert log.append([new("order-1")], NOW)[0].status == "stored"
    log.close()
    log = SqliteLog.open(place)
    assert log.append([new("order-1")], NOW)[0].status == "duplicate"
    log.close()


def test_rejected_requests_are_counted_by_reason(place):
    log = SqliteLog.open(place)
    log.write((), (), NOW, {("web", "malformed"): 2, ("", "unknown_write_key"): 1})
    assert log.rejected_counts() == {("", "unknown_write_key"): 1, ("web", "malformed"): 2}
    assert (log.stored_counts().received, log.stored_counts().rejected) == (3, 3)
    log.close()


def test_a_file_that_is_not_a_log_is_left_alone(place):
    other = sqlite3.connect(place)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    before = place.read_bytes()
    with pytest.raises(LedgerError, match="not the ledger"):
        SqliteLog.open(place)
    assert place.read_bytes()[100:] == before[100:]


def test_a_file_that_is_not_a_database_is_refused(place):
    place.write_bytes(b"not a database at all, but long enough to be looked at" * 100)
    with pytest.raises(LedgerError, match=r"not a database.*backup"):
        SqliteLog.open(place)


def test_a_newer_schema_is_refused(place):
    written(place, [new("a")])
    raw = sqlite3.connect(place)
    raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(LedgerError, match="schema version 99"):
        SqliteLog.open(place)


def test_a_place_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError) as caught:
        SqliteLog.open(tmp_path / "file" / "log.db")
    assert caught.value.remedy


def test_durability_is_what_it_should_be(place):
    log = SqliteLog.open(place)
    assert log._connection.execute("PRAGMA synchronous").fetchone()[0] == 2
    assert log._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    log.close()
