"""python -m bench [NAME ...] [--small] [--json]

Runs the benchmarks (all, or those named), each in a process of its own, and prints one table: the figure, its aim, its
ratio to a baseline of the same run, wall and CPU seconds, peak memory. ``--small`` checks in under a minute each that they run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

import msgspec

from bench.figures import ROOT, Figure, child_environment, from_json, say, table

NAMES = (
    "year",
    "wave",
    "live",
    "dbos_peer",
    "collect",
    "overload",
    "take_in",
    "rebuild",
    "webhooks",
    "backtest",
    "curve",
    "forward",
)


def run_one(name: str, small: bool) -> list[Figure] | None:
    """The figures of one benchmark; None when it failed (what it said is on standard error)."""
    command = [sys.executable, "-m", f"bench.{name}", "--json", *(["--small"] if small else [])]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        say(f"{name} failed with exit code {done.returncode}")
        return None
    return from_json(done.stdout)


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; 1 when a benchmark failed (a missed aim is in the table, not in the exit code)."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of {', '.join(NAMES)}; none: all")
    parser.add_argument("--small", action="store_true", help="tiny sizes: do they run, not how fast")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(argv)
    unknown = [name for name in chosen.names if name not in NAMES]
    if unknown:
        parser.error(f"there is no benchmark '{unknown[0]}'; there are {', '.join(NAMES)}")
    before, failed, found = os.getloadavg()[0], [], []
    for name in chosen.names or NAMES:
        say(f"--- {name}")
        figures = run_one(name, chosen.small)
        failed += [name] if figures is None else []
        found += figures or []
    if chosen.json:
        print(msgspec.json.encode({"load_before": before, "failed": failed, "figures": found}).decode())
    else:
        print(table(found))
        print(
            f"{os.cpu_count()} cores, load average {before:.1f} before, {os.getloadavg()[0]:.1f} after (the run itself counts)."
        )
        if chosen.small:
            print("These were tiny sizes: they show that everything runs, and nothing else.")
        print(f"Failed: {', '.join(failed)}" if failed else "", end="\n" if failed else "")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
