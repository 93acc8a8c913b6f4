"""From the journals into the log: what the sequencer costs per event, and what knowing every id costs.

    python -m bench.take_in [--events 200000] [--known 1000000] [--small] [--json]

Requests of one event and of 100 (the orders of ``bench/collect.py``, checked against a contract) wait in a journal; the
sequencer moves them to the log: decoded, normalised, checked, deduplicated, one transaction for 8 MB. The log
already holds ``--known`` other ids. The baseline is the same without the index of ids (nothing is looked up or
kept), so the ratio is the price of counting every id once. The index is read once in the life of a process, with the
first write; that is a figure of its own. ``decode`` alone: reading the calls of a request.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from bench.collect import MARK, event, pieces
from bench.collect_servers import PROJECT
from bench.figures import Figure, run_module
from cadenza.clock import SystemClock
from cadenza.ids import random_id
from cadenza.ledger.journal import Entry, JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.seen import SeenIndex
from cadenza.ports.ledger import Batch
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.dialects.registry import decode
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.runtime.sequence import Sequencer

DEDUP_AIM = 1.25
"""20 % of throughput: the time with the index is at most 1.25 times the time without."""


class _Unseen(SeenIndex):
    """An index that knows nothing and keeps nothing."""

    def find(self, keys: Sequence[int]) -> dict[int, int]:
        return {}

    def add(self, keys: Sequence[int], first_offset: int) -> None:
        return

    def load(self, keys: Sequence[int], first_offset: int) -> None:
        return


def requests(batch: int | None, events: int, name: str) -> Iterable[bytes]:
    """Bodies whose message ids are all different."""
    parts = pieces(batch)
    for n in range(events // (batch or 1)):
        yield f"{name}{n:0{len(MARK) - len(name)}d}".encode().join(parts)


def moved(
    folder: Path, batch: int | None, events: int, name: str, index: type[SeenIndex]
) -> tuple[float, float, float]:
    """Wall and processor seconds to move ``events`` events into the log in ``folder``, and processor seconds to read the
    index before that."""
    clock = SystemClock()
    writer = JournalWriter.open(folder / "journal", "a", random_id())
    meta = write_receipt(Receipt("web", call_type="" if batch else "track"))
    bodies = list(requests(batch, events, name))
    for low in range(0, len(bodies), 500):
        writer.append([Entry(clock.micros(), meta, body) for body in bodies[low : low + 500]])
    writer.close()
    with mock.patch("cadenza.ledger.log.SeenIndex", index):
        log = SqliteLog.open(folder / "log.db")
        sequencer = Sequencer(log, folder / "journal", clock, lambda: PROJECT)
        began = time.process_time()
        log.write([], [], clock.micros())
        wall, cpu = time.perf_counter(), time.process_time()
        sequencer.catch_up()
        took = time.perf_counter() - wall, time.process_time() - cpu, cpu - began
        sequencer.close()
        log.close()
    return took


def fill(folder: Path, known: int) -> None:
    """A log that holds ``known`` small records already."""
    log = SqliteLog.open(folder / "log.db")
    for low in range(0, known, 20_000):
        ids = [f"known-{n:032x}" for n in range(low, min(known, low + 20_000))]
        batch = Batch(kind="call", source="web", ids=ids, bodies=[b'{"type":"track","event":"E"}'] * len(ids))
        log.write([batch], [], SystemClock().micros())
    log.close()


def decoding(events: int) -> float:
    """Processor µs to read the calls of batches of 100, per event."""
    bodies = list(requests(100, events, "d"))
    began = time.process_time()
    for body in bodies:
        decode(Received(dialect="segment", body=body))
    return 1e6 * (time.process_time() - began) / events


def figures(options: argparse.Namespace) -> list[Figure]:
    """Both shapes with the index, and without it as the baseline, alternating; the best of three each."""
    events, known = (10_000, 20_000) if options.small else (options.events, options.known)
    found = [Figure(bench="take_in", name="decode, batches of 100", value=round(decoding(events), 2), unit="µs CPU/event", better="less")]  # fmt: skip
    assert event(0)["messageId"]
    with tempfile.TemporaryDirectory() as name:
        for shape, batch in (("single events", None), ("batches of 100", 100)):
            best: dict[str, tuple[float, float, float]] = {}
            for turn in range(3):
                for kind, index in (("with", SeenIndex), ("without", _Unseen)):
                    folder = Path(name) / f"{kind}-{batch}"
                    if turn == 0:
                        folder.mkdir()
                        fill(folder, known)
                    took = moved(folder, batch, events, f"{turn}", index)
                    best[kind] = min(best.get(kind, took), took, key=lambda found: found[1])
            found += _figures(shape, events, best)
        found.append(
            Figure(
                bench="take_in",
                name=f"read the index of {known:,} ids and more, once",
                value=best["with"][2],
                unit="s CPU",
            )
        )
    return found


def _figures(shape: str, events: int, best: dict[str, tuple[float, float, float]]) -> list[Figure]:
    wall, cpu, _ = best["with"]
    return [Figure(
        bench="take_in", name=f"into the log, {shape}", value=round(events / wall), unit="events/s", better="more",
        wall_s=wall, cpu_s=cpu, baseline="without the index of ids (CPU)", ratio=cpu / best["without"][1], ratio_better="less",
        ratio_aim=DEDUP_AIM, note=f"{1e6 * cpu / events:.2f} µs CPU an event",
    )]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--known", type=int, default=1_000_000)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    given: list[Any] = list(sys.argv[1:] if argv is None else argv)
    return run_module(given, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
