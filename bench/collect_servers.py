"""The servers of ``bench/collect.py``, each a process: ``python -m bench.collect_servers KIND FOLDER NUMBER DESCRIPTOR``."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import Any

import uvicorn

from cadenza.clock import SystemClock
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.ids import random_id
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.collect import Collector, Limits, journal_room
from cadenza.runtime.sequence import Sequencer
from cadenza.surfaces import collect_worker
from cadenza.surfaces.collect_http import collect_app
from cadenza.surfaces.collect_protocol import Front
from cadenza.surfaces.server import LONGEST_YIELD_S, SEQUENCE_S, SWITCH_S

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
PROJECT = Project(contracts=(CONTRACT,))
BACKLOG = "CADENZA_BENCH_BACKLOG"
"""Bytes that may wait for the log, where a benchmark bounds them."""
COUNTED = "postgres.json"
PATIENCE_S = 300


def listening_sockets(processes: int) -> list[socket.socket]:
    """One for each process, on one free port."""
    return collect_worker.listening_sockets(collect_worker.Fleet(workers=processes, host="127.0.0.1", port=0))


def serve(kind: str, folder: Path, number: int, listening: socket.socket) -> None:
    """One server process until SIGINT."""
    clock, journals = SystemClock(), folder / "journal"
    limits = Limits(backlog_bytes=int(os.environ.get(BACKLOG, Limits().backlog_bytes)))
    if kind == "postgres":
        from bench.collect_postgres import postgres_app

        app, http = postgres_app(folder, KEY), "httptools"
        _run(app, http, listening)
        return
    collector = Collector(
        JournalWriter.open(journals, f"b{number}", random_id()), clock, lambda: journal_room(journals, limits)
    )
    app, http = _app(kind, collector)
    stopping = threading.Event()
    moving = threading.Thread(target=_move, args=(folder, stopping))
    if kind == "cadenza":
        moving.start()
    _run(app, http, listening)
    collector.close()
    stopping.set()
    if kind == "cadenza":
        moving.join()


def _app(kind: str, collector: Collector) -> tuple[Any, Any]:
    if kind == "fastapi":
        from bench.collect_fastapi import fastapi_app

        return fastapi_app(collector, KEY), "httptools"
    if kind == "bare":
        return _bare, "httptools"
    app = collect_app(collector, {KEY: "web"})
    return app, Front(app, collector).protocol()


def _run(app: Any, http: Any, listening: socket.socket) -> None:
    config = uvicorn.Config(
        app, log_level="error", access_log=False, loop="uvloop", http=http, server_header=False, date_header=False
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            os.write(1, b"ready\n")

    with contextlib.suppress(KeyboardInterrupt):
        Server(config).run(sockets=[listening])


def _move(folder: Path, stopping: threading.Event) -> None:
    log = SqliteLog.open(folder / "log.db")
    sequencer = Sequencer(log, folder / "journal", SystemClock(), lambda: PROJECT)
    sys.setswitchinterval(SWITCH_S)
    while not stopping.is_set():
        began = time.monotonic()
        sequencer.catch_up(rounds=1)
        stopping.wait(min(max(time.monotonic() - began, SEQUENCE_S), LONGEST_YIELD_S))
    sequencer.close()
    log.close()


async def _bare(scope: Any, receive: Any, send: Any) -> None:
    """The floor: what the HTTP server itself costs."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    headers = [(b"content-type", b"application/json"), (b"content-length", b"16")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"success":true}'})


def take_in(kind: str, folder: Path, *, wait: bool) -> int:
    """How many events are there. ``wait``: until the server's own sequencer has moved everything; else what is still in
    journals is moved here."""
    if kind == "postgres":
        return json.loads((folder / COUNTED).read_text())
    log = SqliteLog.open(folder / "log.db")
    try:
        if wait:
            _wait_until_moved(folder / "journal", log)
        else:
            sequencer = Sequencer(log, folder / "journal", SystemClock(), lambda: PROJECT)
            sequencer.catch_up()
            sequencer.close()
        counts = log.stored_counts()
        assert counts.duplicate == counts.quarantined == 0
        return counts.stored
    finally:
        log.close()


def _wait_until_moved(journals: Path, log: SqliteLog) -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        read = log.journals_read()
        if all(read.get(path.name, 0) >= path.stat().st_size for path in journals.glob("*.journal")):
            return
        time.sleep(0.05)
    raise SystemExit("The sequencer did not catch up.")


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), socket.socket(fileno=int(sys.argv[4])))
