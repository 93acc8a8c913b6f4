"""The index of message ids: which are in the log, and at which offset.

A B-tree over random keys rewrites one page per key: megabytes for each commit once the log is large.
So new keys rest in memory, split over 256 ranges of the key space, and one range at a time is written
to the B-tree, sorted, inside the transaction of an ordinary append. What rests in memory is durable all
the same: every block of the log carries its keys, and opening the log reads the last few blocks.

A key is the id, read as a number, modulo a secret 63-bit number of this log. Two ids may share a key: whoever
finds one reads the record and compares the id itself, then asks for the next key in the id's probe sequence.
Without the secret nobody can make ids that collide.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import msgspec

SCHEMA = """
CREATE TABLE seen (key INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
CREATE TABLE seen_through (part INTEGER PRIMARY KEY, offset INTEGER NOT NULL);
"""

PARTS = 256
PART_KEYS = 1024
"""A range is written when it holds this many keys: about 130,000 keys rest in memory on average."""

_PART_SHIFT = 55


def modulus_from(secret: str) -> int:
    """The modulus of a log from 32 random hex digits: odd, between 2**62 and 2**63."""
    return int(secret[:16], 16) & ((1 << 62) - 1) | (1 << 62) | 1


class SeenIndex:
    """Keys in memory over keys in the database. Used under the log's write lock only."""

    def __init__(self, connection: sqlite3.Connection, modulus: int) -> None:
        self._connection = connection
        self._modulus = modulus
        self._recent: dict[int, int] = {}
        self._parts: list[list[int]] = [[] for _ in range(PARTS)]
        # Staggered first limits: otherwise all ranges would fill, and be written, at the same moment.
        self._limits = [PART_KEYS // 2 + PART_KEYS * (part + 1) // (2 * PARTS) for part in range(PARTS)]
        self._unlooked = 0
        through = dict(connection.execute("SELECT part, offset FROM seen_through"))
        self._through = [int(through.get(part, 0)) for part in range(PARTS)]
        self._written = connection.execute("SELECT 1 FROM seen LIMIT 1").fetchone() is not None

    def keys_of(self, message_ids: Iterable[bytes]) -> list[int]:
        """The first key of each message id."""
        number, modulus = int.from_bytes, self._modulus
        return [number(message_id, "little") % modulus for message_id in message_ids]

    def probe_key(self, message_id: bytes, probe: int) -> int:
        """The key to try after ``probe`` others were taken by different ids; 0 is the first."""
        salted = message_id if probe == 0 else b"%d:%s" % (probe, message_id)
        return self.keys_of([salted])[0]

    def reload_after(self) -> int:
        """Keys of records after this offset must be handed to ``load`` when the log is opened."""
        return min(self._through)

    def load(self, keys: Sequence[int], first_offset: int) -> None:
        """Take the keys of a block that was written before, or by another process."""
        for offset, key in enumerate(keys, first_offset):
            part = key >> _PART_SHIFT
            if offset > self._through[part]:
                self._recent[key] = offset
                self._parts[part].append(key)

    def find(self, keys: Sequence[int]) -> dict[int, int]:
        """Offsets of those keys that are in the log."""
        recent = self._recent
        found = {key: recent[key] for key in recent.keys() & keys}
        if self._written:
            listed = msgspec.json.encode(keys).decode()
            sql = "SELECT s.key, s.offset FROM json_each(?) j CROSS JOIN seen s ON s.key = j.value"
            found.update(self._connection.execute(sql, (listed,)))
        return found

    def add(self, keys: Sequence[int], offsets: Sequence[int]) -> None:
        """Remember keys whose records have been committed."""
        self._recent.update(zip(keys, offsets, strict=True))
        self._unlooked += len(keys)
        parts = self._parts
        for key in keys:
            parts[key >> _PART_SHIFT].append(key)

    def write_full(self, through: int) -> list[int]:
        """Write the ranges that are full, inside the caller's transaction; ``through`` is the last offset
        known to this index. Returns them: hand them to ``forget`` after the commit."""
        # Looking at all ranges costs as much as a small commit, and few keys rarely fill one.
        if self._unlooked < PARTS:
            return []
        self._unlooked = 0
        full = [part for part, keys in enumerate(self._parts) if len(keys) >= self._limits[part]]
        if not full:
            return full
        recent = self._recent
        # One statement for all: a statement per row would give the interpreter lock away a thousand times.
        rows = {key: recent[key] for part in full for key in sorted(self._parts[part])}
        sql = "INSERT OR IGNORE INTO seen SELECT CAST(key AS INTEGER), value FROM json_each(?)"
        self._connection.execute(sql, (msgspec.json.encode(rows).decode(),))
        marks = [(part, through) for part in full]
        self._connection.executemany("INSERT OR REPLACE INTO seen_through VALUES (?, ?)", marks)
        return full

    def forget(self, parts: Sequence[int], through: int) -> None:
        """Drop ranges from memory that are now in the database up to ``through``."""
        for part in parts:
            for key in self._parts[part]:
                self._recent.pop(key, None)
            self._parts[part].clear()
            self._limits[part] = PART_KEYS
            self._through[part] = through
            self._written = True
