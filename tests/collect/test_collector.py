"""The commit thread: durable before it answers, many requests to one commit, bounded, and honest about failure."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, LedgerError, TerminalError, TransientError
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import Appended, Batch, Refused
from cadenza.runtime.collect import Collector, Overloaded, Settled
from cadenza.runtime.normalise import Prepared
from tests.collect.asgi import NOW, site


def request(*ids: str, refused: int = 0, body: bytes = b'{"type":"track"}') -> Prepared:
    bad = [Refused(source="web", reason="type", detail="", body=b"{}") for _ in range(refused)]
    return Prepared(Batch(kind="call", source="web", ids=list(ids), bodies=[body] * len(ids)), bad, 100)


class Gate:
    """A log whose commits wait until they are let through."""

    def __init__(self) -> None:
        self.entered, self.let = threading.Event(), threading.Event()
        self.groups: list[int] = []
        self.error: Exception | None = None
        self.times: list[int] = []

    def write(
        self,
        batches: Sequence[Batch],
        refused: Sequence[Refused],
        now: int,
        rejected: Mapping[tuple[str, str], int] | None = None,
    ) -> Any:
        self.entered.set()
        assert self.let.wait(30)
        self.groups.append(len(batches))
        self.times.append(now)
        if self.error is not None:
            raise self.error
        return type("Written", (), {"verdicts": {}})()


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def clock():
    return VirtualClock(NOW)


@pytest.fixture
def gated(gate, clock):
    collector = Collector(gate, clock, Project, max_records=10, max_bytes=10_000)
    yield collector
    gate.let.set()
    collector.close()


def test_nobody_is_told_before_the_commit(gated, gate):
    future = gated.submit(request("a"))
    assert gate.entered.wait(30)
    assert not future.done()
    gate.let.set()
    assert future.result(30) == Settled(1, 0, 0, 0)


def test_what_gathers_during_a_commit_shares_the_next(gated, gate):
    futures = [gated.submit(request("a"))]
    assert gate.entered.wait(30)
    futures += [gated.submit(request(f"b{n}")) for n in range(5)]
    gate.let.set()
    for future in futures:
        future.result(30)
    assert gate.groups == [1, 5]


def test_a_full_queue_says_so_and_keeps_nothing(gated, gate):
    gated.submit(request("a"))
    assert gate.entered.wait(30)
    gated.submit(request(*(f"b{n}" for n in range(8)), refused=1))
    with pytest.raises(Overloaded) as caught:
        gated.submit(request("c1", "c2"))
    assert caught.value.retry_after_s >= 1
    last = gated.submit(request("c1"))
    gate.let.set()
    assert last.result(30).stored == 1
    assert gated.submit(request("d", "e")).result(30).stored == 2, "there is room again"


def test_one_request_larger_than_the_queue_is_taken_when_it_is_empty(gated, gate):
    gate.let.set()
    assert gated.submit(request(*(f"b{n}" for n in range(50)))).result(30).stored == 50


@pytest.mark.parametrize(
    ("error", "kind"),
    [(LedgerError("disk full", remedy="free some"), LedgerError), (ValueError("a defect"), TerminalError)],
)
def test_a_failed_commit_fails_its_requests_and_only_those(gated, gate, error, kind):
    gate.error = error
    gate.let.set()
    with pytest.raises(kind):
        gated.submit(request("a")).result(30)
    gate.error = None
    assert gated.submit(request("a")).result(30).stored == 1


def test_the_recording_clock_never_goes_back(gated, gate, clock):
    gate.let.set()
    gated.submit(request("a")).result(30)
    clock._now = NOW.replace(year=2020)
    gated.submit(request("b")).result(30)
    assert gate.times == [to_micros(NOW)] * 2


def test_each_request_learns_what_became_of_its_own_records(tmp_path):
    with site(tmp_path) as opened:
        log, collector = opened.log, opened.collector
        assert collector.submit(request("a", "b", refused=1)).result(30) == Settled(2, 0, 0, 1)
        mixed = collector.submit(request("a", "c"))
        conflict = collector.submit(request("b", body=b'{"type":"track","x":1}'))
        assert mixed.result(30) == Settled(1, 1, 0, 0)
        assert conflict.result(30) == Settled(0, 0, 1, 0)
        counts = log.stored_counts()
        assert (counts.received, counts.stored, counts.duplicate, counts.quarantined) == (6, 3, 1, 2)


def test_rejections_are_counted_without_any_record(tmp_path):
    with site(tmp_path) as opened:
        opened.collector.reject("web", "malformed")
        opened.collector.reject("", "unknown_write_key")
        opened.collector.submit(request("a")).result(30)
        assert opened.log.stored_counts().rejected == 2
        assert opened.log.stored_counts().received == 3


def test_close_commits_what_waits_and_takes_no_more(tmp_path):
    log = SqliteLog.open(tmp_path / "log.db")
    collector = Collector(log, VirtualClock(NOW), Project)
    futures = [collector.submit(request(f"m{n}")) for n in range(200)]
    collector.close()
    assert all(future.done() for future in futures)
    with pytest.raises(TransientError):
        collector.submit(request("late"))
    assert log.head().offset == 200
    log.close()


def test_verdicts_are_spread_over_requests():
    class Verdicts(Gate):
        def write(self, batches: Sequence[Batch], *rest: Any, **more: Any) -> Any:
            return type("Written", (), {"verdicts": {0: Appended("duplicate", 9)}})()

    collector = Collector(Verdicts(), VirtualClock(NOW), Project)
    assert collector.submit(request("a", "b")).result(30) == Settled(1, 1, 0, 0)
    collector.close()


def test_errors_are_ours():
    assert issubclass(Overloaded, CadenzaError)
