"""The command line with everything imported already: starting Python for each of some hundred commands takes minutes.

``python -m tests.acceptance.preloaded`` listens on a Unix socket whose path it is given, and forks for each command; it ends
when its standard input does. ``python -S -E preloaded.py SOCKET ...`` runs one command there, with this one's folder,
environment and standard streams, and ends with its exit code: what a shell sees is the command itself.
"""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import sys

_CRASHED = 70


def ask(path: str, arguments: list[str]) -> int:
    """Run a command with the streams of this process; its exit code."""
    said = json.dumps({"arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}).encode()  # noqa: PTH109  without pathlib it starts sooner
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        streams = array.array("i", [0, 1, 2])
        connection.sendmsg([len(said).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, streams)])
        connection.sendall(said)
        answer = connection.recv(1)
    return answer[0] if answer else _CRASHED


def serve(path: str) -> None:
    """Fork for each command that is asked for, until standard input ends."""
    import cadenza.surfaces.cli  # noqa: F401  what this is for

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(16)
        print("ready", flush=True)
        while True:
            waiting, _, _ = select.select([listening, sys.stdin], [], [])
            if listening not in waiting:
                return
            connection, _ = listening.accept()
            if os.fork() == 0:
                listening.close()
                _run(connection)
            connection.close()


def _run(connection: socket.socket) -> None:
    """Be the command. Does not return."""
    from cadenza.surfaces.cli import main

    code = _CRASHED
    try:
        size, streams, _, _ = socket.recv_fds(connection, 4, 3)
        said = b""
        while len(said) < int.from_bytes(size, "big"):
            said += connection.recv(1 << 16)
        wanted = json.loads(said)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(wanted["folder"])
        os.environ.clear()
        os.environ.update(wanted["environment"])
        sys.argv = ["cadenza", *wanted["arguments"]]
        try:
            code = main() or 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        connection.sendall(bytes([code]))
        os._exit(code)


if __name__ == "__main__":
    if __package__:
        serve(sys.argv[1])
    else:
        sys.exit(ask(sys.argv[1], sys.argv[2:]))
