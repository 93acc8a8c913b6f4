"""The sequencer: every accepted entry into the log once, in an order that respects what was answered before what."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st

from cadenza.clock import VirtualClock, from_micros, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import LedgerError
from cadenza.ledger import journal
from cadenza.ledger.journal import Entry, JournalWriter, journal_files
from cadenza.ledger.log import SqliteLog
from cadenza.runtime import sequence
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.runtime.sequence import SequencedLog, Sequencer
from tests.collect.asgi import NOW, RECEIVED

META = write_receipt(Receipt("web", call_type="track"))


def entry(message_id: str, received_at: int = RECEIVED, meta: bytes = META) -> Entry:
    return Entry(received_at, meta, json.dumps({"event": "E", "messageId": message_id}).encode())


class Hall:
    """A log, a sequencer, and any number of collectors' journals."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, VirtualClock(NOW)
        self.log = SqliteLog.open(folder / "log.db")
        self.journals: dict[str, JournalWriter] = {}
        self.ids = itertools.count()
        self.restart()

    def restart(self) -> None:
        if hasattr(self, "sequencer"):
            self.sequencer.close()
        self.sequencer = Sequencer(self.log, self.folder / "journal", self.clock, Project)

    def write(self, writer: str, *entries: Entry) -> None:
        if writer not in self.journals:
            self.journals[writer] = JournalWriter.open(self.folder / "journal", writer, f"{next(self.ids):032d}")
        self.journals[writer].append(entries)

    def end(self, writer: str) -> None:
        if writer in self.journals:
            self.journals.pop(writer).close()

    def stored(self) -> list[str]:
        return [record.message_id for record in self.log.read(0, 100_000)]

    def close(self) -> None:
        for writer in list(self.journals):
            self.end(writer)
        self.sequencer.close()
        self.log.close()


@pytest.fixture
def hall(tmp_path):
    held = Hall(tmp_path)
    yield held
    held.close()


def test_entries_of_all_collectors_come_in_the_order_they_were_received(hall):
    hall.write("a", entry("1", RECEIVED - 30), entry("4", RECEIVED))
    hall.write("b", entry("2", RECEIVED - 20), entry("3", RECEIVED - 10))
    assert hall.sequencer.catch_up() == 4
    assert hall.stored() == ["1", "2", "3", "4"]
    assert hall.sequencer.catch_up() == 0


def test_what_is_received_after_the_round_began_waits_for_the_next(hall):
    """Else a record could come before one that was answered earlier, in a journal that had been read already."""
    hall.write("a", entry("1"), entry("2", RECEIVED + 5), entry("3", RECEIVED + 6))
    assert hall.sequencer.catch_up() == 1
    hall.clock.advance_to(from_micros(RECEIVED + 6))
    assert hall.sequencer.catch_up() == 2
    assert hall.stored() == ["1", "2", "3"]


def test_a_long_backlog_keeps_the_order_over_collectors_and_files(hall, monkeypatch):
    """More than one round holds, unevenly spread, in several files of one collector."""
    monkeypatch.setattr(journal, "ROTATE_BYTES", 700)
    monkeypatch.setattr(sequence, "ROUND_BYTES", 300)
    monkeypatch.setattr(sequence, "LEAST_BYTES", 100)
    for n in range(60):
        hall.write("a" if n % 5 else "b", entry(f"{n}", RECEIVED - 100 + n))
    assert len(journal_files(hall.folder / "journal")) > 3
    assert hall.sequencer.catch_up(rounds=1) < 60
    hall.sequencer.catch_up()
    assert hall.stored() == [f"{n}" for n in range(60)]


def test_a_clock_that_was_set_back_holds_nothing_up(hall):
    hall.write("a", entry("1", RECEIVED + 3_600_000_000))
    assert hall.sequencer.catch_up() == 1
    assert hall.log.head().recorded_at > RECEIVED + 3_000_000_000, "not recorded before it was received"


def test_a_file_is_deleted_when_the_log_has_it_and_its_writer_has_ended(hall):
    hall.write("a", entry("1"))
    hall.sequencer.catch_up()
    assert len(journal_files(hall.folder / "journal")) == 1
    hall.end("a")
    hall.sequencer.catch_up()
    assert journal_files(hall.folder / "journal") == []
    assert hall.log.journals_read() == {}


def test_a_new_process_goes_on_where_the_last_one_was(hall):
    hall.write("a", entry("1"), entry("2"))
    hall.sequencer.catch_up()
    hall.restart()
    hall.write("a", entry("3"))
    assert hall.sequencer.catch_up() == 1
    assert hall.stored() == ["1", "2", "3"]
    assert hall.log.stored_counts().duplicate == 0


def test_a_log_that_fails_keeps_everything_in_the_journal(hall, monkeypatch):
    hall.write("a", entry("1"))

    def fail(*_: Any) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(hall.log, "write", fail)
    with pytest.raises(LedgerError):
        hall.sequencer.catch_up()
    monkeypatch.undo()
    assert hall.sequencer.catch_up() == 1
    assert hall.stored() == ["1"]


def test_the_head_and_the_fence_include_what_was_accepted(hall):
    log = SequencedLog(hall.log, hall.sequencer)
    hall.write("a", entry("1"))
    assert log.head().offset == 1
    hall.write("a", entry("2"))
    fenced = log.fence(to_micros(NOW) + 10)
    assert hall.log.head().offset == 2
    assert hall.log.head().recorded_at < fenced + 1
    hall.write("a", entry("3"))
    assert log.read(log.head().offset - 1, 1)[0].recorded_at > fenced


def test_a_request_that_meets_a_defect_is_kept_and_the_others_go_on(hall, monkeypatch):
    hall.write("a", entry("1"), entry("2", meta=b"\xc1"), entry("3"), Entry(RECEIVED, META, b"no json"))
    assert hall.sequencer.catch_up() == 4
    assert hall.stored() == ["1", "3"]
    assert hall.log.quarantine_counts() == {("", "defect"): 1, ("web", "malformed"): 1}


def test_damage_goes_to_quarantine_and_the_rest_is_read(hall):
    hall.write("a", entry("1"), entry("2"), entry("3"))
    hall.end("a")
    [path] = journal_files(hall.folder / "journal")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b'"2"') + 1] ^= 1
    path.write_bytes(bytes(raw[:-1]))
    hall.sequencer.catch_up()
    assert hall.stored() == ["1"]
    kept = hall.log.quarantine_list()
    assert {one.reason for one in kept} <= {"journal_damaged", "journal_torn"} and kept
    assert b'"3' in b"".join(one.body for one in kept), "the bytes are kept"
    counts = hall.log.stored_counts()
    assert counts.received == counts.stored + counts.quarantined


def test_two_processes_do_not_move_the_same_journals(hall):
    hall.write("a", entry("1"))
    hall.sequencer.catch_up()
    second = Sequencer(hall.log, hall.folder / "journal", hall.clock, Project)
    with pytest.raises(LedgerError, match="Another process moves"):
        second.catch_up()


MOVES = st.lists(
    st.tuples(st.sampled_from(["write", "write", "write", "end", "catch_up", "restart", "fail"]), st.sampled_from("abc"), st.integers(1, 4)),
    max_size=30,
)  # fmt: skip


@example(moves=[("write", "b", 1), ("write", "b", 4), ("catch_up", "a", 1), ("write", "b", 1), ("write", "a", 1)])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moves=MOVES)
def test_whatever_happens_each_entry_comes_once_and_no_answer_is_overtaken(tmp_path_factory, monkeypatch, moves):
    monkeypatch.setattr(journal, "ROTATE_BYTES", 400)
    monkeypatch.setattr(sequence, "ROUND_BYTES", 300)
    monkeypatch.setattr(sequence, "LEAST_BYTES", 100)
    hall = Hall(tmp_path_factory.mktemp("hall"))
    written: list[str] = []
    try:
        for what, writer, n in moves:
            hall.clock.advance_to(from_micros(to_micros(hall.clock.now()) + 1))
            if what == "write":
                # one after the other: each was answered before the next was received
                new = [f"{len(written) + i}" for i in range(n)]
                hall.write(writer, *(entry(one, to_micros(hall.clock.now())) for one in new))
                written += new
            elif what == "end":
                hall.end(writer)
            elif what == "restart":
                hall.restart()
            elif what == "fail":
                whole = hall.log.write
                hall.log.write = _fails  # type: ignore[method-assign]
                with contextlib.suppress(LedgerError):
                    hall.sequencer.catch_up()
                hall.log.write = whole  # type: ignore[method-assign]
            else:
                hall.sequencer.catch_up()
        hall.sequencer.catch_up()
        assert hall.stored() == written
        assert hall.log.stored_counts().received == len(written)
    finally:
        hall.close()


def _fails(*_: Any) -> None:
    raise LedgerError("disk full")
