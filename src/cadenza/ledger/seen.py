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
"""A range is written when it holds this many keys: about 200,000 keys rest in memory on average."""

_PART_SHIFT = 55
_FILTER_MASK = (1 << 24) - 1
_FILTERED = 4_000_000
"""Up to so many keys in the database, a 16 MB table in memory says which keys cannot be there."""


def modulus_from(secret: str) -> int:
    """The modulus of a log from 32 random hex digits: odd, between 2**62 and 2**63."""
    return int(secret[:16], 16) & ((1 << 62) - 1) | (1 << 62) | 1


def part_bounds(part: int) -> tuple[int, int]:
    """The first and the last key of a range."""
    return part << _PART_SHIFT, ((part + 1) << _PART_SHIFT) - 1


class SeenIndex:
    """Keys in memory over keys in the database. Made and used under the log's write lock only."""

    def __init__(self, connection: sqlite3.Connection, modulus: int, next_offset: int) -> None:
        self._connection = connection
        self._modulus = modulus
        self._parts: list[dict[int, int]] = [{} for _ in range(PARTS)]
        # Staggered first limits: otherwise all ranges would fill, and be written, at the same moment.
        self._limits = [PART_KEYS // 2 + PART_KEYS * (part + 1) // (2 * PARTS) for part in range(PARTS)]
        self._unlooked = 0
        through = dict(connection.execute("SELECT part, offset FROM seen_through"))
        self._through = [int(through.get(part, 0)) for part in range(PARTS)]
        self._written = bool(through)
        self._filter = bytearray(_FILTER_MASK + 1) if next_offset < _FILTERED else None
        if self._written and self._filter is not None:
            self._mark(key for (key,) in connection.execute("SELECT key FROM seen"))

    def keys_of(self, message_ids: Iterable[bytes]) -> list[int]:
        """The first key of each message id."""
        number, modulus = int.from_bytes, self._modulus
        return [number(message_id, "little") % modulus for message_id in message_ids]

    def probe_key(self, message_id: bytes, probe: int) -> int:
        """The key to try after ``probe`` others were taken by different ids; 0 is the first."""
        salted = message_id if probe == 0 else b"%d:%s" % (probe, message_id)
        return self.keys_of([salted])[0]

    def reload_after(self) -> int:
        """Keys of records after this offset must be handed to ``load`` when the index is made."""
        return min(self._through)

    def load(self, keys: Sequence[int], first_offset: int) -> None:
        """Take the keys of a block that was written before, or by another process."""
        for offset, key in enumerate(keys, first_offset):
            part = key >> _PART_SHIFT
            if offset > self._through[part]:
                self._parts[part][key] = offset

    def find(self, keys: Sequence[int]) -> dict[int, int]:
        """Offsets of those keys that are in the log."""
        parts = self._parts
        found = {key: parts[key >> _PART_SHIFT][key] for key in keys if key in parts[key >> _PART_SHIFT]}
        if not self._written:
            return found
        mask, table = _FILTER_MASK, self._filter
        suspects = keys if table is None else [key for key in keys if table[key & mask]]
        if suspects:
            listed = msgspec.json.encode(suspects).decode()
            sql = "SELECT s.key, s.offset FROM json_each(?) j CROSS JOIN seen s ON s.key = j.value"
            found.update(self._connection.execute(sql, (listed,)))
        return found

    def add(self, keys: Sequence[int], first_offset: int) -> None:
        """Remember keys whose records have been committed, at offsets from ``first_offset`` on."""
        parts = self._parts
        for offset, key in enumerate(keys, first_offset):
            parts[key >> _PART_SHIFT][key] = offset
        self._unlooked += len(keys)

    def write_full(self, through: int) -> list[int]:
        """Write the ranges that are full, inside the caller's transaction; ``through`` is the last offset
        known to this index. Returns them: hand them to ``forget`` after the commit."""
        # Looking at all ranges costs as much as a small commit, and few keys rarely fill one.
        if self._unlooked < PARTS:
            return []
        self._unlooked = 0
        full = [part for part, keys in enumerate(self._parts) if len(keys) >= self._limits[part]]
        self.write(full, through)
        return full

    def written_through(self, part: int) -> int:
        """Keys of records up to this offset are in the database, as far as they belong to the range."""
        return self._through[part]

    def write(self, parts: Sequence[int], through: int) -> None:
        """Write these ranges, inside the caller's transaction; see ``write_full``."""
        # One statement for a range: one per row would give the interpreter lock away a thousand times. SQLite sorts.
        sql = "INSERT OR IGNORE INTO seen SELECT CAST(key AS INTEGER), value FROM json_each(?) ORDER BY 1"
        for part in parts:
            self._connection.execute(sql, (msgspec.json.encode(self._parts[part]).decode(),))
        marks = [(part, through) for part in parts]
        self._connection.executemany("INSERT OR REPLACE INTO seen_through VALUES (?, ?)", marks)

    def forget(self, parts: Sequence[int], through: int) -> None:
        """Drop ranges from memory that are now in the database up to ``through``."""
        for part in parts:
            self._mark(self._parts[part])
            self._parts[part] = {}
            self._limits[part] = PART_KEYS
            self._through[part] = through
            self._written = True

    def resting(self) -> int:
        """How many keys are in memory."""
        return sum(map(len, self._parts))

    def _mark(self, keys: Iterable[int]) -> None:
        mask, table = _FILTER_MASK, self._filter
        if table is not None:
            for key in keys:
                table[key & mask] = 1
