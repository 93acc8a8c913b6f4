"""A site behind a real HTTP server; as a program: ``server.py FOLDER PORT`` serves until it is killed."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from cadenza.clock import SystemClock
from cadenza.definitions.project import Project
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.collect import Collector
from cadenza.surfaces.collect_http import App, collect_app

KEY = "WK"


@contextmanager
def serving(app: App) -> Iterator[str]:
    """The address of ``app`` behind uvicorn on a free port, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", access_log=False)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def main(folder: Path, listener: socket.socket) -> None:
    """Serve the log in ``folder`` on a listening socket handed over by the parent."""
    log = SqliteLog.open(folder / "log.db")
    collector = Collector(log, SystemClock(), Project)
    config = uvicorn.Config(collect_app(collector, {KEY: "web"}), log_level="error", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
