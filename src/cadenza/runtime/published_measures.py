"""What collectors that are processes of their own measure, for whoever answers Prometheus.

A collector may listen anywhere and answers nothing but collection, so it does not serve its measures: it writes them to a
file beside the journals, and the engine, which Prometheus asks, reads those of all that run.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

from cadenza.clock import Clock, to_micros
from cadenza.runtime.measures import Measures

EVERY_S = 5.0
FRESH_S = 30.0
"""A file that was not written for so long is of a collector that no longer runs."""
_ENDING = ".prom"


class Publisher:
    """Writes the measures of this process to ``folder``/``name``.prom every few seconds, from a thread of its own."""

    def __init__(self, folder: Path, name: str, measures: Measures) -> None:
        self._path = folder / f"{name}{_ENDING}"
        self._measures = measures
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="published measures", daemon=True)

    def start(self) -> None:
        """Write now, and go on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self.publish()
        self._thread.start()

    def publish(self) -> None:
        """Write once, whole or not at all. A disk that is full does not concern collection: then nothing is told."""
        beside = self._path.with_name(self._path.name + ".new")
        try:
            beside.write_bytes(self._measures.exposition())
            beside.replace(self._path)
        except OSError:
            beside.unlink(missing_ok=True)

    def close(self) -> None:
        """Stop, and take the file away."""
        self._stopping.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _keep(self) -> None:
        while not self._stopping.wait(EVERY_S):
            self.publish()


def published(folder: Path, clock: Clock) -> Iterator[tuple[str, str]]:
    """(name of the collector, its measures as text) of every collector with journals in ``folder`` that runs, by name."""
    oldest = to_micros(clock.now()) / 1e6 - FRESH_S
    for path in sorted(folder.glob(f"*{_ENDING}")):
        try:
            if path.stat().st_mtime >= oldest:
                yield path.name.removesuffix(_ENDING), path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):  # it ended just now, or the file is damaged
            continue
