"""From an accepted event to a message in the channel's hands, live.

    python -m bench.live [--persons 100000] [--seconds 30] [--rate 500] [--small] [--json]

A real ``cadenza run`` process on a project of 51 journeys with all governance on, its store filled with people who are in
two journeys each. A second process sends single events over HTTP at a steady rate; 4 % of them are orders, which a
transactional message confirms. Latency: from ``recorded_at`` in the log to the instant the mailbox channel got the message.
Baseline: the same on the idle server, one order at a time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bench.figures import (
    ROOT,
    Figure,
    as_json,
    child_environment,
    cpu_s,
    number,
    peak_rss_mb,
    percentile,
    run_module,
    say,
)  # fmt: skip
from bench.shop import FIRST_PID, JOURNEYS, SIGNALS, WRITE_KEY, fill, write_project
from cadenza.adapters.channels import MAILBOX_FILE
from cadenza.adapters.mailbox import Mailbox
from cadenza.clock import SystemClock
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.deploy import load
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.workspace import STATE, Workspace, find_server

P50_AIM_MS, P99_AIM_MS = 400, 1500
ORDERS_IN_100 = 4
CONNECTIONS = 16
DEADLINE_S = 60.0
_IDLE, _LOADED = "idle", "load"


# --- the project -----------------------------------------------------------------------------------------


def prepare(folder: Path, persons: int, journeys: int) -> None:
    """A deployed, live project with people in its store."""
    write_project(folder, journeys, receipts=True)
    clock = SystemClock()
    with Workspace.open(folder, clock) as workspace:
        workspace.apply()
        while workspace.tick() is not None:
            pass
        workspace.go_live()
        while workspace.tick() is not None:
            pass
    engine = DuckEngine.open(folder / STATE / "store.duckdb")
    program = load(engine)
    assert program is not None
    fill(engine, program, persons, clock.now())
    engine.close()


@contextmanager
def serving(folder: Path) -> Any:
    """The server as an operator starts it; yields (url, its process)."""
    command = [
        sys.executable,
        "-c",
        "from cadenza.surfaces.cli import console; console()",
        "run",
        "--port",
        "0",
        "-p",
        str(folder),
    ]
    with (folder / "server.log").open("w") as output:
        server = subprocess.Popen(command, cwd=ROOT, env=child_environment(), stdout=output, stderr=subprocess.STDOUT)
    try:
        yield _url(folder, server), server
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGINT)
        server.wait(60)


def _url(folder: Path, server: subprocess.Popen[bytes]) -> str:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until and server.poll() is None:
        found = find_server(folder)
        if found is not None:
            return found.info.url
        time.sleep(0.05)
    raise SystemExit(f"The server did not start:\n{(folder / 'server.log').read_text()[-2000:]}")


# --- the load, in its own process --------------------------------------------------------------------------


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """What to send: ``orders_in_100`` of the events are orders, named after ``name``."""

    url: str
    name: str
    rate: float
    seconds: float
    persons: int
    orders_in_100: int
    connections: int


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What was sent. ``late_ms``: how far behind its schedule the load generator was at worst; ``answer_ms``: (p50, p99)."""

    events: int
    orders: int
    refused: int
    late_ms: float
    answer_ms: tuple[float, float]


def body(load: Load, number_: int) -> bytes:
    """The ``number_``-th call."""
    slot = number_ * 37 % 100
    call: dict[str, Any] = {"userId": f"c{number_ * 7919 % load.persons}", "messageId": f"{load.name}-{number_}"}
    if slot < load.orders_in_100:
        call |= {"event": "Order Completed", "properties": {"order_id": f"{load.name}-{number_}", "revenue": 49.5}}
    elif slot < 45:
        call |= {"event": f"Signal {number_ * 11 % SIGNALS}", "properties": {"amount": number_ % 10}}
    elif slot < 70:
        call |= {"event": "Email Link Clicked"}
    else:
        call |= {"event": "Product Viewed", "properties": {"sku": f"s{number_ % 500}"}}
    return as_json(call)


async def _send(load: Load) -> Sent:
    host, _, port = load.url.removeprefix("http://").rpartition(":")
    total, began = int(load.rate * load.seconds), time.perf_counter() + 0.2
    key = base64.b64encode(f"{WRITE_KEY}:".encode()).decode()
    head = f"POST /v1/track HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {key}\r\nContent-Type: application/json\r\nContent-Length: "
    answers: list[float] = []
    late: list[float] = [0.0]
    refused = 0

    async def connection(first: int) -> None:
        nonlocal refused
        reader, writer = await asyncio.open_connection(host, int(port))
        for n in range(first, total, load.connections):
            due = began + n / load.rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            late.append(sent - due)
            content = body(load, n)
            writer.write(head.encode() + str(len(content)).encode() + b"\r\n\r\n" + content)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            refused += not answer.startswith(b"HTTP/1.1 200")
            answers.append(time.perf_counter() - sent)
        writer.close()

    await asyncio.gather(*(connection(i) for i in range(load.connections)))
    orders = sum(n * 37 % 100 < load.orders_in_100 for n in range(total))
    return Sent(events=total, orders=orders, refused=refused, late_ms=1e3 * max(late),
                answer_ms=(1e3 * percentile(answers, 0.5), 1e3 * percentile(answers, 0.99)))  # fmt: skip


def send(load: Load) -> Sent:
    """Send the load from a process of its own, to its end. Raises SystemExit when calls were refused."""
    command = [sys.executable, "-m", "bench.live", "--send", msgspec.json.encode(load).decode()]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    sent = msgspec.json.decode(done.stdout, type=Sent)
    if sent.refused:
        raise SystemExit(f"{sent.refused} of {sent.events} calls were refused.")
    return sent


# --- the measurement -----------------------------------------------------------------------------------------


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Latencies (ms) of the orders of a name, and how many were never confirmed."""

    latencies: list[float]
    missing: int


def latencies(folder: Path, name: str) -> Measured:
    """From the log's ``recorded_at`` to the mailbox's ``received_at``, by order."""
    log = SqliteLog.open(folder / STATE / "log.db")
    accepted: dict[str, int] = {}
    after = 0
    while records := log.read(after, 10_000):
        after = records[-1].offset
        for record in records:
            if record.kind == "call" and record.message_id.startswith(name) and b'"Order Completed"' in record.body:
                accepted[f"Receipt {record.message_id}"] = record.recorded_at
    log.close()
    mailbox = Mailbox.open(folder / STATE / MAILBOX_FILE)
    received = {mail.subject: mail.received_at for mail in mailbox.list(limit=10_000_000)}
    asyncio.run(mailbox.close())
    found = [(received[subject] - at) / 1e3 for subject, at in accepted.items() if subject in received]
    return Measured(latencies=found, missing=len(accepted) - len(found))


def _wait_for_receipts(folder: Path, count: int) -> None:
    """Until that many receipts are in the mailbox, or a minute has passed."""
    mailbox = Mailbox.open(folder / STATE / MAILBOX_FILE)
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        if sum(mail.subject.startswith("Receipt ") for mail in mailbox.list(limit=10_000_000)) >= count:
            break
        time.sleep(0.5)
    asyncio.run(mailbox.close())


def figures(options: argparse.Namespace) -> list[Figure]:
    """Idle first, then under load."""
    persons = options.persons or (1_000 if options.small else 100_000)
    seconds, rate = (2.0, 50.0) if options.small else (options.seconds, options.rate)
    idle_seconds = 1.5 if options.small else 12.0
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepare(folder, persons, 10 if options.small else JOURNEYS)
        with serving(folder) as (url, server):
            idle_load = Load(
                url=url, name=_IDLE, rate=2.0, seconds=idle_seconds, persons=persons, orders_in_100=100, connections=1
            )
            idle_sent = send(idle_load)
            _wait_for_receipts(folder, idle_sent.orders)
            say(f"sending {rate:.0f} events/s for {seconds:.0f} s")
            before = cpu_s(server.pid)
            sent = send(msgspec.structs.replace(
                idle_load, name=_LOADED, rate=rate, seconds=seconds, orders_in_100=ORDERS_IN_100, connections=CONNECTIONS))  # fmt: skip
            used = cpu_s(server.pid) - before
            _wait_for_receipts(folder, idle_sent.orders + sent.orders)
            rss = peak_rss_mb(server.pid)
        idle, loaded = latencies(folder, _IDLE), latencies(folder, _LOADED)
        messages = _messages(folder)
    return _figures(idle, loaded, sent, used, rss, seconds, f"{persons:,} persons; {messages}")


def _messages(folder: Path) -> str:
    engine = DuckEngine.open(folder / STATE / "store.duckdb")
    moved, waves, ticks_at = engine.query(
        f"SELECT (SELECT count(*) FROM transition), (SELECT waves FROM clock), (SELECT count(*) FROM message WHERE wave > 0 AND pid >= {FIRST_PID})"
    )[0]
    engine.close()
    return f"{moved:,} moves and {ticks_at:,} messages in {waves:,} waves"


def _figures(
    idle: Measured, loaded: Measured, sent: Sent, used: float, rss: float, seconds: float, what: str
) -> list[Figure]:
    p50, p99 = percentile(loaded.latencies, 0.5), percentile(loaded.latencies, 0.99)
    base50, base99 = percentile(idle.latencies, 0.5), percentile(idle.latencies, 0.99)
    rate = sent.events / seconds
    lost = f"; {loaded.missing + idle.missing} RECEIPTS MISSING" if loaded.missing + idle.missing else ""
    collected = f"answer to the client p50 {number(sent.answer_ms[0])}, p99 {number(sent.answer_ms[1])} ms; sender late by {number(sent.late_ms)} ms at most"
    return [
        Figure(bench="live", name=f"accepted to channel, {rate:.0f} events/s, p50", value=p50, unit="ms", aim=P50_AIM_MS,
               baseline=f"idle server, {base50:.0f} ms ({len(idle.latencies)} orders)", ratio=p50 / base50, wall_s=seconds, cpu_s=used, rss_mb=rss,
               note=f"{len(loaded.latencies)} orders of {sent.events:,} events{lost}; {what}"),
        Figure(bench="live", name=f"accepted to channel, {rate:.0f} events/s, p99", value=p99, unit="ms", aim=P99_AIM_MS,
               baseline=f"idle server, {base99:.0f} ms", ratio=p99 / base99, note=f"worst {number(max(loaded.latencies))} ms; {collected}"),
    ]  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--persons", type=int, help="people in the store (100,000)")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=500.0, help="events a second")


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--send"]:
        sent = asyncio.run(_send(msgspec.json.decode(given[1], type=Load)))
        os.write(1, msgspec.json.encode(sent))
        return 0
    return run_module(given, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
