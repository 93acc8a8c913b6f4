"""Schedules in SQL: tables that lead from any local time to the schedule's next one, and the instant it means.

A schedule is a set of dates and a set of times of day. So its next local time from a given one on is found by two
look-ups, in ``t_cron_time`` and ``t_cron_day``; the instant at which a zone's clock first comes to it, in ``tz_rule``.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from sqlglot import exp

from cadenza.definitions.cron import parse_cron
from cadenza.sql.step import number, subquery, text
from cadenza.sql.zones import FIRST_YEAR, LAST_YEAR

SCHEDULE_DIMENSIONS: dict[str, dict[str, str]] = {
    "t_cron_time": {"cron": "VARCHAR", "clock_us": "BIGINT", "next_s": "BIGINT"},
    "t_cron_day": {"cron": "VARCHAR", "day": "TIMESTAMP", "due": "BOOLEAN", "next_day": "TIMESTAMP"},
}
"""``t_cron_time``: for every minute of a day the schedule's first time from it on (NULL: none), as seconds after midnight.
``t_cron_day``: for every date whether it is one of the schedule's, and the next one that is. Beyond the years of the
time zones a schedule has no times."""

_NEXT = """SELECT min(greatest(k.utc_from, y.target - to_seconds(k.off_s)))
FROM (
  SELECT x.zone, CASE WHEN d.due AND t.next_s IS NOT NULL THEN d.day + to_seconds(t.next_s) ELSE d.next_day + to_seconds(first_) END AS target
  FROM (
    SELECT v.zone, v.low, date_trunc('day', v.low) AS day
    FROM (
      SELECT w.zone, greatest(date_trunc('minute', w.now + to_seconds(r.off_s)) + to_seconds(60),
        coalesce(date_trunc('minute', q.utc_to + to_seconds(q.off_s) + to_microseconds(59999999)), w.now + to_seconds(r.off_s))) AS low
      FROM (SELECT now_ AS now, zone_ AS zone) AS w JOIN tz_rule AS r ON r.tz = w.zone AND r.utc_from <= w.now AND w.now < r.utc_to
      LEFT JOIN tz_rule AS q ON q.tz = r.tz AND q.utc_to = r.utc_from
    ) AS v
  ) AS x JOIN t_cron_day AS d ON d.cron = cron_ AND d.day = x.day
  JOIN t_cron_time AS t ON t.cron = cron_ AND t.clock_us = epoch_us(x.low) - epoch_us(x.day)
) AS y JOIN tz_rule AS k ON k.tz = y.zone AND k.utc_to > y.target - to_days(2) AND k.utc_from <= y.target + to_days(3)
  AND y.target - to_seconds(k.off_s) < k.utc_to"""
"""``low``: the least local minute that the clock has not shown by ``now``, also not before it was put back."""


def next_time(cron: str, now: exp.Expr, zone: exp.Expr) -> exp.Expr:
    """The first instant after ``now`` at which the clock of a zone comes to a time of the schedule; NULL: none is known."""
    parts: dict[str, exp.Expr] = {
        "now_": now, "zone_": zone, "cron_": text(cron), "first_": number(parse_cron(cron).times()[0] * 60),
    }  # fmt: skip
    return subquery(_NEXT, parts)


def schedule_rows(schedules: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """The rows of ``SCHEDULE_DIMENSIONS`` for some schedules."""
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEDULE_DIMENSIONS}
    for written in sorted(set(schedules)):
        cron = parse_cron(written)
        times, following = cron.times(), None
        for minute in reversed(range(24 * 60)):
            following = minute if minute in times else following
            seconds = None if following is None else following * 60
            rows["t_cron_time"].append({"cron": written, "clock_us": minute * 60_000_000, "next_s": seconds})
        day, after = datetime(LAST_YEAR, 12, 31), None
        while day.year >= FIRST_YEAR:
            due = cron.on(day.date())
            rows["t_cron_day"].append({"cron": written, "day": day, "due": due, "next_day": after})
            after = day if due else after
            day -= timedelta(days=1)
    return rows
