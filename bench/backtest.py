"""A backtest of the demo's year: a draft with ten journeys over the real history, beside the three that ran.

    python -m bench.backtest [--small] [--json]

The same call as ``cadenza backtest``: the draft is decided in a scratch store from the log; what really ran is read from the
store. Import and the real decisions are not timed (``bench.year`` does). ``--small`` takes the year's first four days.
Baseline: a bare INSERT .. SELECT of all rows of the real store into a new file.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.figures import Figure, Meter, peak_rss_mb, run_module
from bench.ticking import counted
from bench.year import EXAMPLE, SOURCE, bare_copy, shorten
from cadenza.workspace import Trial, Workspace

AIM_S = 60
JOURNEYS = 10
_VARIANTS = (
    ("{ segment: lapsing, change: entered }", "consented('marketing', 'email')", "{ after: 60 days }", "event('Order Completed')"),
    ("{ event: Order Completed }", "orders >= 2 and email is not null", "{ after: 30 days }", "orders >= 9"),
    ("{ event: Order Refunded }", "email is not null", "{ after: 30 days }", "event('Order Completed')"),
)  # fmt: skip
"""Entry, qualification, re-entry and goal of the added journeys, in turn."""


def draft_of(folder: Path, target: Path) -> Path:
    """A copy of a project's definitions with so many more journeys that there are ten."""
    shutil.copytree(folder, target, ignore=shutil.ignore_patterns(".cadenza", "demo", "data"))
    (target / "data").symlink_to(folder / "data")
    (target / "journeys" / "more.yaml").write_text("---\n".join(_variant(n) for n in range(JOURNEYS - 3)))
    return target


def _variant(n: int) -> str:
    on, when, again, goal = _VARIANTS[n % len(_VARIANTS)]
    return f"""journey: more_{n}
owner: bench@retail.example
outcome: {{ metric: revenue_28d }}
priority: {10 + 7 * n}
arena: more_{n % 3}
entry:
  on: {on}
  when: {when}
  again: {again}
holdout: {{ share: 10%, name: more_{n} }}
exit:
  goal: {goal}
  disqualified: not consented('marketing', 'email')
  superseded: true
  time_limit: {30 + n} days
steps:
  - split:
      name: more_{n}
      arms:
        now: {{ share: 50%, steps: [ {{ send: free_shipping_mail }} ] }}
        later: {{ share: 50%, steps: [ {{ wait: {n + 1} days }}, {{ send: bestsellers_mail }} ] }}
  - wait_for: {{ any: [ event('Email Link Clicked') ], until: 7 days }}
  - branch:
      - when: lifetime_revenue > {500 + 100 * n}
        steps: [ {{ send: last_call_mail }} ]
      - unknown: [ {{ exit: completed }} ]
      - otherwise: [ {{ exit: completed }} ]
"""


def figures(options: argparse.Namespace) -> list[Figure]:
    """Import, decide, then the backtest, in this process."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "online-retail"
        shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns(".cadenza", "demo"))
        if options.small:
            shorten(folder / "data" / "online_retail.parquet")
        draft = draft_of(folder, Path(scratch) / "draft")
        with Workspace.open(folder) as workspace:
            workspace.apply(history_of=SOURCE)
            workspace.import_source(SOURCE)
            workspace.run()
            with Workspace.open(draft) as other:
                wanted = Trial(draft=other.validate().project)
            with counted() as statements, Meter() as meter:
                found = workspace.trials.backtest(wanted)
        bare = bare_copy(folder / ".cadenza" / "store.duckdb", Path(scratch) / "bare.duckdb")
    mean, most = statements.per_wave()
    entered = sum(j.entered for j in found.draft.journeys)
    planned = sum(j.planned for j in found.draft.journeys)
    return [
        Figure(
            bench="backtest", name=f"{JOURNEYS} journeys over {'four days' if options.small else 'the year'}",
            value=meter.wall_s, unit="s", aim=AIM_S, baseline=f"bare INSERT of all rows of the store, {bare.cpu_s:.2f} s CPU",
            ratio=meter.cpu_s / max(bare.cpu_s, 1e-9), wall_s=meter.wall_s, cpu_s=meter.cpu_s, rss_mb=peak_rss_mb(),
            note=f"{found.made.records:,} records, {found.made.waves:,} waves in {found.made.ticks} ticks, "
            f"{1e3 * meter.wall_s / max(found.made.waves, 1):.0f} ms and {mean:.1f} statements a wave (at most {most}); "
            f"{entered:,} entered, {planned:,} messages",
        )
    ]  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(argv, __doc__ or "", figures)


if __name__ == "__main__":
    sys.exit(main())
