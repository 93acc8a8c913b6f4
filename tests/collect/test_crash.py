"""kill -9 at every fault point of collection, under load: what was acknowledged is there exactly once."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from cadenza.clock import SystemClock
from cadenza.definitions.project import Project
from cadenza.faults import FAULT_POINTS, VARIABLE
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.sequence import Sequencer

ROOT = Path(__file__).parents[2]
POINTS = sorted(point for point in FAULT_POINTS if point.startswith(("collect.", "journal.", "sequence.", "log.")))
CLIENTS = 6
EACH = 40
PER_REQUEST = 3
AUTH = "Basic " + base64.b64encode(b"WK:").decode()


class Server:
    """A collector in a process of its own, on a socket that stays open while it is restarted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, fault: str = "") -> None:
        number = self.listener.fileno()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.collect.server", str(self.folder), str(number)], pass_fds=[number], cwd=ROOT,
            env=os.environ | {VARIABLE: fault, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        )  # fmt: skip

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(60)

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.wait()


def body(client: int, number: int) -> bytes:
    calls = [
        {
            "type": "track",
            "event": "E",
            "userId": f"u{client}",
            "messageId": f"{client}-{number}-{i}",
            "properties": {"n": i},
        }
        for i in range(PER_REQUEST)
    ]
    return json.dumps({"batch": calls}).encode()


def send(port: int, client: int, numbers: range, acknowledged: set[tuple[int, int]]) -> None:
    """Send requests one after the other until the server is gone; remember which were acknowledged."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for number in numbers:
            connection.request("POST", "/v1/batch", body(client, number), {"Authorization": AUTH})
            if connection.getresponse().read() == b'{"success":true}':
                acknowledged.add((client, number))
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


def load(port: int, acknowledged: set[tuple[int, int]]) -> list[threading.Thread]:
    threads = [
        threading.Thread(target=send, args=(port, client, range(EACH), acknowledged)) for client in range(CLIENTS)
    ]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize("passage", [1, 4])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_fault_point(tmp_path, point, passage):
    server = Server(tmp_path)
    acknowledged: set[tuple[int, int]] = set()
    try:
        server.start(f"{point}:{passage}:kill")
        threads = load(server.port, acknowledged)
        assert server.wait() == -signal.SIGKILL
        # Those that wait in the backlog are served by the next process, as behind a load balancer.
        server.start()
        for thread in threads:
            thread.join(60)
        server.stop()
        assert_each_acknowledged_once(tmp_path, acknowledged)
        assert len(acknowledged) < CLIENTS * EACH, "the kill hit somebody"
        server.start()
        for client in range(CLIENTS):
            send(server.port, client, range(EACH), acknowledged)
        assert len(acknowledged) == CLIENTS * EACH
    finally:
        server.stop()
        server.listener.close()
    log = assert_each_acknowledged_once(tmp_path, acknowledged)
    assert len(log) == CLIENTS * EACH * PER_REQUEST


def assert_each_acknowledged_once(folder: Path, acknowledged: set[tuple[int, int]]) -> list[str]:
    log = SqliteLog.open(folder / "log.db", writer="test")
    # As the engine does before anything else: what was accepted before the kill comes into the log.
    sequencer = Sequencer(log, folder / "journal", SystemClock(), Project)
    sequencer.catch_up()
    sequencer.close()
    records = log.read(0, 1_000_000)
    counts = log.stored_counts()
    log.close()
    ids = [record.message_id for record in records]
    assert len(ids) == len(set(ids)), "doubled"
    assert {f"{c}-{n}-{i}" for c, n in acknowledged for i in range(PER_REQUEST)} <= set(ids), "lost"
    assert [record.offset for record in records] == list(range(1, len(records) + 1))
    assert counts.received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected
    assert counts.stored == len(records)
    # A request is one transaction: never a part of it.
    assert all(
        sum(i.startswith(f"{c}-{n}-") for i in ids) in (0, PER_REQUEST) for c in range(CLIENTS) for n in range(EACH)
    )
    return ids
