"""The live tick: nothing when there is nothing, timers when they are due, never beyond the present."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cadenza.clock import VirtualClock
from cadenza.errors import OperatingError
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.workspace import Workspace

NOON = datetime(2026, 3, 2, 12)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(NOON)


@pytest.fixture
def shop(tmp_path: Path, clock: VirtualClock) -> Iterator[Workspace]:
    Workspace.create(tmp_path / "shop")
    with Workspace.open(tmp_path / "shop", clock) as workspace:
        workspace.apply()
        workspace.tick()
        yield workspace


def send(shop: Workspace, *calls: dict[str, object]) -> None:
    collector = shop.collector()
    body = json.dumps({"batch": calls}).encode()
    asyncio.run(collector.keep(collector.received_at(), write_receipt(Receipt(source="website")), body))
    collector.close()


def sign_up(customer: str) -> list[dict[str, object]]:
    consent = {"purpose": "marketing", "channel": "email", "granted": True}
    return [
        {"type": "identify", "userId": customer, "traits": {"email": f"{customer}@x.example", "first_name": "Ada"}},
        {"type": "track", "event": "Consent Updated", "userId": customer, "properties": consent},
        {"type": "track", "event": "Signed Up", "userId": customer},
    ]


def until_idle(shop: Workspace) -> int:
    ticks = 0
    while shop.tick() is not None:
        ticks += 1
        assert ticks < 50, "it never comes to rest"
    return ticks


def test_nothing_to_do_costs_no_tick(shop: Workspace, clock: VirtualClock) -> None:
    until_idle(shop)
    horizon = shop.status().horizon
    clock.advance_to(NOON + timedelta(days=1))
    assert shop.tick() is None
    assert shop.status().horizon == horizon


def test_a_record_is_decided_at_once(shop: Workspace) -> None:
    until_idle(shop)
    send(shop, *sign_up("u1"))
    report = shop.tick()
    assert report is not None and report.records == 3
    assert shop.status().persons == 1


def test_a_timer_is_handled_when_the_clock_reaches_it(shop: Workspace, clock: VirtualClock) -> None:
    for number in range(10):  # a tenth is held out
        send(shop, *sign_up(f"u{number}"))
    until_idle(shop)
    due = shop.status().next_timer
    assert due is not None and due > NOON
    clock.advance_to(due - timedelta(microseconds=1))
    assert shop.tick() is None
    clock.advance_to(due)
    report = shop.tick()
    assert report is not None and report.waves > 0


def test_nothing_recorded_later_comes_before_a_handled_timer(shop: Workspace, clock: VirtualClock) -> None:
    send(shop, *sign_up("u1"))
    clock.advance_to(NOON + timedelta(hours=1))
    until_idle(shop)
    horizon = shop.status().horizon
    assert horizon is not None
    clock = VirtualClock(NOON)  # another process whose clock is behind
    with Workspace.open(shop.folder, clock) as behind:
        send(behind, {"type": "track", "event": "Signed Up", "userId": "u1"})
    shop.sequencer.catch_up()
    head = shop.status().log_head_at
    assert head is not None and head > horizon


def test_the_future_is_not_decided(shop: Workspace, clock: VirtualClock) -> None:
    with pytest.raises(OperatingError, match="has not come yet"):
        shop.run(clock.now() + timedelta(seconds=1))


def test_live_is_said_once_after_a_replay(shop: Workspace) -> None:
    assert shop.go_live() is False, "a project that replayed nothing is live"
