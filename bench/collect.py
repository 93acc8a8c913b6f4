"""Collection under load: durable events per second, beside FastAPI + pydantic with the same durability.

    python -m bench.collect [--seconds 8] [--connections 64] [--small] [--json]

Every figure is taken over HTTP on loopback, with one server process (uvicorn) and the load generator in another, on the
same cores. An event counts when its 200 has been read, which means it is on the disk (SQLite WAL, synchronous=FULL,
group commit). Both servers write to the same log with the same group commit; what differs is the way there. Every event
is checked against a contract in both. Message ids are all different; after each run the log is asked whether it holds
exactly the acknowledged events.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import uvicorn
import uvloop

from bench.figures import Figure, cpu_s, peak_rss_mb, run_module
from cadenza.clock import SystemClock
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.ids import random_id
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.collect import Collector, Limits, journal_room
from cadenza.runtime.sequence import Sequencer
from cadenza.surfaces.collect_http import collect_app
from cadenza.surfaces.collect_protocol import Front

AIMS = {"single": 8_000, "batch": 150_000}
RATIO_AIM = 4
KEY = "bench-key"
CONTRACT = Contract(
    name="Order Completed",
    properties={
        "order_id": Property(type="string", required=True, max_length=64),
        "revenue": Property(type="decimal", required=True, minimum=0),
        "currency": Property(type="string", enum=("EUR", "GBP", "USD")),
        "products": Property(type="array"),
    },
)
MARK = "@@@@@@@@@@@@"


def event(slot: int) -> dict[str, Any]:
    """An order as segment-node would send it (about 480 bytes); MARK makes its message id unique per request."""
    return {
        "type": "track", "event": "Order Completed", "userId": f"user-{slot * 7919 % 100_000}",
        "anonymousId": "f3c0b8a2-54f1-4f0e-9f53-0c2b7a0f3f11", "messageId": f"node-next-1795308926109-{MARK}-{slot:04d}",
        "timestamp": "2026-01-15T12:00:00.000Z",
        "properties": {"order_id": f"o-{slot}", "revenue": 99.9, "currency": "EUR",
                       "products": [{"product_id": "p1", "sku": "S1", "price": 49.95, "quantity": 2}]},
        "context": {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0",
                    "library": {"name": "@segment/analytics-node", "version": "3.1.0"}},
    }  # fmt: skip


def pieces(batch: int | None) -> list[bytes]:
    """The body of a request, cut where the unique part belongs."""
    value = (
        event(0) if batch is None else {"batch": [event(i) for i in range(batch)], "sentAt": "2026-01-15T12:00:01.000Z"}
    )
    return json.dumps(value, separators=(",", ":")).encode().split(MARK.encode())


# --- the servers ----------------------------------------------------------------------------------


def serve(kind: str, folder: Path, port: int) -> None:
    """One server process until SIGINT: ``collector`` keeps requests in its journal, ``cadenza`` moves them to the log as
    well (as ``cadenza run`` does)."""
    log = SqliteLog.open(folder / "log.db")
    project, clock, limits = Project(contracts=(CONTRACT,)), SystemClock(), Limits()
    journal = JournalWriter.open(folder / "journal", f"c{port}", random_id())
    collector = Collector(journal, clock, lambda: journal_room(folder / "journal", limits))
    sequencer = Sequencer(log, folder / "journal", clock, lambda: project)
    stopping = threading.Event()
    moving = threading.Thread(target=_move, args=(sequencer, stopping))
    http: Any = "httptools"
    if kind == "bare":
        app: Any = _bare
    elif kind == "fastapi":
        from bench.collect_fastapi import fastapi_app

        app = fastapi_app(collector, KEY)
    else:
        app = collect_app(collector, {KEY: "web"})
        http = Front(app, collector).protocol()
    if kind != "collector":
        moving.start()
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="error", access_log=False, loop="uvloop", http=http
    )
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run()
    collector.close()
    stopping.set()
    if kind != "collector":
        moving.join()
    log.close()


def _move(sequencer: Sequencer, stopping: threading.Event) -> None:
    while not stopping.is_set():
        if not sequencer.catch_up():
            stopping.wait(0.01)


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    """The floor: what the HTTP server itself costs."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"success":true}'})


# --- the load -------------------------------------------------------------------------------------


class _Connection(asyncio.Protocol):
    """Sends a request, waits for its answer, sends the next: a closed loop."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.transport: Any = None
        self.started = 0.0
        self.buffer = b""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        if self.load.over:
            self.transport.close()
            return
        self.started = time.perf_counter()
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, end, body = self.buffer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        if not end or len(body) < int(length):
            return
        self.buffer = b""
        self.load.answered(head, time.perf_counter() - self.started)
        self.send()


class Load:
    """A closed-loop load of one kind of request over some connections."""

    def __init__(self, path: str, batch: int | None, name: str) -> None:
        self.parts, self.name, self.sent, self.over = pieces(batch), name, 0, False
        body = len(MARK.encode().join(self.parts))
        auth = b64encode(f"{KEY}:".encode()).decode()
        self.head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {auth}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {body}\r\n\r\n"
        ).encode()
        self.latencies: list[float] = []
        self.refused = 0

    def request(self) -> bytes:
        self.sent += 1
        return self.head + f"{self.name}{self.sent:0{len(MARK) - len(self.name)}d}".encode().join(self.parts)

    def answered(self, data: bytes, seconds: float) -> None:
        if data.startswith(b"HTTP/1.1 200"):
            self.latencies.append(seconds)
        else:
            self.refused += 1


async def _drive(load: Load, port: int, seconds: float, connections: int) -> float:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    links = [await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port) for _ in range(connections)]
    await asyncio.sleep(seconds)
    load.over = True
    elapsed = time.perf_counter() - started
    while any(not transport.is_closing() for transport, _ in links):
        await asyncio.sleep(0.01)
    return elapsed


def drive(port: int, batch: int | None, seconds: float, connections: int, name: str) -> dict[str, Any]:
    """Run one load; events acknowledged per second and latencies in ms."""
    load = Load("/v1/track" if batch is None else "/v1/batch", batch, name)
    elapsed = uvloop.run(_drive(load, port, seconds, connections))
    ordered, per = sorted(load.latencies), batch or 1
    if not ordered:
        raise SystemExit(f"No request was acknowledged; {load.refused} were refused.")
    return {
        "events": len(ordered) * per, "events_per_s": round(len(ordered) * per / elapsed), "refused": load.refused,
        "p50_ms": round(1e3 * ordered[len(ordered) // 2], 2), "p99_ms": round(1e3 * ordered[int(len(ordered) * 0.99)], 2),
    }  # fmt: skip


def measure(kind: str, seconds: float, connections: int) -> dict[str, Any]:
    """Single events, then batches of 100, against one server; then what the log holds."""
    with tempfile.TemporaryDirectory() as folder:
        port = _free_port()
        command = [sys.executable, "-m", "bench.collect", "--serve", kind, folder, str(port)]
        server = subprocess.Popen(
            command,
            cwd=Path(__file__).parent.parent,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parent.parent / "src"), str(Path(__file__).parent.parent)]
                )
            },
        )
        try:
            _wait_for(port)
            drive(port, None, 1.0, connections, "w")
            drive(port, 100, 1.0, 32, "v")
            single = _with_cpu(server.pid, lambda: drive(port, None, seconds, connections, "s"))
            batch = _with_cpu(server.pid, lambda: drive(port, 100, seconds, 32, "b"))
            rss = peak_rss_mb(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
        log = SqliteLog.open(Path(folder) / "log.db")
        stored = log.stored_counts()
        log.close()
    return {"single": single, "batch": batch, "rss_mb": rss, "stored": stored.stored, "duplicate": stored.duplicate}


def _with_cpu(pid: int, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures of ``run`` with the server's processor time per event (µs)."""
    before = cpu_s(pid)
    figures = run()
    return figures | {"cpu_us": round(1e6 * (cpu_s(pid) - before) / figures["events"], 2)}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_for(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("The server did not start.")


def figures(options: argparse.Namespace) -> list[Figure]:
    """Both servers under both loads; the ratio is to FastAPI + pydantic in the same run."""
    seconds = 1.5 if options.small else options.seconds
    kinds = [options.only] if options.only else ["cadenza", "fastapi"]
    measured = {kind: measure(kind, seconds, options.connections) for kind in kinds}
    found = []
    for kind, values in measured.items():
        for shape in ("single", "batch"):
            row, peer = values[shape], measured.get("fastapi") if kind == "cadenza" else None
            rate = peer[shape]["events_per_s"] if peer else None
            found.append(Figure(
                bench="collect", name=f"{kind}, {'single events' if shape == 'single' else 'batches of 100'}", value=row["events_per_s"],
                unit="events/s", better="more", aim=AIMS[shape] if kind == "cadenza" else None,
                baseline=f"FastAPI + pydantic, {rate:,} events/s" if rate else "", ratio=row["events_per_s"] / rate if rate else None,
                ratio_better="more", ratio_aim=RATIO_AIM if rate else None, wall_s=seconds, cpu_s=row["cpu_us"] * row["events"] / 1e6,
                rss_mb=values["rss_mb"],
                note=f"{row['cpu_us']} µs CPU an event, p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms; {values['stored']:,} stored, {values['duplicate']} duplicates",
            ))  # fmt: skip
    return found


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--connections", type=int, default=64, help="for single events; batches use 32")
    parser.add_argument("--only", choices=["bare", "collector", "cadenza", "fastapi"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    given = list(sys.argv[1:] if argv is None else argv)
    if given[:1] == ["--serve"]:
        serve(given[1], Path(given[2]), int(given[3]))
        return 0
    return run_module(given, __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
