"""Collection: requests in, durable records out, many requests to one commit.

A request is decoded and normalised by the thread that received it (``wire``, ``normalise``), then waits in a bounded
queue. One thread takes everything that waits, appends it in one transaction and tells the waiters. While it waits
for the disk the next group gathers by itself: nothing is delayed on purpose, and no timer decides.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any, Protocol

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import LedgerError, TerminalError, TransientError
from cadenza.faults import fault
from cadenza.ports.ledger import Appended, Batch, Refused
from cadenza.runtime.normalise import Normaliser, Prepared
from cadenza.runtime.wire import Decoded, decode

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request, unpacked."""

GROUP_RECORDS = 10_000
"""About how many records one commit takes at most: it bounds how long the others wait."""


class Intake(Protocol):
    """What collection needs of the log: one transaction for everything (``ledger/log.py``)."""

    def write(
        self, batches: Sequence[Batch], refused: Sequence[Refused], now: int,
        rejected: Mapping[tuple[str, str], int] | None = None,
    ) -> _Written: ...  # fmt: skip


class _Written(Protocol):
    @property
    def verdicts(self) -> dict[int, Appended]: ...


class Overloaded(TransientError):
    """The queue is full. ``retry_after_s``: when to come back. Nothing of the request was kept."""

    def __init__(self, waiting: int, retry_after_s: int = 1) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"{waiting} records wait for the disk.", remedy=f"Send again in {retry_after_s} s.")


class Settled(msgspec.Struct, frozen=True):
    """What became of a request, durable by now. ``conflict`` and ``quarantined`` records are in quarantine; ``rejected``
    calls are only counted."""

    stored: int
    duplicate: int
    conflict: int
    quarantined: int
    rejected: int = 0


Answer = Settled | BaseException
Settle = Callable[[list[tuple[Any, Answer]]], None]
"""Called by the commit thread with (token, answer) of the requests of one commit."""


class _Waiting(msgspec.Struct, frozen=True):
    prepared: Prepared
    token: Any
    settle: Settle


class Collector:
    """The collector of one process. Thread-safe except ``prepare``, which belongs to one receiving thread."""

    def __init__(
        self, log: Intake, clock: Clock, project: Callable[[], Project], *,
        max_records: int = 100_000, max_bytes: int = 128 * 1024 * 1024,
    ) -> None:  # fmt: skip
        """``max_records`` and ``max_bytes`` bound what may wait for the disk; beyond, ``submit`` raises Overloaded."""
        self._log = log
        self._clock = clock
        self._normaliser = Normaliser(project)
        self._max_records, self._max_bytes = max_records, max_bytes
        self._wake = threading.Condition()
        self._queue: list[_Waiting] = []
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._records = self._bytes = 0
        self._closed = False
        self._latest = 0
        self._thread = threading.Thread(target=self._run, name="collect-commit", daemon=True)
        self._thread.start()

    def decode(self, body: bytes, batch: bool) -> Decoded:
        """The calls of a request body. Raises Malformed when it cannot be read at all."""
        return decode(body, batch)

    def prepare(
        self, decoded: Decoded, source: str, call_type: str | None = None, sent_at: datetime | None = None
    ) -> Prepared:
        """Normalise and validate the calls of a request received now. Bad ones are set aside for quarantine."""
        return self._normaliser.prepare(decoded, source, to_micros(self._clock.now()), call_type, sent_at)

    def submit(self, prepared: Prepared) -> Future[Settled]:
        """Queue a request; the future is done when it is durable. Raises Overloaded."""
        future: Future[Settled] = Future()
        self.enqueue(prepared, future, _settle_futures)
        return future

    def enqueue(self, prepared: Prepared, token: Any, settle: Settle) -> None:
        """Queue a request; ``settle`` gets ``token`` back with the answer, on the commit thread. Raises Overloaded."""
        waiting = len(prepared.batch.ids) + len(prepared.refused)
        with self._wake:
            if self._closed:
                raise TransientError("The collector is stopping.", remedy="Send again in a moment.")
            if self._queue and (
                self._records + waiting > self._max_records or self._bytes + prepared.size > self._max_bytes
            ):
                raise Overloaded(self._records)
            self._queue.append(_Waiting(prepared, token, settle))
            self._records += waiting
            self._bytes += prepared.size
            self._wake.notify()

    def reject(self, source: str, reason: str) -> None:
        """Count a request that was refused as a whole and not kept; written with the next commit."""
        with self._wake:
            self._rejected[source, reason] += 1
            self._wake.notify()

    def close(self) -> None:
        """Commit what waits, then stop."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    # --- the commit thread ------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._rejected and not self._closed:
                    self._wake.wait()
                if not self._queue and not self._rejected:
                    return
                group, rejected = self._take(), self._rejected
                self._rejected = Counter()
            self._commit(group, rejected)

    def _take(self) -> list[_Waiting]:
        """The requests of the next commit, in the order of their arrival. Under the lock."""
        size = taken = 0
        for item in self._queue:
            if taken and size >= GROUP_RECORDS:
                break
            size += len(item.prepared.batch.ids) + len(item.prepared.refused)
            taken += 1
        group, self._queue = self._queue[:taken], self._queue[taken:]
        self._records -= size
        self._bytes -= sum(item.prepared.size for item in group)
        return group

    def _commit(self, group: list[_Waiting], rejected: Counter[tuple[str, str]]) -> None:
        batches = [item.prepared.batch for item in group]
        refused = [one for item in group for one in item.prepared.refused]
        rejected.update((item.prepared.batch.source, one.reason) for item in group for one in item.prepared.rejected)
        answers: list[Answer]
        try:
            fault("collect.before_append")
            # Never earlier than a receipt: occurred_at must not pass recorded_at when the machine's clock is set back.
            self._latest = max(self._latest, to_micros(self._clock.now()))
            written = self._log.write(batches, refused, self._latest, rejected)
            fault("collect.after_append")
            answers = list(_answers(group, written.verdicts))
        except LedgerError as error:
            answers = [error] * len(group)
        except Exception as error:  # whatever it is, no waiter may hang and the thread must live on
            problem = TerminalError(f"Collection failed: {error!r}.", remedy="This is a defect in Cadenza: report it.")
            problem.__cause__ = error
            answers = [problem] * len(group)
        _tell(group, answers)


def _answers(group: Sequence[_Waiting], verdicts: Mapping[int, Appended]) -> Sequence[Settled]:
    """What became of each request of a commit; ``verdicts`` by index over all their records."""
    answers, low = [], 0
    for item in group:
        high = low + len(item.prepared.batch.ids)
        duplicate = conflict = 0
        if verdicts:
            found = Counter(verdicts[index].status for index in range(low, high) if index in verdicts)
            duplicate, conflict = found["duplicate"], found["conflict"]
        prepared = item.prepared
        answers.append(Settled(
            high - low - duplicate - conflict, duplicate, conflict, len(prepared.refused), len(prepared.rejected)
        ))  # fmt: skip
        low = high
    return answers


def _tell(group: Sequence[_Waiting], answers: Sequence[Answer]) -> None:
    """Hand the answers out, one call for each way of settling."""
    by_settle: dict[Settle, list[tuple[Any, Answer]]] = {}
    for item, answer in zip(group, answers, strict=True):
        by_settle.setdefault(item.settle, []).append((item.token, answer))
    for settle, told in by_settle.items():
        settle(told)


def _settle_futures(told: list[tuple[Any, Answer]]) -> None:
    for future, answer in told:
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
