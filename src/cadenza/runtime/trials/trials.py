"""What may be tried before it is put in force: for use beside everything else, since it changes nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cadenza.clock import Clock
from cadenza.errors import CadenzaError, LedgerError
from cadenza.ledger.log import SqliteLog
from cadenza.ports.engine import Engine
from cadenza.runtime.trials.backtest import Backtest, Progressing, Scratch, Wanted, backtest
from cadenza.runtime.trials.forecast import MOST_DAYS, Forecast, forecast
from cadenza.runtime.trials.simulate import MOST_DRAWS, MOST_STEP_H, Course, Passed, Simulation, simulate
from cadenza.store.duckdb_engine import DuckEngine

_PREFIX = "trial-"
_QUOTE = "'"


class Trials:
    """Trials over the history of one project. Scratch stores lie in files inside the state folder (they hold what the
    store holds) and are deleted at the end, also when a trial is interrupted."""

    def __init__(self, log: Callable[[], SqliteLog], state: Path, real: Scratch, clock: Clock, threads: int) -> None:
        self._log, self._state, self._real, self._clock, self._threads = log, state, real, clock, threads

    def backtest(self, wanted: Wanted, progress: Progressing | None = None) -> Backtest:
        """A draft over the real history, beside what really ran or another version. Raises CadenzaError for a time that is
        not over, an empty one, or an unknown journey; LedgerError where the history is not whole; OperatingError where
        nothing was deployed."""
        now = self._clock.now()
        if wanted.until is not None and wanted.until > now:
            raise CadenzaError(
                f"{wanted.until} is not over yet, so there is no history of it.",
                remedy="'cadenza forecast' looks at the days to come.",
            )
        return backtest(wanted, self._history(), self.scratch, self._real, progress)

    def forecast(self, days: int, resample: int | None = None, progress: Progressing | None = None) -> Forecast:
        """The days to come, with nothing new but timers, or (``resample``: a seed) with days of the past once more. Raises
        CadenzaError for a number of days that is not from 1 to 366; LedgerError, OperatingError as ``backtest``."""
        if not 1 <= days <= MOST_DAYS:
            raise CadenzaError(f"{days} days cannot be looked at.", remedy=f"Give 1 to {MOST_DAYS}.")
        return forecast(self._history(), self.scratch, self._real, self.fork, days, resample, progress)

    def simulate(
        self, course: Course, progress: Progressing | None = None, passed: Callable[[Passed], None] | None = None
    ) -> Simulation:
        """The days to come, drawn many times from a response model that is fitted to the history. ``passed``: called after
        each simulated day. Raises CadenzaError for a number out of range or an unknown segment; OperatingError where the
        history is too short to fit; LedgerError as ``backtest``."""
        for what, given, most in (
            ("days", course.days, MOST_DAYS), ("draws", course.draws, MOST_DRAWS), ("hours a step", course.step_h, MOST_STEP_H)
        ):  # fmt: skip
            if not 1 <= given <= most:
                raise CadenzaError(f"{given} {what} cannot be simulated.", remedy=f"Give 1 to {most}.")
        return simulate(course, self._history(), self.scratch, self._real, self.fork, progress, passed)

    def _history(self) -> SqliteLog:
        log = self._log()
        with log.reading() as reader:
            deleted = tuple(log.archive.forgotten(reader))
        if deleted:
            raise LedgerError(
                f"retention deleted the records up to offset {deleted[-1].last_offset}; what they led to cannot be decided again.",
                where=str(log.path), remedy="Try the draft on a copy that still has them, such as a snapshot.",
            )  # fmt: skip
        return log

    @contextmanager
    def scratch(self) -> Iterator[Engine]:
        """An empty store of its own; deleted at the end."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._state) as folder:
            engine = DuckEngine.open(Path(folder) / "store.duckdb", threads=self._threads)
            try:
                yield engine
            finally:
                engine.close()

    @contextmanager
    def fork(self, engine: Engine) -> Iterator[Engine]:
        """A copy of a store, as of one instant, in a file of its own; deleted at the end."""
        with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=self._state) as folder:
            path = Path(folder) / "store.duckdb"
            name = engine.query("SELECT current_database()")[0][0]
            engine.execute(f"ATTACH '{str(path).replace(_QUOTE, _QUOTE * 2)}' AS trial_copy")
            try:
                engine.execute(f'COPY FROM DATABASE "{name}" TO trial_copy')
            finally:
                engine.execute("DETACH trial_copy")
            copy = DuckEngine.open(path, threads=self._threads)
            try:
                yield copy
            finally:
                copy.close()
