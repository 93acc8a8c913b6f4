"""A newcomer's first ten minutes, through the real command, the real server and the real Segment client."""

from __future__ import annotations

import base64
import json
import shutil
import socket
from datetime import UTC, datetime
from pathlib import Path

import pytest
from segment.analytics.client import Client

from tests.acceptance.conftest import cadenza, eventually, fetch, serving

WRITE_KEY = "starter-write-key"

pytestmark = pytest.mark.xdist_group("starter")


def noon_zone() -> str:
    """A zone in which it is about noon now, so that quiet hours hold nothing up."""
    return f"Etc/GMT{datetime.now(UTC).hour - 12:+d}"


def sign_up(url: str, customer: str) -> None:
    """What a shop's backend sends, with the client Segment publishes."""
    client = Client(WRITE_KEY, host=url, max_retries=2, gzip=True)
    traits = {"email": f"{customer}@shop.example", "first_name": "Ada", "time_zone": noon_zone()}
    client.identify(customer, traits)
    client.track(customer, "Consent Updated", {"purpose": "marketing", "channel": "email", "granted": True})
    client.track(customer, "Signed Up", {})
    client.shutdown()


def test_commands_in_order(tmp_path: Path) -> None:
    made = cadenza("init", "shop", "--json", cwd=tmp_path)
    assert "cadenza.yaml" in "".join(made.json()["files"])
    shop = tmp_path / "shop"

    valid = cadenza("validate", "--json", cwd=shop)
    assert valid.json()["definitions"]["journeys"] == 1
    planned = cadenza("plan", "--json", cwd=shop)
    assert planned.json()["changes"]
    applied = cadenza("apply", "--yes", "--json", cwd=shop)
    assert applied.json()["deployed"]["fingerprint"]
    again = cadenza("apply", "--yes", "--json", cwd=shop)
    assert again.json()["deployed"] is None, "applying what is in force changes nothing"

    status = cadenza("status", "--json", cwd=shop).json()
    assert (status["mode"], status["behind"], status["log_records"]) == ("live", 0, 1)
    assert cadenza("init", "shop", cwd=tmp_path).code == 3, "what is there is never overwritten"


def test_an_event_becomes_a_message_that_is_explained(project: Path) -> None:
    with serving("run", cwd=project) as server:
        url = server.url
        assert eventually(lambda: server.get("/health/ready"), lambda a: a[0] == 200)[1] == {"status": "ready"}
        for number in range(20):  # a tenth is held out, so some of twenty get the message
            sign_up(url, f"ada{number}")
            status = eventually(lambda: server.get("/api/status")[1], lambda s: s["behind"] == 0)
            if server.get("/api/messages")[1]:
                break
        assert status["received"]["received"] == status["log_records"]
        sent = eventually(
            lambda: server.get("/api/messages?state=sent")[1], lambda found: bool(found)
        )[0]  # fmt: skip
        address = sent["message"]["address"]

        assert address in fetch(f"{url}/mailbox")[1]
        assert address in fetch(f"{url}/mailbox/{sent['message']['message_id']}")[1]

        # The store is in the server's hands: the command asks it.
        known = eventually(
            lambda: cadenza("explain", address, "welcome", "--json", cwd=project).json(),
            lambda x: bool(x["passages"][0]["messages"][0]["deliveries"]),
        )
        assert known["passages"][0]["journey"] == "welcome"
        assert known["passages"][0]["messages"][0]["outcome"] == "sent"
        assert "Message Sent" in {d["name"] for d in known["passages"][0]["messages"][0]["deliveries"]}
        text = cadenza("explain", address, cwd=project)
        assert "welcome_mail" in text.out and "bucket" in text.out

        assert cadenza("tick", cwd=project).code == 3, "the server ticks"
        assert cadenza("run", "--port", "0", cwd=project).code == 3, "one server per project"
        assert server.stop() == 0

    # The same questions to the store itself, now that it is free.
    assert not (project / ".cadenza" / "server.json").exists()
    after = cadenza("explain", address, "welcome", "--json", cwd=project).json()
    assert after["passages"][0]["messages"] == known["passages"][0]["messages"]
    report = cadenza("report", "--json", cwd=project).json()
    assert report["adds_up"]
    assert cadenza("report", cwd=project).out.count("welcome") >= 2
    assert cadenza("messages", "--json", cwd=project).json()[0]["state"] == "sent"
    assert cadenza("query", "SELECT count(*) AS n FROM message", "--json", cwd=project).json()[0]["n"] >= 1


def test_rebuild_gives_the_same_store(project: Path) -> None:
    before = cadenza("report", "--json", cwd=project).json()
    verified = cadenza("rebuild", "--verify", "--json", cwd=project)
    assert verified.code == 0, verified.err + verified.out
    assert cadenza("rebuild", cwd=project).code == 0
    assert cadenza("report", "--json", cwd=project).json() == before


def test_bad_records_are_kept_and_listed(project: Path) -> None:
    with serving("run", cwd=project) as server:
        call = {"userId": "u1", "event": "Order Completed", "messageId": "bad-1", "properties": {"revenue": "much"}}
        basic = {"authorization": "Basic " + base64.b64encode(f"{WRITE_KEY}:".encode()).decode()}
        assert fetch(f"{server.url}/v1/track", body=call, headers=basic)[0] == 200
        found = server.get("/api/quarantine")[1]
        assert [entry["message_id"] for entry in found] == ["bad-1"]
        assert json.loads(found[0]["record"])["event"] == "Order Completed"
        assert "bad-1" in cadenza("quarantine", "list", cwd=project).out
        assert server.stop() == 0


def test_the_api_with_a_token(project: Path) -> None:
    with serving("run", cwd=project, CADENZA_API_TOKEN="sesame") as server:
        assert server.get("/health/live")[0] == 200
        assert server.get("/api/status")[0] == 401
        assert server.get("/api/status", token="wrong")[0] == 401
        assert server.get("/api/status", token="sesame")[0] == 200
        # The command finds the token beside the store.
        assert cadenza("status", "--json", cwd=project).json()["project"]
        assert ((project / ".cadenza" / "server.json").stat().st_mode & 0o077) == 0


def test_every_problem_of_a_project_at_once(project: Path, tmp_path: Path) -> None:
    broken = tmp_path / "shop"
    shutil.copytree(project, broken, ignore=shutil.ignore_patterns(".cadenza"))
    journey = broken / "journeys" / "welcome.yaml"
    journey.write_text(
        journey.read_text().replace("welcome_mail", "welcome_mial").replace("revenue_28d", "revenue_82d")
    )
    ran = cadenza("validate", cwd=broken)
    assert ran.code == 1
    assert "journeys/welcome.yaml:" in ran.err
    assert "welcome_mail" in ran.err and "revenue_28d" in ran.err, "near misses are named"
    problems = json.loads(cadenza("validate", "--json", cwd=broken).err)["problems"]
    assert len(problems) >= 2 and all(p["line"] > 0 for p in problems)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["nonsense"], 2),
        (["status", "--nonsense"], 2),
        (["explain"], 2),
        (["explain", "nobody@nowhere.example"], 1),
        (["report", "--as-of", "yesterday"], 1),
        (["query", "DELETE FROM person"], 1),
        (["schema", "jurney"], 1),
        (["status", "--project", "nowhere"], 3),
        (["run", "--host", "0.0.0.0"], 3),
    ],
)
def test_exit_codes(project: Path, arguments: list[str], code: int) -> None:
    ran = cadenza(*arguments, cwd=project)
    assert ran.code == code, ran.err
    assert ran.err.strip(), "it says why"


def test_a_port_in_use_is_said_clearly(project: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = cadenza("run", "--port", str(taken.getsockname()[1]), cwd=project)
    assert ran.code == 3
    assert "--port" in ran.err and "Traceback" not in ran.err
