"""A log that an older Cadenza wrote is brought to the present form when it is opened, with everything that is in it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import NewRecord, Refused
from tests.deliver.outbox_kit import an_outbox_message

NOW = 1_800_000_000_000_000

VERSION_1 = """
CREATE TABLE tally (source TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (source, outcome, reason)) WITHOUT ROWID;
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, message_id TEXT, body BLOB NOT NULL, digest BLOB UNIQUE);
CREATE INDEX quarantine_by_reason ON quarantine (source, reason);
"""
"""What version 1 had where version 2 has something else."""

ROWS = [
    (1, NOW, "web", "missing: event", "why", "a", b'{"type":"track"}', b"1"),
    (2, NOW, "web", "contract: Order.revenue minimum", "why", "b", b'{"type":"track"}', b"2"),
    (3, NOW, "web", "conflict", "why", "c", b'{"type":"track"}', b"3"),
    (4, NOW, "shop", "bad_timestamp", "line 12: why", "d", b'{"type":"track"}', b"4"),
    (5, NOW, "shop", "unreadable_line", "line 13: why", "e", b"a;b", b"5"),
]


def described(path: Path) -> dict[str, list[Any]]:
    """Columns and indexes by table."""
    raw = sqlite3.connect(path)
    names = [name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
    found = {
        name: raw.execute(f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{name}')").fetchall()
        for name in names
    }
    found["indexes"] = raw.execute(
        "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1"
    ).fetchall()
    raw.close()
    return found


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A log of version 1 with two records and five refusals."""
    path = tmp_path / "log.db"
    log = SqliteLog.open(path)
    log.append([NewRecord(kind="call", source="web", message_id=f"m{n}", body=b"{}") for n in range(2)], NOW)
    log.close()
    raw = sqlite3.connect(path)
    for table in ("journal_read", "tally_minute", "quarantine_history", "quarantine", "tally"):
        raw.execute(f"DROP TABLE {table}")
    raw.executescript(VERSION_1)
    raw.executemany("INSERT INTO quarantine VALUES (?, ?, ?, ?, ?, ?, ?, ?)", ROWS)
    tallied = [("web", "received", "", 5), ("web", "stored", "", 2), ("shop", "received", "", 2)]
    tallied += [(source, "quarantined", reason, 1) for _, _, source, reason, *_ in ROWS]
    raw.executemany("INSERT INTO tally VALUES (?, ?, ?, ?)", tallied)
    raw.execute("PRAGMA user_version = 1")
    raw.commit()
    raw.close()
    return path


def test_an_old_log_gets_the_schema_of_a_new_one(old: Path, tmp_path: Path) -> None:
    SqliteLog.open(tmp_path / "new.db").close()
    SqliteLog.open(old).close()
    assert described(old) == described(tmp_path / "new.db")
    SqliteLog.open(old).close()


def test_what_an_old_quarantine_holds_is_kept_and_its_form_is_known(old: Path) -> None:
    log = SqliteLog.open(old)
    kept = {row.id: row for row in log.quarantined.list(10)}
    assert {id: (row.form, row.imported, row.state) for id, row in kept.items()} == {
        1: ("call", False, "resting"), 2: ("record", False, "resting"), 3: ("record", False, "resting"),
        4: ("record", True, "resting"), 5: ("text", True, "resting"),
    }  # fmt: skip
    assert [(row.source, row.reason, row.message_id, row.body) for row in kept.values()] == [
        (source, reason, id, body) for _, _, source, reason, _, id, body, _ in reversed(ROWS)
    ]
    log.close()


def test_an_old_log_goes_on_counting(old: Path) -> None:
    log = SqliteLog.open(old)
    assert log.stored_counts().conserved
    log.write((), [Refused(source="web", reason="type", detail="", body=b"{}")], NOW)
    counts = log.stored_counts()
    assert (counts.received, counts.quarantined) == (8, 6)
    assert counts.conserved
    entered = {(source, reason): n for source, outcome, reason, n in log.tallies.entries() if outcome == "entered"}
    assert sum(entered.values()) == 6
    assert [m.counts.received for m in log.tallies.minutes()] == [1], (
        "the tally by the minute begins with the migration"
    )
    log.close()


def test_an_old_outbox_goes_on_and_its_messages_are_not_called_damaged(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with contextlib.closing(SqliteOutbox.open(path)) as outbox:
        outbox.publish([an_outbox_message("old")], [], 1)
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.execute("ALTER TABLE message DROP COLUMN sum")
        raw.execute("PRAGMA user_version = 1")
        raw.commit()
    with contextlib.closing(SqliteOutbox.open(path)) as outbox:
        outbox.publish([an_outbox_message("new")], [], 2)
        assert outbox.damaged(10) == []
        outbox._connection.execute("UPDATE message SET address = 'eve@shop.example'")
        assert outbox.damaged(10) == ["new"]


def test_an_outbox_of_version_2_gets_its_gate(tmp_path: Path) -> None:
    fresh, path = tmp_path / "new.db", tmp_path / "outbox.db"
    for made in (fresh, path):
        SqliteOutbox.open(made).close()
    raw = sqlite3.connect(path)
    raw.executescript("DROP TABLE gate; PRAGMA user_version = 2")
    raw.close()
    SqliteOutbox.open(path).close()
    assert described(path) == described(fresh)
