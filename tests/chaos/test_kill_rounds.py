"""kill -9, again and again, of collectors and engine under load: nothing lost, nothing doubled, the store a function of
the log.

``CADENZA_ROUNDS`` (200) and ``CADENZA_CHAOS_SEED`` (printed) repeat a run; ``make chaos`` runs for longer.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import queue
import random
import secrets
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import pytest

from cadenza.workspace import Workspace

ROOT = Path(__file__).parents[2]
ROUNDS = int(os.environ.get("CADENZA_ROUNDS", "200"))
COLLECTORS, CLIENTS, PER_REQUEST = 2, 4, 3
AUTH = {"Authorization": "Basic " + base64.b64encode(b"starter-write-key:").decode()}
PATIENCE_S = 120

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("chaos")]


class Zygote:
    """Starts and kills the processes."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.zygote", str(folder), str(COLLECTORS)], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
        )  # fmt: skip
        self.said: queue.Queue[str] = queue.Queue()
        self.reader = threading.Thread(target=self._read)
        self.reader.start()
        self.port = int(self.said.get(timeout=PATIENCE_S))
        self.running: dict[str, int] = {}
        self.gone: set[int] = set()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.put(line.strip())

    def start(self, name: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        self._until(lambda said: said.startswith("pid "))
        self.running[name] = self.last

    def kill(self, name: str) -> None:
        pid = self.running.pop(name)
        if pid not in self.gone:
            os.kill(pid, signal.SIGKILL)
        while pid not in self.gone:
            self._until(lambda said: said.startswith("gone "))

    def _until(self, wanted) -> None:
        while True:
            said = self.said.get(timeout=PATIENCE_S)
            self.last = int(said.split()[1])
            if said.startswith("gone "):
                self.gone.add(self.last)
            if wanted(said):
                return

    def close(self) -> None:
        for name in list(self.running):
            self.kill(name)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE_S)
        self.reader.join()
        self.process.stdout.close()


class Load:
    """Clients that send one request after the other, and send again what was not acknowledged."""

    def __init__(self, port: int) -> None:
        self.port, self.over = port, False
        self.acknowledged: set[str] = set()
        self.sent_again = 0
        self.answered = threading.Condition()
        self.threads = [threading.Thread(target=self._client, args=(n,)) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def wait_for_more(self, n: int) -> None:
        with self.answered:
            until = len(self.acknowledged) + n * PER_REQUEST
            assert self.answered.wait_for(lambda: len(self.acknowledged) >= until, PATIENCE_S), "nobody answers"

    def stop(self) -> None:
        self.over = True
        for thread in self.threads:
            thread.join(PATIENCE_S)

    def _client(self, client: int) -> None:
        number, connection = 0, None
        while not self.over:
            ids = [f"{client}-{number}-{i}" for i in range(PER_REQUEST)]
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", "/v1/batch", self._body(client, number, ids), AUTH)
                done = connection.getresponse().read() == b'{"success":true}'
            except (OSError, http.client.HTTPException):
                done = False
            if done:
                with self.answered:
                    self.acknowledged.update(ids)
                    self.answered.notify_all()
                number += 1
            if (not done or number % 7 == 0) and connection is not None:
                # A new connection now and then: the kernel may give it to another collector.
                connection.close()
                connection = None
                self.sent_again += not done
        if connection is not None:
            connection.close()

    @staticmethod
    def _body(client: int, number: int, ids: list[str]) -> bytes:
        person = f"u{client}-{number % 50}"
        events = ("Signed Up", "Opened", "Consent Updated")
        consent = {"purpose": "marketing", "channel": "email", "granted": True}
        calls = [
            {"type": "track", "event": event, "userId": person, "messageId": one}
            | ({"properties": consent} if event == "Consent Updated" else {})
            for event, one in zip(events, ids, strict=True)
        ]
        return json.dumps({"batch": calls}).encode()


def test_killed_again_and_again(tmp_path: Path) -> None:
    seed = os.environ.get("CADENZA_CHAOS_SEED") or secrets.token_hex(4)
    print(f"CADENZA_CHAOS_SEED={seed} CADENZA_ROUNDS={ROUNDS}")
    chance = random.Random(seed)
    folder = tmp_path / "shop"
    Workspace.create(folder)
    with Workspace.open(folder) as workspace:
        workspace.apply()
        workspace.tick()
    zygote = Zygote(folder)
    names = [*(f"c{n}" for n in range(1, COLLECTORS + 1)), "engine"]
    try:
        for name in names:
            zygote.start(name)
        load = Load(zygote.port)
        try:
            for _ in range(ROUNDS):
                load.wait_for_more(chance.randint(0, 12))
                victims = chance.sample(names, chance.choice((1, 1, 1, 2, 3)))
                for name in victims:
                    zygote.kill(name)
                for name in victims:
                    zygote.start(name)
            load.wait_for_more(5)
        finally:
            load.stop()
    finally:
        zygote.close()
    check(folder, load)


def check(folder: Path, load: Load) -> None:
    """Every acknowledged event once, in an unbroken order; tallies that add up; the store what a rebuild makes of the log."""
    assert load.sent_again > 0, "no kill hit anybody"
    with Workspace.open(folder) as workspace:
        workspace.sequencer.catch_up()
        while workspace.tick() is not None:
            continue
        assert workspace.status().behind == 0
        log = workspace._log
        records = log.read(0, 10_000_000)
        ids = [record.message_id for record in records]
        assert len(ids) == len(set(ids)), "doubled"
        assert load.acknowledged <= set(ids), "lost"
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        assert all(a.recorded_at < b.recorded_at for a, b in pairwise(records))
        counts = log.stored_counts()
        assert counts.received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected
        assert counts.stored == len(records)
        assert {reason for _, reason in log.quarantine_counts()} <= {"journal_torn"}, "cut in the middle of a write"
        report = workspace.rebuild(True)
        assert report.verified, report
