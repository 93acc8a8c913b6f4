"""The sequencer: from the collectors' journals into the log, whose order is the order of everything.

Collectors keep requests as they came. Here they are read: decoded, normalised, held against the contracts, and
appended to the log with everything that was refused, in one transaction with how far each journal is read. So a
crash anywhere moves every entry exactly once.

**Order.** What one request was answered before another was received comes first, whichever collectors took them: a
round takes only what was received before it was asked for, sorts it by when it was received, and takes nothing that was
received after what a collector with more to read was read up to.

**Nothing overtakes an accepted record.** ``SequencedLog`` is the log for those who act on its head (the tick before it
handles timers, delivery before it hands a message over): asking for the head first moves in whatever was accepted.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.project import Project
from cadenza.faults import fault
from cadenza.ledger.journal import Damage, Entry, JournalFile, journal_files, lock_journals, writer_of
from cadenza.ports.ledger import Appended, Batch, Head, Log, NewRecord, Record, Refused
from cadenza.runtime.collect import REJECTED
from cadenza.runtime.dialects.registry import decode
from cadenza.runtime.normalise import Normaliser
from cadenza.runtime.receipt import Receipt, read_receipt
from cadenza.runtime.webhooks import DIALECT as WEBHOOK, Rules
from cadenza.runtime.wire import Decoded, Malformed

ROUND_BYTES = 8 * 1024 * 1024
"""About how much of the journals one transaction takes."""
LEAST_BYTES = 5 * 1024 * 1024
"""Of one journal at least: more than the largest request, so that damage is passed."""
_CLOCK_SET_BACK = 1_000_000
"""µs: an entry that claims to be received later than this after now was stamped before the clock was set back."""
_RECEIPTS = 4_096


class SequencedInto(Protocol):
    """What the sequencer needs of the log (``ledger/log.py``)."""

    def write(
        self, batches: Sequence[Batch], refused: Sequence[Refused], now: int,
        rejected: Mapping[tuple[str, str], int] | None = None, journals: Mapping[str, int] | None = None,
    ) -> object: ...  # fmt: skip

    def journals_read(self) -> dict[str, int]: ...

    def forget_journals(self, files: Sequence[str]) -> None: ...


class _FileRead(msgspec.Struct, frozen=True):
    """One file's part of a round. ``more``: its collector has entries that were not read."""

    file: JournalFile
    entries: list[Entry]
    damage: list[Damage]
    through: int
    ended: bool
    more: bool


class _Taken(msgspec.Struct):
    """What one round took from the journals."""

    entries: list[Entry]
    damage: list[Damage]
    through: dict[str, int]
    ended: list[str]
    more: bool = False


_TYPED_BY_PATH = frozenset({"segment", "jitsu"})
"""Dialects whose call has the type that its path names, whatever the body says."""


class Sequencer:
    """Moves journal entries into one log. Safe to use from several threads; one process holds the log's engine."""

    def __init__(self, log: SequencedInto, folder: Path, clock: Clock, project: Callable[[], Project]) -> None:
        self._log, self._folder, self._clock = log, folder, clock
        self._normaliser = Normaliser(project)
        self._rules = Rules(project)
        self._lock = threading.Lock()
        self._files: dict[str, JournalFile] = {}
        self._read: dict[str, int] | None = None
        self._receipts: dict[bytes, Receipt] = {}
        self._latest = 0
        self._held = -1

    def catch_up(self, rounds: int | None = None) -> int:
        """Move everything that was accepted before this call into the log (at most ``rounds`` transactions of it); how many
        requests that were. Raises LedgerError, also when another process does this; then what was not moved is still in the journals."""
        moved = 0
        with self._lock:
            until = to_micros(self._clock.now())
            while True:
                taken = self._take(until)
                if taken.entries or taken.damage:
                    self._move(taken)
                    moved += len(taken.entries)
                self._drop(taken.ended)
                rounds = None if rounds is None else rounds - 1
                if not taken.more or rounds == 0:
                    return moved

    def close(self) -> None:
        """Close the files. What is in them stays."""
        with self._lock:
            for file in self._files.values():
                file.close()
            self._files.clear()
            self._read = None
            if self._held >= 0:
                os.close(self._held)
                self._held = -1

    # --- one round --------------------------------------------------------------------------------

    def _take(self, until: int) -> _Taken:
        """What the next transaction moves. Of each collector its oldest file is read, as far as one round goes; nothing is
        taken that was received after the last entry read of a collector who has more: what that one still holds may
        come before it."""
        taken = _Taken([], [], {}, [])
        found = self._read_files(until)
        behind = [read.entries[-1].received_at for read in found if read.more and read.entries]
        horizon = min(behind, default=None)
        for read in found:
            self._take_file(read, horizon, taken)
        taken.entries.sort(key=_received_at)
        return taken

    def _read_files(self, until: int) -> list[_FileRead]:
        paths = journal_files(self._folder)
        if not paths:
            return []
        if self._held < 0:
            self._held = lock_journals(self._folder)
        if self._read is None:
            self._read = self._log.journals_read()
        of_writer: dict[str, list[Path]] = {}
        for path in paths:
            of_writer.setdefault(writer_of(path), []).append(path)
        most = max(LEAST_BYTES, ROUND_BYTES // len(of_writer))
        return [read for own in of_writer.values() for read in self._read_oldest(own, until, most)]

    def _read_oldest(self, paths: Sequence[Path], until: int, most: int) -> Iterator[_FileRead]:
        """The oldest file of one collector, and the next where nothing is left in that one."""
        for n, path in enumerate(paths, start=1):
            read = self._read_file(path, n < len(paths), until, most)
            done = read.ended and not read.entries and not read.damage
            yield msgspec.structs.replace(read, more=False) if done else read
            if not done:
                return

    def _read_file(self, path: Path, later: bool, until: int, most: int) -> _FileRead:
        assert self._read is not None
        file = self._files.get(path.name)
        if file is None:
            file = self._files[path.name] = JournalFile(path)
        found = file.read(self._read.get(file.name, 0), most)
        entries, through, ended = found.entries, found.through, found.ended
        late = next((i for i, entry in enumerate(entries) if until < entry.received_at < until + _CLOCK_SET_BACK), None)
        if late is not None and not found.damage:
            # From here on it was received after this call: the next one's.
            return _FileRead(file, entries[:late], found.damage, through - _bytes_of(entries[late:]), False, False)
        more = later or (not ended and file.size() > through and (bool(entries) or bool(found.damage)))
        return _FileRead(file, entries, found.damage, through, ended, more)

    def _take_file(self, read: _FileRead, horizon: int | None, taken: _Taken) -> None:
        assert self._read is not None
        name, entries, through, ended = read.file.name, read.entries, read.through, read.ended
        if horizon is not None and not read.damage:
            kept = bisect_right(entries, horizon, key=_received_at)
            if kept < len(entries):
                through, ended = through - _bytes_of(entries[kept:]), False
                entries = entries[:kept]
                taken.more = True
        taken.entries += entries
        taken.damage += read.damage
        if through > self._read.get(name, 0):
            taken.through[name] = through
        if ended:
            taken.ended.append(name)
        taken.more |= read.more

    def _move(self, taken: _Taken) -> None:
        batches: list[Batch] = []
        refused = [_damaged(one) for one in taken.damage]
        rejected: Counter[tuple[str, str]] = Counter()
        for entry in taken.entries:
            if entry.meta == REJECTED:
                for source, reason, n in msgspec.json.decode(entry.body, type=list[tuple[str, str, int]]):
                    rejected[source, reason] += n
            else:
                self._normalise(entry, batches, refused, rejected)
        if taken.entries:
            self._latest = max(self._latest, taken.entries[-1].received_at)
        self._latest = max(self._latest, to_micros(self._clock.now()))
        fault("sequence.before_write")
        self._log.write(batches, refused, self._latest, rejected, taken.through)
        fault("sequence.after_write")
        assert self._read is not None
        self._read.update(taken.through)

    def _normalise(
        self, entry: Entry, batches: list[Batch], refused: list[Refused], rejected: Counter[tuple[str, str]]
    ) -> None:
        """The records of one request, added to what there is; neighbours of one source become one batch."""
        source = ""
        try:
            receipt = self._receipt(entry.meta)
            source = receipt.source
            if receipt.dialect == WEBHOOK:
                decoded = self._mapped(receipt, entry.body, rejected)
            else:
                decoded = decode(receipt.received(entry.body))
            # The type that the path gave is kept with a call that is refused: a replay reads it again.
            typed = receipt.call_type if receipt.dialect in _TYPED_BY_PATH else None
            prepared = self._normaliser.prepare(decoded, source, entry.received_at, typed or None)
        except Malformed as error:
            refused.append(_unread(source, "malformed", str(error), entry.body))
            return
        except Exception as error:  # a defect of ours must not hold up everything that came after
            detail = f"This request met a defect in Cadenza; report it: {error!r}"
            refused.append(_unread(source, "defect", detail, entry.body))
            return
        refused += prepared.refused
        for one in prepared.rejected:
            rejected[source, one.reason] += 1
        batch = prepared.batch
        if not batch.ids:
            return
        last = batches[-1] if batches else None
        if last is not None and last.source == batch.source:
            last.ids.extend(batch.ids)
            last.bodies.extend(batch.bodies)
        else:
            batches.append(batch)

    def _mapped(self, receipt: Receipt, body: bytes, rejected: Counter[tuple[str, str]]) -> Decoded:
        """The calls of a webhook; what its source does not want is counted."""
        mapped = self._rules.map(receipt.source, body, receipt.facts)
        for rule, n in mapped.ignored.items():
            rejected[receipt.source, f"ignored: {rule}"] += n
        return mapped.decoded

    def _receipt(self, meta: bytes) -> Receipt:
        receipt = self._receipts.get(meta)
        if receipt is None:
            if len(self._receipts) >= _RECEIPTS:
                self._receipts.clear()
            receipt = self._receipts[meta] = read_receipt(meta)
        return receipt

    def _drop(self, ended: Sequence[str]) -> None:
        """Delete files whose every entry is in the log."""
        if not ended:
            return
        for name in ended:
            self._files.pop(name).close()
            (self._folder / name).unlink(missing_ok=True)
        self._log.forget_journals(ended)
        if self._read is not None:
            for name in ended:
                self._read.pop(name, None)


class SequencedLog:
    """The log of those who act on its head: nothing that was accepted before they ask is missing from the answer."""

    def __init__(self, log: Log, sequencer: Sequencer) -> None:
        self._log, self._sequencer = log, sequencer

    def head(self) -> Head:
        """See the port. Raises LedgerError, too, when the journals cannot be moved."""
        self._sequencer.catch_up()
        return self._log.head()

    def fence(self, now: int) -> int:
        """See the port: what was accepted before this call is in the log, and before the fence."""
        self._sequencer.catch_up()
        return self._log.fence(now)

    def append(self, records: Sequence[NewRecord], now: int) -> list[Appended]:
        """See the port."""
        return self._log.append(records, now)

    def quarantine(self, refused: Sequence[Refused], now: int) -> None:
        """See the port."""
        self._log.quarantine(refused, now)

    def read(self, after: int, limit: int) -> list[Record]:
        """See the port."""
        return self._log.read(after, limit)

    def close(self) -> None:
        """Nothing: the log and the sequencer belong to somebody else."""


def _received_at(entry: Entry) -> int:
    return entry.received_at


def _bytes_of(entries: Sequence[Entry]) -> int:
    return sum(map(JournalFile.bytes_of, entries))


def _damaged(one: Damage) -> Refused:
    what = (
        "was being written when its writer died, and was never acknowledged, or it is damaged"
        if one.torn
        else "is damaged"
    )
    return Refused(
        source="", reason="journal_torn" if one.torn else "journal_damaged", body=one.kept, form="text",
        detail=f"Bytes {one.low} to {one.high} of {one.file}: what was there {what}. Test the disk if this comes again.",
    )  # fmt: skip


def _unread(source: str, reason: str, detail: str, body: bytes) -> Refused:
    return Refused(source=source, reason=reason, detail=detail, body=body, form="text")
