"""Progress of long operations: a bar on a terminal, a plain line now and then elsewhere, nothing when quiet.

It goes to standard error, so that standard output holds the answer alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from cadenza.clock import Clock
from cadenza.workspace import ImportProgress, Progress as TickProgress

EVERY_S = 2.0
"""Seconds between two plain lines."""


class Move(Protocol):
    """Called with how much is done, a note such as the virtual date, and the total once it is known."""

    def __call__(self, done: int, note: str, total: int | None = None) -> None: ...


class Display:
    """Where progress is shown."""

    def __init__(self, console: Console, clock: Clock, quiet: bool = False) -> None:
        self._console, self._clock, self._quiet = console, clock, quiet

    @contextmanager
    def task(self, what: str, total: int | None, done: int = 0, unit: str = "events") -> Iterator[Move]:
        """Show one operation. ``total`` and ``done`` are in ``unit``; a rate and the time left are worked out."""
        meter = Meter(total, done, unit, self._clock)
        if self._quiet:
            yield lambda done, note, total=None: None
        elif self._console.is_terminal:
            with self._bar(what, meter) as move:
                yield move
        else:
            yield self._lines(what, meter)
            self._console.print(f"{what}: {meter.summary()}", highlight=False, soft_wrap=True)

    @contextmanager
    def _bar(self, what: str, meter: Meter) -> Iterator[Move]:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self._console) as bars:
            task: TaskID = bars.add_task(what, total=meter.total, completed=meter.done, note="")

            def move(done: int, note: str, total: int | None = None) -> None:
                line = meter.line(done, note, total)
                bars.update(task, completed=done, total=meter.total, note=line)

            yield move
            bars.update(
                task, completed=meter.total or meter.done, total=meter.total or meter.done or 1, note=meter.summary()
            )

    def _lines(self, what: str, meter: Meter) -> Move:
        last = self._clock.monotonic()

        def move(done: int, note: str, total: int | None = None) -> None:
            nonlocal last
            line = meter.line(done, note, total)
            now = self._clock.monotonic()
            if now - last >= EVERY_S:
                last = now
                self._console.print(f"{what}: {line}", highlight=False, soft_wrap=True)

        return move


class Meter:
    """Rate and time left of one operation, from what was done since it began."""

    def __init__(self, total: int | None, done: int, unit: str, clock: Clock) -> None:
        self.total, self.done = total, done
        self._unit, self._clock, self._first = unit, clock, done
        self._began = clock.monotonic()

    def line(self, done: int, note: str, total: int | None = None) -> str:
        """What to show now, for example ``12,000 of 30,300 events · 2011-03-04 · 9,500/s · 0:02 left``."""
        self.done, self.total = done, total or self.total
        rate = self._rate()
        share = f"{done:,} of {self.total:,} {self._unit}" if self.total else f"{done:,} {self._unit}"
        # Time alone moves on when only timers are left: a rate of nothing says nothing.
        parts = [share, note, f"{rate:,.0f}/s" if rate > 0 else ""]
        if self.total and rate > 0:
            left = max(0.0, (self.total - done) / rate)
            parts.append(f"{int(left) // 60}:{int(left) % 60:02d} left")
        return " · ".join(part for part in parts if part)

    def summary(self) -> str:
        """What it came to; the operation is over, so everything that was to be done is done."""
        self.done = self.total or self.done
        seconds = self._clock.monotonic() - self._began
        return f"{self.done - self._first:,} {self._unit} in {seconds:.1f} s · {self._rate():,.0f}/s"

    def _rate(self) -> float:
        seconds = self._clock.monotonic() - self._began
        return (self.done - self._first) / seconds if seconds > 0 else 0.0


def on_import(move: Move) -> Callable[[ImportProgress], None]:
    """The progress callback of an import."""
    return lambda p: move(p.done, p.source, p.total)


def on_tick(move: Move) -> Callable[[TickProgress], None]:
    """The progress callback of a run of ticks: the note is the virtual date."""
    latest = ""

    def report(p: TickProgress) -> None:
        nonlocal latest
        # Lanes are at different dates within a tick; what is shown does not go back.
        latest = max(latest, f"{p.at:%Y-%m-%d %H:%M}")
        move(p.records, latest, p.total)

    return report


class Stages:
    """Progress of an operation in stages whose names are known only when they begin. Use it in a ``with`` block."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._what = ""
        self._open: AbstractContextManager[Move] | None = None
        self._report: Callable[[TickProgress], None] | None = None

    def report(self, what: str, progress: TickProgress) -> None:
        """How far the stage called ``what`` is; another name ends the stage before."""
        if what != self._what or self._report is None:
            self._end(None, None, None)
            self._what, self._open = what, self._display.task(what, None, unit="records")
            self._report = on_tick(self._open.__enter__())
        self._report(progress)

    def _end(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)
            self._open = self._report = None

    def __enter__(self) -> Stages:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end(kind, error, trace)
