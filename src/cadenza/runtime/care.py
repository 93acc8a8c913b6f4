"""The care of what a project keeps: archiving the log, deleting what is too old, snapshots."""

from __future__ import annotations

import re

from cadenza.clock import Clock, to_micros
from cadenza.definitions.decode import LONGEST_DURATION_S
from cadenza.definitions.expression import duration_seconds
from cadenza.definitions.shapes import DURATION
from cadenza.errors import CadenzaError
from cadenza.ledger.archiving import Archived, archive
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.archive import ArchiveFiles


class Care:
    """Care for one project. Its methods may run beside a server, in another process or thread."""

    def __init__(self, log: SqliteLog, outbox: SqliteOutbox, files: ArchiveFiles, clock: Clock) -> None:
        self._log, self._outbox, self._files, self._clock = log, outbox, files, clock

    def archive(self, older_than: str) -> Archived:
        """Move what was recorded longer than ``older_than`` ago ("30 days"), and is decided, into archive files. Raises
        CadenzaError for something that is no duration, LedgerError, StoreError."""
        now = to_micros(self._clock.now())
        before = now - seconds(older_than) * 1_000_000
        return archive(self._log, self._files, before, self._outbox.published_through(), now)


def seconds(duration: str) -> int:
    """Seconds of a duration such as "30 days". Raises CadenzaError."""
    if re.fullmatch(DURATION, duration) and (found := duration_seconds(duration)) <= LONGEST_DURATION_S:
        return found
    raise CadenzaError(f"'{duration}' is not a duration.", remedy="Write for example '30 days' or '12 hours'.")
