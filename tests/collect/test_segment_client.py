"""The official Segment client for Python, unchanged, against the real server: what it was told is what is stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from segment.analytics.client import Client

from cadenza.clock import to_micros
from cadenza.surfaces.collect_http import collect_app
from tests.collect.asgi import KEY, Response, Site, site
from tests.collect.server import serving

WHEN = datetime(2026, 1, 15, 12, tzinfo=UTC)
WHEN_US = to_micros(WHEN.replace(tzinfo=None))
TRAITS = {
    "email": "Ann.Lee@Example.com", "firstName": "Ann", "mrr": 49.5, "tags": ["a", "b"],
    "address": {"city": "Zürich", "country": "CH"}, "createdAt": "2025-01-01T00:00:00Z",
}  # fmt: skip
ORDER = {
    "order_id": "o-1", "revenue": 99.9, "currency": "EUR", "big": 2**53 + 1,
    "products": [{"product_id": "p1", "price": 49.95, "quantity": 2}], "nested": {"x": 1, "y": ["é", "漢字"]},
}  # fmt: skip
CONTEXT = {"ip": "203.0.113.7", "userAgent": "Mozilla/5.0", "campaign": {"name": "spring", "source": "news"}}


def eight_calls(client: Client) -> None:
    client.identify("user-1", TRAITS, context=CONTEXT, timestamp=WHEN, anonymous_id="anon-1")
    client.track("user-1", "Order Completed", ORDER | {"coupon": None}, context=CONTEXT, timestamp=WHEN)
    client.track(event="Product Viewed", properties={"sku": "S1"}, anonymous_id="anon-2")
    client.page("user-1", "Docs", "Home", {"url": "https://shop.example/"}, timestamp=WHEN)
    client.screen("user-1", None, "Start", {"variant": 1}, timestamp=WHEN)
    client.group("user-1", "group-1", {"name": "Acme", "employees": 12}, timestamp=WHEN)
    client.alias("anon-1", "user-1", timestamp=WHEN)
    client.track(7, "Numbered", {"blank": "", "zero": 0}, message_id="chosen-id", timestamp=WHEN)


EXPECTED: list[dict[str, Any]] = [
    {"type": "identify", "userId": "user-1", "anonymousId": "anon-1", "traits": TRAITS},
    {"type": "track", "event": "Order Completed", "userId": "user-1", "properties": ORDER},
    {"type": "track", "event": "Product Viewed", "anonymousId": "anon-2", "properties": {"sku": "S1"}},
    {
        "type": "page",
        "userId": "user-1",
        "properties": {"category": "Docs", "name": "Home", "url": "https://shop.example/"},
    },
    {"type": "screen", "userId": "user-1", "properties": {"name": "Start", "variant": 1}},
    {"type": "group", "userId": "user-1", "groupId": "group-1", "properties": {"name": "Acme", "employees": 12}},
    {"type": "alias", "userId": "user-1", "previousId": "anon-1"},
    {"type": "track", "event": "Numbered", "userId": "7", "properties": {"zero": 0}},
]


@pytest.fixture
def opened(tmp_path):
    with site(tmp_path) as held:
        yield held


def delivered(opened: Site, app: Any, **options: Any) -> list[Any]:
    """The errors of a client that makes the eight calls."""
    errors: list[Any] = []
    with serving(app) as address:
        client = Client(KEY, host=address, on_error=lambda error, batch: errors.append(error), timeout=10, **options)
        eight_calls(client)
        client.flush()
        client.join()
    return errors


@pytest.mark.parametrize("gzip", [False, True])
def test_the_eight_calls_arrive_as_they_were_made(opened, gzip):
    assert delivered(opened, opened.app, gzip=gzip) == []
    found = opened.stored()
    for body, expected in zip(found, EXPECTED, strict=True):
        kept = {key: value for key, value in body.items() if key not in ("context", "occurred_at")}
        assert kept == expected
    assert {key: found[1]["context"][key] for key in CONTEXT} == CONTEXT
    assert opened.log.read(7, 1)[0].message_id == "chosen-id"
    assert opened.log.quarantine_counts() == {}


def test_a_client_that_is_told_to_wait_delivers_later_and_nothing_twice(opened):
    """First the queue is full; then the answer is lost after the records are durable; the client sends both again."""
    answers = iter([429, 500])

    async def moody(scope: Any, receive: Any, send: Any) -> None:
        status = next(answers, None) if scope["type"] == "http" else None
        if status is None:
            await opened.app(scope, receive, send)
            return
        if status == 500:

            async def lost(message: Any) -> None:
                return

            await opened.app(scope, receive, lost)
        body = b'{"code":"later","message":"later"}'
        headers = [(b"content-length", str(len(body)).encode()), (b"retry-after", b"0")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    assert delivered(opened, moody, upload_size=100, upload_interval=0.01) == []
    assert next(answers, None) is None
    assert len(opened.stored()) == len(EXPECTED)
    assert opened.log.stored_counts().duplicate >= 1


def test_a_wrong_key_is_told_to_the_application_at_once(opened):
    app = collect_app(opened.collector, {"OTHER": "web"})
    errors = delivered(opened, app, max_retries=10)
    assert errors
    assert "401" in str(errors[0])
    assert opened.stored() == []


def test_the_harness_speaks_http_as_the_server_does(opened):
    response = opened.send("/v1/track", {"event": "E"})
    assert isinstance(response, Response)
    assert response.status == 200
