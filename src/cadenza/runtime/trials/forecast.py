"""Contact pressure of the days to come: who will be contested, by which journeys, and what caps will cost."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from cadenza.definitions.project import Project
from cadenza.ports.ledger import Log
from cadenza.runtime.status import current_project
from cadenza.runtime.trials.ahead import Ahead, Fork, from_now, ticker_on
from cadenza.runtime.trials.backtest import Progressing, Scratch, named, stands_at
from cadenza.runtime.trials.figures import Contested, Side, contested, side
from cadenza.runtime.trials.past import PAGE, just_after
from cadenza.runtime.trials.resample import resampled

MOST_DAYS = 366
MOST_CONTESTED = 20
"""So many persons are named."""


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The time after ``since``, where the project stands, until ``until`` (naive UTC). ``resampled``: how many records of
    the past happened again, None when nothing but timers did. ``contested``: those whom most journeys want, of
    ``contested_persons``."""

    since: datetime
    until: datetime
    resampled: int | None
    side: Side
    contested_persons: int
    contested: tuple[Contested, ...]


def forecast(
    log: Log, scratch: Scratch, real: Scratch, fork: Fork, days: int, seed: int | None, progress: Progressing | None
) -> Forecast:
    """Run a copy of the store forward. ``seed``: draw days of the past that happen again; None: timers only."""
    since = stands_at(log, real)
    until = since + timedelta(days=days)
    with from_now(log, scratch, real, fork, since, progress) as engine:
        project = current_project(engine) or Project()
        ahead = Ahead(engine.query("SELECT consumed FROM clock")[0][0])
        drawn = None if seed is None else resampled(engine, log, project, since, days, seed)
        ahead.add(drawn or [])
        ticker_on(engine, ahead).run(until, named(progress, "Running ahead"), PAGE)
        after, before = just_after(since), just_after(until)
        number, found = contested(engine, project, after, before, MOST_CONTESTED)
        return Forecast(
            since=since, until=until, resampled=None if drawn is None else len(drawn),
            side=side(engine, project, after, before, outcomes=False), contested_persons=number, contested=found,
        )  # fmt: skip
