"""Waves over many people: 50 journeys of eight steps with all governance on.

    python -m bench.wave [--persons 100000] [--due 1000000] [--small] [--json]

1. Ticks of one event each (and the timers of the second that passed), the median.
2. One tick of 100,000 events of different people.
3. All people of a larger store due at one instant, before a branch, a split and a send; beside a bare INSERT .. SELECT
   of the same rows into the same file. Handing messages over to the outbox is shown by itself: those rows are not in the bare copy.

The store is a file, every commit included; the log is in memory. Prototype: the throw-away engine that the design was
measured with (same sizes, ticks without identity, segments, re-entry or holdouts of their own, messages not handed over).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.figures import Figure, Meter, as_json, number, peak_rss_mb, run_module, say
from bench.shop import JOURNEYS, NOON, WRITTEN, Written, fill, happens, later, make_project, spread_instants
from bench.ticking import Bench, Statements, counted
from cadenza.clock import to_micros
from cadenza.store.duckdb_engine import DuckEngine

PROTOTYPE = {"one": "prototype 46 ms", "many": "prototype 413 ms", "due": "prototype 2.8 to 5 x, 2.0 to 2.9 s"}
"""Measured at these sizes on 2 cores with the prototype; see the docstring for what it left out."""
TICKS = 41


class Store:
    """A store on disk, filled with people."""

    def __init__(self, folder: Path, persons: int, journeys: int, due_after_s: float | None = None) -> None:
        self.path = folder / "store.duckdb"
        self.persons = persons
        project = make_project(folder / "project", journeys)
        self.engine = DuckEngine.open(self.path)
        self.bench = Bench(self.engine, project, NOON)
        program = self.bench.ticker.program()
        assert program is not None
        self.now = later(NOON, 1)
        due = None if due_after_s is None else later(self.now, due_after_s)
        with Meter() as filling:
            fill(self.engine, program, persons, self.now, due)
        say(f"filled a store with {persons:,} persons in {filling.wall_s:.1f} s")

    def close(self) -> None:
        self.engine.close()


def single(store: Store, ticks: int) -> list[Figure]:
    """Ticks of one event; the statements that a one-event wave costs."""
    bench, seconds, cpu, waves = store.bench, [], [], 0
    found = Statements()
    for n in range(ticks):
        store.now = later(store.now, 1)
        event = happens(n, n * 7919 % store.persons, store.now)
        bench.log.add("call", as_json(event), to_micros(store.now))
        with counted() as found_now, Meter() as meter:
            report = bench.ticker.tick(store.now)
        # The first ticks generate SQL that later ones find in the cache.
        if n >= ticks // 4:
            seconds.append(meter.wall_s)
            cpu.append(meter.cpu_s)
            waves += report.waves
            found.total += found_now.total
            found.waves += found_now.waves
    floor = _bare_commit(store)
    mean, most = found.per_wave()
    median = statistics.median(seconds)
    return [
        Figure(
            bench="wave", name=f"1 event, {store.persons:,} persons (median of {len(seconds)})", value=1e3 * median, unit="ms",
            aim=100, baseline=f"one row inserted and committed, {1e3 * floor:.2f} ms", ratio=median / floor,
            wall_s=median, cpu_s=statistics.median(cpu), rss_mb=peak_rss_mb(),
            note=f"{PROTOTYPE['one']}; {waves / len(seconds):.1f} waves and {found.total / len(seconds):.0f} statements a tick, "
            f"{mean:.1f} a wave (at most {most})",
        )
    ]  # fmt: skip


def _bare_commit(store: Store) -> float:
    store.engine.execute("CREATE TABLE bare_event AS SELECT * FROM event LIMIT 0")
    seconds = []
    for _ in range(15):
        with Meter() as meter:
            store.engine.execute("INSERT INTO bare_event SELECT * FROM event LIMIT 1")
        seconds.append(meter.wall_s)
    store.engine.execute("DROP TABLE bare_event")
    return statistics.median(seconds)


def crowd(store: Store, events: int) -> list[Figure]:
    """One tick of ``events`` events, each of another person, while the seconds pass in which they came."""
    bench = store.bench
    start = later(store.now, 1)
    for n, at in enumerate(spread_instants(start, events)):
        bench.log.add("call", as_json(happens(n, n, start)), at)
    store.now = later(start, 1)
    name = f"{events:,} events at once, {store.persons:,} persons"
    return _beside_bare(store, name, lambda: bench.ticker.tick(store.now, max_records=events), 1e3, "ms", 1000, None, PROTOTYPE["many"])  # fmt: skip


def due_at_once(store: Store, due_after_s: float) -> list[Figure]:
    """One tick in which everyone's timer is due."""
    store.now = later(store.now, due_after_s)
    name = f"{store.persons:,} enrollments due at once"
    return _beside_bare(store, name, lambda: store.bench.ticker.tick(store.now), 1, "s", None, 5, PROTOTYPE["due"])


def _beside_bare(store: Store, name: str, tick: Callable[[], object], scale: float, unit: str, aim: float | None,
                 ratio_aim: float | None, prototype: str) -> list[Figure]:  # fmt: skip
    """Time one tick, then the bare copy of what it wrote."""
    written = Written(store.engine, WRITTEN)
    with counted() as statements, Meter() as meter:
        report = tick()
    rss = peak_rss_mb()
    bench = store.bench
    rows = written.collect()
    with Meter() as bare:
        written.write_bare()
    written.drop()
    mean, most = statements.per_wave()
    decide_wall, decide_cpu = meter.wall_s - bench.publish_s, meter.cpu_s - bench.publish_cpu_s
    note = (
        f"{prototype}; {report.waves} waves, {statements.total} statements, {mean:.1f} a wave (at most {most}); "  # type: ignore[attr-defined]
        + ", ".join(f"{n:,} {table}" for table, n in rows.items())
    )
    bare_text = f"bare INSERT of the same {sum(rows.values()):,} rows, {number(bare.cpu_s)} s CPU"
    return [
        Figure(bench="wave", name=name, value=scale * decide_wall, unit=unit, aim=aim, baseline=bare_text,
               ratio=decide_cpu / max(bare.cpu_s, 1e-9), ratio_aim=ratio_aim, wall_s=decide_wall, cpu_s=decide_cpu,
               rss_mb=rss, note=note),
        Figure(bench="wave", name=f"{name}: messages to the outbox", value=scale * bench.publish_s, unit=unit, wall_s=bench.publish_s,
               cpu_s=bench.publish_cpu_s, note=f"{report.messages:,} messages, read and decoded; an outbox in memory"),  # type: ignore[attr-defined]
    ]  # fmt: skip


def figures(options: argparse.Namespace) -> list[Figure]:
    """Everything above, each store in a folder that is deleted afterwards."""
    persons = options.persons or (1_000 if options.small else 100_000)
    due = options.due if options.due is not None else (1_000 if options.small else 1_000_000)
    journeys = 10 if options.small else JOURNEYS
    found = []
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), persons, journeys)
        found += single(store, 5 if options.small else TICKS)
        found += crowd(store, min(persons, 100_000))
        store.close()
    if due:
        with tempfile.TemporaryDirectory() as folder:
            store = Store(Path(folder), due, journeys, due_after_s=3600)
            found += due_at_once(store, 3600)
            store.close()
    return found


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--persons", type=int, help="people in the store of 1 and 2 (100,000)")
    parser.add_argument("--due", type=int, help="people in the store of 3 (1,000,000; 0 leaves it out)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(argv, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
