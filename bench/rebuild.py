"""A store made anew from its log: events per second and memory.

    python -m bench.rebuild [--events 1000000] [--archived] [--small] [--json]

The starter project; every tenth event signs a person up (three records a person: traits, consent, sign-up), the others
are what people do. The log is written first, half of it moved to the archive with ``--archived``; then
``cadenza rebuild`` in this process. The baseline is reading the same log without doing anything (CPU).
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from bench.figures import Figure, run_module, say
from cadenza.clock import VirtualClock, to_micros
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import Batch
from cadenza.runtime.care import keeping
from cadenza.workspace import Workspace

NOON = datetime(2026, 3, 2, 12)
PER_WRITE = 10_000
EVERY_US = 20_000
"""Between two records: 50 events a second."""


def bodies(low: int, high: int) -> Iterator[bytes]:
    """Records ``low`` to ``high`` in their normal form."""
    consent = {"purpose": "marketing", "channel": "email", "granted": True}
    for n in range(low, high):
        at, person = to_micros(NOON) + n * EVERY_US, f"u{n // 30}"
        call = {"type": "track", "occurred_at": at, "userId": person}
        part = n % 30
        if part == 0:
            call |= {"type": "identify", "traits": {"email": f"{person}@shop.example", "first_name": "Ada"}}
        elif part == 1:
            call |= {"event": "Consent Updated", "properties": consent}
        else:
            call |= {"event": "Signed Up" if part == 2 else "Product Viewed", "properties": {"sku": f"s{part}"}}
        yield msgspec.json.encode(call)


def write(folder: Path, events: int) -> None:
    """The log of a deployed starter project with so many events."""
    Workspace.create(folder)
    with Workspace.open(folder, VirtualClock(NOON)) as workspace:
        workspace.apply()
        workspace.tick()
    log = SqliteLog.open(folder / ".cadenza" / "log.db")
    for low in range(0, events, PER_WRITE):
        high = min(events, low + PER_WRITE)
        batch = Batch(
            kind="call", source="website", ids=[f"m{n}" for n in range(low, high)], bodies=list(bodies(low, high))
        )
        log.write([batch], [], to_micros(NOON) + high * EVERY_US)
    log.close()


def reading(folder: Path) -> float:
    """CPU seconds to read the whole log."""
    with Workspace.open(folder) as workspace:
        log, at, began = workspace._log, 0, time.process_time()
        while records := log.read(at, 10_000):
            at = records[-1].offset
    return time.process_time() - began


def figures(options: argparse.Namespace) -> list[Figure]:
    """One rebuild."""
    events = 20_000 if options.small else options.events
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "shop"
        write(folder, events)
        clock = VirtualClock(datetime(2027, 1, 1))
        if options.archived:
            with Workspace.open(folder, clock) as workspace:
                workspace.run()
                workspace.care.maintain(keeping(workspace.validate().project.log, "1 second", None))
        read_s = reading(folder)
        say(f"{events:,} events written; rebuilding")
        wall, cpu = time.perf_counter(), time.process_time()
        with Workspace.open(folder, clock) as workspace:
            report = workspace.rebuild(False)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [Figure(
        bench="rebuild", name=f"{events:,} events" + (", archived" if options.archived else ""), value=round(report.records / wall),
        unit="events/s", better="more", wall_s=wall, cpu_s=cpu, rss_mb=rss, baseline="reading the log (CPU)", ratio=cpu / read_s,
        note=f"{report.waves:,} waves",
    )]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--archived", action="store_true", help="move what is decided to Parquet first")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(list(sys.argv[1:] if argv is None else argv), __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
