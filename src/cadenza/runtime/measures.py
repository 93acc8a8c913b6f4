"""What a running process measures of itself, as Prometheus metrics and, where asked for, as spans. No label and no
attribute ever holds anything of a person.

Measuring costs about a microsecond for each commit, round or tick, never for each record. A span costs more; it is made where
spans are asked for only.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest

from cadenza.clock import Clock
from cadenza.ledger.journal import Entry
from cadenza.ports.spans import Spans
from cadenza.runtime.collect import Journal
from cadenza.runtime.tick import TickReport

_COMMIT_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
_CALL_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_TICK_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Measures:
    """The measures of one process. ``spans``: where it also tells what took how long. Safe to use from several threads."""

    def __init__(self, clock: Clock, spans: Spans | None = None) -> None:
        self.clock = clock
        self._spans = spans
        self._registry = CollectorRegistry(auto_describe=False)
        registry = self._registry
        self._commits = Histogram(
            "cadenza_group_commit_seconds", "Time until a group of requests is durable in the journal", registry=registry,
            buckets=_COMMIT_S,
        )  # fmt: skip
        self._requests = Counter(
            "cadenza_requests_accepted", "Requests made durable by this process", registry=registry
        )
        self._rounds = Histogram(
            "cadenza_sequence_seconds",
            "Time to move what waits in the journals into the log",
            registry=registry,
            buckets=_COMMIT_S,
        )
        self._ticks = Histogram(
            "cadenza_tick_seconds", "Time of a tick that had work", registry=registry, buckets=_TICK_S
        )
        self._waves = Counter("cadenza_tick_waves", "Waves of all ticks", registry=registry)
        self._decided = Counter("cadenza_tick_records", "Records decided by all ticks", registry=registry)
        self._failures = Counter(
            "cadenza_failures", "Failures of the loops of this process", ["loop"], registry=registry
        )
        self._calls = Histogram(
            "cadenza_delivery_call_seconds", "Time of a call that hands messages to a destination", ["destination"],
            registry=registry, buckets=_CALL_S,
        )  # fmt: skip
        for loop in ("tick", "log"):
            self._failures.labels(loop)
        ProcessCollector(registry=registry)

    def committed(self, requests: int, seconds: float) -> None:
        """A group of requests became durable."""
        self._commits.observe(seconds)
        self._requests.inc(requests)
        if self._spans is not None:
            self._spans.ended("commit", seconds, {"cadenza.requests": requests})

    def sequenced(self, requests: int, seconds: float) -> None:
        """One round moved requests from the journals into the log."""
        self._rounds.observe(seconds)
        if self._spans is not None:
            self._spans.ended("sequence", seconds, {"cadenza.requests": requests})

    def ticked(self, report: TickReport, seconds: float) -> None:
        """One tick that had work was committed."""
        self._ticks.observe(seconds)
        self._waves.inc(report.waves)
        self._decided.inc(report.records)
        if self._spans is not None:
            did = {
                "records": report.records,
                "waves": report.waves,
                "messages": report.messages,
                "carried": report.carried,
            }
            self._spans.ended("tick", seconds, {f"cadenza.{name}": value for name, value in did.items()})

    def called(self, destination: str, statuses: Sequence[str], seconds: float) -> None:
        """A call handed messages to a destination; the status of each (``accepted``, ``retry``, ...)."""
        self._calls.labels(destination).observe(seconds)
        if self._spans is not None:
            became = {f"cadenza.{status}": n for status, n in Tally(statuses).items()}
            error = next((status for status in statuses if status != "accepted"), None)
            self._spans.ended("deliver", seconds, {"cadenza.destination": destination, **became}, error)

    def failed(self, loop: str, error: str) -> None:
        """A loop of this process (``tick``, ``log``) failed once, by an error of this class; it tries again."""
        self._failures.labels(loop).inc()
        if self._spans is not None:
            self._spans.ended("sequence" if loop == "log" else loop, 0.0, {}, error)

    def close(self) -> None:
        """Send the spans that wait."""
        if self._spans is not None:
            self._spans.close()

    def exposition(self) -> bytes:
        """All of it, with this process's memory, file descriptors and processor time, as text for Prometheus."""
        return generate_latest(self._registry)


class MeasuredJournal:
    """A journal whose commits are measured."""

    def __init__(self, journal: Journal, measures: Measures) -> None:
        self._journal, self._measures = journal, measures

    def append(self, entries: Sequence[Entry]) -> None:
        """See the journal. A write that fails is not counted."""
        began = self._measures.clock.monotonic()
        self._journal.append(entries)
        self._measures.committed(len(entries), self._measures.clock.monotonic() - began)

    def close(self) -> None:
        """See the journal."""
        self._journal.close()
