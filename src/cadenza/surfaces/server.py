"""One process that does everything: collects, decides, delivers, answers.

The main thread answers HTTP (collection and read API). One thread ticks, back to back while there is work; one
thread delivers. They meet in the log, the store and the outbox only. Stopping is graceful: no new requests, what
was accepted is durable, the tick under way ends, calls under way end.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from cadenza.clock import iso
from cadenza.errors import OperatingError
from cadenza.surfaces.api import LOOPBACK, api_app
from cadenza.surfaces.collect_http import App, Receive, Scope, Send, collect_app
from cadenza.surfaces.collect_protocol import Front
from cadenza.surfaces.collect_routes import owns
from cadenza.surfaces.logs import Trouble, event
from cadenza.surfaces.mailbox_routes import mailbox_routes
from cadenza.workspace import (
    STATE,
    Deliverer,
    ServerInfo,
    TickReport,
    Workspace,
    announce_server,
    find_server,
    withdraw_server,
)  # fmt: skip

_log = logging.getLogger("cadenza.server")

MIN_INTERVAL_S = 0.1
"""Seconds between two live ticks at least, so that what comes together is decided together."""
SEQUENCE_S = 0.01
"""Seconds between two looks into the collectors' journals when the last one found nothing."""
SLOW_S = 1.0
"""A tick that takes longer is worth a line in the log."""
LONGEST_YIELD_S = 0.05
SWITCH_S = 0.001
"""How long a thread may keep the interpreter from another that wants it. The default of 5 ms is a long time to an answer."""
GC_OBJECTS = 20_000
LONGEST_PAUSE_S = 30.0
"""After trouble the tick waits twice as long each time, at most this."""
LOOK_S = 60.0
"""Seconds between two looks whether the daily care is due."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the server listens (port 0: any free one), and the token of its read API (None: open, loopback only)."""

    host: str = "127.0.0.1"
    port: int = 8400
    token: str | None = None
    script: Path | None = None
    """The file served as analytics.min.js; None: none is."""


class Server:
    """Serves one project until it is told to stop."""

    def __init__(self, workspace: Workspace, settings: Settings) -> None:
        self._workspace, self._settings = workspace, settings
        self._stopping = threading.Event()
        self._trouble = Trouble(_log, workspace.folder / STATE / "trouble.txt")
        self._deliverer: Deliverer | None = None
        self._ticking = threading.Thread(target=self._tick_loop, name="tick")
        self._caring = threading.Thread(target=self._care_loop, name="care")

    def run(self, ready: Callable[[str], None]) -> None:
        """Serve until SIGINT or SIGTERM; ``ready`` is called with the URL once requests are answered. Raises
        OperatingError when the address cannot be used, when another server holds the project, or nothing is deployed."""
        self._refuse_second()
        # Opens the store and learns the project in force, before anybody can ask.
        self._workspace.tick()
        self._workspace.deployed()
        listening = self._listen()
        host, port = listening.getsockname()[:2]
        url = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
        info = ServerInfo(
            url=url, pid=os.getpid(), started_at=iso(self._workspace.clock.now()), token=self._settings.token
        )
        announce_server(self._workspace.folder, info)
        event(_log, logging.INFO, "started", url=url, pid=info.pid)
        try:
            self._serve(listening, lambda: ready(url))
        finally:
            withdraw_server(self._workspace.folder)
            event(_log, logging.INFO, "stopped")

    def readiness(self) -> str | None:
        """Why the server is not ready, or None."""
        if self._stopping.is_set():
            return "The server is stopping."
        if not self._ticking.is_alive():
            return "The tick is not running."
        if self._deliverer is None:
            return "Delivery is not running."
        return self._trouble.says() or (
            "Delivery cannot use the ledger; 'cadenza doctor' looks why." if self._deliverer.trouble else None
        )

    # --- the three loops --------------------------------------------------------------------------------

    def _serve(self, listening: socket.socket, ready: Callable[[], None]) -> None:
        collector = self._workspace.collector()
        collect = collect_app(
            collector, self._workspace.write_keys, self._settings.script, self._workspace.screen,
            self._workspace.webhooks,
        )  # fmt: skip
        front = Front(collect, collector)
        mailbox = self._workspace.mailbox()
        api = api_app(self._workspace, self._settings.token, self.readiness, mailbox_routes(mailbox))
        http = Http(Dispatch(collect, api), front.protocol(), ready)
        delivering = threading.Thread(target=self._deliver, name="deliver")
        sequencing = threading.Thread(target=self._sequence_loop, name="sequence")
        sequencing.start()
        self._ticking.start()
        self._caring.start()
        delivering.start()
        try:
            http.run_on(listening)
        finally:
            collector.close()
            self._stopping.set()
            sequencing.join()
            self._stop_delivery()
            self._ticking.join()
            self._caring.join()
            delivering.join()
            asyncio.run(mailbox.close())

    def _sequence_loop(self) -> None:
        """Move what collectors accept into the log, also those that run as processes of their own."""
        clock, pause = self._workspace.clock, SEQUENCE_S
        while not self._stopping.is_set():
            began = clock.monotonic()
            try:
                moved = self._workspace.sequencer.catch_up(rounds=1)
            except Exception as error:
                pause = self._in_trouble("log", error, max(pause, MIN_INTERVAL_S))
                continue
            self._trouble.ends("log")
            pause = SEQUENCE_S
            took = clock.monotonic() - began
            if moved:
                self._workspace.measures.sequenced(moved, took)
            # As long as it took: half of the interpreter is for those who collect, tick and answer meanwhile.
            self._stopping.wait(min(max(took, SEQUENCE_S), LONGEST_YIELD_S))

    def _tick_loop(self) -> None:
        clock, pause = self._workspace.clock, MIN_INTERVAL_S
        while not self._stopping.is_set():
            began = clock.monotonic()
            try:
                report = self._workspace.tick()
            except Exception as error:
                pause = self._in_trouble("tick", error, pause)
                continue
            self._trouble.ends("tick")
            pause, took = MIN_INTERVAL_S, clock.monotonic() - began
            if report is not None:
                self._ticked(report, took)
            if report is None or not report.more:
                self._stopping.wait(max(0.0, MIN_INTERVAL_S - took))

    def _care_loop(self) -> None:
        """Archive and forget as declared, once a day. Trouble there stops nothing else, and readiness does not mind it."""
        upkeep, trouble = self._workspace.care.upkeep(), Trouble(_log, self._trouble.file)
        while not self._stopping.wait(LOOK_S):
            try:
                upkeep.step()
            except Exception as error:
                trouble.begins("care", error)
                continue
            trouble.ends("care")

    def _ticked(self, report: TickReport, seconds: float) -> None:
        self._workspace.measures.ticked(report, seconds)
        if self._deliverer is not None:
            self._deliverer.wake()
        if seconds > SLOW_S:
            event(
                _log, logging.INFO, "slow tick", seconds=round(seconds, 3), records=report.records, waves=report.waves
            )

    def _in_trouble(self, loop: str, error: Exception, pause: float) -> float:
        """Say it once, wait, and give the next wait. Collection goes on: its journal keeps everything."""
        self._trouble.begins(loop, error)
        self._workspace.measures.failed(loop, type(error).__name__)
        self._stopping.wait(pause)
        return min(pause * 2, LONGEST_PAUSE_S)

    def _deliver(self) -> None:
        asyncio.run(self._deliver_until_stopped())

    async def _deliver_until_stopped(self) -> None:
        self._delivery_loop, self._delivery_stop = asyncio.get_running_loop(), asyncio.Event()
        if self._stopping.is_set():
            return
        self._deliverer = self._workspace.deliverer()
        try:
            await self._deliverer.run(self._delivery_stop)
        finally:
            await self._deliverer.close()

    def _stop_delivery(self) -> None:
        loop: Any = getattr(self, "_delivery_loop", None)
        if loop is not None:
            with suppress(RuntimeError):  # it has ended by itself
                loop.call_soon_threadsafe(self._delivery_stop.set)

    # --- starting -----------------------------------------------------------------------------------------

    def _refuse_second(self) -> None:
        other = find_server(self._workspace.folder)
        if other is not None:
            raise OperatingError(
                f"a server already serves this project at {other.info.url}.", where=str(self._workspace.folder),
                remedy=f"Use that one, or stop it first (process {other.info.pid}).",
            )  # fmt: skip

    def _listen(self) -> socket.socket:
        host, port = self._settings.host, self._settings.port
        if self._settings.token is None and host not in LOOPBACK:
            raise OperatingError(
                f"without a token the server listens on loopback only, not on {host}.", where="--host",
                remedy="Set CADENZA_API_TOKEN to guard the read API.",
            )  # fmt: skip
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            listening = socket.socket(family, socket.SOCK_STREAM)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
        except OSError as error:
            raise OperatingError(
                f"port {port} on {host} cannot be used: {error.strerror or error}.", where="--port",
                remedy="Name another one with --port; 0 takes any free port.",
            ) from error  # fmt: skip
        return listening


class Dispatch:
    """What collection owns (``collect_routes.ROOTS``) is collection, everything else the read API."""

    def __init__(self, collect: App, api: Any) -> None:
        self._collect, self._api = collect, api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._collect if owns(scope.get("path", "")) else self._api
        await app(scope, receive, send)


class Http(uvicorn.Server):
    """uvicorn, telling when it answers, and leaving the process alive after a signal so that everything else can end."""

    def __init__(self, app: Any, http: Any, ready: Callable[[], None]) -> None:
        super().__init__(uvicorn.Config(
            app, loop="uvloop", http=http, ws="none", lifespan="off", access_log=False, log_config=None,
            server_header=False, date_header=False, timeout_graceful_shutdown=10,
        ))  # fmt: skip
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is loaded by now stays: the collector of cycles need not look at it again, and what requests leave behind
        # has no cycles. With the default of 700 objects it would run thousands of times a second under load.
        sys.setswitchinterval(SWITCH_S)
        gc.freeze()
        gc.set_threshold(GC_OBJECTS, 20, 50)
        self._ready()

    def run_on(self, listening: socket.socket) -> None:
        # uvicorn raises the signal again when it is done; a plain SIGTERM would then end us before the threads do.
        held = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            with suppress(KeyboardInterrupt):
                self.run(sockets=[listening])
        finally:
            gc.unfreeze()  # else the engine's objects outlive the interpreter, which complains
            signal.signal(signal.SIGTERM, held)
