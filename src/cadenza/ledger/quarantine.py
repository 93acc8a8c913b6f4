"""Quarantine: records that could not be used, kept as they came, with all that was done about them since.

A record rests here until somebody drops it, or until a replay takes it into the log (or finds it there already). It
is never deleted: what came, what it was corrected to, who did what, when and why stay. Only ``resting`` and
``dropped`` records count as quarantined; a replayed one counts as what it became.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from hashlib import blake2b
from typing import Literal

import msgspec

from cadenza.errors import CadenzaError, StateError
from cadenza.ledger.tally import ENTERED, Reading, Tally
from cadenza.ports.ledger import Appended, Form, Refused

SCHEMA = """
CREATE TABLE quarantine (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, message_id TEXT, body BLOB NOT NULL, digest BLOB UNIQUE,
    form TEXT NOT NULL DEFAULT 'call', kind TEXT NOT NULL DEFAULT 'call', imported INTEGER NOT NULL DEFAULT 0,
    envelope BLOB, state TEXT NOT NULL DEFAULT 'resting', corrected BLOB, revision INTEGER NOT NULL DEFAULT 0,
    log_offset INTEGER);
"""
SCHEMA_2 = """
CREATE INDEX quarantine_by_rule ON quarantine (source, reason, state, at);
CREATE TABLE quarantine_history (n INTEGER PRIMARY KEY, id INTEGER NOT NULL, at INTEGER NOT NULL, action TEXT NOT NULL,
    who TEXT NOT NULL, note TEXT NOT NULL);
CREATE INDEX quarantine_history_of ON quarantine_history (id);
"""
"""New with version 2 of the log."""
FROM_1 = """
ALTER TABLE quarantine ADD COLUMN form TEXT NOT NULL DEFAULT 'call';
ALTER TABLE quarantine ADD COLUMN kind TEXT NOT NULL DEFAULT 'call';
ALTER TABLE quarantine ADD COLUMN imported INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN envelope BLOB;
ALTER TABLE quarantine ADD COLUMN state TEXT NOT NULL DEFAULT 'resting';
ALTER TABLE quarantine ADD COLUMN corrected BLOB;
ALTER TABLE quarantine ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE quarantine ADD COLUMN log_offset INTEGER;
UPDATE quarantine SET form = 'record' WHERE reason = 'conflict' OR reason GLOB 'contract: *';
UPDATE quarantine SET form = 'record', imported = 1 WHERE detail GLOB 'line [0-9]*: *';
UPDATE quarantine SET form = 'text' WHERE reason = 'unreadable_line';
DROP INDEX quarantine_by_reason;
"""

State = Literal["resting", "dropped", "stored", "duplicate"]
Action = Literal["fixed", "refused again", "dropped", "stored", "duplicate"]

_COLUMNS = "id, at, source, reason, detail, message_id, body, form, kind, imported, envelope, state, corrected, revision, log_offset"
_MATCHING = "source = coalesce(?, source) AND reason = coalesce(?, reason) AND (? IS NULL OR state = ?) AND id < coalesce(?, id + 1)"


class Quarantined(msgspec.Struct, frozen=True, kw_only=True):
    """A refused record as it is kept. ``at`` is when it came (µs); ``form`` says what ``body`` is (see ``Refused``);
    ``corrected`` is what somebody made of it since; ``log_offset`` is that of the record it became, or is a duplicate of."""

    id: int
    at: int
    source: str
    reason: str
    detail: str
    message_id: str | None
    body: bytes
    form: Form
    kind: str
    imported: bool
    envelope: bytes | None
    state: State
    corrected: bytes | None
    revision: int
    log_offset: int | None


class ReasonCount(msgspec.Struct, frozen=True, kw_only=True):
    """The records of one source that are refused for one reason. Instants in µs, of what still counts as quarantined;
    ``example`` is the id of the newest."""

    source: str
    reason: str
    resting: int
    dropped: int
    replayed: int
    first_at: int
    last_at: int
    example: int


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was done about a record: when (µs), what, by whom, and why or with which result."""

    at: int
    action: Action
    who: str
    note: str


class Readmission(msgspec.Struct, frozen=True, kw_only=True):
    """A record of quarantine that may go into the log now. ``calls``: (message id, normal form) of what it makes, at least
    one; a webhook's payload may make several. ``revision``: of the row it was made from, so that a correction in between is
    not passed over. ``at``: as in ``NewRecord``."""

    id: int
    revision: int
    source: str
    calls: tuple[tuple[str, bytes], ...]
    at: int | None = None
    imported: bool = False


class StillRefused(msgspec.Struct, frozen=True, kw_only=True):
    """A record of quarantine that was judged again and stays."""

    id: int
    revision: int
    reason: str
    detail: str


class Readmitted(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one record in a replay. ``stored`` and ``duplicate``: with the offset in the log, of the first of
    several calls that was stored, or else was there already. ``refused``: it stays, with this reason. ``passed over``: it
    had left, was dropped, or was corrected meanwhile."""

    id: int
    status: Literal["stored", "duplicate", "refused", "passed over"]
    offset: int | None = None
    reason: str = ""
    detail: str = ""


# --- inside the log's transaction ---------------------------------------------------------------


def keep(connection: sqlite3.Connection, refused: Iterable[Refused], now: int, tally: Tally) -> None:
    """Keep refused records. One that is refused again (same id, reason and body) counts as a duplicate."""
    sql = (
        "INSERT OR IGNORE INTO quarantine (at, source, reason, detail, message_id, body, digest, form, kind, imported, envelope)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    for item in refused:
        row = (
            now, item.source, item.reason, item.detail, item.message_id, item.body, _digest(item),
            item.form, item.kind, item.imported, item.envelope,
        )  # fmt: skip
        if connection.execute(sql, row).rowcount:
            tally[item.source, "quarantined", item.reason] += 1
            tally[item.source, ENTERED, item.reason] += 1
        else:
            tally[item.source, "duplicate", ""] += 1


def conflict(source: str, message_id: str, body: bytes, kind: str, imported: bool, verdict: Appended) -> Refused:
    """The refusal of a record whose message id is taken."""
    return Refused(
        source=source, reason="conflict", message_id=message_id, body=body, detail=conflict_detail(verdict.offset),
        form="record", kind=kind, imported=imported,
    )  # fmt: skip


def conflict_detail(offset: int) -> str:
    """What a conflict with the record at ``offset`` is."""
    return f"The id is that of the record at offset {offset}, whose payload differs; the first is kept."


def current(connection: sqlite3.Connection, revisions: Mapping[int, int]) -> dict[int, tuple[str, str]]:
    """(source, reason) of those records that still rest here in the given revision, by id."""
    sql = "SELECT source, reason FROM quarantine WHERE id = ? AND revision = ? AND state = 'resting'"
    found = {id: connection.execute(sql, (id, revision)).fetchone() for id, revision in revisions.items()}
    return {id: row for id, row in found.items() if row is not None}


def settle(
    connection: sqlite3.Connection, done: Sequence[Readmitted], held: Mapping[int, tuple[str, str]], now: int, who: str,
    tally: Tally,
) -> None:  # fmt: skip
    """Write down what a replay did to records that rested here (``held``: source and reason of each)."""
    for item in done:
        if item.status == "passed over":
            continue
        source, reason = held[item.id]
        if item.status == "refused":
            sql = "UPDATE quarantine SET reason = ?, detail = ? WHERE id = ?"
            connection.execute(sql, (item.reason, item.detail, item.id))
            tally[source, "quarantined", reason] -= 1
            tally[source, "quarantined", item.reason] += 1
            _remember(connection, [item.id], now, "refused again", who, item.reason)
            continue
        sql = "UPDATE quarantine SET state = ?, log_offset = ? WHERE id = ?"
        connection.execute(sql, (item.status, item.offset, item.id))
        tally[source, "quarantined", reason] -= 1
        tally[source, item.status, ""] += 1
        _remember(connection, [item.id], now, item.status, who, f"offset {item.offset}")


def admit_further(
    connection: sqlite3.Connection, item: Readmission, became: Sequence[Appended | None], first: Readmitted, now: int,
    tally: Tally,
) -> None:  # fmt: skip
    """Count the calls of a record beyond the one that ``settle`` counts (as ``first``), as if each had come by itself. One
    whose id another payload has is kept here by itself. None in ``became``: stored."""
    tally[item.source, "received", ""] += len(became) - 1
    tally[item.source, first.status, ""] -= 1
    clashing: list[Refused] = []
    for (message_id, body), verdict in zip(item.calls, became, strict=True):
        if verdict is not None and verdict.status == "conflict":
            clashing.append(conflict(item.source, message_id, body, "call", item.imported, verdict))
        else:
            tally[item.source, "stored" if verdict is None else "duplicate", ""] += 1
    keep(connection, clashing, now, tally)


def _remember(connection: sqlite3.Connection, ids: Iterable[int], at: int, action: Action, who: str, note: str) -> None:
    sql = "INSERT INTO quarantine_history (id, at, action, who, note) VALUES (?, ?, ?, ?, ?)"
    connection.executemany(sql, [(id, at, action, who, note) for id in ids])


def _digest(item: Refused) -> bytes | None:
    """What makes two refusals the same one (a retry); None for those without an id: each is kept."""
    if item.message_id is None:
        return None
    digest = blake2b(digest_size=16)
    for part in (item.source.encode(), item.reason.encode(), item.message_id.encode(), item.body):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


# --- by itself ------------------------------------------------------------------------------------


class QuarantineTable:
    """The quarantine of one log: what is there, and the acts that change nothing but it."""

    def __init__(self, reading: Reading, writing: Callable[[], AbstractContextManager[sqlite3.Connection]]) -> None:
        self._reading, self._writing = reading, writing

    def list(
        self, limit: int, source: str | None = None, reason: str | None = None, state: State | None = None,
        before: int | None = None,
    ) -> list[Quarantined]:  # fmt: skip
        """The newest records, newest first; of one source, reason or state, and with an id below ``before``, if given."""
        sql = f"SELECT {_COLUMNS} FROM quarantine WHERE {_MATCHING} ORDER BY id DESC LIMIT ?"
        with self._reading() as reader:
            rows = reader.execute(sql, (source, reason, state, state, before, limit)).fetchall()
        return [_row(row) for row in rows]

    def after(self, id: int, limit: int) -> list[Quarantined]:
        """Records with a greater id, oldest first."""
        sql = f"SELECT {_COLUMNS} FROM quarantine WHERE id > ? ORDER BY id LIMIT ?"
        with self._reading() as reader:
            return [_row(row) for row in reader.execute(sql, (id, limit)).fetchall()]

    def last_id(self) -> int:
        """The id of the newest record, 0 when there is none."""
        with self._reading() as reader:
            return reader.execute("SELECT coalesce(max(id), 0) FROM quarantine").fetchone()[0]

    def resting(self, source: str | None = None, reason: str | None = None) -> list[int]:
        """Ids of the records that rest here, oldest first; of one source or reason if given."""
        sql = f"SELECT id FROM quarantine WHERE {_MATCHING} ORDER BY id"
        with self._reading() as reader:
            return [id for (id,) in reader.execute(sql, (source, reason, "resting", "resting", None))]

    def get(self, id: int) -> Quarantined:
        """One record. Raises CadenzaError when there is none."""
        with self._reading() as reader:
            row = reader.execute(f"SELECT {_COLUMNS} FROM quarantine WHERE id = ?", (id,)).fetchone()
        if row is None:
            raise _unknown(id)
        return _row(row)

    def history(self, id: int) -> list[Act]:
        """What was done about a record, oldest first."""
        sql = "SELECT at, action, who, note FROM quarantine_history WHERE id = ? ORDER BY n"
        with self._reading() as reader:
            rows = reader.execute(sql, (id,)).fetchall()
        return [msgspec.convert(dict(zip(Act.__struct_fields__, row, strict=True)), Act) for row in rows]

    def counts(self) -> list[ReasonCount]:
        """All records by source and reason, the largest group first."""
        sql = (
            "SELECT source, reason, sum(state = 'resting'), sum(state = 'dropped'), sum(state IN ('stored', 'duplicate')),"
            " min(at), max(at), max(id) FROM quarantine GROUP BY source, reason ORDER BY 3 DESC, source, reason"
        )
        with self._reading() as reader:
            rows = reader.execute(sql).fetchall()
        return [
            msgspec.convert(dict(zip(ReasonCount.__struct_fields__, row, strict=True)), ReasonCount) for row in rows
        ]

    def fix(self, id: int, corrected: bytes, now: int, who: str, note: str) -> Quarantined:
        """Keep a corrected body beside the original. Raises CadenzaError unless the record rests here."""
        sql = "UPDATE quarantine SET corrected = ?, revision = revision + 1 WHERE id = ? AND state = 'resting'"
        with self._writing() as connection:
            if not connection.execute(sql, (corrected, id)).rowcount:
                raise _not_resting(connection, id)
            _remember(connection, [id], now, "fixed", who, note)
        return self.get(id)

    def drop(self, ids: Sequence[int], because: str, now: int, who: str) -> list[int]:
        """Mark records as not wanted; they stay, and stay counted. Returns the ids that rested here until now; those
        dropped before are passed over. Raises CadenzaError, and drops none, when one is unknown or has been replayed."""
        dropped = []
        with self._writing() as connection:
            for id in dict.fromkeys(ids):
                sql = "UPDATE quarantine SET state = 'dropped' WHERE id = ? AND state = 'resting'"
                if connection.execute(sql, (id,)).rowcount:
                    dropped.append(id)
                elif _state(connection, id) != "dropped":
                    raise _not_resting(connection, id)
            _remember(connection, dropped, now, "dropped", who, because)
        return dropped


def _row(row: tuple[object, ...]) -> Quarantined:
    fields = dict(zip(Quarantined.__struct_fields__, row, strict=True))
    return msgspec.convert(fields | {"imported": bool(fields["imported"])}, Quarantined)


def _state(connection: sqlite3.Connection, id: int) -> str | None:
    row = connection.execute("SELECT state FROM quarantine WHERE id = ?", (id,)).fetchone()
    return None if row is None else row[0]


def _not_resting(connection: sqlite3.Connection, id: int) -> CadenzaError:
    state = _state(connection, id)
    if state is None:
        return _unknown(id)
    told = {"dropped": "was dropped", "stored": "was stored by a replay", "duplicate": "was found to be a duplicate"}
    return StateError(
        f"record {id} {told[state]}; nothing can be done about it any more.", where=f"quarantine {id}",
        remedy=f"'cadenza quarantine show {id}' says who did what. To bring it in another time, send it with a new messageId.",
    )  # fmt: skip


def _unknown(id: int) -> CadenzaError:
    return CadenzaError(
        f"there is no record {id} in quarantine.", remedy="'cadenza quarantine list' shows those that rest there."
    )
