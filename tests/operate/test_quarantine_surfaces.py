"""Quarantine at the command line and over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from cadenza.surfaces import terminal
from cadenza.surfaces.api import api_app
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace


@pytest.fixture
def run(shop: Workspace, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str, code: int = 0) -> str:
        assert main([*arguments]) == code
        return capsys.readouterr().out

    shop.close()
    return run


def test_counts_fit_80_columns(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal, "PLAIN_WIDTH", 80)
    told = run("quarantine")
    assert max(map(len, told.splitlines())) <= 80
    for word in ("website", "Completed.revenue", "minimum", "resting", "newest"):
        assert word in told
    [counted] = json.loads(run("quarantine", "--json"))
    assert (counted["resting"], counted["dropped"], counted["example"]) == (2, 0, 2)
    run("quarantine", "drop", "1", "--because", "a test")
    told = run("quarantine")
    assert max(map(len, told.splitlines())) <= 80
    assert "dropped" in told


def test_from_the_list_to_the_log(run) -> None:
    assert [entry["id"] for entry in json.loads(run("quarantine", "list", "--json"))] == [2, 1]
    assert "-5.50" in run("quarantine", "show", "1")
    assert "-5.50" in run("quarantine", "list")
    assert "would be taken in now" in run(
        "quarantine", "fix", "1", "--set", "properties.revenue=5.50", "--note", "typo"
    )
    shown = run("quarantine", "show", "1")
    assert '"revenue": -5.50' in shown and '"revenue": 5.50' in shown and "typo" in shown
    told = run("quarantine", "replay", "1", "2", code=1)
    assert "1 stored, 0 known already, 1 still refused" in told
    assert "cadenza tick" in told
    assert "Dropped 1 of 1." in run("quarantine", "drop", "2", "--because", "no such order")
    assert json.loads(run("quarantine", "replay", "--all", "--json"))["stored"] == 0
    status = json.loads(run("status", "--json"))["received"]
    assert (status["stored"], status["quarantined"]) == (2, 1)
    assert "offset 2 in the log" in run("quarantine", "show", "1")


def test_a_whole_record_comes_from_a_file_or_the_editor(run, monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    whole = json.loads(json.loads(run("quarantine", "list", "--json"))[0]["record"])
    whole["properties"]["revenue"] = 7
    (tmp_path / "corrected.json").write_text(json.dumps(whole))
    assert "would be taken in" in run("quarantine", "fix", "2", "--file", str(tmp_path / "corrected.json"))
    monkeypatch.setenv("VISUAL", "sed -i s/-5.50/3.25/")
    assert "would be taken in" in run("quarantine", "fix", "1", "--editor")
    assert '"revenue": 3.25' in run("quarantine", "show", "1")
    monkeypatch.setenv("VISUAL", "false")
    run("quarantine", "fix", "1", "--editor", code=1)
    (tmp_path / "corrected.json").write_text("{")
    run("quarantine", "fix", "2", "--file", str(tmp_path / "corrected.json"), code=1)
    run("quarantine", "fix", "2", "--file", "nowhere.json", code=3)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["replay"], 1), (["drop", "--because", "x"], 1), (["drop", "1"], 2), (["show", "77"], 1), (["fix", "1"], 1),
        (["fix", "1", "--set", "revenue"], 1), (["drop", "1", "--because", " "], 1), (["mend", "1"], 2),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(run, arguments: list[str], code: int) -> None:
    run("quarantine", *arguments, code=code)


class Api:
    """The API of a workspace, as JSON."""

    def __init__(self, workspace: Workspace) -> None:
        self._client = TestClient(api_app(workspace, None), base_url="http://127.0.0.1")

    def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        answer = self._client.request(method, path, **more)
        assert answer.status_code == status, answer.text
        return answer.json()


def test_the_same_over_http(shop: Workspace) -> None:
    api = Api(shop)
    assert [entry["id"] for entry in api("GET", "/api/quarantine?before=2")] == [1]
    assert api("GET", "/api/quarantine/counts")[0]["resting"] == 2
    fixed = api("POST", "/api/quarantine/1/fix", json={"set": {"properties.revenue": 5}, "by": "ann", "note": "typo"})
    assert (fixed["reason"], fixed["entry"]["state"]) == (None, "resting")
    told = api("POST", "/api/quarantine/replay", json={"all": True})
    assert (told["stored"], told["refused"]) == (1, {"contract: Order Completed.revenue minimum": 1})
    assert api("POST", "/api/quarantine/drop", json={"ids": [2], "because": "no use"}) == {"dropped": [2]}
    shown = api("GET", "/api/quarantine/1")
    assert [(act["action"], act["who"]) for act in shown["history"]] == [("fixed", "ann"), ("stored", "api")]
    assert [entry["state"] for entry in api("GET", "/api/quarantine?state=any")] == ["dropped", "stored"]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/api/quarantine/77", None, 404), ("GET", "/api/quarantine/x", None, 400),
        ("POST", "/api/quarantine/77/fix", {"unset": ["a"]}, 404), ("POST", "/api/quarantine/1/fix", {}, 400),
        ("POST", "/api/quarantine/1/fix", {"set": 1}, 400), ("POST", "/api/quarantine/replay", {}, 400),
        ("POST", "/api/quarantine/replay", {"ids": ["1"]}, 400), ("POST", "/api/quarantine/drop", {"ids": [1]}, 400),
        ("POST", "/api/quarantine/drop", {"ids": [1], "because": " "}, 400),
        ("POST", "/api/quarantine/drop", {"ids": [1], "because": "x" * 5_000_000}, 400),
    ],
)  # fmt: skip
def test_bad_requests_say_what_is_wrong(shop: Workspace, method: str, path: str, body: Any, status: int) -> None:
    problem = Api(shop)(method, path, status, json=body)
    assert problem["detail"]


def test_a_record_that_is_done_with_is_a_conflict(shop: Workspace) -> None:
    api = Api(shop)
    api("POST", "/api/quarantine/drop", json={"ids": [1], "because": "x"})
    assert "was dropped" in api("POST", "/api/quarantine/1/fix", 409, json={"unset": ["event"]})["detail"]
