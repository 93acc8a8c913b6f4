"""The same five-step journey beside DBOS, the durable-workflow library, on SQLite.

    python -m bench.dbos_peer [--customers 10000] [--many 1000000] [--dbos 10000] [--small] [--json]

Enter on an event, wait, branch on a trait, send, exit; customers and their traits are known before. Timers are due at once,
so nobody waits for a clock. Both sides keep everything on disk with a flush per commit (SQLite WAL, synchronous=FULL).

* DBOS: one durable workflow per customer, as its documentation shows it: a durable sleep (one microsecond), a step that reads
  the trait, a step that sends, the return. Sending and the customers are in memory, at no cost. SQLite is switched to WAL, which
  DBOS does not do by itself and gains from; of several numbers of threads the fastest is taken after a trial.
* Cadenza: the event appended to the log (durable), the tick with all its stages on the store's file, the messages
  published to the outbox (durable).

DBOS runs with ``--dbos`` customers; for more than these its time is extrapolated linearly, and the row says so.
"""

from __future__ import annotations

import argparse
import importlib.util
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import ROOT, Figure, Meter, as_json, child_environment, number, peak_rss_mb, run_module, say
from bench.shop import FIRST_PID, NOON, later
from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.load import load as load_project
from cadenza.ids import bucket
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import Batch, NewRecord
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.tick import Ticker
from cadenza.store.duckdb_engine import DuckEngine

THREADS = (1, 2, 4, 8)
TRIAL = 300
AIMS = (100, 400)
AT_ONCE = 10_000
"""Records of one append to the log."""
SLICE = 50_000
"""Records of one tick."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """So many journeys, from their events to their last message."""

    journeys: int
    wall_s: float
    cpu_s: float
    rss_mb: float
    note: str = ""


def plan_of(customer: int) -> str:
    """The trait the journey branches on."""
    return "pro" if bucket("plan", customer) < 5_000 else "free"


# --- DBOS -------------------------------------------------------------------------------------------------


def dbos_run(folder: Path, customers: int, threads: int) -> Run:
    """Run ``customers`` workflows in this process; raises AssertionError when one of them is not recorded as done."""
    from dbos import DBOS, DBOSConfig, SetWorkflowID

    path = folder / "dbos.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    config: DBOSConfig = {"name": "bench", "system_database_url": f"sqlite:///{path}", "log_level": "ERROR",
                          "max_executor_threads": max(8, threads)}  # fmt: skip
    DBOS(config=config)
    plans, sent = {n: plan_of(n) for n in range(customers)}, []

    @DBOS.step()
    def read_plan(customer: int) -> str:
        return plans[customer]

    @DBOS.step()
    def send(customer: int, template: str) -> None:
        sent.append((customer, template))

    @DBOS.workflow()
    def journey(customer: int) -> str:
        DBOS.sleep(0.000001)
        send(customer, "pro_mail" if read_plan(customer) == "pro" else "free_mail")
        return "completed"

    def enter(customer: int) -> None:
        with SetWorkflowID(f"order-{customer}"):
            journey(customer)

    DBOS.launch()
    with Meter() as meter:
        if threads == 1:
            for n in range(customers):
                enter(n)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(enter, range(customers)))
    rss = peak_rss_mb()
    DBOS.destroy()
    with sqlite3.connect(path) as connection:
        done = connection.execute("SELECT count(*) FROM workflow_status WHERE status = 'SUCCESS'").fetchone()[0]
        steps = connection.execute("SELECT count(*) FROM operation_outputs").fetchone()[0]
    connection.close()
    assert (done, len(sent), steps) == (customers, customers, 3 * customers), (done, len(sent), steps)
    return Run(journeys=customers, wall_s=meter.wall_s, cpu_s=meter.cpu_s, rss_mb=rss, note=f"threads: {threads}")


def measure_dbos(customers: int, trial: int, choices: Sequence[int] = THREADS) -> Run:
    """Try the numbers of threads, then run with the fastest; each in a process and a folder of its own."""
    threads = choices[0] if len(choices) == 1 else min(choices, key=lambda n: _dbos_child(trial, n).wall_s)
    say(f"DBOS: {customers:,} workflows, threads: {threads} (the fastest of {', '.join(map(str, choices))})")
    return _dbos_child(customers, threads)


def _dbos_child(customers: int, threads: int) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.dbos_peer", "--child-dbos", folder, str(customers), str(threads)]
        done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Run)


# --- Cadenza ------------------------------------------------------------------------------------------------

_PROJECT = {
    "cadenza.yaml": "project: five_steps\n",
    "identity.yaml": "identifiers:\n  - { type: user_id, from: userId }\n",
    "traits/traits.yaml": "traits:\n  email: { type: string, from: traits.email }\n  plan: { type: string, from: traits.plan }\n",
    "contracts/events.yaml": "contract: Order Completed\nproperties:\n  order_id: { type: string }\n",
    "destinations/mail.yaml": "destination: mail\nchannel: email\nadapter: mailbox\naddress: email\n",
    "metrics/orders.yaml": "metric: orders_28d\nkind: count\nevent: Order Completed\nwithin: 28 days\n",
    "templates/all.yaml": "---\n".join(
        f"template: {plan}_mail\nchannel: email\npurpose: service\nclass: transactional\nsubject: Thank you\nbody: On the {plan} plan.\n"
        for plan in ("pro", "free")
    ),
    "journeys/five.yaml": """journey: five_steps
owner: bench@shop.example
outcome: { metric: orders_28d }
entry: { on: { event: Order Completed }, again: once }
exit: { goal: plan = 'done', disqualified: email is null, superseded: true, time_limit: 30 days }
steps:
  - wait: 1 second
  - branch:
      - when: plan = 'pro'
        steps: [ { send: pro_mail } ]
      - unknown: [ { exit: unknown } ]
      - otherwise: [ { send: free_mail } ]
  - exit: completed
""",
}
_PEOPLE = (
    "CREATE OR REPLACE TEMP TABLE b_person AS SELECT i, {first} + i AS pid, 'c' || i AS name, TIMESTAMP '{at}' AS noon, "
    "CASE WHEN md5_number_upper('plan:' || i) % 10000 < 5000 THEN 'pro' ELSE 'free' END AS plan FROM range({n}) AS r(i)",
    "INSERT INTO person SELECT pid, noon, NULL FROM b_person",
    "INSERT INTO identifier SELECT 'user_id', name, pid FROM b_person",
    "INSERT INTO trait_value SELECT pid, pid, trait, value, noon, noon, 0, NULL, pid, 'record' FROM (SELECT pid, noon, "
    "unnest(['email', 'plan']) AS trait, unnest([name || '@shop.example', plan]) AS value FROM b_person)",
    "INSERT INTO profile BY NAME SELECT pid, name || '@shop.example' AS t_email, plan AS t_plan FROM b_person",
    "DROP TABLE b_person",
)  # fmt: skip


def cadenza_run(folder: Path, customers: int) -> Run:
    """The same journeys in this process; raises AssertionError when one is not done or its message is not in the outbox."""
    for name, text in _PROJECT.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    log, outbox = SqliteLog.open(folder / "log.db"), SqliteOutbox.open(folder / "outbox.db")
    engine = DuckEngine.open(folder / "store.duckdb")
    start = to_micros(NOON)
    log.append([
        NewRecord(kind="deploy", source="bench", message_id="deploy", body=deploy_body(load_project(folder).project), at=start),
        NewRecord(kind="command", source="bench", message_id="live", body=as_json({"command": "live"}), at=start + 1),
    ], start)  # fmt: skip
    ticker = Ticker(engine, log, outbox, VirtualClock())
    while ticker.tick().more:
        pass
    for statement in _PEOPLE:
        engine.execute(statement.format(first=FIRST_PID, at=NOON, n=customers))
    engine.execute("CHECKPOINT")
    with Meter() as meter:
        with Meter() as appending:
            _append(log, customers, later(NOON, 60))
        published = _timed(outbox, "publish")
        ticks = ticker.run(later(NOON, 3600), max_records=SLICE)
    rss = peak_rss_mb()
    done = engine.query("SELECT count(*) FROM enrollment_end WHERE reason = 'completed'")[0][0]
    ready = outbox.counts().get("ready", 0)
    for part in (engine, log, outbox):
        part.close()
    assert (done, ready) == (customers, customers), (done, ready)
    share = f"append {appending.wall_s:.2f} s, publish {published():.2f} s of it; {ticks.waves} waves in {ticks.ticks} ticks"
    return Run(journeys=customers, wall_s=meter.wall_s, cpu_s=meter.cpu_s, rss_mb=rss, note=share)


def _append(log: SqliteLog, customers: int, at: Any) -> None:
    """Accept the events: durable appends, as the collector makes them under load."""
    now = to_micros(at)
    for first in range(0, customers, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, customers))
        bodies = [
            b'{"event":"Order Completed","occurred_at":%d,"properties":{"order_id":"o%d"},"type":"track","userId":"c%d"}' % (now, n, n)
            for n in numbers
        ]  # fmt: skip
        ids = [f"order-{n}" for n in numbers]
        log.write([Batch(kind="call", source="shop", ids=ids, bodies=bodies, ats=[now + n for n in numbers])], (), now)


def _timed(subject: Any, method: str) -> Callable[[], float]:
    """Add up the wall time spent in a method of one object; the sum when called."""
    plain, spent = getattr(subject, method), [0.0]

    def timed(*arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return plain(*arguments)
        finally:
            spent[0] += time.perf_counter() - began

    setattr(subject, method, timed)
    return lambda: spent[0]


def measure_cadenza(customers: int) -> Run:
    """One run in a process and a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bench.dbos_peer", "--child-cadenza", folder, str(customers)]
        done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Run)


# --- side by side ---------------------------------------------------------------------------------------------


def figures(options: argparse.Namespace) -> list[Figure]:
    """Cadenza at both sizes, and DBOS if it is installed."""
    counts = (200, 2_000) if options.small else (options.customers, options.many)
    dbos = None
    if importlib.util.find_spec("dbos") is None:
        say("DBOS is not installed ('make bench' installs it); its side is left out.")
    else:
        dbos = measure_dbos(40, 0, (2,)) if options.small else measure_dbos(options.dbos, TRIAL)
    found = [] if dbos is None else [_row("DBOS", dbos)]
    for customers, aim in zip(counts, AIMS, strict=True):
        if customers:
            found.append(_row("Cadenza", measure_cadenza(customers), dbos, aim))
    return found


def _row(who: str, run: Run, peer: Run | None = None, aim: int | None = None) -> Figure:
    speed = run.journeys / run.wall_s
    against, ratio = "DBOS is not installed" if who == "Cadenza" else "", None
    if peer is not None:
        rate = peer.journeys / peer.wall_s
        extrapolated = (
            ""
            if run.journeys == peer.journeys
            else f", extrapolated linearly from {peer.journeys:,} to {run.journeys:,}"
        )
        against, ratio = f"DBOS, {number(rate)} journeys/s{extrapolated}", speed / rate
    return Figure(
        bench="dbos_peer", name=f"{who}, {run.journeys:,} customers", value=speed, unit="journeys/s", better="more", baseline=against,
        ratio=ratio, ratio_better="more", ratio_aim=aim if peer else None, wall_s=run.wall_s, cpu_s=run.cpu_s, rss_mb=run.rss_mb,
        note=f"{1e6 * run.cpu_s / run.journeys:,.0f} µs CPU a journey; {run.note}",
    )  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--customers", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=1_000_000, help="0 leaves it out")
    parser.add_argument("--dbos", type=int, default=10_000, help="workflows that DBOS really runs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--child-dbos"]:
        print(msgspec.json.encode(dbos_run(Path(given[1]), int(given[2]), int(given[3]))).decode())
        return 0
    if given[:1] == ["--child-cadenza"]:
        print(msgspec.json.encode(cadenza_run(Path(given[1]), int(given[2]))).decode())
        return 0
    return run_module(given, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
