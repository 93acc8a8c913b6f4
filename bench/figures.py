"""What a benchmark yields, and how it is shown.

Wall time lies on a busy machine, so every figure comes with the processor time beside it, and with a ratio to a baseline
taken in the same run on the same machine: ratios are what to compare between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

BUSY = 1.5
"""Load average (one minute) above which wall times mean little."""
ROOT = Path(__file__).parents[1]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured figure. ``better``: whether less or more of it is better; ``aim`` is a bound in that direction.

    ``ratio`` compares with ``baseline`` (what it is, and its value, in words); ``ratio_better`` and ``ratio_aim`` are
    the same for the ratio. ``cpu_s`` is processor time of all threads, ``rss_mb`` the peak of the process that did the work.
    """

    bench: str
    name: str
    value: float
    unit: str
    better: Literal["less", "more"] = "less"
    aim: float | None = None
    baseline: str = ""
    ratio: float | None = None
    ratio_better: Literal["less", "more"] = "less"
    ratio_aim: float | None = None
    wall_s: float | None = None
    cpu_s: float | None = None
    rss_mb: float | None = None
    note: str = ""

    def meets(self) -> bool | None:
        """Whether every aim is met; None without aims."""
        found = [
            value <= aim if better == "less" else value >= aim
            for value, aim, better in ((self.value, self.aim, self.better), (self.ratio, self.ratio_aim, self.ratio_better))
            if aim is not None and value is not None
        ]  # fmt: skip
        return all(found) if found else None


class Meter:
    """Wall and processor seconds of a ``with`` block (all threads of this process)."""

    wall_s = cpu_s = 0.0

    def __enter__(self) -> Meter:
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *exception: object) -> None:
        self.wall_s, self.cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu


def peak_rss_mb(pid: int | str = "self") -> float:
    """Peak resident memory of a living process (MB)."""
    # ru_maxrss would be inherited from the parent that started us; VmHWM belongs to this program alone.
    status = Path(f"/proc/{pid}/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cpu_s(pid: int) -> float:
    """Processor seconds that another process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def warn_if_busy() -> float:
    """The load average; says so on standard error when the machine is too busy to believe wall times."""
    load = os.getloadavg()[0]
    if load > BUSY:
        say(f"warning: load average {load:.1f} before starting; wall times will be too long. Trust ratios and CPU.")
    return load


def say(text: str) -> None:
    """A line on standard error: what is going on."""
    print(text, file=sys.stderr, flush=True)


def child_environment() -> dict[str, str]:
    """The environment of a process that runs this checkout."""
    return os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}


def run_module(argv: Sequence[str] | None, doc: str, figures: Callable[[argparse.Namespace], list[Figure]],
               options: Callable[[argparse.ArgumentParser], None] | None = None) -> int:  # fmt: skip
    """The command line of one benchmark: ``--small``, ``--json`` and its own options."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny sizes: does it run, not how fast")
    parser.add_argument("--json", action="store_true")
    if options is not None:
        options(parser)
    chosen = parser.parse_args(argv)
    warn_if_busy()
    found = figures(chosen)
    if chosen.json:
        print(msgspec.json.encode(found).decode())
    else:
        print(table(found))
    return 0


def from_json(text: str | bytes) -> list[Figure]:
    """The figures that a benchmark printed with ``--json``."""
    return msgspec.json.decode(text, type=list[Figure])


# --- the table ------------------------------------------------------------------------------------

_HEADS = ("benchmark", "figure", "measured", "aim", "ratio", "aim", "against", "wall s", "CPU s", "RSS MB", "", "note")
_LEFT = {0, 1, 6, 10, 11}


def table(figures: Iterable[Figure]) -> str:
    """The figures as one table of text."""
    rows = [_HEADS, *(_row(f) for f in figures)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(_HEADS))]
    lines = [
        "  ".join(cell.ljust(width) if i in _LEFT else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def _row(figure: Figure) -> tuple[str, ...]:
    meets = figure.meets()
    return (
        figure.bench, figure.name, f"{number(figure.value)} {figure.unit}", _aim(figure.aim, figure.better),
        "" if figure.ratio is None else f"{number(figure.ratio)} x", _aim(figure.ratio_aim, figure.ratio_better),
        figure.baseline, _maybe(figure.wall_s), _maybe(figure.cpu_s), _maybe(figure.rss_mb),
        "" if meets is None else "met" if meets else "MISSED", figure.note,
    )  # fmt: skip


def _aim(aim: float | None, better: str) -> str:
    return "" if aim is None else f"{'≤' if better == 'less' else '≥'} {number(aim)}"


def _maybe(value: float | None) -> str:
    return "" if value is None else number(value)


def number(value: float) -> str:
    """Three significant digits, thousands apart; whole from 100 on.

    >>> number(1234567.8), number(12.345), number(0.01234), number(0)
    ('1,234,568', '12.3', '0.0123', '0')
    """
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie. Raises ValueError when there are none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def as_json(value: Any) -> bytes:
    """Compact JSON."""
    return json.dumps(value, separators=(",", ":")).encode()
