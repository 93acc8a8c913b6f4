"""Webhooks against a real HTTP server: signature, idempotency key, and what each answer means."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import datetime
from typing import Any

import msgspec
import pytest

from cadenza.adapters.webhook import WebhookChannel, sign
from cadenza.clock import VirtualClock
from cadenza.definitions.kinds import Destination
from tests.adapters.receivers import Answer, a_message, http_server, sent

NOW = datetime(2026, 1, 2, 3, 4, 5)


def channel(port: int, **settings: Any) -> WebhookChannel:
    given = {"url": f"http://127.0.0.1:{port}/in", "allow_private": True, **settings}
    destination = Destination(name="d", channel="email", adapter="webhook", settings=given)
    return WebhookChannel.open(destination, VirtualClock(NOW))


def test_what_is_posted(monkeypatch: pytest.MonkeyPatch) -> None:
    key = base64.b64encode(b"a secret of 24 bytes....").decode()
    monkeypatch.setenv("NEW_SECRET", f"whsec_{key}")
    monkeypatch.setenv("OLD_SECRET", "plain")
    monkeypatch.setenv("TOKEN", "Bearer abc")
    settings = {"secret": "env:NEW_SECRET env:OLD_SECRET", "authorization": "env:TOKEN"}
    with http_server() as (posts, port):
        answers = sent(channel(port, **settings), a_message("00ff-1"))
    assert answers[0].status == "accepted"
    headers, body = posts.received[0]
    assert headers["idempotency-key"] == headers["webhook-id"] == "00ff-1"
    assert headers["webhook-timestamp"] == "1767323045"
    assert headers["authorization"] == "Bearer abc"
    expected = hmac.new(b"a secret of 24 bytes....", b"00ff-1.1767323045." + body, hashlib.sha256).digest()
    first, second = headers["webhook-signature"].split()
    assert first == "v1," + base64.b64encode(expected).decode()
    assert second == sign("plain", "00ff-1", 1767323045, body)
    data = msgspec.json.decode(body)
    assert data["type"] == "message.send" and data["data"]["message_id"] == "00ff-1"
    assert data["data"]["address"] == "anna@shop.example" and data["data"]["html"].startswith("<p>")


@pytest.mark.parametrize(
    ("answer", "status", "after"),
    [
        (Answer(200), "accepted", None),
        (Answer(202), "accepted", None),
        (Answer(429, {"retry-after": "17"}), "retry", 17),
        (Answer(503, {"retry-after": "Fri, 02 Jan 2026 03:05:05 GMT"}), "retry", 61),
        (Answer(503, {"retry-after": "Fri, 02 Jan 2020 03:05:05 GMT"}), "retry", 0),
        (Answer(503, {"retry-after": "99999999999999999999"}), "retry", 86_400),
        (Answer(503, {"retry-after": "soon"}), "retry", None),
        (Answer(500), "retry", None),
        (Answer(408), "retry", None),
        (Answer(410), "failed", None),
        (Answer(404), "failed", None),
        (Answer(302, {"location": "http://169.254.169.254/"}), "failed", None),
        (Answer(action="drop"), "retry", None),
        (Answer(200, body=b"x" * 300_000), "accepted", None),
        (Answer(400, body=b"\x00\x1b[31m" + b"\xff" * 50), "failed", None),
    ],
)
def test_each_answer_by_its_name(answer: Answer, status: str, after: int | None) -> None:
    with http_server() as (posts, port):
        posts.answers = [answer]
        result = sent(channel(port), a_message())[0]
    assert (result.status, result.retry_after_s) == (status, after)
    assert result.detail.isprintable() and len(result.detail) < 500


def test_no_answer_is_repeated_only_where_ids_are_kept() -> None:
    with http_server() as (posts, port):
        posts.answers = [Answer(action="hang")]
        assert sent(channel(port, timeout_s=1), a_message())[0].status == "retry"
        assert sent(channel(port, timeout_s=1, idempotent=False), a_message())[0].status == "ambiguous"


def test_a_private_address_is_refused_unless_the_destination_says_otherwise() -> None:
    with http_server() as (posts, port):
        result = sent(channel(port, allow_private=False, allow_http=True), a_message())[0]
        assert result.status == "failed" and "allow_private: true" in result.detail
        assert posts.received == []


def test_a_missing_secret_waits_for_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK_SECRET", raising=False)
    with http_server() as (posts, port):
        result = sent(channel(port, secret="env:HOOK_SECRET"), a_message())[0]
        assert result.status == "retry" and "HOOK_SECRET is not set" in result.detail
        assert posts.received == []
