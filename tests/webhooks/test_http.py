"""Webhooks over HTTP: what each request is answered, and what of it is kept."""

from __future__ import annotations

import gzip
import json
import os
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from cadenza.adapters.ed25519 import verify_ed25519
from cadenza.clock import SystemClock
from cadenza.definitions.project import Project
from cadenza.errors import LedgerError
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.tally import Counts
from cadenza.runtime.collect import MAX_BODY, Collector
from cadenza.runtime.quarantine import Quarantine
from cadenza.runtime.sequence import Sequencer
from cadenza.runtime.webhooks import Webhooks
from cadenza.surfaces.collect_http import collect_app
from cadenza.surfaces.collect_protocol import Front
from tests.collect.asgi import NOW
from tests.collect.server import serving
from tests.webhooks.kit import GENERIC, hooks, project_of, secret_of, signed

THING = {"id": "e1", "type": "thing", "at": "2026-11-22T11:00:00Z", "who": "u1", "n": 5}


def body_of(**changes: object) -> bytes:
    return json.dumps(THING | changes).encode()


@pytest.fixture
def hooked(tmp_path):
    with hooks(tmp_path) as opened:
        yield opened


def rejected(opened) -> dict[str, int]:
    return {f"{source}/{reason}": n for (source, reason), n in opened.site.log.rejected_counts().items()}


def test_a_webhook_is_stored_before_it_is_answered(hooked):
    body = body_of()
    response = hooked.send(body, signed("hmac", body))
    assert (response.status, response.body) == (200, b'{"success":true}')
    assert hooked.stored() == [
        {"type": "track", "occurred_at": 1795345200000000, "event": "Happened", "userId": "u1", "properties": {"n": 5}}
    ]


def test_a_disk_that_fails_is_answered_503(hooked, monkeypatch):
    def fail(*_: object) -> None:
        raise LedgerError("The disk is full.")

    monkeypatch.setattr(hooked.site.journal, "append", fail)
    response = hooked.send(body_of(), signed("hmac", body_of()))
    assert response.status == 503
    assert response.headers["retry-after"]


def test_the_answers_that_turn_away(hooked):
    body = body_of()
    good = signed("hmac", body)
    old = signed("hmac", body, at=NOW - timedelta(hours=1))
    soon = signed("hmac", body, at=NOW + timedelta(hours=1))
    answers = [
        hooked.send(body + b" ", good), hooked.send(body, {}), hooked.send(body, old), hooked.send(body, soon),
        hooked.send(body, good, name="other"), hooked.send(b"x" * (MAX_BODY + 1), good),
        hooked.send(body, signed("hmac", body, secret="wrong")),
    ]  # fmt: skip
    assert [(a.status, a.json["code"]) for a in answers] == [
        (401, "bad_signature"), (401, "unsigned"), (400, "outside_window"), (400, "outside_window"),
        (404, "unknown_webhook"), (413, "too_large"), (401, "bad_signature"),
    ]  # fmt: skip
    assert hooked.stored() == []
    assert hooked.quarantined() == []
    assert rejected(hooked) == {
        "hooks/bad_signature": 2, "hooks/unsigned": 1, "hooks/outside_window": 2, "/unknown_webhook": 1,
        "hooks/too_large": 1,
    }  # fmt: skip


def test_the_answer_names_no_other_source(hooked):
    assert b"hooks'" not in hooked.send(b"{}", {}, name="hook").body


def test_other_methods(hooked):
    assert hooked.send(b"", {}, method="GET").status == 405
    assert hooked.send(b"", {}, method="HEAD").status == 200
    assert hooked.send(b"", {}, method="HEAD", name="other").status == 404
    assert hooked.send(b"", {}, method="OPTIONS").status == 200


def test_the_query_is_ignored(hooked):
    body = body_of()
    assert hooked.send(body, signed("hmac", body), query="utm=1&writeKey=x&source=other").status == 200
    assert len(hooked.stored()) == 1


# --- verified, but not usable -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "webhook: not_json"), (b"not json", "webhook: not_json"), (b'{"id": ', "webhook: not_json"),
        (b'{"id": NaN}', "webhook: not_json"), (b'{"id": "\xff"}', "webhook: not_json"), (b'{"id": "\\ud800"}', "webhook: not_json"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "webhook: not_json"), (gzip.compress(b"{}", mtime=0), "webhook: not_json"),
        (b"\xef\xbb\xbf{}", "webhook: not_json"), (b"[]", "webhook: unmapped"), (b"7", "webhook: unmapped"), (b"null", "webhook: unmapped"),
        (b'{"type": "unheard of"}', "webhook: unmapped"), (b'{"type": ["thing"]}', "webhook: mapping topic"),
        (body_of(n="five"), "webhook: mapping happened.properties.n"), (body_of(at="yesterday"), "webhook: mapping happened.timestamp"),
        (body_of(at=None), "webhook: mapping happened.timestamp"), (body_of(id=None), "webhook: mapping happened.message_id"),
        (body_of(id=""), "webhook: mapping happened.message_id"), (body_of(who={"id": 1}), "webhook: mapping happened.user_id"),
    ],
)  # fmt: skip
def test_what_is_verified_and_cannot_be_used_is_kept_as_it_came(hooked, body, reason):
    """200: sending it again would not mend it, and senders switch an endpoint off that keeps failing."""
    assert hooked.send(body, signed("hmac", body)).status == 200
    (kept,) = hooked.quarantined()
    assert (kept.reason, kept.body, kept.source, kept.form) == (reason, body, "hooks", "webhook")
    assert hooked.stored() == []


def test_a_redelivery_to_quarantine_is_kept_once(hooked):
    body = body_of(n="five")
    for _ in range(3):
        assert hooked.send(body, signed("hmac", body)).status == 200
    assert [item.message_id for item in hooked.quarantined()] == ["hooks:e1"]


def test_quarantine_keeps_the_headers_that_the_mapping_reads(tmp_path):
    with hooks(tmp_path, "preset: shopify_orders\nsecrets: env:SECRET") as opened:
        headers = signed("shopify", b"{}") | {"X-Shopify-Topic": "orders/create", "Cookie": "private"}
        assert opened.send(b"{}", headers).status == 200
        (kept,) = opened.quarantined()
        assert json.loads(kept.envelope)["headers"] == {"x-shopify-topic": "orders/create"}


def test_the_contract_is_asked_as_for_any_other_call(tmp_path):
    contract = "contract: Happened\nproperties: { n: { type: integer, maximum: 3 } }\n"
    (tmp_path / "project" / "contracts").mkdir(parents=True)
    (tmp_path / "project" / "contracts" / "happened.yaml").write_text(contract)
    with hooks(tmp_path) as opened:
        assert opened.send(body_of(), signed("hmac", body_of())).status == 200
        assert [item.reason for item in opened.quarantined()] == ["contract: Happened.n maximum"]


def test_topics_that_are_not_wanted_are_counted_only(hooked):
    for kind in ("noise", "other.a", "other.b", "other."):
        body = body_of(type=kind)
        assert hooked.send(body, signed("hmac", body)).status == 200
    assert hooked.stored() == []
    assert hooked.quarantined() == []
    assert rejected(hooked) == {"hooks/ignored: noise": 1, "hooks/ignored: other.*": 3}


def test_of_two_equal_keys_the_last_counts(hooked):
    """As for every reader of JSON here; the signature covers both."""
    body = body_of().replace(b'"n": 5', b'"n": 5, "n": 6')
    assert hooked.send(body, signed("hmac", body)).status == 200
    assert hooked.stored()[0]["properties"] == {"n": 6}


def test_a_clock_ahead_of_ours_does_not_reach_into_the_future(hooked):
    body = body_of(at="2030-01-01T00:00:00Z")
    assert hooked.send(body, signed("hmac", body)).status == 200
    assert hooked.stored()[0]["occurred_at"] == 1795348800000000


# --- secrets ------------------------------------------------------------------------------------------


def test_a_secret_that_is_not_set_makes_the_sender_come_again(tmp_path):
    with hooks(tmp_path, GENERIC.replace("env:SECRET", "env:MISSING")) as opened:
        response = opened.send(body_of(), signed("hmac", body_of()))
        assert (response.status, response.json["code"]) == (503, "unavailable")
        assert "MISSING" in response.json["message"]


def test_while_one_of_two_secrets_is_missing_the_other_serves(tmp_path):
    with hooks(tmp_path, GENERIC.replace("env:SECRET", "[env:MISSING, env:SECRET]")) as opened:
        assert opened.send(body_of(), signed("hmac", body_of())).status == 200
        assert opened.send(body_of(), signed("hmac", body_of(), secret="wrong")).status == 503


def test_an_empty_secret_signs_nothing(tmp_path):
    with hooks(tmp_path, GENERIC.replace("env:SECRET", "env:EMPTY")) as opened:
        assert opened.send(body_of(), signed("hmac", body_of(), secret="")).status == 503
        assert opened.stored() == []


def test_secrets_rotate_without_a_gap(tmp_path):
    with hooks(tmp_path, GENERIC.replace("env:SECRET", "[env:SECRET, env:OLD]")) as opened:
        for n, secret in enumerate(("an older secret", "a shared secret")):
            body = body_of(id=f"e{n}")
            assert opened.send(body, signed("hmac", body, secret=secret)).status == 200
        assert len(opened.stored()) == 2


def test_a_payload_is_taken_in_when_its_rule_is_mended(tmp_path):
    body = body_of(n="five")
    with hooks(tmp_path) as opened:
        assert opened.send(body, signed("hmac", body)).status == 200
        quarantine = Quarantine(opened.site.log, lambda: opened.site.project, opened.site.clock)
        assert quarantine.replay("me").refused == {"webhook: mapping happened.properties.n": 1}
        opened.site.project = project_of(tmp_path / "project", GENERIC.replace("integer(n)", "text(n)"))
        assert quarantine.replay("me").stored == 1
        assert [call["properties"] for call in opened.stored()] == [{"n": "five"}]
        assert opened.send(body, signed("hmac", body)).status == 200
        assert len(opened.stored()) == 1


WHO = GENERIC.replace(
    "records:", "records:\n  who: { call: identify, topics: [thing], user_id: who, traits: { n: n } }"
)


def test_a_payload_that_makes_several_calls_is_taken_in_whole(tmp_path):
    """One of its calls was good when it came; the other joins it, and what is there already is a duplicate."""
    body = body_of(n="five")
    with hooks(tmp_path, WHO) as opened:
        assert opened.send(body, signed("hmac", body)).status == 200
        assert [call["type"] for call in opened.stored()] == ["identify"]
        opened.site.project = project_of(tmp_path / "project", WHO.replace("integer(n)", "text(n)"))
        quarantine = Quarantine(opened.site.log, lambda: opened.site.project, opened.site.clock)
        assert quarantine.replay("me").stored == 1
        assert [call["type"] for call in opened.stored()] == ["identify", "track"]
        assert opened.site.log.stored_counts() == Counts(received=3, stored=2, duplicate=1)
        assert opened.send(body, signed("hmac", body)).status == 200
        assert [call["type"] for call in opened.stored()] == ["identify", "track"]
        assert opened.site.log.stored_counts() == Counts(received=5, stored=2, duplicate=3)


def test_calls_whose_ids_are_taken_by_other_payloads_stay(tmp_path):
    with hooks(tmp_path, WHO) as opened:
        for body in (body_of(n="five"), body_of(n="six")):
            assert opened.send(body, signed("hmac", body)).status == 200
        assert [call["type"] for call in opened.stored()] == ["identify"]
        opened.site.project = project_of(tmp_path / "project", WHO.replace("integer(n)", "text(n)"))
        quarantine = Quarantine(opened.site.log, lambda: opened.site.project, opened.site.clock)
        told = quarantine.replay("me")
        assert (told.stored, told.refused) == (1, {"conflict": 2}), (
            "the identify of 'six' by itself, and its whole payload"
        )
        assert [call["type"] for call in opened.stored()] == ["identify", "track"]
        counts = opened.site.log.stored_counts()
        assert counts == Counts(received=5, stored=2, duplicate=1, quarantined=2)
        assert (again := quarantine.replay("me")).refused == {"conflict": 2} and not again.stored
        assert opened.site.log.stored_counts() == counts


def test_one_call_of_a_payload_whose_id_is_taken_stays_by_itself(tmp_path):
    """The track has been stored with another payload, the identify with this one: the payload leaves, a conflict stays."""
    with hooks(tmp_path, GENERIC) as opened:
        assert opened.send(body_of(n=5), signed("hmac", body_of(n=5))).status == 200
        assert [call["type"] for call in opened.stored()] == ["track"]
        opened.site.project = project_of(tmp_path / "project", WHO)
        assert opened.send(body_of(n="five"), signed("hmac", body_of(n="five"))).status == 200
        assert [call["type"] for call in opened.stored()] == ["track", "identify"]
        opened.site.project = project_of(tmp_path / "project", WHO.replace("integer(n)", "text(n)"))
        quarantine = Quarantine(opened.site.log, lambda: opened.site.project, opened.site.clock)
        assert quarantine.replay("me").duplicate == 1
        assert [(item.reason, item.message_id) for item in quarantine.list()] == [("conflict", "hooks:e1:happened")]
        assert opened.site.log.stored_counts() == Counts(received=4, stored=2, duplicate=1, quarantined=1)


def test_a_source_that_is_removed_after_it_accepted_keeps_the_payload(tmp_path):
    with hooks(tmp_path) as opened:
        assert opened.send(body_of(), signed("hmac", body_of())).status == 200
        opened.site.project = Project()
        assert [(item.reason, item.body) for item in opened.quarantined()] == [("webhook: no_source", body_of())]


# --- the real server --------------------------------------------------------------------------------------


def test_a_webhook_through_a_real_server(tmp_path: Path):
    clock, log = SystemClock(), SqliteLog.open(tmp_path / "log.db")
    project = project_of(tmp_path / "project", GENERIC)
    collector = Collector(JournalWriter.open(tmp_path / "journal", "test", "0" * 32), clock, lambda: None)
    app = collect_app(collector, {}, webhooks=Webhooks(lambda: project, clock, secret_of, verify_ed25519))
    body = body_of(at="2020-01-01T00:00:00Z", note=os.urandom(20).hex())
    with serving(app, Front(app, collector).protocol()) as url, httpx2.Client(base_url=url) as client:
        headers = signed("hmac", body, at=clock.now())
        replies = [client.post("/v1/webhooks/hooks?x=1", content=body, headers=headers) for _ in range(2)]
        replies.append(client.post("/v1/webhooks/hooks", content=body + b"\n", headers=headers))
        assert [reply.status_code for reply in replies] == [200, 200, 401]
        assert client.head("/v1/webhooks/hooks").status_code == 200
    collector.close()
    sequencer = Sequencer(log, tmp_path / "journal", clock, lambda: project)
    assert sequencer.catch_up() == 3
    assert [record.message_id for record in log.read(0, 10)] == ["hooks:e1:happened"]
    assert log.rejected_counts() == {("hooks", "bad_signature"): 1}
    sequencer.close()
    log.close()
