"""Collection: requests in, durable before they are answered, many requests to one write.

The door (``surfaces/collect_http.py``) checks who sends and that the body can be read, and hands the request over as it
came. What arrives in one turn of the event loop is appended to this process's journal in one write, and told so.
While that waits for the disk the next group gathers in the sockets: nothing is delayed on purpose, and no timer
decides. What is in the requests is read by the sequencer (``runtime/sequence.py``), which moves them to the log.

The write happens on the loop's own thread. Another thread would have to be woken, and to win the interpreter back
from the loop, for every group: that costs more than waiting the fraction of a millisecond a write takes.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from cadenza.clock import Clock
from cadenza.errors import CadenzaError, LedgerError, TerminalError, TransientError
from cadenza.faults import fault
from cadenza.ledger.journal import Entry, journal_files

MAX_BODY = 4 * 1024 * 1024
"""Bytes of a request, unpacked."""

GROUP_BYTES = 8 * 1024 * 1024
"""A group of this size is written without waiting for the end of the loop's turn: it bounds memory."""

REJECTED = b"\x01rejected"
"""The meta of an entry that counts requests which were refused at the door and not kept."""

_LOOK_S = 1.0


class Journal(Protocol):
    """What collection needs of the journal (``ledger/journal.py``)."""

    def append(self, entries: Sequence[Entry]) -> None: ...

    def close(self) -> None: ...


class Overloaded(TransientError):
    """There is no room. ``retry_after_s``: when to come back. Nothing of the request was kept."""

    def __init__(self, what: str, retry_after_s: int = 5) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(what, remedy=f"Send again in {retry_after_s} s.")


Settle = Callable[[CadenzaError | None], None]
"""Told once what became of a request: None when it is durable."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``backlog_bytes``: what may wait on the disk for the engine to take it into the log; a journal file counts whole until
    it is full and read, so it must be more than a file of each collector. ``free_bytes``: what collection leaves free on
    the disk."""

    backlog_bytes: int = 16 * 1024 * 1024 * 1024
    free_bytes: int = 256 * 1024 * 1024


class Collector:
    """The collector of one process. Belongs to the thread of one event loop."""

    def __init__(self, journal: Journal, clock: Clock, room: Callable[[], str | None]) -> None:
        """``room`` says why nothing more may be taken, or None; it is asked about once a second."""
        self._journal, self._clock, self._room = journal, clock, room
        self._entries: list[Entry] = []
        self._settles: list[Settle] = []
        self._bytes = 0
        self._rejected: Counter[tuple[str, str]] = Counter()
        self._closed = self._scheduled = self._counting = False
        self._latest = 0
        self._full: str | None = None
        self._failing: str | None = None
        self._look_at = 0.0

    def received_at(self) -> int:
        """The present (µs), never earlier than it was said before."""
        now = self._clock.micros()
        if now > self._latest:
            self._latest = now
        return self._latest

    def add(self, received_at: int, meta: bytes, body: bytes, settle: Settle) -> None:
        """Keep a request with the others of this turn of the running loop; ``settle`` learns when it is durable. Raises
        Overloaded, or TransientError when the collector is stopping."""
        if self._closed:
            raise TransientError("The collector is stopping.", remedy="Send again in a moment.")
        if self._full is not None:
            self._look()
            if self._full is not None:
                raise Overloaded(self._full)
        self._entries.append(Entry(received_at, meta, body))
        self._settles.append(settle)
        self._bytes += len(body)
        if self._bytes >= GROUP_BYTES:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    async def keep(self, received_at: int, meta: bytes, body: bytes) -> None:
        """Keep a request and wait until it is durable. Raises CadenzaError when it is not kept."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: CadenzaError | None) -> None:
            if not future.done():
                if error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

        self.add(received_at, meta, body, settle)
        await future

    def trouble(self) -> str | None:
        """Why requests are refused at present, or None."""
        if self._closed:
            return "The collector is stopping."
        self._look()
        return self._full or self._failing

    def reject(self, source: str, reason: str) -> None:
        """Count a request that was refused as a whole and not kept; written within a second."""
        self._rejected[source, reason] += 1
        if not self._counting:
            self._counting = True
            asyncio.get_running_loop().call_later(_LOOK_S, self._count)

    def close(self) -> None:
        """Write what waits, then take no more."""
        self.flush()
        self._closed = True
        self._journal.close()

    def flush(self) -> None:
        """Write what waits now, and tell."""
        entries, settles, rejected = self._entries, self._settles, self._rejected
        if not entries and not rejected:
            return
        self._entries, self._settles, self._bytes, self._rejected = [], [], 0, Counter()
        if rejected:
            counted = [(source, reason, n) for (source, reason), n in rejected.items()]
            entries.append(Entry(self.received_at(), REJECTED, msgspec.json.encode(counted)))
        error = self._append(entries)
        self._failing = None if error is None else str(error)
        if error is not None:
            self._rejected.update(rejected)
        for settle in settles:
            settle(error)
        self._look()

    def _turn(self) -> None:
        self._scheduled = False
        self.flush()

    def _count(self) -> None:
        self._counting = False
        self.flush()

    def _append(self, entries: Sequence[Entry]) -> CadenzaError | None:
        try:
            fault("collect.before_append")
            self._journal.append(entries)
            fault("collect.after_append")
        except LedgerError as error:
            return error
        except Exception as error:  # whatever it is, no waiter may hang and the loop must live on
            problem = TerminalError(f"Collection failed: {error!r}.", remedy="This is a defect in Cadenza: report it.")
            problem.__cause__ = error
            return problem
        return None

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._full = self._room()


def journal_room(folder: Path, limits: Limits) -> str | None:
    """Why collectors with journals in ``folder`` must not take more, or None."""
    waiting = 0
    for path in journal_files(folder):
        try:
            waiting += path.stat().st_size
        except FileNotFoundError:  # the sequencer is done with it
            continue
    if waiting > limits.backlog_bytes:
        return f"{waiting:,} bytes wait for the engine."
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return None
    if free < limits.free_bytes:
        return f"The disk has {free:,} bytes left."
    return None
