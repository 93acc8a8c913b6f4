"""What became of everything that came, counted in the transaction that stores it.

``received = stored + duplicate + quarantined + rejected`` holds for the log, for each source and for each minute of each
source. A record that leaves quarantine by replay moves from one outcome to another: the minute of its replay then
counts ``quarantined`` down and ``stored`` up, and its own sum still holds.

``entered`` is no part of that sum: it counts what ever went into quarantine and never goes down, which is what a
rate is made of.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager

import msgspec

from cadenza.ports.ledger import Appended, Batch, Refused

MINUTE = 60_000_000
"""µs"""
MINUTES_KEPT = 3 * 24 * 60
"""How far back the tally by the minute goes; the tally since the beginning is kept for ever."""
ENTERED = "entered"

SCHEMA = """
CREATE TABLE tally (source TEXT, outcome TEXT, reason TEXT, n INTEGER NOT NULL, PRIMARY KEY (source, outcome, reason)) WITHOUT ROWID;
"""
SCHEMA_2 = """
CREATE TABLE tally_minute (minute INTEGER, source TEXT, outcome TEXT, n INTEGER NOT NULL,
    PRIMARY KEY (minute, source, outcome)) WITHOUT ROWID;
"""
"""New with version 2 of the log."""
FROM_1 = "INSERT INTO tally SELECT source, 'entered', reason, n FROM tally WHERE outcome = 'quarantined';"

Tally = Counter[tuple[str, str, str]]
"""(source, outcome, reason) -> how many more, or fewer."""
Reading = Callable[[], AbstractContextManager[sqlite3.Connection]]


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Tallies since the log began. ``received = stored + duplicate + quarantined + rejected``, always:
    they change in the transaction that stores what they count. ``quarantined`` counts what lies there now, dropped
    records included."""

    received: int = 0
    stored: int = 0
    duplicate: int = 0
    quarantined: int = 0
    rejected: int = 0

    @property
    def conserved(self) -> bool:
        """Whether nothing vanished and nothing came from nowhere."""
        return self.received == self.stored + self.duplicate + self.quarantined + self.rejected


class MinuteCounts(msgspec.Struct, frozen=True):
    """What one source brought in one minute; ``minute`` is its beginning (µs)."""

    minute: int
    source: str
    counts: Counts


def count(
    tally: Tally, batches: Sequence[Batch], refused: Sequence[Refused],
    verdicts: Mapping[int, tuple[str, Appended]], rejected: Mapping[tuple[str, str], int],
) -> None:  # fmt: skip
    """Add what came in, and where it went but for quarantine (which counts what it keeps). ``verdicts``: source and
    verdict of each record that was not stored."""
    for batch in batches:
        tally[batch.source, "received", ""] += len(batch.ids)
        tally[batch.source, "stored", ""] += len(batch.ids)
    for source, verdict in verdicts.values():
        tally[source, "stored", ""] -= 1
        if verdict.status == "duplicate":
            tally[source, "duplicate", ""] += 1
    for item in refused:
        tally[item.source, "received", ""] += 1
    for (source, reason), n in rejected.items():
        tally[source, "received", ""] += n
        tally[source, "rejected", reason] += n


def write(connection: sqlite3.Connection, tally: Tally, now: int) -> None:
    """Add a tally to the log's, inside the caller's transaction; ``now`` (µs) says to which minute."""
    rows = [(*key, n) for key, n in tally.items() if n]
    if not rows:
        return
    connection.executemany("INSERT INTO tally VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n", rows)
    minute = now // MINUTE
    newest = connection.execute("SELECT max(minute) FROM tally_minute").fetchone()[0]
    if newest is None or minute > newest:
        connection.execute("DELETE FROM tally_minute WHERE minute <= ?", (minute - MINUTES_KEPT,))
    by_minute: Counter[tuple[str, str]] = Counter()
    for source, outcome, _, n in rows:
        by_minute[source, outcome] += n
    connection.executemany(
        "INSERT INTO tally_minute VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n",
        [(minute, *key, n) for key, n in by_minute.items() if n],
    )


class Tallies:
    """The tallies of one log, read."""

    def __init__(self, reading: Reading) -> None:
        self._reading = reading

    def total(self) -> Counts:
        """Over all sources, since the log began."""
        with self._reading() as reader:
            rows = reader.execute("SELECT outcome, sum(n) FROM tally WHERE outcome <> 'entered' GROUP BY outcome")
            return Counts(**dict(rows.fetchall()))

    def by_source(self) -> dict[str, Counts]:
        """Of each source, since the log began; the source is '' for requests without a known one."""
        sql = "SELECT source, outcome, sum(n) FROM tally WHERE outcome <> 'entered' GROUP BY source, outcome ORDER BY source"
        with self._reading() as reader:
            rows = reader.execute(sql).fetchall()
        found: dict[str, dict[str, int]] = {}
        for source, outcome, n in rows:
            found.setdefault(source, {})[outcome] = n
        return {source: Counts(**outcomes) for source, outcomes in found.items()}

    def rejected(self) -> dict[tuple[str, str], int]:
        """How many requests were refused without being kept, by (source, reason); the source is '' when unknown."""
        with self._reading() as reader:
            rows = reader.execute("SELECT source, reason, n FROM tally WHERE outcome = 'rejected' ORDER BY 1, 2")
            return {(source, reason): n for source, reason, n in rows}

    def entries(self) -> list[tuple[str, str, str, int]]:
        """Every (source, outcome, reason, n), ``entered`` included."""
        with self._reading() as reader:
            return reader.execute("SELECT source, outcome, reason, n FROM tally ORDER BY 1, 2, 3").fetchall()

    def minutes(self, since: int = 0) -> list[MinuteCounts]:
        """By minute and source, oldest first, from the instant ``since`` (µs) on; at most MINUTES_KEPT minutes back."""
        sql = (
            "SELECT minute, source, outcome, n FROM tally_minute WHERE minute >= ? AND outcome <> 'entered'"
            " ORDER BY minute, source"
        )
        with self._reading() as reader:
            rows = reader.execute(sql, (since // MINUTE,)).fetchall()
        found: dict[tuple[int, str], dict[str, int]] = {}
        for minute, source, outcome, n in rows:
            found.setdefault((minute, source), {})[outcome] = n
        return [MinuteCounts(minute * MINUTE, source, Counts(**held)) for (minute, source), held in found.items()]
