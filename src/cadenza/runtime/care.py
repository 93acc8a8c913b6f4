"""The care of what a project keeps: archiving the log, deleting what is too old, snapshots."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.decode import LONGEST_DURATION_S
from cadenza.definitions.expression import duration_seconds
from cadenza.definitions.expression_text import duration_text
from cadenza.definitions.kinds import LogKeeping
from cadenza.definitions.shapes import DURATION
from cadenza.errors import CadenzaError
from cadenza.ledger.archive import ArchiveEntry, Forgotten
from cadenza.ledger.archiving import archive
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ledger.retention import forget_ids, forget_records
from cadenza.ledger.snapshot import Snapshot
from cadenza.ports.archive import ArchiveFiles
from cadenza.runtime.snapshots import take

ARCHIVE_AFTER_S = 30 * 86400
"""What ``cadenza archive`` takes where nothing is declared."""
EVERY = timedelta(hours=24)
PATIENCE = timedelta(hours=1)
"""A server that is never quiet does its daily care this late."""


class Maintained(msgspec.Struct, frozen=True, kw_only=True):
    """What one round of care did: files made, ranges deleted, ids dropped; the size of the log's database afterwards."""

    archived: tuple[ArchiveEntry, ...]
    deleted: tuple[Forgotten, ...]
    ids_dropped: int
    log_bytes: int


class Care:
    """Care for one project. Its methods may run beside a server, in another process or thread."""

    def __init__(
        self, log: SqliteLog, outbox: SqliteOutbox, files: ArchiveFiles, clock: Clock, declared: Callable[[], LogKeeping]
    ) -> None:  # fmt: skip
        self._log, self._outbox, self._files, self._clock, self._declared = log, outbox, files, clock, declared

    def maintain(self, keeping: LogKeeping) -> Maintained:
        """Archive, drop ids, delete: what ``keeping`` says, as of now. Raises LedgerError, StoreError; what was done
        until then stays done, and the next round goes on."""
        now = to_micros(self._clock.now())
        archived: tuple[ArchiveEntry, ...] = ()
        if keeping.archive_after_s is not None:
            consumed = self._outbox.published_through()
            archived = archive(self._log, self._files, _ago(now, keeping.archive_after_s), consumed, now).files
        dropped = forget_ids(self._log, _ago(now, keeping.duplicates_s))
        deleted: tuple[Forgotten, ...] = ()
        if keeping.keep_s is not None:
            why = f"older than {duration_text(keeping.keep_s)}"
            deleted = forget_records(self._log, self._files, _ago(now, keeping.keep_s), now, why)
        return Maintained(archived=archived, deleted=deleted, ids_dropped=dropped, log_bytes=self._log.size())

    def snapshot(self, target: Path) -> Snapshot:
        """Copy everything into a new folder, consistently. Raises LedgerError, OperatingError."""
        return take(self._log.path.parent, target, self._clock)

    def upkeep(self) -> Upkeep:
        """The daily round of a server."""
        return Upkeep(self, self._clock, self._quiet_at, self._declared)

    def _quiet_at(self) -> int | None:
        """The head of the log when everything up to it is decided and published."""
        head = self._log.head().offset
        return head if self._outbox.published_through() >= head else None


class Upkeep:
    """Once a day, in a moment in which nothing came since the last look; a little later if there is none."""

    def __init__(
        self, care: Care, clock: Clock, quiet_at: Callable[[], int | None], declared: Callable[[], LogKeeping]
    ) -> None:
        self._care, self._clock, self._quiet_at, self._declared = care, clock, quiet_at, declared
        self._due: datetime = clock.now()
        self._seen: int | None = None

    def step(self) -> Maintained | None:
        """Do what is due now; None when nothing is. Raises LedgerError, StoreError."""
        now = self._clock.now()
        if now < self._due:
            return None
        before, self._seen = self._seen, self._quiet_at()
        quiet = self._seen is not None and self._seen == before
        if not quiet and now < self._due + PATIENCE:
            return None
        self._due = now + EVERY
        return self._care.maintain(self._declared())


def keeping(declared: LogKeeping, older_than: str | None, keep: str | None) -> LogKeeping:
    """What is declared, or said instead for once: durations such as "30 days". Raises CadenzaError."""
    archive_after = declared.archive_after_s or ARCHIVE_AFTER_S if older_than is None else seconds(older_than)
    kept = declared.keep_s if keep is None else seconds(keep)
    if kept is not None and kept < declared.duplicates_s and keep is not None:
        raise CadenzaError(
            f"records that are younger than {duration_text(declared.duplicates_s)} are needed to know duplicates.",
            where="--keep", remedy="Keep them longer, or declare a shorter 'duplicates' under 'log' in cadenza.yaml.",
        )  # fmt: skip
    return msgspec.structs.replace(declared, archive_after_s=archive_after, keep_s=kept)


def seconds(duration: str) -> int:
    """Seconds of a duration such as "30 days". Raises CadenzaError."""
    if re.fullmatch(DURATION, duration) and (found := duration_seconds(duration)) <= LONGEST_DURATION_S:
        return found
    raise CadenzaError(f"'{duration}' is not a duration.", remedy="Write for example '30 days' or '12 hours'.")


def _ago(now: int, seconds: int) -> int:
    return now - seconds * 1_000_000
