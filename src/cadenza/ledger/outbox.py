"""The outbox on SQLite: messages decided to be sent, leased by delivery, each handed over at most once by guess.

    ready -> claimed -> in_flight -> sent | failed | ambiguous          (retry: back to ready)
    cancelled and replayed are ends without a hand-over

A lease that runs out before the call began is harmless (back to ready). One that runs out during the call leaves
``ambiguous``, unless the destination takes our message id as idempotency key.
"""

from __future__ import annotations

import sqlite3
import threading
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from cadenza.ledger.database import open_database, sqlite_errors, transaction
from cadenza.ports.ledger import Cancellation, Claimed, Ending, Gate, OutboxMessage, Stopped

VERSION = 3
_APPLICATION = 0x43444F42  # "CDOB"

State = Literal["ready", "claimed", "in_flight", "sent", "failed", "ambiguous", "cancelled", "replayed"]

_FIELDS = OutboxMessage.__struct_fields__
_SCHEMA = """
CREATE TABLE message (message_id TEXT PRIMARY KEY, person INTEGER NOT NULL, journey TEXT NOT NULL, step TEXT NOT NULL,
    channel TEXT NOT NULL, destination TEXT NOT NULL, address TEXT NOT NULL, template TEXT NOT NULL,
    template_version TEXT NOT NULL, message_class TEXT NOT NULL, purpose TEXT NOT NULL, context TEXT NOT NULL,
    planned_at INTEGER NOT NULL, deliverable INTEGER NOT NULL,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, worker TEXT, lease_until INTEGER NOT NULL DEFAULT 0,
    claim_head INTEGER NOT NULL DEFAULT 0, not_before INTEGER NOT NULL DEFAULT 0, detail TEXT NOT NULL DEFAULT '',
    changed_at INTEGER NOT NULL, cancel_reason TEXT, reported INTEGER NOT NULL DEFAULT 0, sum INTEGER) WITHOUT ROWID;
CREATE INDEX message_ready ON message (not_before, planned_at) WHERE state = 'ready';
CREATE INDEX message_leased ON message (lease_until) WHERE state IN ('claimed', 'in_flight');
CREATE INDEX message_unreported ON message (changed_at) WHERE reported = 0 AND state IN ('sent', 'failed', 'ambiguous');
CREATE INDEX message_of_person ON message (person, planned_at);
CREATE INDEX message_by_time ON message (planned_at);
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), through INTEGER NOT NULL);
INSERT INTO progress VALUES (1, 0);
"""
_GATE = "CREATE TABLE IF NOT EXISTS gate (journey TEXT NOT NULL, channel TEXT NOT NULL, closed INTEGER NOT NULL, offset INTEGER NOT NULL, PRIMARY KEY (journey, channel)) WITHOUT ROWID;"
"""Kill switches; an empty journey or channel is every one."""
_OPEN = "NOT EXISTS (SELECT 1 FROM gate WHERE closed AND gate.journey IN ('', message.journey) AND gate.channel IN ('', message.channel))"
_MIGRATIONS = ("ALTER TABLE message ADD COLUMN sum INTEGER;", _GATE)
"""From each version to the next; version 1 had no checksums (messages of then have none and are not checked), version 2
no kill switches."""

STATES = frozenset(get_args(State))
DAMAGED = "damaged: what is kept of it is not what was published"


class OutboxRow(msgspec.Struct, frozen=True, kw_only=True):
    """A message with where it stands. Instants in µs; ``detail`` is the provider's answer or the reason."""

    message: OutboxMessage
    state: State
    attempts: int
    worker: str | None
    lease_until: int
    not_before: int
    detail: str
    changed_at: int
    reported: bool


_ROW_COLUMNS = ", ".join(
    [*_FIELDS, "state", "attempts", "worker", "lease_until", "not_before", "detail", "changed_at", "reported"]
)


class SqliteOutbox:
    """The outbox port on one SQLite file. Safe to use from several threads and processes."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection
        self._lock = threading.Lock()
        self._offered: dict[str, str] = {}

    @classmethod
    def open(cls, path: Path) -> SqliteOutbox:
        """Open or create the outbox. Raises LedgerError."""
        return cls(path, open_database(path, _APPLICATION, VERSION, _SCHEMA + _GATE, _MIGRATIONS))

    # --- from the tick --------------------------------------------------------------------------

    def publish(self, messages: Sequence[OutboxMessage], cancellations: Sequence[Cancellation], through: int) -> None:
        """See the port. A cancellation of a message in flight takes effect if the call is to be repeated."""
        slots = ", ".join("?" * len(_FIELDS))
        insert = f"INSERT OR IGNORE INTO message ({', '.join(_FIELDS)}, state, not_before, changed_at, sum) VALUES ({slots}, ?, ?, ?, ?)"
        cancel = (
            "UPDATE message SET cancel_reason = ?1, detail = CASE WHEN state = 'in_flight' THEN detail ELSE ?1 END,"
            " worker = CASE WHEN state = 'in_flight' THEN worker END,"
            " state = CASE WHEN state = 'in_flight' THEN state ELSE 'cancelled' END"
            " WHERE message_id = ?2 AND state IN ('ready', 'claimed', 'in_flight') AND cancel_reason IS NULL"
        )
        with self._writing() as connection:
            connection.executemany(insert, [_new_row(message) for message in messages])
            connection.executemany(cancel, [(item.reason, item.message_id) for item in cancellations])
            connection.execute("UPDATE progress SET through = max(through, ?)", (through,))

    def published_through(self) -> int:
        """The log offset whose decisions are all here."""
        with self._reading() as connection:
            return connection.execute("SELECT through FROM progress").fetchone()[0]

    def gate(self, gates: Sequence[Gate]) -> list[Stopped]:
        """See the port."""
        upsert = (
            "INSERT INTO gate VALUES (?, ?, ?, ?) ON CONFLICT (journey, channel) DO UPDATE SET"
            " closed = excluded.closed, offset = excluded.offset WHERE excluded.offset > gate.offset"
        )
        with self._writing() as connection:
            words = [(g.journey or "", g.channel or "", g.closed, g.offset) for g in gates]
            connection.executemany(upsert, words)
            return [_found(connection, gate) for gate in gates]

    # --- delivery -------------------------------------------------------------------------------

    def claim(
        self, worker: str, now: int, lease_us: int, limit: int, head: int, exclude: Collection[str] = ()
    ) -> list[Claimed]:
        """Lease up to ``limit`` messages that are due, oldest due first, transactional before marketing; none of the
        destinations in ``exclude``. One whose checksum is wrong is not handed over: it becomes ``failed``, and says so."""
        marks = ", ".join("?" * len(exclude))
        select = (
            f"SELECT {', '.join(_FIELDS)}, sum, attempts FROM message WHERE state = 'ready' AND not_before <= ?"
            f" AND destination NOT IN ({marks}) AND {_OPEN}"
            " ORDER BY message_class = 'marketing', not_before, planned_at, message_id LIMIT ?"
        )
        update = "UPDATE message SET state = 'claimed', worker = ?, lease_until = ?, claim_head = ?, changed_at = ? WHERE message_id = ?"
        with self._writing() as connection:
            found = connection.execute(select, (now, *exclude, limit)).fetchall()
            rows = [row for row in found if _whole(row)]
            if len(rows) < len(found):
                spoilt = [(DAMAGED, now, row[0]) for row in found if not _whole(row)]
                connection.executemany(
                    "UPDATE message SET state = 'failed', detail = ?, changed_at = ? WHERE message_id = ?", spoilt
                )
            connection.executemany(update, [(worker, now + lease_us, head, now, row[0]) for row in rows])
        return [
            Claimed(message=_message(row), attempt=row[-1] + 1, lease_until=now + lease_us, claim_head=head)
            for row in rows
        ]

    def begin(self, message_ids: Sequence[str], worker: str, now: int) -> list[str]:
        """See the port. Those not returned stay as they are: still claimed if only the gate is closed."""
        update = (
            "UPDATE message SET state = 'in_flight', attempts = attempts + 1, changed_at = ? WHERE message_id = ? AND worker = ?"
            " AND state = 'claimed' AND lease_until > ? AND cancel_reason IS NULL"
            f" AND claim_head <= (SELECT through FROM progress) AND {_OPEN}"
        )
        begun: list[str] = []
        with self._writing() as connection:
            for message_id in message_ids:
                if connection.execute(update, (now, message_id, worker, now)).rowcount:
                    begun.append(message_id)
        return begun

    def finish(
        self, message_id: str, worker: str, state: Literal["sent", "failed", "ready", "ambiguous"],
        now: int, not_before: int | None, detail: str,
    ) -> None:  # fmt: skip
        """The end of an attempt. A late answer of the worker whose lease ran out still settles ``ambiguous``.
        Ignored when another worker holds the message by now. ``ready`` of a cancelled message is its cancellation."""
        self.finish_all([Ending(message_id, state, detail, not_before)], worker, now)

    def finish_all(self, endings: Sequence[Ending], worker: str, now: int) -> None:
        """See the port and ``finish``."""
        update = """
            UPDATE message SET changed_at = ?, lease_until = 0, not_before = coalesce(?, not_before), reported = 0,
                state = CASE WHEN ? = 'ready' AND cancel_reason IS NOT NULL THEN 'cancelled' ELSE ? END,
                detail = CASE WHEN ? = 'ready' AND cancel_reason IS NOT NULL THEN cancel_reason ELSE ? END
            WHERE message_id = ? AND worker = ? AND state IN ('claimed', 'in_flight', 'ambiguous')"""
        with self._writing() as connection:
            for end in endings:
                state, detail = end.state, end.detail
                values = (now, end.not_before, state, state, state, detail, end.message_id, worker)
                connection.execute(update, values)

    def expire(self, now: int, idempotent: Collection[str] = frozenset(), restarted: str | None = None) -> int:
        """Leases that ran out, and all those of the worker ``restarted``: claimed → ready; in_flight → ambiguous, or ready where the destination is one of
        ``idempotent`` (names): its provider knows the message id, so the call may be repeated. Returns how many."""
        marks = ", ".join("?" * len(idempotent))
        update = f"""
            UPDATE message SET changed_at = ?, lease_until = 0,
                detail = CASE WHEN state = 'in_flight' AND destination NOT IN ({marks})
                    THEN 'the lease ran out during the call: it may or may not have been sent'
                    ELSE coalesce(cancel_reason, 'the lease ran out') END,
                state = CASE WHEN state = 'in_flight' AND destination NOT IN ({marks}) THEN 'ambiguous'
                    WHEN cancel_reason IS NOT NULL THEN 'cancelled' ELSE 'ready' END
            WHERE state IN ('claimed', 'in_flight') AND (lease_until <= ? OR worker = ?)"""
        names = tuple(idempotent)
        with self._writing() as connection:
            return connection.execute(update, (now, *names, *names, now, restarted)).rowcount

    def unreported(self, limit: int) -> list[tuple[str, str, str, int]]:
        """See the port; oldest first."""
        sql = (
            "SELECT message_id, state, detail, changed_at FROM message WHERE reported = 0"
            " AND state IN ('sent', 'failed', 'ambiguous') ORDER BY changed_at, message_id LIMIT ?"
        )
        with self._reading() as connection:
            rows = connection.execute(sql, (limit,)).fetchall()
        self._offered.update((message_id, state) for message_id, state, _, _ in rows)
        return rows

    def reported(self, message_ids: Sequence[str]) -> None:
        """The outcomes of these are in the log now. Append first, then call this: repeating is harmless."""
        # Only the state that was offered is reported: a late answer may have turned ambiguous into sent meanwhile.
        sql = "UPDATE message SET reported = 1 WHERE message_id = ?1 AND state IN ('sent', 'failed', 'ambiguous') AND state = coalesce(?2, state)"
        with self._writing() as connection:
            connection.executemany(sql, [(message_id, self._offered.get(message_id)) for message_id in message_ids])
        for message_id in message_ids:
            self._offered.pop(message_id, None)

    # --- for people ---------------------------------------------------------------------------------

    def message(self, message_id: str) -> OutboxMessage | None:
        """See the port: the message as it was published, or None."""
        row = self.get(message_id)
        return row.message if row else None

    def get(self, message_id: str) -> OutboxRow | None:
        """One message, or None."""
        with self._reading() as connection:
            row = connection.execute(
                f"SELECT {_ROW_COLUMNS} FROM message WHERE message_id = ?", (message_id,)
            ).fetchone()
        return _outbox_row(row) if row else None

    def list(
        self, limit: int = 100, state: State | None = None, person: int | None = None, journey: str | None = None
    ) -> list[OutboxRow]:
        """The latest planned messages, newest first, of one state, person and journey if given."""
        wanted = {"state": state, "person": person, "journey": journey}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = ?" for name in given) or "TRUE"
        sql = f"SELECT {_ROW_COLUMNS} FROM message WHERE {where} ORDER BY planned_at DESC, message_id DESC LIMIT ?"
        with self._reading() as connection:
            rows = connection.execute(sql, (*given.values(), limit)).fetchall()
        return [_outbox_row(row) for row in rows]

    def every(self) -> list[tuple[OutboxMessage, State, int, int]]:
        """Every message in the order of planning, without its context; where it stands, the log's head at its last claim,
        and when its state changed last (µs). For the audit."""
        fields = ", ".join("''" if name == "context" else name for name in _FIELDS)
        sql = f"SELECT {fields}, state, claim_head, changed_at FROM message ORDER BY planned_at, message_id"
        with self._reading() as connection:
            return [(_message(row), row[-3], row[-2], row[-1]) for row in connection.execute(sql)]

    def counts(self) -> dict[str, int]:
        """How many messages are in each state."""
        with self._reading() as connection:
            return dict(
                connection.execute("SELECT state, count(*) FROM message GROUP BY state ORDER BY state").fetchall()
            )

    def damaged(self, limit: int) -> list[str]:
        """Ids of messages that are not as they were written: their checksum is wrong, or their state is none. Reads all
        of them."""
        select = f"SELECT {', '.join(_FIELDS)}, sum, state FROM message"
        with self._reading() as connection:
            found = (row[0] for row in connection.execute(select) if not _whole(row) or row[-1] not in STATES)
            return [str(message_id) for message_id in islice(found, limit)]

    def check(self) -> list[str]:
        """What SQLite finds wrong with the file itself; nothing when it is well."""
        with self._reading() as connection:
            return [text for (text,) in connection.execute("PRAGMA integrity_check(5)") if text != "ok"]

    def due_since(self, now: int) -> int | None:
        """Since when (µs) the message that waits longest could be handed over; None when none is due."""
        sql = "SELECT min(max(not_before, planned_at)) FROM message WHERE state = 'ready' AND not_before <= ?"
        with self._reading() as connection:
            return connection.execute(sql, (now,)).fetchone()[0]

    def close(self) -> None:
        """Close the file; what was published stays."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, sqlite_errors(self._path), transaction(self._connection):
            yield self._connection

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, sqlite_errors(self._path):
            yield self._connection


def _found(connection: sqlite3.Connection, gate: Gate) -> Stopped:
    """What is on its way out in the reach of a gate."""
    rows = connection.execute(
        "SELECT message_id, state FROM message WHERE state IN ('ready', 'claimed', 'in_flight')"
        " AND coalesce(?1, journey) = journey AND coalesce(?2, channel) = channel ORDER BY message_id",
        (gate.journey, gate.channel),
    ).fetchall()
    named = {state: tuple(m for m, s in rows if s == state) for state in ("in_flight", "claimed")}
    return Stopped(**named, ready=sum(state == "ready" for _, state in rows))


def _new_row(message: OutboxMessage) -> tuple[Any, ...]:
    state = "ready" if message.deliverable else "replayed"
    values = msgspec.structs.astuple(message)
    return (*values, state, message.planned_at, message.planned_at, _sum(values))


def _sum(values: Sequence[Any]) -> int:
    """CRC-32 of the published columns, as SQLite gives them back."""
    return zlib.crc32(msgspec.json.encode([int(v) if isinstance(v, bool) else v for v in values]))


def _whole(row: Sequence[Any]) -> bool:
    """Whether the columns of a message, with its checksum behind them, are those that were published."""
    n = len(_FIELDS)
    return row[n] is None or row[n] == _sum(row[:n])


def _message(row: Sequence[Any]) -> OutboxMessage:
    fields = dict(zip(_FIELDS, row[: len(_FIELDS)], strict=True))
    return OutboxMessage(**{**fields, "deliverable": bool(fields["deliverable"])})


def _outbox_row(row: Sequence[Any]) -> OutboxRow:
    state, attempts, worker, lease_until, not_before, detail, changed_at, reported = row[len(_FIELDS) :]
    return OutboxRow(
        message=_message(row), state=state, attempts=attempts, worker=worker, lease_until=lease_until,
        not_before=not_before, detail=detail, changed_at=changed_at, reported=bool(reported),
    )  # fmt: skip
