"""Time zones as a table: spans of constant UTC offset, built from ``zoneinfo``.

Engines disagree on local times in gaps and overlaps; a range join on these rows is the same everywhere. The
version of the zone data is recorded with them.
"""

from __future__ import annotations

import importlib.metadata
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import resources
from io import BytesIO
from zoneinfo import ZoneInfo

import msgspec

FIRST_YEAR, LAST_YEAR = 2000, 2040
"""Changes of the clock are exact in these years; before and after, the nearest offset holds."""

_STEP = timedelta(days=28)
_MIN, _MAX = datetime(1, 1, 1), datetime(9999, 12, 31)


def version() -> str:
    """The version of the installed zone data."""
    return importlib.metadata.version("tzdata")


def spans(zone: str) -> list[tuple[datetime, datetime, int]]:
    """(utc_from, utc_to, offset in seconds) of one zone, covering all time."""
    info = ZoneInfo.from_file(BytesIO(_content(zone)), key=zone)

    def offset(at: datetime) -> int:
        delta = at.replace(tzinfo=UTC).astimezone(info).utcoffset()
        return int(delta.total_seconds()) if delta is not None else 0

    found: list[tuple[datetime, int]] = []
    at, end = datetime(FIRST_YEAR, 1, 1), datetime(LAST_YEAR, 12, 31)
    current = offset(at)
    while at < end:
        after = at + _STEP
        if (changed := offset(after)) != current:
            low, high = at, after
            while high - low > timedelta(seconds=1):
                middle = low + (high - low) // 2
                low, high = (middle, high) if offset(middle) == current else (low, middle)
            found.append((high.replace(microsecond=0), changed))
            current = changed
        at = after
    starts = [(_MIN, offset(datetime(FIRST_YEAR, 1, 1))), *found]
    ends = [start for start, _ in found] + [_MAX]
    return [(start, stop, off) for (start, off), stop in zip(starts, ends, strict=True)]


def names() -> list[str]:
    """Every known zone (tzdata's own list, not the machine's), sorted."""
    return sorted(resources.files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def _content(zone: str) -> bytes:
    return resources.files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()


@lru_cache(maxsize=1)
def rows() -> bytes:
    """A JSON array: the rows of ``tz_rule`` for every known zone, in order. Zones with equal data are
    computed once."""
    computed: dict[bytes, list[tuple[datetime, datetime, int]]] = {}
    found = []
    for zone in names():
        content = _content(zone)
        if content not in computed:
            computed[content] = spans(zone)
        found += [{"tz": zone, "utc_from": a, "utc_to": b, "off_s": off} for a, b, off in computed[content]]
    return msgspec.json.encode(found)
