"""``cadenza collect``: several collector processes beside the engine, killed and started, nothing lost, nothing doubled."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import signal
import sqlite3
from pathlib import Path

import pytest

from tests.acceptance.conftest import Served, cadenza, eventually, fetch, serving

WRITE_KEY = "starter-write-key"
AUTH = {"Authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()}
CLIENTS = 6

pytestmark = pytest.mark.xdist_group("starter")


def url_of(server: Served) -> str:
    return server.wait_for(r"Collecting at (http://\S+)")[1]


def send(url: str, client: int, number: int) -> bool:
    """One event over a connection of its own, so that the kernel picks a worker; whether it was acknowledged."""
    host, _, port = url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=60)
    try:
        body = {"event": "Opened", "userId": f"u{client}", "messageId": f"{client}-{number}"}
        connection.request("POST", "/v1/track", json.dumps(body), AUTH)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def workers(project: Path) -> dict[str, int]:
    """Process ids of the workers by name."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parts = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"cadenza.surfaces.collect_worker" in parts and (entry / "cwd").readlink() == project:
                found[parts[parts.index(b"cadenza.surfaces.collect_worker") + 2].decode()] = int(entry.name)
    return found


def stored(project: Path) -> dict[str, int]:
    raw = sqlite3.connect(project / ".cadenza" / "log.db")
    try:
        return dict(raw.execute("SELECT outcome, sum(n) FROM tally WHERE source = 'website' GROUP BY outcome"))
    finally:
        raw.close()


def test_workers_collect_while_the_engine_is_away_and_beside_it(project: Path) -> None:
    with serving("collect", "--workers", "2", cwd=project) as collecting:
        url = url_of(collecting)
        assert fetch(url + "/health/ready") == (200, {"status": "ok"})
        assert fetch(url + "/api/status")[0] == 404, "there is no read API here"
        assert sorted(workers(project)) == ["c1", "c2"]
        assert all(send(url, client, number) for client in range(CLIENTS) for number in range(10))
        taken = {re.sub(r"^\d+-", "", p.name)[:2] for p in (project / ".cadenza" / "journal").glob("*.journal")}
        assert taken == {"c1", "c2"}, "each has a journal of its own"

        os.kill(workers(project)["c1"], signal.SIGKILL)
        # Connections that the kernel gave to the dead worker's socket wait there for the next one.
        assert all(eventually(lambda c=c: send(url, c, 10), bool) for c in range(CLIENTS))
        eventually(lambda: sorted(workers(project)), lambda found: found == ["c1", "c2"])

        with serving("run", cwd=project) as engine:
            eventually(lambda: engine.get("/health/ready"), lambda answer: answer[0] == 200)
            assert all(send(url, client, 11) for client in range(CLIENTS))
            eventually(lambda: stored(project).get("stored"), lambda n: n == 12 * CLIENTS)
            assert engine.stop() == 0
        assert collecting.stop() == 0
    counts = stored(project)
    assert counts["received"] == counts["stored"] + counts.get("duplicate", 0)
    assert workers(project) == {}


def test_two_fleets_need_two_names(project: Path) -> None:
    with serving("collect", "--workers", "1", cwd=project) as first:
        url_of(first)
        with serving("collect", "--workers", "1", cwd=project) as second:
            second.wait_for("Another process collects under the name 'c1'")
        with serving("collect", "--workers", "1", "--name", "d", cwd=project) as third:
            url_of(third)
            assert third.stop() == 0
        assert first.stop() == 0


def test_without_a_project_in_force_there_is_nobody_to_collect_for(tmp_path: Path) -> None:
    assert cadenza("init", "shop", cwd=tmp_path).code == 0
    refused = cadenza("collect", "--port", "0", cwd=tmp_path / "shop")
    assert refused.code == 3 and "cadenza apply" in refused.err
    assert cadenza("collect", "--workers", "-1", cwd=tmp_path / "shop").code == 1
