"""Requests recorded from real clients, and the examples of the Segment specification, sent as they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.collect.asgi import site

WIRE = Path(__file__).parents[3] / "shared" / "data" / "wire"
RECORDED = ["segment-node", "segment-python", "segment-python-gzip"]

pytestmark = pytest.mark.skipif(not WIRE.is_dir(), reason="the recorded corpora (../shared/data/wire) are not here")


def lines(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (WIRE / f"{name}.jsonl").read_text().splitlines()]


def without_absent(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None and value != ""}


@pytest.mark.parametrize("name", RECORDED)
def test_recorded_requests_are_stored_whole(tmp_path, name):
    with site(tmp_path) as opened:
        sent: list[dict[str, Any]] = []
        for request in lines(name):
            body = request["body"].encode()
            headers = {key: value for key, value in request["headers"].items() if key.lower() != "content-length"}
            raw = gzip.compress(body) if request["gzip"] else body
            assert opened.send(request["path"], raw, key=None, headers=headers).status == 200
            sent += json.loads(body)["batch"]
        assert len(sent) >= 7
        assert opened.log.quarantine_counts() == {}
        records = opened.log.read(0, 1000)
        for call, record in zip(sent, records, strict=True):
            stored = json.loads(record.body)
            assert record.message_id == call["messageId"]
            assert stored["type"] == call["type"]
            for field in ("userId", "anonymousId", "event", "previousId", "groupId"):
                assert stored.get(field) == without_absent(call).get(field), field
            said = without_absent(call.get("traits" if call["type"] == "group" else "properties") or {})
            if call["type"] in ("page", "screen"):
                said = without_absent({key: call.get(key) for key in ("name", "category")}) | said
            assert stored.get("properties", {}) == said
            traits = {} if call["type"] == "group" else without_absent(call.get("traits") or {})
            assert stored.get("traits", {}) == without_absent((call.get("context") or {}).get("traits") or {}) | traits


def test_the_examples_of_the_specification_are_taken(tmp_path):
    """Each example's payload, on the route its heading or its type names; what is left over has a reason."""
    with site(tmp_path) as opened:
        taken = 0
        for number, example in enumerate(lines("segment_spec_examples")):
            payload = example.get("payload")
            if payload is None:
                name, *arguments = example["args"] if example["args"] else [None]
                payload = {"properties": next((a for a in arguments if isinstance(a, dict)), {})}
                payload |= {"event": name} if example["type"] == "track" else {"userId": "u"}
                payload |= {"groupId": "g", "previousId": "p"}
            kind = example["type"] or payload.get("type") or example["heading"].lower()
            route = kind if kind in ("track", "identify", "page", "screen", "group", "alias") else "batch"
            if route == "batch" and "batch" not in payload:
                payload = {"batch": [payload]}
            body = {key: value for key, value in payload.items() if key not in ("writeKey", "messageId")}
            assert opened.send(f"/v1/{route}", body | {"messageId": f"example-{number}"}).status == 200, example
            taken += 1
        counts = opened.log.stored_counts()
        assert counts.received >= taken == 172
        assert counts.received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected
        assert counts.stored >= 150, opened.log.quarantine_counts()
