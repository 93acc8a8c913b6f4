"""Whatever is asked, the API answers as its OpenAPI document says: schemathesis against a real server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from cadenza.surfaces.encoding import to_json
from cadenza.surfaces.openapi import document
from cadenza.surfaces.operations import OPERATIONS
from tests.acceptance.conftest import cadenza, eventually, fetch, serving

EXAMPLES = int(os.environ.get("CADENZA_FUZZ_EXAMPLES", "20"))

pytestmark = pytest.mark.xdist_group("fuzz")


SCHEMA = schemathesis.openapi.from_dict(msgspec.json.decode(to_json(document(OPERATIONS))))
KNOWN = {f"{found.ok().method.upper()} {found.ok().path}": found.ok() for found in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that has a project, a few people and something in quarantine."""
    folder = tmp_path_factory.mktemp("fuzz")
    assert cadenza("init", "shop", cwd=folder).code == 0
    assert cadenza("apply", "--yes", cwd=folder / "shop").code == 0
    with serving("run", cwd=folder / "shop") as server:
        eventually(lambda: server.get("/health/ready"), lambda answer: answer[0] == 200)
        calls = [{"type": "track", "event": "Signed Up", "userId": f"u{n}"} for n in range(5)] + [{"type": "what"}] * 5
        body = {"writeKey": "starter-write-key", "batch": calls}
        assert fetch(server.url + "/v1/batch", body=body)[0] == 200
        eventually(lambda: server.get("/api/status")[1], lambda s: s["received"].get("quarantined") == 5)
        yield server.url
        assert server.get("/api/status")[0] == 200, "it still answers"


def test_the_document_is_not_empty() -> None:
    assert len(KNOWN) == len(OPERATIONS) > 10


@pytest.mark.parametrize("name", KNOWN)
def test_every_operation_answers_as_it_says(url: str, name: str) -> None:
    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
    )
    @given(case=KNOWN[name].as_strategy())
    def fuzz(case: Any) -> None:
        # What is well-formed may still be refused: SQL that does not parse, a segment that does not exist.
        case.call_and_validate(base_url=url, timeout=60, excluded_checks=[positive_data_acceptance])

    fuzz()
