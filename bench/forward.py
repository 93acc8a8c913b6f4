"""A generated future: 100,000 people, 20 journeys, 90 days of events and timers, day by day.

    python -m bench.forward [--persons 100000] [--days 90] [--rate 0.05] [--small] [--json]

A generated shop (``bench.shop``) is run ahead on a virtual clock by the same tick, all governance on: every day ``rate``
events for each person (45 % signals that enter journeys, 20 % orders, 35 % clicks), spread over the day, and the timers of
everybody. The store is a file, the events come from memory; making the events is not timed. ``--small``: 500 people, 2 days.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Meter, as_json, peak_rss_mb, run_module
from bench.shop import happens, later
from bench.ticking import Statements, counted
from bench.wave import Store
from cadenza.clock import to_micros

JOURNEYS, DAY_S = 20, 86_400


def _day(store: Store, first: int, events: int) -> None:
    """Put a day's events into the log, evenly spread over the day after the store's present."""
    for n in range(events):
        at = later(store.now, DAY_S * (n + 1) / (events + 1))
        # Neighbours in time are strangers; a person comes back after a while.
        store.bench.log.add("call", as_json(happens(first + n, (first + n) * 7919 % store.persons, at)), to_micros(at))


def figures(options: argparse.Namespace) -> list[Figure]:
    """All days, one tick after another."""
    persons, days = (500, 2) if options.small else (options.persons, options.days)
    events = max(int(persons * options.rate), 1)
    wall = cpu = 0.0
    waves = ticks = 0
    seen = Statements()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), persons, JOURNEYS)
        for day in range(days):
            _day(store, day * events, events)
            store.now = later(store.now, DAY_S)
            more = True
            while more:
                with counted() as statements, Meter() as meter:
                    report = store.bench.ticker.tick(store.now)
                wall, cpu, waves, ticks = wall + meter.wall_s, cpu + meter.cpu_s, waves + report.waves, ticks + 1
                seen.total += statements.total
                seen.waves += statements.waves
                more = report.more
        messages, entered = store.engine.query(
            "SELECT (SELECT count(*) FROM message), (SELECT count(*) FROM enrollment)"
        )[0]
        rss = peak_rss_mb()
        store.close()
    mean, most = seen.per_wave()
    return [
        Figure(
            bench="forward", name=f"{persons:,} people, {JOURNEYS} journeys, {days} days", value=wall, unit="s", wall_s=wall, cpu_s=cpu,
            rss_mb=rss, note=f"{days * events:,} events, {waves:,} waves in {ticks} ticks, {1e3 * wall / max(waves, 1):.0f} ms and {mean:.1f} "
            f"statements a wave (at most {most}); {entered - 2 * persons:,} entered, {messages - 2 * persons:,} messages; "
            f"{days * persons / max(wall, 1e-9):,.0f} person-days a second",
        )
    ]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--persons", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--rate", type=float, default=0.05, help="events a person a day")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(argv, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
