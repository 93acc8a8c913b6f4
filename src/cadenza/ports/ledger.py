"""The ledger port: the log (one way in) and the outbox (one way out), two durable queues."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, Protocol

import msgspec


class NewRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A record to append. ``body`` is canonical JSON (see ``runtime/collect.py`` for kind ``call``)."""

    kind: Literal["call", "outcome", "task", "person", "command", "deploy"]
    source: str
    message_id: str
    """At most 100 characters; the same id again is a duplicate."""
    body: bytes
    at: int | None = None
    """Imports: the virtual clock of the record (µs); None is the wall clock."""
    imported: bool = False


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """New records of one kind and source as columns: what ``NewRecord`` says of each, for those who append many.

    ``ats`` is None when the wall clock records them all.
    """

    kind: str
    source: str
    ids: list[str]
    bodies: list[bytes]
    imported: bool = False
    ats: list[int | None] | None = None


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A record of the log. ``recorded_at`` (µs) is strictly increasing with ``offset``."""

    offset: int
    recorded_at: int
    writer: str
    kind: str
    source: str
    message_id: str
    imported: bool
    body: bytes


class Appended(msgspec.Struct, frozen=True):
    """What became of one record: stored (with its offset), duplicate (offset of the first), or
    conflict: the same id with another payload, kept in quarantine."""

    status: Literal["stored", "duplicate", "conflict"]
    offset: int


Form = Literal["call", "record", "text", "webhook"]


class Refused(msgspec.Struct, frozen=True, kw_only=True):
    """A record that was not accepted, kept with its reason.

    ``form`` says what ``body`` is: ``call``, one call as its sender wrote it (JSON); ``record``, the normal form that
    the log keeps (JSON, see ``runtime/normalise.py``); ``text``, something that is no JSON, such as a line of a file;
    ``webhook``, a webhook's payload byte for byte, whose source's rules (``runtime/webhooks``) made no calls of it.
    ``kind`` and ``imported`` are those of the record it would have been. ``envelope``: what the request said around a
    call and what it takes to read the call again (JSON, see ``runtime/normalise.py``).
    """

    source: str
    reason: str
    detail: str
    body: bytes
    message_id: str | None = None
    form: Form = "call"
    kind: str = "call"
    imported: bool = False
    envelope: bytes | None = None


class Head(msgspec.Struct, frozen=True):
    """The last record of the log: offset and recorded_at (µs); zeros when empty."""

    offset: int
    recorded_at: int


class Log(Protocol):
    """Append-only records. An append returns only when the records are durable."""

    def append(self, records: Sequence[NewRecord], now: int) -> list[Appended]: ...

    def quarantine(self, refused: Sequence[Refused], now: int) -> None: ...

    def read(self, after: int, limit: int) -> list[Record]:
        """Records with offset > ``after``, in order; checksums verified (LedgerError)."""
        ...

    def head(self) -> Head: ...

    def fence(self, now: int) -> int:
        """Promise that every later append gets ``recorded_at`` greater than the returned µs
        (at least ``now``); returns it."""
        ...

    def close(self) -> None: ...


class OutboxMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A message that the tick decided to send."""

    message_id: str
    person: int
    journey: str
    step: str
    channel: str
    destination: str
    address: str
    template: str
    template_version: str
    message_class: str
    purpose: str
    context: str
    """JSON object: the template's variables."""
    planned_at: int
    deliverable: bool


class Cancellation(msgspec.Struct, frozen=True):
    """A message that must not be handed over any more."""

    message_id: str
    reason: str


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """The last word of a kill switch: over a journey, a channel, or (neither) everything. ``offset``: its record of
    the log; an earlier word is ignored."""

    journey: str | None = None
    channel: str | None = None
    closed: bool
    offset: int


class Stopped(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate that closes finds: ids of messages whose call had begun (the provider may have them), of those
    that were claimed, and how many were queued. Of the last two nothing is handed over any more."""

    in_flight: tuple[str, ...]
    claimed: tuple[str, ...]
    ready: int


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A message leased by one worker, with its attempt number (1 is the first)."""

    message: OutboxMessage
    attempt: int
    lease_until: int
    claim_head: int
    """The log's head when it was claimed: it may be called only when everything up to here is consumed."""


class Ending(msgspec.Struct, frozen=True):
    """How one attempt ended. ``not_before`` (µs): when a ``ready`` one may be claimed again."""

    message_id: str
    state: Literal["sent", "failed", "ready", "ambiguous"]
    detail: str
    not_before: int | None = None
    whole: bool = False
    """``detail`` is the answer of a service, which is kept as it came."""


class Outbox(Protocol):
    """Messages on their way out. States: ready → claimed → in_flight → sent | failed | ambiguous;
    retry goes back to ready; cancelled and replayed are ends too."""

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        """Idempotent, one transaction: new messages (known ids are ignored), cancellations of those not
        handed over, and ``through``, the log offset consumed when they were decided."""
        ...

    def published_through(self) -> int: ...

    def gate(self, gates: Sequence[Gate]) -> list[Stopped]:
        """Open or close the way out, durably: where a gate is closed, no ``claim`` and no ``begin`` succeeds after
        this returns. What each of them finds in its reach."""
        ...

    def claim(
        self, worker: str, now: int, lease_us: int, limit: int, head: int, exclude: Collection[str] = ()
    ) -> list[Claimed]:
        """Lease up to ``limit`` ready messages that are due, but none of the destinations in ``exclude``."""
        ...

    def begin(self, message_ids: Sequence[str], worker: str, now: int) -> list[str]:
        """claimed → in_flight for those still claimed by this worker, not cancelled, with
        ``published_through`` >= their claim head; returns their ids. Durable before it returns."""
        ...

    def finish(
        self, message_id: str, worker: str, state: Literal["sent", "failed", "ready", "ambiguous"],
        now: int, not_before: int | None, detail: str,
    ) -> None: ...  # fmt: skip

    def finish_all(self, endings: Sequence[Ending], worker: str, now: int) -> None:
        """``finish`` for several messages in one transaction."""
        ...

    def unreported(self, limit: int) -> list[tuple[str, str, str, int]]:
        """Ended messages whose outcome is not in the log yet: (message_id, state, detail, at)."""
        ...

    def reported(self, message_ids: Sequence[str]) -> None: ...

    def expire(self, now: int, idempotent: Collection[str] = frozenset(), restarted: str | None = None) -> int:
        """Leases that ran out, and all leases of ``restarted`` (a worker's name, from its earlier life):
        claimed → ready; in_flight → ambiguous, or ready for the destinations in ``idempotent``. Returns how many."""
        ...

    def message(self, message_id: str) -> OutboxMessage | None: ...

    def close(self) -> None: ...
