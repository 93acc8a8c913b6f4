"""Local times without an offset -> UTC, by a table made from ``zoneinfo``: the same on every engine.

A local time that happens twice (clocks go back) is taken as the first of the two; one that never happens
(clocks go forward) is moved on by the gap. That is PEP 495's ``fold=0``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from sqlglot import exp

_STRIDE = timedelta(hours=12)
_UTC = ZoneInfo("UTC")


def wall_offsets(zone: str, low: datetime, high: datetime) -> list[tuple[datetime, int]]:
    """The UTC offsets (seconds) that hold for local times of ``zone`` in [low, high], each with the local time it
    holds from; the first from the year 1. Raises ZoneInfoNotFoundError.

    >>> wall_offsets("Europe/London", datetime(2011, 3, 1), datetime(2011, 4, 1))[1]
    (datetime.datetime(2011, 3, 27, 2, 0), 3600)
    """
    info = ZoneInfo(zone)
    at = max(low, datetime(1900, 1, 1)) - 2 * _STRIDE
    end = min(high, datetime(2200, 1, 1)) + 2 * _STRIDE
    offset = _offset(info, at)
    found = [(datetime(1, 1, 1), offset)]
    while at < end:
        after = at + _STRIDE
        changed = _offset(info, after)
        if changed != offset:
            turn = _turn(info, at, after)
            found.append((turn + timedelta(seconds=max(offset, changed)), changed))
            offset = changed
        at = after
    return found


def _offset(info: ZoneInfo, utc: datetime) -> int:
    delta = utc.replace(tzinfo=_UTC).astimezone(info).utcoffset()
    return int(delta.total_seconds()) if delta is not None else 0


def _turn(info: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The UTC second at which the offset changes, between ``low`` (before) and ``high`` (after)."""
    before = _offset(info, low)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        if _offset(info, middle) == before:
            low = middle
        else:
            high = middle
    return high


def wall_micros(local: exp.Expr, offsets: list[tuple[datetime, int]]) -> exp.Expr:
    """Microseconds since 1970 UTC of a local TIMESTAMP, as SQL over ``wall_offsets``."""
    micros = exp.func("epoch_us", local.copy())
    if len(offsets) == 1:
        shift: exp.Expr = _number(offsets[0][1])
    else:
        shift = exp.Case(
            ifs=[
                exp.If(this=exp.GTE(this=local.copy(), expression=_timestamp(start)), true=_number(offset))
                for start, offset in reversed(offsets[1:])
            ],
            default=_number(offsets[0][1]),
        )
    return exp.Sub(this=micros, expression=exp.Paren(this=shift))


def _number(seconds: int) -> exp.Expr:
    text = exp.Literal.number(str(abs(seconds) * 1_000_000))
    return exp.Neg(this=text) if seconds < 0 else text


def _timestamp(instant: datetime) -> exp.Expr:
    return exp.cast(exp.Literal.string(instant.isoformat(sep=" ")), "timestamp")
