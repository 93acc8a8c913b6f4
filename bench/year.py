"""The demo's year: a real shop's file imported, then decided with every rule in force.

    python -m bench.year [--small] [--json]

The same calls as ``cadenza demo``, in a process of its own: import into the log (SQLite), then ticks until the end of the year
into the store (DuckDB), three journeys, governance, holdouts. ``--small`` takes its first four days.
Baseline: a bare INSERT .. SELECT of all rows of the finished store into a new file.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import msgspec

from bench.figures import ROOT, Figure, Meter, child_environment, peak_rss_mb, run_module
from bench.ticking import counted
from cadenza.clock import from_micros
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.workspace import Workspace

EXAMPLE = ROOT / "examples" / "online-retail"
SOURCE = "online_retail"
TICK_AIM_S, RSS_AIM_MB = 60, 1_536
SMALL_UNTIL = "2010-12-05"


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What the child process measured."""

    import_wall_s: float
    import_cpu_s: float
    tick_wall_s: float
    tick_cpu_s: float
    rss_mb: float
    records: int
    waves: int
    ticks: int
    statements: int
    per_wave: float
    most_per_wave: int
    persons: int
    enrollments: int
    messages: int
    reconciled: bool


def replay(folder: Path) -> Replay:
    """Import and decide the year in this process."""
    with Workspace.open(folder) as workspace:
        workspace.apply(history_of=SOURCE)
        with Meter() as importing:
            imported = workspace.import_source(SOURCE)
        assert imported.last_at is not None
        until = from_micros(imported.last_at).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        with counted() as statements, Meter() as deciding:
            done = workspace.run(until)
        rss = peak_rss_mb()
        counts = workspace.query(
            "SELECT (SELECT count(*) FROM profile) AS persons, (SELECT count(*) FROM enrollment) AS enrollments, (SELECT count(*) FROM message) AS messages"
        )[0]
        mean, most = statements.per_wave()
        return Replay(
            import_wall_s=importing.wall_s, import_cpu_s=importing.cpu_s, tick_wall_s=deciding.wall_s, tick_cpu_s=deciding.cpu_s,
            rss_mb=rss, records=done.records, waves=done.waves, ticks=done.ticks, statements=statements.total, per_wave=mean,
            most_per_wave=most, reconciled=imported.reconciled and imported.conserved and workspace.report(until).adds_up, **counts,
        )  # fmt: skip


def bare_copy(store: Path, target: Path) -> Meter:
    """Write every row of a store into a new file, without thought; the engine's settings are ours."""
    engine = DuckEngine.open(target)
    engine.execute(f"ATTACH '{store}' AS done (READ_ONLY)")
    tables = [t.name for t in TABLES if t.name != "tz_rule"]
    for table in tables:
        engine.execute(f"CREATE TABLE {table} AS SELECT * FROM done.{table} LIMIT 0")
    with Meter() as meter, engine.transaction():
        for table in tables:
            engine.execute(f"INSERT INTO {table} SELECT * FROM done.{table}")
    engine.close()
    return meter


def figures(options: argparse.Namespace) -> list[Figure]:
    """The child's figures, and the bare copy's."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "online-retail"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".cadenza", "demo"))
        if options.small:
            shorten(folder / "data" / "online_retail.parquet")
        command = [sys.executable, "-m", "bench.year", "--child", str(folder)]
        done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
        found = msgspec.json.decode(done.stdout, type=Replay)
        bare = bare_copy(folder / ".cadenza" / "store.duckdb", Path(scratch) / "bare.duckdb")
    return _figures(found, bare, whole=not options.small)


def _figures(found: Replay, bare: Meter, whole: bool) -> list[Figure]:
    year = "the year" if whole else "four days"
    reconciled = (
        "reconciles with the file" if found.reconciled else "DOES NOT RECONCILE" if whole else "a part: totals differ"
    )
    return [
        Figure(bench="year", name=f"import {year}", value=found.import_wall_s, unit="s", wall_s=found.import_wall_s,
               cpu_s=found.import_cpu_s, note=f"{found.records:,} records in the log; {reconciled}"),
        Figure(bench="year", name=f"decide {year}", value=found.tick_wall_s, unit="s", aim=TICK_AIM_S,
               baseline=f"bare INSERT of all rows of the store, {bare.cpu_s:.2f} s CPU", ratio=found.tick_cpu_s / max(bare.cpu_s, 1e-9),
               wall_s=found.tick_wall_s, cpu_s=found.tick_cpu_s, rss_mb=found.rss_mb,
               note=f"{found.waves:,} waves in {found.ticks} ticks, {1e3 * found.tick_wall_s / max(found.waves, 1):.0f} ms and {found.per_wave:.1f} statements a wave "
               f"(at most {found.most_per_wave}); {found.persons:,} persons, {found.enrollments:,} entered, {found.messages:,} messages"),
        Figure(bench="year", name="peak memory, import and decide", value=found.rss_mb, unit="MB", aim=RSS_AIM_MB),
    ]  # fmt: skip


def shorten(path: Path) -> None:
    """Leave only the first four days of the example's file."""
    engine = DuckEngine.open(None)
    part = path.with_suffix(".part")
    engine.execute(f"COPY (SELECT * FROM read_parquet('{path}') WHERE InvoiceDate < TIMESTAMP '{SMALL_UNTIL}') TO '{part}' (FORMAT parquet)")  # fmt: skip
    engine.close()
    part.replace(path)


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--child"]:
        print(msgspec.json.encode(replay(Path(given[1]))).decode())
        return 0
    return run_module(given, __doc__ or "", figures)


if __name__ == "__main__":
    sys.exit(main())
