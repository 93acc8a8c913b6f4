"""Collectors as processes of their own: ``cadenza collect``.

Each worker has a journal of its own and a listening socket of its own on the same port; the kernel spreads connections
over them. Workers know nothing of the store: the engine (``cadenza run``) moves their journals into the log, now or
whenever it runs again. The parent only starts them, and starts again those that end.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec

from cadenza.clock import Clock
from cadenza.errors import OperatingError
from cadenza.surfaces.collect_asked import declared_script
from cadenza.surfaces.collect_http import CollectApp, Receive, Scope, Send, collect_app
from cadenza.surfaces.collect_protocol import Front
from cadenza.surfaces.logs import set_up
from cadenza.surfaces.server import Http
from cadenza.workspace import Workspace

LONGEST_PAUSE_S = 5.0
STEADY_S = 10.0
"""A worker that ran this long had a good start: the next restart is quick again."""
_READY = b"ready\n"


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """How many workers, where they listen (port 0: any free one), and the beginning of their names."""

    workers: int
    host: str
    port: int
    name: str = "c"


def supervise(folder: Path, fleet: Fleet, clock: Clock, ready: Callable[[str], None]) -> None:
    """Run the workers until SIGINT or SIGTERM; ``ready`` is called with the URL once all of them answer. Raises
    OperatingError when the address cannot be used."""
    sockets = listening_sockets(fleet)
    host, port = sockets[0].getsockname()[:2]
    stopping = threading.Event()
    held = [signal.signal(number, lambda *_: stopping.set()) for number in (signal.SIGINT, signal.SIGTERM)]
    workers = [
        _Worker(folder, f"{fleet.name}{n}", listening, clock, stopping) for n, listening in enumerate(sockets, start=1)
    ]
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.wait_until_ready()
        if not stopping.is_set():
            ready(f"http://{'[' + host + ']' if ':' in host else host}:{port}")
        stopping.wait()
    finally:
        stopping.set()
        for worker in workers:
            worker.stop()
        for listening in sockets:
            listening.close()
        signal.signal(signal.SIGINT, held[0])
        signal.signal(signal.SIGTERM, held[1])


class _Worker:
    """One worker process, started again whenever it ends."""

    def __init__(
        self, folder: Path, name: str, listening: socket.socket, clock: Clock, stopping: threading.Event
    ) -> None:
        self._folder, self._name, self._listening = folder, name, listening
        self._clock, self._stopping = clock, stopping
        self._ready = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name=f"collector {name}")

    def start(self) -> None:
        self._thread.start()

    def wait_until_ready(self) -> None:
        while not self._ready.wait(0.1) and not self._stopping.is_set():
            continue

    def stop(self) -> None:
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
        self._thread.join()

    def _keep(self) -> None:
        pause = 0.1
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            process = self._process = self._started()
            assert process.stdout is not None
            if process.stdout.readline() == _READY:
                self._ready.set()
            if self._stopping.is_set():
                process.terminate()
            code = process.wait()
            process.stdout.close()
            if self._stopping.is_set():
                return
            print(f"collector {self._name} ended ({code}); it is started again.", file=sys.stderr, flush=True)
            pause = 0.1 if self._clock.monotonic() - began > STEADY_S else min(pause * 2, LONGEST_PAUSE_S)
            self._stopping.wait(pause)

    def _started(self) -> subprocess.Popen[bytes]:
        number = self._listening.fileno()
        command = [sys.executable, "-m", "cadenza.surfaces.collect_worker", str(self._folder), self._name, str(number)]
        # A group of its own: Ctrl-C reaches the parent, which tells the workers.
        return subprocess.Popen(command, pass_fds=[number], stdout=subprocess.PIPE, start_new_session=True)


def listening_sockets(fleet: Fleet) -> list[socket.socket]:
    """One for each worker, on one port. Raises OperatingError."""
    sockets: list[socket.socket] = []
    port = fleet.port
    try:
        family = socket.getaddrinfo(fleet.host, port, type=socket.SOCK_STREAM)[0][0]
        for _ in range(fleet.workers):
            listening = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if fleet.workers > 1:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listening.bind((fleet.host, port))
            listening.listen(1024)
            port = listening.getsockname()[1]
    except OSError as error:
        for listening in sockets:
            listening.close()
        raise OperatingError(
            f"port {port} on {fleet.host} cannot be used: {error.strerror or error}.", where="--port",
            remedy="Name another one with --port; 0 takes any free port.",
        ) from error  # fmt: skip
    return sockets


# --- the worker process -----------------------------------------------------------------------------


class _Checked:
    """Collection, and what a load balancer asks: ``GET /health/live`` and ``GET /health/ready``."""

    def __init__(self, collect: CollectApp, readiness: Callable[[], str | None]) -> None:
        self._collect, self._readiness = collect, readiness

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path") not in ("/health/live", "/health/ready", "/health"):
            await self._collect(scope, receive, send)
            return
        why = None if scope["path"] == "/health/live" else self._readiness()
        body = msgspec.json.encode({"status": "ok"} if why is None else {"status": "unavailable", "detail": why})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200 if why is None else 503, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def work(folder: Path, name: str, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Be one worker until SIGTERM. Raises OperatingError when nothing is deployed, LedgerError when another process has the
    name."""
    with Workspace.open(folder) as workspace:
        workspace.write_keys()
        collector = workspace.collector(name)
        script = declared_script(os.environ)
        collect = collect_app(collector, workspace.write_keys, script, workspace.screen, workspace.webhooks)
        front = Front(collect, collector)
        telling = workspace.operate.publisher(name, workspace.measures)
        telling.start()
        try:
            Http(_Checked(collect, collector.trouble), front.protocol(), ready).run_on(listening)
        finally:
            telling.close()
        collector.close()


def main(folder: Path, name: str, descriptor: int) -> None:
    """Be a worker on a listening socket handed over by the parent; says on standard output when it answers."""
    set_up("text")
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def ready() -> None:
        os.write(sys.stdout.fileno(), _READY)

    work(folder, name, socket.socket(fileno=descriptor), ready)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
