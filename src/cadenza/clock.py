"""The only place that reads the time of day.

Everything else is handed a ``Clock`` or an instant. Instants are naive UTC datetimes with
microseconds; a zone-aware datetime never crosses a room's boundary.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


class Clock(Protocol):
    """What the runtime needs of time."""

    def now(self) -> datetime:
        """The present instant, naive UTC, microseconds."""
        ...

    def micros(self) -> int:
        """``now`` as µs since 1970-01-01 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back; for durations only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC).replace(tzinfo=None)

    def micros(self) -> int:
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        return time.monotonic()


class VirtualClock:
    """A clock that stands still until it is moved; never backwards."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def micros(self) -> int:
        return to_micros(self._now)

    def monotonic(self) -> float:
        return (self._now - EPOCH).total_seconds()

    def advance_to(self, instant: datetime) -> None:
        """Move to ``instant``; an earlier one is ignored."""
        self._now = max(self._now, instant)


def to_micros(instant: datetime) -> int:
    """Microseconds since 1970-01-01 UTC of a naive UTC instant.

    >>> to_micros(datetime(1970, 1, 1, 0, 0, 1))
    1000000
    """
    return (instant - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The naive UTC instant ``micros`` after 1970-01-01.

    >>> from_micros(1000000).isoformat()
    '1970-01-01T00:00:01'
    """
    return EPOCH + timedelta(microseconds=micros)


def iso(instant: datetime) -> str:
    """RFC 3339 with microseconds and ``Z``.

    >>> iso(datetime(2026, 1, 2, 3, 4, 5))
    '2026-01-02T03:04:05.000000Z'
    """
    return instant.isoformat(timespec="microseconds") + "Z"
