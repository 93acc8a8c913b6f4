"""Collection under load: durable events per second, beside FastAPI + pydantic and Starlette + PostgreSQL.

    python -m bench.collect [--seconds 6] [--connections 64] [--only KIND] [--small] [--json]

Every figure is taken over HTTP on loopback, with the load generator in a process of its own, on the same cores. An event
counts when its 200 has been read, which means it is on the disk. Servers:

- ``collector``: ``cadenza collect``, in 1, 2 and 4 processes. What it accepted is in its journals; ``bench.take_in``
  says how fast the engine takes journals into the log.
- ``cadenza``: one process that collects and takes in, as ``cadenza run`` does. Its steady rate is shown too: everything
  accepted, divided by the time until all of it is in the log.
- ``fastapi``: FastAPI + pydantic with the same journal, one process.
- ``postgres``: Starlette that inserts into PostgreSQL 18 (synchronous_commit on), one process beside the server's.

Message ids are all different; after each run the log (or the table) is asked whether it holds exactly the acknowledged
events. ``p99 at half load``: an open loop at half the rate just seen, latency counted from when a request was due.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from bench.collect_servers import KEY, listening_sockets, take_in
from bench.figures import Figure, child_environment, cpu_s, peak_rss_mb, run_module

AIMS = {"single": 15_000, "batch": 300_000}
"""The aims of issue 3 for Cadenza's collectors; issue 2 asked one process for 8,000 and 150,000."""
RATIO_AIM = 4
P99_AIM_MS = 25.0
RSS_AIM_MB = 500.0
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


class _Paced(_Connection):
    """Sends when a request is due, or as soon as it can after that; latency counts from when it was due."""

    def __init__(self, load: Load, first: float, every: float) -> None:
        super().__init__(load)
        self.due, self.every = first, every

    def send(self) -> None:
        now = time.perf_counter()
        if self.load.over:
            self.transport.close()
        elif now < self.due:
            asyncio.get_running_loop().call_later(self.due - now, self.send)
        else:
            self.started, self.due = self.due, self.due + self.every
            self.transport.write(self.load.request())


async def _drive(load: Load, port: int, seconds: float, connections: int, rate: float | None) -> float:
    loop = asyncio.get_running_loop()
    started = time.perf_counter()

    def connection(n: int) -> _Connection:
        if rate is None:
            return _Connection(load)
        return _Paced(load, started + 0.2 + n / rate, connections / rate)

    links = [await loop.create_connection(lambda n=n: connection(n), "127.0.0.1", port) for n in range(connections)]
    await asyncio.sleep(seconds)
    load.over = True
    elapsed = time.perf_counter() - started
    while any(not transport.is_closing() for transport, _ in links):
        await asyncio.sleep(0.01)
    return elapsed


def drive(
    port: int, batch: int | None, seconds: float, connections: int, name: str, rate: float | None = None
) -> dict[str, Any]:
    """Run one load, a closed loop or ``rate`` requests a second; events acknowledged per second and latencies in ms."""
    load = Load("/v1/track" if batch is None else "/v1/batch", batch, name)
    elapsed = uvloop.run(_drive(load, port, seconds, connections, rate))
    ordered, per = sorted(load.latencies), batch or 1
    if not ordered:
        raise SystemExit(f"No request was acknowledged; {load.refused} were refused.")
    return {
        "events": len(ordered) * per, "events_per_s": round(len(ordered) * per / elapsed), "refused": load.refused,
        "p50_ms": round(1e3 * ordered[len(ordered) // 2], 2), "p99_ms": round(1e3 * ordered[int(len(ordered) * 0.99)], 2),
    }  # fmt: skip


@contextmanager
def servers(
    kind: str, folder: Path, processes: int, **environment: str
) -> Iterator[tuple[int, list[subprocess.Popen[bytes]]]]:
    """Server processes on one port, ready; ended in order."""
    sockets = listening_sockets(processes)
    started = []
    try:
        for n, listening in enumerate(sockets):
            number = listening.fileno()
            command = [sys.executable, "-m", "bench.collect_servers", kind, str(folder), str(n), str(number)]
            started.append(subprocess.Popen(
                command, cwd=Path(__file__).parent.parent, env=child_environment() | environment, pass_fds=[number], stdout=subprocess.PIPE,
            ))  # fmt: skip
        for server in started:
            assert server.stdout is not None
            if server.stdout.readline() != b"ready\n":
                raise SystemExit(f"The {kind} server did not start.")
        yield sockets[0].getsockname()[1], started
    finally:
        for server in started:
            server.send_signal(signal.SIGINT)
        for server in started:
            server.wait(120)
            assert server.stdout is not None
            server.stdout.close()
        for listening in sockets:
            listening.close()


def measure(kind: str, processes: int, seconds: float, connections: int) -> dict[str, Any]:
    """Single events, batches of 100, and both at half load; then whether everything acknowledged is there."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with servers(kind, folder, processes) as (port, started):
            pids = [server.pid for server in started]
            acknowledged = drive(port, None, 0.7, connections, "w")["events"] + drive(port, 100, 0.7, 32, "v")["events"]
            measured: dict[str, Any] = {}
            for shape, batch, over in (("single", None, connections), ("batch", 100, 32)):
                measured[shape] = _with_cpu(pids, lambda b=batch, c=over, s=shape: drive(port, b, seconds, c, s[0]))
                acknowledged += measured[shape]["events"]
                if kind in ("collector", "cadenza"):
                    rate = measured[shape]["events_per_s"] / (batch or 1) / 2
                    half = drive(port, batch, seconds / 2, over, shape[1], rate)
                    measured[shape]["half_p99_ms"] = half["p99_ms"]
                    acknowledged += half["events"]
            measured["rss_mb"] = sum(peak_rss_mb(pid) for pid in pids)
            began = time.perf_counter()
            behind = take_in(kind, folder, wait=True) if kind == "cadenza" else 0.0
            measured["behind_s"] = round(behind and time.perf_counter() - began, 1)
        stored = take_in(kind, folder, wait=False)
        if stored != acknowledged:
            raise SystemExit(f"{kind}: {acknowledged:,} events were acknowledged and {stored:,} are there.")
    return measured | {"stored": stored}


def _with_cpu(pids: Sequence[int], run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The figures of ``run`` with the servers' processor time per event (µs)."""
    before = sum(map(cpu_s, pids))
    figures = run()
    return figures | {"cpu_us": round(1e6 * (sum(map(cpu_s, pids)) - before) / figures["events"], 2)}


FULL = (("collector", 1), ("collector", 2), ("collector", 4), ("cadenza", 1), ("fastapi", 1), ("postgres", 1))


def figures(options: argparse.Namespace) -> list[Figure]:
    """Every server under both loads; ratios are to FastAPI + pydantic in the same run."""
    seconds = 1.5 if options.small else options.seconds
    chosen = [(kind, n) for kind, n in FULL if options.only in (None, kind)]
    if options.small:
        chosen = [
            (kind, n) for kind, n in chosen if (kind, n) not in (("collector", 1), ("collector", 4), ("postgres", 1))
        ]
    measured = {(kind, n): measure(kind, n, seconds, options.connections) for kind, n in chosen}
    return [
        figure
        for (kind, n), values in measured.items()
        for shape in ("single", "batch")
        for figure in _figures(kind, n, shape, values, measured.get(("fastapi", 1)), seconds)
    ]


def _figures(
    kind: str, n: int, shape: str, values: dict[str, Any], fastapi: dict[str, Any] | None, seconds: float
) -> Iterator[Figure]:
    row, ours = values[shape], kind in ("collector", "cadenza")
    rate = fastapi[shape]["events_per_s"] if fastapi and ours else None
    what = f"{kind} x{n}, {'single events' if shape == 'single' else 'batches of 100'}"
    yield Figure(
        bench="collect", name=what, value=row["events_per_s"], unit="events/s", better="more",
        aim=AIMS[shape] if kind == "collector" else None,
        baseline=f"FastAPI + pydantic, {rate:,} events/s" if rate else "", ratio=row["events_per_s"] / rate if rate else None,
        ratio_better="more", ratio_aim=RATIO_AIM if rate else None, wall_s=seconds, cpu_s=row["cpu_us"] * row["events"] / 1e6,
        rss_mb=values["rss_mb"],
        note=f"{row['cpu_us']} µs CPU an event, p50 {row['p50_ms']} ms, p99 {row['p99_ms']} ms; {values['stored']:,} stored"
        + (f"; all in the log {values['behind_s']} s after the last load" if kind == "cadenza" else ""),
    )  # fmt: skip
    if "half_p99_ms" in row:
        yield Figure(
            bench="collect", name=f"{what}, p99 at half load", value=row["half_p99_ms"], unit="ms", better="less",
            aim=P99_AIM_MS, rss_mb=values["rss_mb"],
        )  # fmt: skip


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--connections", type=int, default=64, help="for single events; batches use 32")
    parser.add_argument("--only", choices=["bare", "collector", "cadenza", "fastapi", "postgres"])


def main(argv: Sequence[str] | None = None) -> int:
    """Run this benchmark."""
    return run_module(list(sys.argv[1:] if argv is None else argv), __doc__ or "", figures, _options)


if __name__ == "__main__":
    sys.exit(main())
