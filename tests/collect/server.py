"""A site behind a real HTTP server; as a program: ``server.py FOLDER PORT`` serves until it is killed."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from cadenza.clock import SystemClock
from cadenza.definitions.project import Project
from cadenza.ids import random_id
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.collect import Collector
from cadenza.runtime.sequence import Sequencer
from cadenza.surfaces.collect_http import App, collect_app
from cadenza.surfaces.collect_protocol import Front

KEY = "WK"


@contextmanager
def serving(app: App, http: Any = "auto") -> Iterator[str]:
    """The address of ``app`` behind uvicorn on a free port, in a thread; ``http``: the class of its connections."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="error", access_log=False, http=http)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(30)


def main(folder: Path, listener: socket.socket) -> None:
    """Serve a journal in ``folder`` on a listening socket handed over by the parent, and move it to the log."""
    log = SqliteLog.open(folder / "log.db")
    collector = Collector(JournalWriter.open(folder / "journal", "test", random_id()), SystemClock(), lambda: None)
    sequencer = Sequencer(log, folder / "journal", SystemClock(), Project)
    threading.Thread(target=_move, args=(sequencer,), daemon=True).start()
    app = collect_app(collector, {KEY: "web"})
    config = uvicorn.Config(app, log_level="error", access_log=False, http=Front(app, collector).protocol())
    uvicorn.Server(config).run(sockets=[listener])


def _move(sequencer: Sequencer) -> None:
    pause = threading.Event()
    while True:
        if not sequencer.catch_up():
            pause.wait(0.005)


if __name__ == "__main__":
    main(Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2])))
