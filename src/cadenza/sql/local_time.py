"""Dates in local time, as SQL."""

from __future__ import annotations

from sqlglot import exp

from cadenza.sql.step import number, subquery

_ZONED = """SELECT CASE WHEN y.by_clock THEN min(greatest(k.utc_from, y.target - to_seconds(k.off_s))) ELSE y.v END - to_seconds(rest_)
FROM (
  SELECT x.v, x.zone, x.plain OR by_clock_ AS by_clock,
    CASE WHEN by_clock_ THEN date_trunc('day', CASE WHEN x.plain THEN x.v ELSE x.v + to_seconds(r.off_s) END) - to_days(days_) + to_seconds(clock_) ELSE x.v END AS target
  FROM (SELECT w.v, w.zone, w.v = date_trunc('day', w.v) AS plain FROM (SELECT value_ AS v, zone_ AS zone) AS w) AS x
  LEFT JOIN tz_rule AS r ON r.tz = x.zone AND r.utc_from <= x.v AND x.v < r.utc_to
) AS y LEFT JOIN tz_rule AS k ON k.tz = y.zone AND k.utc_to > y.target - to_days(2) AND k.utc_from <= y.target + to_days(3)
  AND y.target - to_seconds(k.off_s) < k.utc_to
GROUP BY y.v, y.by_clock"""


def clock_seconds(time: str) -> int:
    """Seconds after midnight of ``HH:MM``."""
    hours, minutes = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def instant_of(value: exp.Expr, zone: exp.Expr, minus_s: int, clock_s: int | None) -> exp.Expr:
    """The instant that a date (at midnight UTC) or an instant means in a zone, less ``minus_s`` seconds; at a local time,
    if ``clock_s`` says one, less as many calendar days. NULL when it, or a zone it needs, is not known."""
    days = minus_s // 86400 if clock_s is not None else 0
    parts: dict[str, exp.Expr] = {
        "value_": value, "zone_": zone, "rest_": number(minus_s - days * 86400), "days_": number(days),
        "clock_": number(clock_s or 0), "by_clock_": exp.true() if clock_s is not None else exp.false(),
    }  # fmt: skip
    return subquery(_ZONED, parts)
