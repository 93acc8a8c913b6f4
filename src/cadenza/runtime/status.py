"""How the project stands: how far the log is decided, who is in it, what waits to be sent; and who is in a segment."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cadenza.clock import Clock, from_micros, to_micros
from cadenza.definitions.project import Project, decode
from cadenza.errors import CadenzaError, near_miss
from cadenza.ids import ACCOUNTS, subject_name
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, NewRecord

_NEVER = 9_000
"""The store writes the year 1 for 'from the beginning' and 9999 for 'not yet'; no instant of a log comes near."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Instants are naive UTC. ``behind``: records of the log that no tick has decided yet. ``mode``: ``empty`` (nothing
    deployed), ``replay`` (messages are not deliverable), ``live``."""

    project: str | None
    fingerprint: str | None
    deployed_at: datetime | None
    mode: str
    live_from: datetime | None
    log_records: int
    log_head_at: datetime | None
    consumed: int
    behind: int
    horizon: datetime | None
    persons: int
    live_enrollments: int
    next_timer: datetime | None
    outbox: dict[str, int]
    received: dict[str, int]
    now: datetime


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A living member of a segment and since when (naive UTC). ``id``: what to go on after."""

    id: int
    person: str
    since: datetime | None


def status(engine: Engine, log: Log, clock: Clock, outbox: dict[str, int], received: dict[str, int]) -> Status:
    """The present state. Raises StoreError, LedgerError."""
    head = log.head()
    with engine.transaction():
        rows = engine.query("SELECT consumed, horizon, live_from FROM clock")
        consumed, horizon, live_from = rows[0] if rows else (0, None, None)
        deployed = engine.query(
            "SELECT fingerprint, recorded_at, json_extract_string(project::JSON, '$.name') FROM deployment ORDER BY offset_ DESC LIMIT 1"
        )
        persons = engine.query(f"SELECT count(*) FROM person WHERE merged_into IS NULL AND pid < {ACCOUNTS}")[0][0]
        live = engine.query("SELECT count(*), min(wake_at) FROM enrollment WHERE step >= 0")[0]
    fingerprint, deployed_at, name = deployed[0] if deployed else (None, None, None)
    mode = "empty" if not deployed else "replay" if _is_replay(live_from) else "live"
    return Status(
        project=name, fingerprint=fingerprint, deployed_at=deployed_at, mode=mode, live_from=_real(live_from),
        log_records=head.offset, log_head_at=from_micros(head.recorded_at) if head.offset else None,
        consumed=consumed, behind=head.offset - consumed, horizon=_real(horizon), persons=persons,
        live_enrollments=live[0], next_timer=live[1], outbox=outbox, received=received, now=clock.now(),
    )  # fmt: skip


def current_project(engine: Engine) -> Project | None:
    """The project that the store was last told to follow, or None."""
    rows = engine.query("SELECT project FROM deployment ORDER BY offset_ DESC LIMIT 1")
    return decode(rows[0][0]) if rows else None


def go_live(engine: Engine, log: Log, clock: Clock) -> bool:
    """After a replay: a record that makes messages planned from now on real. False when the store is live already."""
    rows = engine.query("SELECT live_from, consumed FROM clock")
    if not rows or not _is_replay(rows[0][0]):
        return False
    # Named after what is decided so far: said twice in a row, it is stored once.
    command = NewRecord(kind="command", source="", message_id=f"live:{rows[0][1]}", body=b'{"command":"live"}')
    log.append([command], to_micros(clock.now()))
    return True


def _is_replay(live_from: datetime | None) -> bool:
    return live_from is None or live_from.year > _NEVER


def _real(instant: datetime | None) -> datetime | None:
    return None if instant is None or instant.year == 1 or instant.year > _NEVER else instant


def members(engine: Engine, project: Project, segment: str, limit: int, after: int) -> list[Member]:
    """Members of a segment with person id > ``after``, by person id. Raises CadenzaError for an unknown segment."""
    known = [s.name for s in project.segments]
    if segment not in known:
        raise CadenzaError(f"there is no segment '{segment}'.", remedy=near_miss(segment, known))
    # The profile says who is in now; a merge may write an entry and an end of one person at one instant.
    rows = engine.query(
        "SELECT p.pid, max(m.ts) FROM profile p LEFT JOIN membership m ON m.pid = p.pid AND m.segment = ? AND m.entered "
        f'WHERE p."s_{segment}" AND p.pid > ? GROUP BY p.pid ORDER BY p.pid LIMIT ?',
        [segment, after, limit],
    )
    return [Member(id=pid, person=subject_name(pid), since=since) for pid, since in rows]
