"""How journeys stand, at the command line and over HTTP."""

from __future__ import annotations

import json

import pytest
from starlette.testclient import TestClient

from cadenza.surfaces.api import api_app
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace


def test_at_the_command_line(shop: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    shop.close()

    def run(*arguments: str, code: int = 0) -> str:
        assert main(["journeys", *arguments]) == code
        return capsys.readouterr().out

    assert "takes nobody" in run("pause", "welcome", "--clocks", "freeze")
    assert {j["journey"]: j["state"] for j in json.loads(run("--json"))}["welcome"] == "paused (freeze)"
    run("pause", "welcome", code=1)
    run("pause", "welcme", "--drain", code=1)
    assert "runs" in run("resume", "welcome")
    assert "is stopped" in run("stop", "welcome")
    assert "0 queued" in run("kill", "--channel", "email", "--queued", "hold")
    run("kill", "--queued", "hold", code=1)
    assert "Released" in run("release", "--channel", "email")
    assert "stopped" in run()


def test_over_http(shop: Workspace) -> None:
    client = TestClient(api_app(shop, None), base_url="http://127.0.0.1")
    assert client.post("/api/journeys/welcome/pause", json={"clocks": "run"}).json()["journey"] == "welcome"
    assert client.post("/api/controls/kill", json={"queued": "cancel", "all": True}).json()["queued"] == 0
    assert client.post("/api/controls/kill", json={"queued": "cancel"}).status_code == 400
    assert client.post("/api/journeys/welcome/pause", json={}).status_code == 400
    shop.run()
    [welcome] = [j for j in client.get("/api/controls").json() if j["journey"] == "welcome"]
    assert (welcome["state"], welcome["killed"]) == ("paused (run)", ["all"])
    for path, body in (
        ("/api/controls/release", {"all": True}),
        ("/api/journeys/welcome/stop", {}),
        ("/api/journeys/welcome/resume", {}),
    ):
        assert client.post(path, json=body).status_code == 200
