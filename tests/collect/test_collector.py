"""The collector: durable before it answers, one write for what comes together, and honest about failure."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.errors import CadenzaError, LedgerError, TerminalError, TransientError
from cadenza.ledger.journal import Entry
from cadenza.runtime.collect import GROUP_BYTES, REJECTED, Collector, Limits, Overloaded, journal_room
from tests.collect.asgi import NOW


class Paper:
    """A journal that remembers what was written together."""

    def __init__(self) -> None:
        self.groups: list[list[Entry]] = []
        self.error: Exception | None = None
        self.closed = False

    def append(self, entries: Sequence[Entry]) -> None:
        if self.error is not None:
            raise self.error
        self.groups.append(list(entries))

    def close(self) -> None:
        self.closed = True


class Desk:
    def __init__(self) -> None:
        self.paper, self.clock = Paper(), VirtualClock(NOW)
        self.full: str | None = None
        self.collector = Collector(self.paper, self.clock, lambda: self.full)

    def keep(self, body: bytes) -> Coroutine[Any, Any, None]:
        return self.collector.keep(self.collector.received_at(), b"meta", body)

    def bodies(self) -> list[list[bytes]]:
        return [[entry.body for entry in group] for group in self.paper.groups]


@pytest.fixture
def desk():
    return Desk()


def test_what_comes_in_one_turn_is_one_write(desk):
    async def three() -> None:
        await asyncio.gather(desk.keep(b"a"), desk.keep(b"b"), desk.keep(b"c"))
        await desk.keep(b"d")

    asyncio.run(three())
    assert desk.bodies() == [[b"a", b"b", b"c"], [b"d"]]


def test_nobody_is_told_before_the_write(desk):
    told: list[Any] = []

    async def one() -> None:
        desk.collector.add(1, b"meta", b"a", told.append)
        assert told == [] and desk.paper.groups == []
        await asyncio.sleep(0)
        assert told == [None] and len(desk.paper.groups) == 1

    asyncio.run(one())


def test_a_large_group_is_written_at_once(desk):
    async def large() -> None:
        desk.collector.add(1, b"meta", b"x" * GROUP_BYTES, lambda error: None)
        assert len(desk.paper.groups) == 1

    asyncio.run(large())


@pytest.mark.parametrize(
    ("error", "kind"),
    [(LedgerError("disk full", remedy="free some"), LedgerError), (ValueError("a defect"), TerminalError)],
)
def test_a_failed_write_fails_its_requests_and_only_those(desk, error, kind):
    async def fail_and_go_on() -> None:
        desk.paper.error = error
        with pytest.raises(kind):
            await desk.keep(b"a")
        desk.paper.error = None
        await desk.keep(b"b")

    asyncio.run(fail_and_go_on())
    assert desk.bodies() == [[b"b"]]


def test_the_time_of_receipt_never_goes_back(desk):
    first = desk.collector.received_at()
    desk.clock._now = NOW.replace(year=2020)
    assert desk.collector.received_at() == first == to_micros(NOW)


def test_no_room_is_said_and_seen_again_when_there_is(desk):
    async def full_and_not() -> None:
        await desk.keep(b"a")
        desk.full = "16 GB wait for the engine."
        desk.clock.advance_to(NOW.replace(minute=1))
        await desk.keep(b"b")
        with pytest.raises(Overloaded, match="16 GB wait") as caught:
            await desk.keep(b"c")
        assert caught.value.retry_after_s >= 1
        desk.full = None
        with pytest.raises(Overloaded):
            await desk.keep(b"c")  # it is asked about once a second
        desk.clock.advance_to(NOW.replace(minute=2))
        await desk.keep(b"c")

    asyncio.run(full_and_not())
    assert desk.bodies() == [[b"a"], [b"b"], [b"c"]]


def test_rejections_are_written_with_the_next_request(desk):
    async def reject() -> None:
        desk.collector.reject("web", "malformed")
        desk.collector.reject("web", "malformed")
        desk.paper.error = LedgerError("disk full")
        with pytest.raises(LedgerError):
            await desk.keep(b"a")
        desk.paper.error = None
        await desk.keep(b"a")

    asyncio.run(reject())
    [[entry, counted]] = desk.paper.groups
    assert entry.body == b"a"
    assert (counted.meta, json.loads(counted.body)) == (REJECTED, [["web", "malformed", 2]])


def test_close_writes_what_waits_and_takes_no_more(desk):
    async def close() -> None:
        waiting = asyncio.ensure_future(desk.keep(b"a"))
        desk.collector.reject("web", "malformed")
        await asyncio.sleep(0)
        desk.collector.close()
        await waiting
        with pytest.raises(TransientError):
            await desk.keep(b"late")

    asyncio.run(close())
    assert desk.paper.closed
    assert [len(group) for group in desk.paper.groups] == [2]


def test_room_is_what_waits_for_the_engine_and_what_the_disk_has(tmp_path):
    assert journal_room(tmp_path, Limits()) is None
    (tmp_path / "1-main-x.journal").write_bytes(b"x" * 1000)
    assert "1,000 bytes wait" in str(journal_room(tmp_path, Limits(backlog_bytes=999)))
    assert "The disk has" in str(journal_room(tmp_path, Limits(free_bytes=1 << 60)))


def test_errors_are_ours():
    assert issubclass(Overloaded, CadenzaError)
