"""What one write brings, as columns over all its batches; and when two payloads of one message id are the same.

**Same id, same payload?** A client that retries may stamp a new ``sentAt``, which moves the corrected
``occurred_at``, and its context may name another attempt. So two calls with one message id are the same when they
agree without ``occurred_at``, ``context`` and ``flags``. If they do not agree the second is a conflict: the first
stays, the second goes to quarantine.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any

import msgspec

from cadenza.errors import LedgerError
from cadenza.ledger import block as blocks
from cadenza.ledger.block import Run
from cadenza.ledger.seen import SeenIndex
from cadenza.ports.ledger import Batch, NewRecord, Record

MAX_ID = 100
"""Characters of a message id."""
_NOISE = ("occurred_at", "context", "flags")


class Incoming:
    """The records of one write, as columns over all its batches."""

    def __init__(self, batches: Sequence[Batch], seen: SeenIndex) -> None:
        self.batches = batches
        self.ids = [message_id.encode() for batch in batches for message_id in batch.ids]
        self.bodies = [body for batch in batches for body in batch.bodies]
        self.keys = seen.keys_of(self.ids)
        self._ends = list(accumulate(len(batch.ids) for batch in batches))

    def record(self, index: int) -> NewRecord:
        """One of them as a record."""
        batch = self.batches[bisect_right(self._ends, index)]
        kind: Any = batch.kind
        return NewRecord(
            kind=kind, source=batch.source, message_id=self.ids[index].decode(), body=self.bodies[index],
            imported=batch.imported,
        )  # fmt: skip

    def without(self, dropped: Mapping[int, object]) -> Incoming:
        """The same records but those at the indexes ``dropped``."""
        kept = object.__new__(Incoming)
        indexes = [index for index in range(len(self.ids)) if index not in dropped]
        kept.ids, kept.bodies = [self.ids[i] for i in indexes], [self.bodies[i] for i in indexes]
        kept.keys = [self.keys[i] for i in indexes]
        kept.batches, low = [], 0
        for batch, high in zip(self.batches, self._ends, strict=True):
            mine = [i - low for i in range(low, high) if i not in dropped]
            ats = batch.ats and [batch.ats[i] for i in mine]
            ids, bodies = [batch.ids[i] for i in mine], [batch.bodies[i] for i in mine]
            kept.batches.append(msgspec.structs.replace(batch, ids=ids, bodies=bodies, ats=ats))
            low = high
        kept._ends = list(accumulate(len(batch.ids) for batch in kept.batches))
        return kept

    def times(self, fence: int, now: int) -> Sequence[int]:
        """``recorded_at`` of each: its own instant or now, raised to stay above all before it."""
        if all(batch.ats is None for batch in self.batches):
            start = max(now, fence + 1)
            return range(start, start + len(self.ids))
        times, last = [], fence
        for batch in self.batches:
            for at in batch.ats or [None] * len(batch.ids):
                last = max(now if at is None else at, last + 1)
                times.append(last)
        return times

    def spans(self) -> Iterator[tuple[int, int]]:
        """Where to cut them into blocks of a size that is good to read back."""
        if len(self.ids) <= blocks.MAX_RECORDS and sum(map(len, self.bodies)) <= blocks.MAX_BYTES:
            yield 0, len(self.ids)
            return
        low = size = 0
        for index, body in enumerate(self.bodies):
            if index > low and (index - low >= blocks.MAX_RECORDS or size + len(body) > blocks.MAX_BYTES):
                yield low, index
                low, size = index, 0
            size += len(body)
        yield low, len(self.ids)

    def runs_between(self, low: int, high: int) -> list[Run]:
        """What neighbours share, for the records from ``low`` to ``high``."""
        runs: list[Run] = []
        start = 0
        for batch, end in zip(self.batches, self._ends, strict=True):
            n = min(end, high) - max(start, low)
            if n > 0:
                last = runs[-1] if runs else None
                if last and (last.kind, last.source, last.imported) == (batch.kind, batch.source, batch.imported):
                    n += runs.pop().n
                runs.append(Run(n, batch.kind, batch.source, batch.imported))
            start = end
        return runs


def batches_of(records: Sequence[NewRecord]) -> list[Batch]:
    """Neighbours of one kind and source become one batch. Raises LedgerError for an id that is too long."""
    batches = []
    for (kind, source, imported), group in groupby(records, lambda r: (r.kind, r.source, r.imported)):
        members = list(group)
        for record in members:
            if not 0 < len(record.message_id) <= MAX_ID:
                what = f"The message id '{record.message_id[:40]}' has {len(record.message_id)} characters."
                raise LedgerError(what, remedy=f"Ids have 1 to {MAX_ID} characters.")
        ats = [record.at for record in members]
        batches.append(Batch(
            kind=kind, source=source, imported=imported, ids=[record.message_id for record in members],
            bodies=[record.body for record in members], ats=ats if any(at is not None for at in ats) else None,
        ))  # fmt: skip
    return batches


def same_payload(first: NewRecord | Record, second: NewRecord) -> bool:
    if first.kind != second.kind:
        return False
    return first.body == second.body or _payload(first.body) == _payload(second.body)


def _payload(body: bytes) -> bytes:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    if isinstance(value, dict):
        value = {key: item for key, item in value.items() if key not in _NOISE}
    return msgspec.json.encode(value, order="sorted")
