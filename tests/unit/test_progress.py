"""Progress without a terminal: plain lines, a rate, the time left, a summary."""

from __future__ import annotations

import io
from datetime import timedelta

from rich.console import Console

from cadenza.clock import EPOCH, VirtualClock
from cadenza.surfaces.progress import EVERY_S, Display, Meter


def at(clock: VirtualClock, seconds: float) -> None:
    clock.advance_to(EPOCH + timedelta(seconds=seconds))


def test_a_line_tells_share_date_rate_and_time_left() -> None:
    clock = VirtualClock()
    meter = Meter(30_000, 0, "events", clock)
    at(clock, 2)
    assert meter.line(10_000, "2011-03-04") == "10,000 of 30,000 events · 2011-03-04 · 5,000/s · 0:04 left"
    at(clock, 6)
    meter.line(30_000, "2011-12-09")
    assert meter.summary() == "30,000 events in 6.0 s · 5,000/s"


def test_what_was_done_before_counts_for_the_share_but_not_for_the_rate() -> None:
    clock = VirtualClock()
    meter = Meter(30_000, 20_000, "events", clock)
    at(clock, 1)
    assert meter.line(25_000, "") == "25,000 of 30,000 events · 5,000/s · 0:01 left"


def test_plain_lines_come_now_and_then() -> None:
    clock, out = VirtualClock(), io.StringIO()
    with Display(Console(file=out, width=100), clock).task("Deciding", 100) as move:
        for second in range(1, 11):
            at(clock, second * EVERY_S / 2)
            move(second * 10, "2011-01-01")
    lines = out.getvalue().splitlines()
    assert len(lines) == 6, "five lines and the summary"
    assert lines[-1] == "Deciding: 100 events in 10.0 s · 10/s"


def test_quiet_says_nothing() -> None:
    out = io.StringIO()
    with Display(Console(file=out), VirtualClock(), quiet=True).task("Deciding", 100) as move:
        move(50, "")
    assert out.getvalue() == ""


def test_a_total_may_come_later() -> None:
    clock = VirtualClock()
    meter = Meter(None, 0, "events", clock)
    at(clock, 1)
    assert meter.line(10, "file") == "10 events · file · 10/s"
    assert meter.line(10, "file", 20) == "10 of 20 events · file · 10/s · 0:01 left"
