"""Three times what the process can take, for a minute: is it bounded, does it say so, does it recover, is anything lost?

    python -m bench.overload [--seconds 60] [--small] [--json]

One process collects and takes in, as ``cadenza run`` does, with a backlog of at most 256 MB (the default of 16 GB would
swallow the minute). First its steady rate is measured: everything accepted by a closed loop, divided by the time until
all of it is in the log. Then an open loop offers three times that, and does not care about ``Retry-After``. What is refused
is refused with 429. Then: how long until a request is accepted again, and whether the log holds exactly what was acknowledged.

The bound on memory is that of promise A4 (1 GiB).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.collect import drive, servers
from bench.collect_servers import BACKLOG, take_in
from bench.figures import Figure, peak_rss_mb, run_module

TIMES = 3
BACKLOG_MB = 256
"""Some journal files of 64 MB: one that is being written counts whole until it is full and read."""
RSS_AIM_MB = 1024.0
SHAPES = (("single events", None, 64), ("batches of 100", 100, 32))
PATIENCE_S = 60.0


@contextmanager
def _sizes(folder: Path) -> Iterator[list[float]]:
    """The MB of the journals in ``folder``, looked at ten times a second."""
    found, over = [0.0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            sizes = 0
            for path in folder.glob("*.journal"):
                try:
                    sizes += path.stat().st_size
                except FileNotFoundError:  # the sequencer is done with it
                    continue
            found.append(sizes / 1e6)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        over.set()
        thread.join()


def overload(batch: int | None, connections: int, seconds: float, backlog: int) -> dict[str, Any]:
    """The steady rate (events/s), what was accepted and refused at three times of it, and how it ended."""
    per = batch or 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers("cadenza", folder, 1, **{BACKLOG: str(backlog)}) as (port, started):
            began = time.perf_counter()
            steady = drive(port, batch, max(1.0, seconds / 6), connections, "s")
            take_in("cadenza", folder, wait=True)
            rate = steady["events"] / (time.perf_counter() - began)
            with _sizes(folder / "journal") as sizes:
                over = drive(port, batch, seconds, connections, "o", TIMES * rate / per)
                acknowledged = steady["events"] + over["events"]
                began = time.perf_counter()
                acknowledged += _accepted_again(port)
                recovered = time.perf_counter() - began
            rss = peak_rss_mb(started[0].pid)
            take_in("cadenza", folder, wait=True)
        stored = take_in("cadenza", folder, wait=False)
    if stored != acknowledged:
        raise SystemExit(f"{acknowledged:,} events were acknowledged and {stored:,} are there.")
    return {
        "rate": rate, "accepted": over["events"] / seconds, "refused": over["refused"] * per / seconds, "rss_mb": rss,
        "journal_mb": max(sizes), "recovered_s": recovered, "p99_ms": over["p99_ms"], "stored": stored,
    }  # fmt: skip


def _accepted_again(port: int) -> int:
    """Ask until a request is accepted; how many events that were."""
    until, n = time.perf_counter() + PATIENCE_S, 0
    while time.perf_counter() < until:
        try:
            return drive(port, None, 0.02, 1, f"r{n % 10}")["events"]
        except SystemExit:  # refused still
            n += 1
    raise SystemExit(f"Nothing was accepted for {PATIENCE_S:.0f} s after the overload.")


def figures(options: argparse.Namespace) -> list[Figure]:
    """Both shapes of load, one after the other."""
    seconds = 1.5 if options.small else options.seconds
    return [
        figure
        for what, batch, over in SHAPES
        for figure in _figures(what, seconds, overload(batch, over, seconds, BACKLOG_MB * 1_000_000))
    ]


def _figures(what: str, seconds: float, found: dict[str, Any]) -> Iterator[Figure]:
    offered = found["accepted"] + found["refused"]
    yield Figure(
        bench="overload", name=f"{what}: accepted at {TIMES} times capacity", value=found["accepted"], unit="events/s",
        better="more", baseline=f"steady, {found['rate']:,.0f} events/s", ratio=found["accepted"] / found["rate"],
        ratio_better="more", wall_s=seconds, rss_mb=found["rss_mb"],
        note=f"{offered:,.0f}/s were offered, {found['refused'] / offered:.0%} refused with 429; p99 of the accepted"
        f" {found['p99_ms']} ms; {found['stored']:,} acknowledged and stored",
    )  # fmt: skip
    yield Figure(
        bench="overload", name=f"{what}: peak memory", value=found["rss_mb"], unit="MB", aim=RSS_AIM_MB,
        note=f"{found['journal_mb']:,.0f} MB waited on the disk at most",
    )  # fmt: skip
    yield Figure(bench="overload", name=f"{what}: accepts again after", value=found["recovered_s"], unit="s")


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=60.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(list(sys.argv[1:] if argv is None else argv), __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
