"""The live debugger shows what comes, each with what became of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cadenza.clock import to_micros
from cadenza.ports.ledger import Batch
from cadenza.runtime.tail import HIDDEN, Counted, Seen, Tail, Wanted
from cadenza.surfaces import cli_operate
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace
from tests.operate.orders import NOW, Shop, order


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "log.db")
    yield shop
    shop.log.close()


def told(found: list) -> list[tuple]:
    return [(one.outcome, one.message_id if isinstance(one, Seen) else one.n) for one in found]


def test_it_goes_on_where_it_looked_last(sender: Shop) -> None:
    sender.send(order("old", 1))
    tail = Tail(sender.log, Wanted())
    assert tail.poll() == []
    sender.later(1)
    sender.send(order("a", 1), order("b", -1))
    sender.send(order("a", 1), order("old", 1))
    sender.log.write((), (), sender.now, {("web", "malformed"): 3})
    found = tail.poll()
    assert told(found) == [("stored", "a"), ("quarantined", "b"), ("duplicate", 2), ("rejected", 3)]
    assert (found[0].offset, found[0].event, found[0].ids) == (2, "Order", {"userId": "u1"})
    assert (found[1].id, found[1].reason) == (1, "contract: Order.revenue minimum")
    assert tail.poll() == []


@pytest.mark.parametrize(
    ("wanted", "kept"),
    [
        (Wanted(source="app"), ["b"]), (Wanted(type="identify"), ["c"]), (Wanted(event="Order"), ["a", "b", "bad"]),
        (Wanted(person="ann@example.com"), ["c"]), (Wanted(person="u1"), ["a", "b", "bad"]), (Wanted(outcome="quarantined"), ["bad"]),
        (Wanted(outcome="duplicate"), []),
    ],
)  # fmt: skip
def test_filters(sender: Shop, wanted: Wanted, kept: list[str]) -> None:
    tail = Tail(sender.log, wanted)
    sender.send(order("a", 1), order("bad", -1))
    sender.send(order("b", 1), source="app")
    sender.send({"type": "identify", "userId": "u2", "messageId": "c", "traits": {"email": "ann@example.com"}})
    sender.send(order("a", 1))
    found = tail.poll()
    assert sorted(one.message_id for one in found if isinstance(one, Seen)) == kept
    counted = [one for one in found if isinstance(one, Counted)]
    assert len(counted) == (wanted.outcome == "duplicate")


def test_the_last_ones_are_found_through_a_filter(sender: Shop) -> None:
    sender.send(order("rare", 1), source="app")
    sender.log.write(
        [Batch(kind="call", source="web", ids=[f"m{n}" for n in range(3_000)], bodies=[b"{}"] * 3_000)], (), NOW
    )
    sender.later(60)
    sender.send(order("late", 1), order("worse", -1))
    assert told(Tail(sender.log, Wanted(source="app")).last(5)) == [("stored", "rare")]
    assert {one.message_id for one in Tail(sender.log, Wanted()).last(2)} == {"late", "worse"}
    assert Tail(sender.log, Wanted()).last(0) == []
    assert {one.message_id for one in Tail(sender.log, Wanted()).since(NOW + 30_000_000)} == {"late", "worse"}
    assert len(Tail(sender.log, Wanted()).since(0)) == 3_003


def test_redacted_records_hold_no_value_of_anybody(sender: Shop) -> None:
    tail = Tail(sender.log, Wanted(), redact=True)
    sender.send(
        order("canary-1", 1, properties={"revenue": 1, "address": {"street": "canary-2"}}, anonymousId="canary-3"),
        {"type": "identify", "userId": "canary-4", "messageId": "m", "traits": {"email": "canary-5"}},
        order("canary-6", "canary-7"),
    )
    found = tail.poll()
    assert len(found) == 3
    assert "canary" not in repr(found)
    assert HIDDEN in repr(found)
    assert "street" in repr(found)


def test_the_command_prints_lines_and_ends(shop: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    shop.close()
    assert main(["tail", "--no-follow"]) == 0
    out = capsys.readouterr().out
    assert "quarantine 1" in out and "Order Completed" in out and "u-1" in out and "deploy" in out
    assert main(["tail", "--no-follow", "--outcome", "quarantined", "--since", "1h", "--json", "--redact"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [1, 2]
    assert "u-1" not in repr(lines)
    assert main(["tail", "--no-follow", "--since", "soon"]) == 1


def test_ctrl_c_ends_it_cleanly(
    shop: Workspace, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    class Interrupted:
        def wait(self, seconds: float) -> None:
            looks.append(seconds)
            if len(looks) == 2:
                raise KeyboardInterrupt
            now = to_micros(shop.clock.now())
            shop._log.write([Batch(kind="call", source="website", ids=["live"], bodies=[b'{"type":"page"}'])], (), now)

    monkeypatch.setattr(cli_operate.threading, "Event", Interrupted)
    assert main(["tail", "--last", "0"]) == 0
    told = capsys.readouterr()
    assert "stored #2" in told.out and "page" in told.out
    assert told.err == "Stopped.\n"
