"""Days of the past once more: a bootstrap of whole days.

For each day to come a day with the same weekday is drawn from the last eight weeks, and everything that was received on it
happens again, shifted by whole days. Drawing whole blocks keeps what belongs together within a day (Künsch 1989, "The
jackknife and the bootstrap for general stationary observations"); the weekday keeps the week's rhythm. Growth, seasons and
whatever lasts longer than a day are not in it. Whoever was new on the day that is drawn comes as somebody new again.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec

from cadenza.clock import from_micros, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import OperatingError
from cadenza.ids import seeded_random
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, Record
from cadenza.runtime.trials.past import last_before

DAY = timedelta(days=1)
WEEKS = 8
"""So far back days are drawn from."""
_PAGE = 10_000
Drawn = tuple[int, str, str, bytes]


def resampled(engine: Engine, log: Log, project: Project, start: datetime, days: int, seed: int) -> list[Drawn]:
    """Records of ``days`` days from ``start`` on, in order of time: (recorded_at in µs, kind, message id, body). Raises
    OperatingError when there are not seven whole days to draw from."""
    pool = _pool(log, start)
    chance = seeded_random(seed, "days")
    found: list[Drawn] = []
    for day in range(days):
        alike = [past for past in pool if (start + day * DAY - past) % timedelta(days=7) == timedelta(0)]
        past = chance.choice(alike)
        found += _day(engine, log, project, past, start + day * DAY, day)
    return found


def _pool(log: Log, start: datetime) -> list[datetime]:
    """The beginnings of whole days before ``start``, counted back from it."""
    first = log.read(0, 1)
    whole = (start - from_micros(first[0].recorded_at)) // DAY if first else 0
    if whole < 7:
        raise OperatingError(
            f"the history has {whole} whole days; a week at least is needed to draw days from.",
            remedy="Leave --resample out, or come back later.",
        )
    return [start - n * DAY for n in range(1, min(whole, 7 * WEEKS) + 1)]


def _day(engine: Engine, log: Log, project: Project, past: datetime, then: datetime, number: int) -> Iterator[Drawn]:
    records = [r for r in _between(log, past, past + DAY) if r.kind == "call"]
    newcomers = _newcomers(engine, past, past + DAY)
    paths = [identifier.source.split(".") for identifier in project.identity.identifiers]
    shift = to_micros(then) - to_micros(past)
    for record in records:
        body: dict[str, Any] = msgspec.json.decode(record.body)
        body["occurred_at"] = body.get("occurred_at", record.recorded_at) + shift
        if record.offset in newcomers:
            for path in [*paths, ["previousId"]]:
                rename(body, path, f"~{number}")
        encoded = msgspec.json.encode(body, order="sorted")
        yield record.recorded_at + shift, "call", f"again-{number}-{record.offset}", encoded


def _between(log: Log, since: datetime, before: datetime) -> Iterator[Record]:
    after = last_before(log, to_micros(since))[0]
    end = to_micros(before)
    while page := log.read(after, _PAGE):
        for record in page:
            if record.recorded_at >= end:
                return
            yield record
        after = page[-1].offset


def _newcomers(engine: Engine, since: datetime, before: datetime) -> set[int]:
    """Offsets of the records of a day whose person was first seen on it."""
    rows = engine.query(
        "SELECT e.offset_ FROM event AS e JOIN person AS p ON p.pid = e.pid "
        "WHERE e.recorded_at >= ? AND e.recorded_at < ? AND p.created_at >= ? AND p.created_at < ?",
        [since, before, since, before],
    )
    return {offset for (offset,) in rows}


def rename(body: dict[str, Any], path: list[str], suffix: str) -> None:
    """Somebody new under another name; an e-mail address stays one."""
    *outer, last = path
    inside: Any = body
    for name in outer:
        inside = inside.get(name) if isinstance(inside, dict) else None
    if not isinstance(inside, dict) or not isinstance(inside.get(last), str):
        return
    name, at, domain = inside[last].partition("@")
    inside[last] = f"{name}{suffix}{at}{domain}"
