"""A process that has imported everything and forks the processes to be killed: two hundred starts would take minutes.

    python -m tests.chaos.zygote FOLDER COLLECTORS

Prints the port. Then each line on standard input starts a process: ``c1`` .. a collector, ``engine`` the engine; its
process id is printed, and ``gone PID`` once it has ended and its locks are free.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from pathlib import Path

from cadenza.surfaces.collect_worker import Fleet, listening_sockets, work
from cadenza.workspace import Workspace


def engine(folder: Path) -> None:
    """Take journals into the log and decide, for ever."""
    pause = threading.Event()
    with Workspace.open(folder) as workspace:
        while True:
            moved = workspace.sequencer.catch_up()
            if workspace.tick() is None and not moved:
                pause.wait(0.005)


def main(folder: Path, collectors: int) -> None:
    sockets = listening_sockets(Fleet(workers=collectors, host="127.0.0.1", port=0))
    say(sockets[0].getsockname()[1])
    signal.signal(signal.SIGCHLD, reap)
    for line in sys.stdin:
        name = line.strip()
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                if name == "engine":
                    engine(folder)
                else:
                    work(folder, name, sockets[int(name[1:]) - 1], lambda: None)
            except BaseException:
                traceback.print_exc()
            os._exit(1)
        say(f"pid {pid}")


def reap(*_: object) -> None:
    while True:
        try:
            pid, _status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        say(f"gone {pid}")


def say(what: object) -> None:
    os.write(1, f"{what}\n".encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
