"""The API against its own document: every answer is what the OpenAPI document says, every error a problem."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from starlette.testclient import TestClient

from cadenza.errors import OperatingError
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.surfaces.api import api_app
from cadenza.surfaces.encoding import from_json, to_json
from cadenza.surfaces.openapi import document
from cadenza.surfaces.operations import OPERATIONS
from cadenza.surfaces.problem import MEDIA_TYPE
from cadenza.surfaces.server import Server, Settings
from cadenza.workspace import Report, Status, Workspace

GOLDEN = Path(__file__).parent / "golden" / "openapi.json"

CALLS = [
    {"type": "identify", "userId": "u1", "messageId": "m1", "traits": {"email": "u1@shop.example", "first_name": "Ada"}},
    {"type": "track", "event": "Consent Updated", "userId": "u1", "messageId": "m2",
     "properties": {"purpose": "marketing", "channel": "email", "granted": True}},
    {"type": "track", "event": "Signed Up", "userId": "u1", "messageId": "m3"},
    {"type": "track", "event": "Signed Up", "userId": "u1", "messageId": "m5"},
    {"type": "track", "event": "Order Completed", "userId": "u1", "messageId": "m4", "properties": {"revenue": "much"}},
]  # fmt: skip
GOOD = {
    "/api/persons/{person}": "/api/persons/u1@shop.example",
    "/api/persons/{person}/journeys/{journey}": "/api/persons/u1/journeys/welcome",
    "/api/segments/{segment}/members": "/api/segments/regulars/members?limit=5",
    "/api/persons/{person}/journeys/{journey}/why-not": "/api/persons/u1/journeys/welcome/why-not",
    "/api/journeys/{journey}": "/api/journeys/welcome",
    "/api/journeys/{journey}/pause": "/api/journeys/welcome/pause",
    "/api/journeys/{journey}/resume": "/api/journeys/welcome/resume",
    "/api/journeys/{journey}/stop": "/api/journeys/welcome/stop",
    "/api/query": "/api/query?sql=SELECT%20pid%2C%20created_at%20FROM%20person",
    "/api/definitions/schema/{kind}": "/api/definitions/schema/journey",
    "/api/quarantine/{id}": "/api/quarantine/1",
    "/api/contracts/{contract}": "/api/contracts/Order%20Completed",
    "/api/contracts/export": "/api/contracts/export?format=odcs",
    "/api/contracts/draft": "/api/contracts/draft?only=new&records=1000",
    "/api/quarantine/{id}/fix": "/api/quarantine/1/fix",
    "/api/journeys/{journey}/enter": "/api/journeys/called/enter",
}
BODIES: dict[str, Any] = {
    "/api/controls/kill": {"queued": "hold", "journey": "welcome"},
    "/api/controls/release": {"journey": "welcome"},
    "/api/journeys/{journey}/pause": {"clocks": "freeze"},
    "/api/journeys/{journey}/resume": {},
    "/api/journeys/{journey}/stop": {},
    "/api/tasks/{task}/accept": {"actor": "ann"},
    "/api/tasks/{task}/reassign": {"actor": "ann", "team": "support"},
    "/api/tasks/{task}/comment": {"actor": "bob", "note": "Called."},
    "/api/tasks/{task}/complete": {"actor": "bob", "outcome": "won"},
    "/api/quarantine/{id}/fix": {"set": {"properties.revenue": "more"}},
    "/api/quarantine/replay": {"all": True},
    "/api/quarantine/drop": {"ids": [], "because": "nothing to drop"},
    "/api/journeys/{journey}/enter": {"userId": "u1", "messageId": "call-1"},
    "/api/suppressions": {"person": "gone@shop.example", "reason": "legal", "until": "2030-01-01"},
    "/api/suppressions/end": {"person": "u1", "reason": "legal"},
}
CALLED = """journey: called
owner: me
outcome: { metric: revenue_28d }
entry: { on: { api: true }, again: after_exit }
exit: { goal: 'false', disqualified: 'false', superseded: true, time_limit: 9 days }
steps: [ { wait: { days: 1, at: '09:00' } } ]
"""


CALL = """
journey: call
owner: sales@shop.example
outcome: { metric: revenue_28d }
arena: null
entry: { on: { event: Signed Up } }
exit: { goal: event('Order Completed'), disqualified: orders > 3, superseded: false, time_limit: 9 days }
steps:
  - hand_off: { team: sales, title: Call, due: 2 days, context: [orders], outcomes: { won: { steps: [] } } }
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    folder = tmp_path_factory.mktemp("api") / "shop"
    Workspace.create(folder)
    (folder / "journeys" / "call.yaml").write_text(CALL)
    (folder / "journeys" / "called.yaml").write_text(CALLED)
    with Workspace.open(folder) as opened:
        opened.apply()
        opened.run()
        collector = opened.collector()
        body = json.dumps({"batch": CALLS}).encode()
        asyncio.run(collector.keep(collector.received_at(), write_receipt(Receipt(source="website")), body))
        collector.close()
        opened.run(opened.clock.now())
        yield opened


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[TestClient]:
    with TestClient(
        api_app(workspace, None), base_url="http://127.0.0.1:8400", raise_server_exceptions=False
    ) as client:
        yield client


def described() -> dict[str, Any]:
    return json.loads(to_json(document(OPERATIONS)))


def schema_of(path: str, method: str, status: str = "200") -> dict[str, Any]:
    """The schema of an answer, with the components it refers to."""
    api = described()
    answer = api["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = api["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    [content] = answer["content"].values()
    return {**content["schema"], "components": api["components"]}


def test_golden_document() -> None:
    text = json.dumps(described(), indent=2, ensure_ascii=False) + "\n"
    if os.environ.get("CADENZA_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)
    assert text == GOLDEN.read_text(), "the API changed; 'make golden' rewrites its document"


def test_the_document_is_served(client: TestClient) -> None:
    assert client.get("/openapi.json").json() == described()
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "http://" not in page.text.replace("http://127.0.0.1", "") and "https://" not in page.text, "no CDN"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
def test_every_answer_is_as_described(client: TestClient, operation: Any) -> None:
    path = GOOD.get(operation.path, operation.path)
    if "{task}" in path:
        path = path.replace("{task}", client.get("/api/tasks?state=any").json()[0]["task"])
    answer = client.request(operation.method, path, json=BODIES.get(operation.path))
    assert answer.status_code == 200, answer.text
    validator = jsonschema_rs.validator_for(schema_of(operation.path, operation.method.lower()), validate_formats=True)
    errors = [f"{list(e.instance_path)}: {e.message}" for e in validator.iter_errors(answer.json())]
    assert errors == []


def test_a_wrong_answer_would_be_noticed() -> None:
    validator = jsonschema_rs.validator_for(schema_of("/api/status", "get"), validate_formats=True)
    assert not validator.is_valid({"mode": "live"})


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/api/persons/nobody@nowhere.example", 404, "nobody@nowhere.example"),
        ("/api/persons/u1/journeys/wellcome", 404, "welcome"),
        ("/api/segments/regular/members", 404, "regulars"),
        ("/api/journeys/welcom", 404, "Did you mean 'welcome'"),
        ("/api/messages?limit=many", 400, "whole number"),
        ("/api/messages?limits=5", 400, "limits"),
        ("/api/messages?state=lost", 400, "ambiguous"),
        ("/api/report?as_of=soon", 400, "instant"),
        ("/api/query", 400, "missing"),
        ("/api/query?sql=DELETE%20FROM%20person", 400, "SELECT"),
        ("/api/query?sql=SELECT%20*%20FROM%20persn", 400, "Did you mean 'person'"),
        ("/api/definitions/schema/jurney", 400, "journey"),
        ("/api/nothing", 404, "/openapi.json"),
    ],
)
def test_every_error_is_a_problem(client: TestClient, path: str, status: int, says: str) -> None:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
    jsonschema_rs.validate(schema_of("/api/status", "get", "default"), answer.json())
    assert says in answer.text


def test_a_method_that_is_not_allowed(client: TestClient) -> None:
    answer = client.post("/api/status")
    assert (answer.status_code, answer.headers["content-type"]) == (405, MEDIA_TYPE)


def test_only_this_machine_may_ask_without_a_token(client: TestClient) -> None:
    assert client.get("/api/status", headers={"host": "evil.example"}).status_code == 403
    assert client.get("/api/status", headers={"host": "localhost:8400"}).status_code == 200
    assert client.get("/api/status", headers={"host": "[::1]:8400"}).status_code == 200


def test_a_page_of_another_site_changes_nothing(client: TestClient) -> None:
    assert client.post("/api/apply", headers={"origin": "https://evil.example"}).status_code == 403
    answer = client.get("/api/status", headers={"origin": "https://evil.example"})
    assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_token_guards_everything_but_health(workspace: Workspace) -> None:
    with TestClient(api_app(workspace, "sesame"), base_url="http://shop.example") as guarded:
        assert guarded.get("/api/status").status_code == 401
        assert guarded.get("/metrics").status_code == 401
        assert guarded.get("/api/status", headers={"authorization": "Bearer sesam"}).status_code == 401
        assert guarded.get("/api/status", headers={"authorization": "Bearer sesame"}).status_code == 200
        assert guarded.get("/health/live").status_code == 200


def test_ready_says_why_not(workspace: Workspace) -> None:
    app = api_app(workspace, None, lambda: "The tick is not running.")
    with TestClient(app, base_url="http://localhost") as client:
        answer = client.get("/health/ready")
        assert (answer.status_code, answer.json()["detail"]) == (503, "The tick is not running.")


def test_metrics_name_no_person(client: TestClient) -> None:
    text = client.get("/metrics").text
    assert 'cadenza_records_total{outcome="stored",reason="",source="website"}' in text
    assert "cadenza_persons 1.0" in text
    assert "u1" not in text


def test_an_unexpected_error_says_nothing_of_its_inside(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(self: Workspace) -> Status:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(Workspace, "status", explode)
    with TestClient(api_app(workspace, None), base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/api/status")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "secret" not in answer.text


def test_answers_come_back_as_they_were(workspace: Workspace) -> None:
    status, report = workspace.status(), workspace.report()
    assert from_json(to_json(status), Status) == status
    assert from_json(to_json(report), Report) == report


def test_a_public_address_needs_a_token(workspace: Workspace) -> None:
    with pytest.raises(OperatingError, match="loopback"):
        Server(workspace, Settings(host="0.0.0.0", port=0)).run(lambda url: None)
