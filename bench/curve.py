"""The cost of a wave against the number of live journeys and of persons, where the same number of people move.

    python -m bench.curve [--movers 10000] [--small] [--json]

A generated shop (``bench.shop``). Everyone is in two journeys; the timers of ``movers`` of them are due at one instant, before a
branch, a split and a send, all governance on. First 10, 50 and 200 journeys with 100,000 persons; then 10,000, 100,000
and 1,000,000 persons with 50 journeys. A first tick with other movers makes the SQL, the second is measured. Handing
messages over to the outbox is not in it. The ratio is to the first line of each curve.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.figures import Figure, Meter, number, peak_rss_mb, run_module
from bench.shop import FIRST_PID, JOURNEYS, later
from bench.ticking import counted
from bench.wave import Store

LIVE = (10, 50, 200)
PERSONS = (10_000, 100_000, 1_000_000)
MOVERS = 10_000
MOST_TIMES = 2.0
"""200 journeys may cost so many times what 10 do."""
_DUE_S = 60


class Cost(msgspec.Struct, frozen=True, kw_only=True):
    """One tick: its waves, what they took, and how many statements."""

    wall_s: float
    cpu_s: float
    waves: int
    per_wave: float
    most_per_wave: int
    moved: int

    @property
    def wave_ms(self) -> float:
        """Milliseconds of a wave, in the mean."""
        return 1e3 * self.wall_s / max(self.waves, 1)


def cost(persons: int, journeys: int, movers: int) -> Cost:
    """A store of its own, and the tick in which ``movers`` people go on."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder), persons, journeys, _DUE_S)
        try:
            due = later(store.now, _DUE_S)
            wake = (
                f"CASE WHEN pid < {FIRST_PID + movers // 2} THEN TIMESTAMP '{due}' "
                f"WHEN pid < {FIRST_PID + movers // 2 + movers} THEN TIMESTAMP '{later(due, _DUE_S)}' ELSE TIMESTAMP '{later(due, 5 * 86400)}' END"
            )
            store.engine.execute(f"UPDATE enrollment SET wake_at = {wake} WHERE wake_at = TIMESTAMP '{due}'")
            store.engine.execute("CHECKPOINT")
            store.bench.ticker.tick(due)
            before = store.engine.query("SELECT count(*) FROM transition")[0][0]
            with counted() as statements, Meter() as meter:
                report = store.bench.ticker.tick(later(due, _DUE_S))
            moved = store.engine.query("SELECT count(*) FROM transition")[0][0] - before
        finally:
            store.close()
    mean, most = statements.per_wave()
    return Cost(
        wall_s=meter.wall_s - store.bench.publish_s, cpu_s=meter.cpu_s - store.bench.publish_cpu_s, waves=report.waves,
        per_wave=mean, most_per_wave=most, moved=moved,
    )  # fmt: skip


def _curve(points: Sequence[tuple[int, int]], movers: int, aim: bool) -> list[Figure]:
    """A line for each (persons, journeys)."""
    found: list[Figure] = []
    first: Cost | None = None
    for persons, journeys in points:
        here = cost(persons, journeys, movers)
        first = first or here
        last = (persons, journeys) == points[-1]
        found.append(
            Figure(
                bench="curve", name=f"{journeys} journeys, {persons:,} persons, {movers:,} due", value=here.wave_ms, unit="ms/wave",
                baseline=f"{points[0][1]} journeys, {points[0][0]:,} persons", ratio=here.wave_ms / first.wave_ms,
                ratio_aim=MOST_TIMES if aim and last else None, wall_s=here.wall_s, cpu_s=here.cpu_s, rss_mb=peak_rss_mb(),
                note=f"{here.waves} waves, {number(here.per_wave)} statements a wave (at most {here.most_per_wave}); {here.moved:,} moves",
            )
        )  # fmt: skip
    return found


def figures(options: argparse.Namespace) -> list[Figure]:
    """Both curves."""
    scale = 100 if options.small else 1
    movers = max(options.movers // scale, 1)
    live = [(PERSONS[1] // scale, journeys) for journeys in (LIVE[:2] if options.small else LIVE)]
    persons = [(n // scale, 10 if options.small else JOURNEYS) for n in (PERSONS[:2] if options.small else PERSONS)]
    return [*_curve(live, movers, aim=not options.small), *_curve(persons, min(movers, persons[0][0] // 2), aim=False)]


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--movers", type=int, default=MOVERS, help="how many people are due")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(argv, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
