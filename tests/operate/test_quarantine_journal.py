"""What came through a collector's journal can be corrected and taken in, whatever the door knew of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadenza.clock import VirtualClock
from cadenza.definitions.project import Project
from cadenza.ledger.journal import Entry, JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.quarantine import Quarantine
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.runtime.sequence import Sequencer
from tests.collect.asgi import NOW, RECEIVED


class Door:
    """A collector's journal, its sequencer and the quarantine."""

    def __init__(self, folder: Path) -> None:
        clock = VirtualClock(NOW)
        self.log = SqliteLog.open(folder / "log.db")
        self.journal = JournalWriter.open(folder / "journal", "main", "1" * 32)
        self.sequencer = Sequencer(self.log, folder / "journal", clock, Project)
        self.quarantine = Quarantine(self.log, Project, clock)

    def receive(self, receipt: Receipt, body: bytes) -> None:
        """One request, moved to the log."""
        self.journal.append([Entry(RECEIVED, write_receipt(receipt), body)])
        self.sequencer.catch_up()

    def bodies(self) -> list[dict]:
        return [json.loads(record.body) for record in self.log.read(0, 100)]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    door = Door(tmp_path)
    yield door
    assert door.log.stored_counts().conserved
    door.journal.close()
    door.sequencer.close()
    door.log.close()


@pytest.mark.parametrize("properties", [b'"shoes"', b'null, "event": 7'])
def test_the_type_that_the_path_gave_is_known_at_replay(door: Door, properties: bytes) -> None:
    facts = {"sentat": "2026-11-22T09:00:00Z"}
    receipt = Receipt("web", call_type="track", facts=facts)
    body = b'{"event":"E","userId":"u","messageId":"%s","timestamp":"2026-11-22T08:59:50Z","properties":%s}'
    door.receive(receipt, body % (b"right", b"null"))
    door.receive(receipt, body % (b"bad", properties))
    [kept] = door.quarantine.list()
    assert kept.form == "call"
    door.quarantine.fix(kept.id, "ann", put={"properties": b"{}", "event": b'"E"'})
    assert door.quarantine.replay("ann").stored == 1
    right, mended = door.bodies()
    assert mended == right


def test_a_request_that_cannot_be_read_needs_the_whole_record(door: Door) -> None:
    door.receive(Receipt("web", call_type="track"), b'{"userId": ')
    [kept] = door.quarantine.list()
    assert (kept.form, kept.reason) == ("text", "malformed")
    assert door.quarantine.replay("ann").refused == {"malformed": 1}
    door.quarantine.fix(kept.id, "ann", record=b'{"type":"track","event":"E","userId":"u","messageId":"m"}')
    assert door.quarantine.replay("ann").stored == 1
    assert [body["userId"] for body in door.bodies()] == ["u"]
