"""The collection API: what each client relies on, rule by rule (the rules are those of real clients' recordings)."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.errors import LedgerError, OperatingError
from cadenza.runtime.collect import MAX_BODY, Overloaded
from cadenza.surfaces.collect_asked import declared_script
from cadenza.surfaces.collect_http import collect_app
from cadenza.surfaces.collect_routes import ROUTES
from tests.collect.asgi import KEY, site

ONE = {"event": "E", "userId": "u", "previousId": "p", "groupId": "g", "messageId": "m"}


@pytest.fixture
def web(tmp_path):
    with site(tmp_path) as opened:
        yield opened


SEGMENT = {route.path: route.call_type for route in ROUTES if route.dialect == "segment"}


def test_every_route_takes_its_call(web):
    for n, (path, kind) in enumerate(sorted(SEGMENT.items())):
        call = ONE | {"messageId": f"m{n}", "type": kind or "track"}
        response = web.send(path, call if kind else {"batch": [call]})
        assert (response.status, response.body) == (200, b'{"success":true}'), path
    assert [(b["type"]) for b in web.stored()] == [kind or "track" for _, kind in sorted(SEGMENT.items())]


def test_the_route_names_the_call(web):
    assert web.send("/v1/track/", {"event": "E", "type": "identify"}).status == 200
    assert web.stored()[0]["type"] == "track"


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/json;charset=UTF-8", "application/x-www-form-urlencoded", "nonsense"],
)
def test_any_content_type(web, content_type):
    headers = {} if content_type is None else {"content-type": content_type}
    assert web.send("/v1/b", {"batch": [ONE | {"type": "track"}]}, headers=headers).status == 200
    assert len(web.stored()) == 1


# --- write keys -------------------------------------------------------------------------------


def test_the_key_may_ride_in_the_header_the_body_or_the_query(web):
    call = {"type": "track", "event": "E"}
    assert web.send("/v1/track", call).status == 200
    assert web.send("/v1/track", call | {"writeKey": "OTHER"}, key=None).status == 200
    assert web.send("/v1/b", {"batch": [call], "writeKey": "OTHER"}, key=None).status == 200
    assert web.send("/v1/batch", {"batch": [call]}, key=None, query="writeKey=OTHER").status == 200
    assert [record.source for record in web.log.read(0, 9)] == ["web", "app", "app", "app"]


def test_the_key_in_the_header_may_come_with_a_password_or_without_colon(web):
    for user in (b"WK:secret", b"WK"):
        token = base64.b64encode(user).decode()
        assert web.send("/v1/track", ONE, key=None, headers={"authorization": f"basic {token}"}).status == 200


@pytest.mark.parametrize(
    ("key", "headers", "call"),
    [
        (None, {}, ONE), ("WRONG", {}, ONE), (None, {"authorization": "Bearer WK"}, ONE), (None, {"authorization": "Basic !!!"}, ONE),
        (None, {"authorization": "Basic /w=="}, ONE), (None, {}, ONE | {"writeKey": "WRONG"}), ("WRONG", {}, ONE | {"writeKey": KEY}),
    ],
)  # fmt: skip
def test_without_a_known_key_nothing_is_kept(web, key, headers, call):
    response = web.send("/v1/track", call, key=key, headers=headers)
    assert response.status == 401
    assert set(response.json) == {"code", "message"}
    web.send("/v1/track", ONE)
    assert len(web.stored()) == 1
    assert web.log.stored_counts().rejected == 1


# --- bodies -----------------------------------------------------------------------------------


def packed(value: Any) -> bytes:
    return gzip.compress(json.dumps(value).encode())


@pytest.mark.parametrize(
    "headers", [{}, {"content-encoding": "gzip"}, {"content-encoding": "gzip", "content-type": "text/plain"}]
)
def test_gzip_is_seen_with_and_without_its_header(web, headers):
    assert web.send("/v1/batch", packed({"batch": [ONE | {"type": "track"}]}), headers=headers).status == 200
    assert len(web.stored()) == 1


def test_a_header_that_says_gzip_of_plain_bytes_is_forgiven(web):
    assert web.send("/v1/track", ONE, headers={"content-encoding": "gzip"}).status == 200


def test_gzip_in_several_members_and_several_chunks(web):
    raw = json.dumps({"batch": [ONE | {"type": "track"}]}).encode()
    body = gzip.compress(raw[:20]) + gzip.compress(raw[20:])
    assert web.send("/v1/batch", chunks=[body[:5], body[5:9], b"", body[9:]]).status == 200
    assert len(web.stored()) == 1


def test_a_bomb_is_stopped_at_the_limit(web):
    response = web.send("/v1/batch", gzip.compress(b" " * (MAX_BODY * 50)))
    assert response.status == 413
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    many = b"".join(gzip.compress(b" " * (MAX_BODY // 2)) for _ in range(4))
    assert web.send("/v1/batch", many).status == 413
    assert bomb.flush()


@pytest.mark.parametrize("how", ["declared", "whole", "chunked"])
def test_what_is_too_large_is_final(web, how):
    big = b" " * (MAX_BODY + 1)
    if how == "declared":
        response = web.send("/v1/track", b"{}", headers={"content-length": str(MAX_BODY + 1)})
    else:
        response = web.send(
            "/v1/track", big if how == "whole" else b"", chunks=None if how == "whole" else [big[: MAX_BODY // 2]] * 3
        )
    assert response.status == 413
    assert set(response.json) == {"code", "message"}


def test_a_batch_as_large_as_clients_make_them_is_taken(web):
    batch = [ONE | {"type": "track", "messageId": f"m{n}", "properties": {"text": "x" * 31_000}} for n in range(100)]
    assert web.send("/v1/batch", {"batch": batch}).status == 200
    assert len(web.stored()) == 100


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"\x1f\x8b",
        b"\x1f\x8bgarbage",
        gzip.compress(b"{}", mtime=0)[:-4],
        gzip.compress(b"not json", mtime=0),
        b'{"batch":5}',
    ],
)
def test_what_cannot_be_read_is_400_with_code_and_message(web, body):
    response = web.send("/v1/batch", body)
    assert response.status == 400
    assert set(response.json) == {"code", "message"}
    assert web.stored() == []


def test_an_encoding_we_do_not_know_is_400(web):
    assert web.send("/v1/track", ONE, headers={"content-encoding": "br"}).status == 400


def test_bad_calls_in_a_batch_are_quarantined_and_the_others_stored(web):
    good = {"type": "track", "event": "E"}
    response = web.send(
        "/v1/batch",
        {"batch": [good | {"messageId": "1"}, 5, {"type": "what"}, good | {"userId": {}}, good | {"messageId": "2"}]},
    )
    assert response.status == 200
    assert [record.message_id for record in web.log.read(0, 9)] == ["1", "2"]
    assert web.log.quarantine_counts() == {
        ("web", "not_an_object"): 1,
        ("web", "type: userId"): 1,
        ("web", "unknown_type"): 1,
    }


def test_an_empty_batch_is_a_success(web):
    assert web.send("/v1/batch", {"batch": []}).status == 200


def test_retries_with_another_sent_at_do_not_double(web):
    call = ONE | {"type": "track", "timestamp": "2026-11-22T10:00:00Z"}
    for second in (1, 2, 3):
        assert (
            web.send(
                "/v1/batch",
                {"batch": [call, {"type": "what", "messageId": "q"}], "sentAt": f"2026-11-22T11:00:0{second}Z"},
            ).status
            == 200
        )
    assert len(web.stored()) == 1
    assert sum(web.log.quarantine_counts().values()) == 1
    counts = web.log.stored_counts()
    assert (counts.received, counts.stored, counts.duplicate, counts.quarantined) == (6, 1, 4, 1)


def test_sent_at_may_be_a_header(web):
    web.send("/v1/track", ONE | {"timestamp": "2026-11-22T10:00:00Z"}, headers={"sentAt": "2026-11-22T10:00:05Z"})
    assert web.log.read(0, 1)[0].recorded_at - web.stored()[0]["occurred_at"] == 5_000_000


# --- trouble ------------------------------------------------------------------------------------


def test_overload_is_429_with_retry_after_that_browsers_can_read(web, monkeypatch):
    def full(*_: Any) -> None:
        raise Overloaded("Full.", retry_after_s=3)

    monkeypatch.setattr(web.collector, "add", full)
    response = web.send("/v1/track", ONE, headers={"origin": "https://shop.example"})
    assert response.status == 429
    assert response.headers["retry-after"] == "3"
    assert response.headers["access-control-expose-headers"] == "Retry-After"
    assert set(response.json) == {"code", "message"}


def test_a_disk_that_fails_is_503_and_the_client_sends_again(web, monkeypatch):
    def fail(*_: Any) -> None:
        raise LedgerError("disk full")

    monkeypatch.setattr(web.journal, "append", fail)
    response = web.send("/v1/track", ONE)
    assert response.status == 503
    assert int(response.headers["retry-after"]) >= 1
    monkeypatch.undo()
    assert web.send("/v1/track", ONE).status == 200
    assert len(web.stored()) == 1


def test_keys_that_cannot_be_looked_up_are_our_trouble_not_the_clients(web):
    def unset() -> dict[str, str]:
        raise OperatingError("WRITE_KEY is not set.", remedy="Set it.")

    web.app = collect_app(web.collector, unset)
    response = web.send("/v1/track", ONE)
    assert response.status == 503
    assert response.headers["retry-after"]


def test_a_client_that_hangs_up_in_the_middle_is_no_error(web):
    scope_sent = web.send("/v1/track", chunks=[])
    assert scope_sent.status == 0
    assert web.stored() == []


def test_other_paths_and_methods(web):
    assert web.send("/v1/nothing", ONE).status == 404
    assert web.send("/", b"", method="GET").status == 404
    assert web.send("/v1/track", b"", method="GET").status == 405
    assert set(web.send("/v1/track", b"", method="GET").json) == {"code", "message"}


# --- browsers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/track", "/v1/batch", "/anything"])
def test_preflights_are_answered_everywhere_and_remembered(web, path):
    asked = {"origin": "https://shop.example", "access-control-request-headers": "authorization,rsa-retry-attempt"}
    response = web.send(path, method="OPTIONS", key=None, headers=asked)
    assert response.status == 200
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["access-control-allow-credentials"] == "true"
    assert response.headers["access-control-allow-headers"] == "authorization,rsa-retry-attempt"
    assert int(response.headers["access-control-max-age"]) >= 600


@pytest.mark.parametrize(("key", "status"), [(KEY, 200), ("WRONG", 401)])
def test_answers_carry_the_origin_also_when_they_are_errors(web, key, status):
    response = web.send("/v1/track", ONE, key=key, headers={"origin": "https://shop.example"})
    assert response.status == status
    assert response.headers["access-control-allow-origin"] == "https://shop.example"
    assert response.headers["vary"] == "Origin"


def test_settings_for_browser_and_mobile_clients(web):
    response = web.send(
        f"/v1/projects/{KEY}/settings", method="GET", key=None, headers={"host": "collect.example:8080"}
    )
    assert response.status == 200
    segment = response.json["integrations"]["Segment.io"]
    assert (segment["apiKey"], segment["apiHost"], segment["protocol"]) == (KEY, "collect.example:8080/v1", "http")
    assert response.json["metrics"] == {"sampleRate": 0}
    assert web.send("/v1/projects/WRONG/settings", method="GET", key=None).status == 404


def test_keys_may_change_while_running(tmp_path):
    with site(tmp_path) as opened:
        keys = {"A": "a"}
        opened.app = type(opened.app)(opened.collector, lambda: keys)
        assert opened.send("/v1/track", ONE, key="B").status == 401
        keys["B"] = "b"
        assert opened.send("/v1/track", ONE, key="B").status == 200


# --- anything ---------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([*(route.path for route in ROUTES), "/x"]), body=st.binary(max_size=80) | st.builds(lambda b: gzip.compress(b), st.binary(max_size=40)),
    headers=st.dictionaries(st.sampled_from(["content-encoding", "sentat", "origin", "content-length", "authorization"]), st.text(alphabet="abc 0123:;=/+Zé", max_size=12)),
    query=st.text(alphabet="writeKey=&%AZ09", max_size=20), method=st.sampled_from(["POST", "POST", "POST", "GET", "OPTIONS", "PUT", "DELETE"]),
)  # fmt: skip
def test_nothing_that_is_sent_is_a_server_error(web, path, body, headers, query, method):
    latin = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    response = web.send(path, body, headers=latin, query=query, method=method)
    assert response.status in (200, 400, 401, 404, 405, 413)
    counts = web.log.stored_counts()
    assert counts.received == counts.stored + counts.duplicate + counts.quarantined + counts.rejected


# --- what clients ask for ---------------------------------------------------------------------------


def test_the_configuration_of_rudderstacks_browser_client(web):
    response = web.send("/sourceConfig/", method="GET", query=f"p=npm&v=3&writeKey={KEY}")
    source = response.json["source"]
    assert (source["writeKey"], source["enabled"], source["destinations"]) == (KEY, True, [])
    assert web.send("/sourceConfig/", method="GET", key="WRONG").status == 404


def test_the_script_is_served_from_where_it_was_installed(web, tmp_path):
    without = web.send(f"/analytics.js/v1/{KEY}/analytics.min.js", method="GET", key=None)
    assert without.status == 404
    assert "CADENZA_ANALYTICS_JS" in without.json["message"]
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "part.js").write_text("part")
    script = tmp_path / "standalone.js"
    script.write_text("whole")
    web.app = collect_app(web.collector, {KEY: "web"}, script)
    found = web.send(f"/analytics.js/v1/{KEY}/analytics.min.js", method="GET", key=None)
    assert (found.body, found.headers["content-type"]) == (b"whole", "text/javascript; charset=utf-8")
    assert web.send("/analytics-next/bundles/part.js", method="GET", key=None).body == b"part"
    assert web.send("/analytics.js/v1/WRONG/analytics.min.js", method="GET", key=None).status == 404
    for elsewhere in ("secret.txt", "..%2Fsecret.txt", "missing.js", "%2Fetc%2Fpasswd"):
        assert web.send(f"/analytics-next/bundles/{elsewhere}", method="GET", key=None).status == 404


@pytest.mark.parametrize("path", ["/v1/m", "/flags/?v=2", "/decide/"])
def test_metrics_and_flags_are_answered_without_a_key(web, path):
    response = web.send(path.partition("?")[0], b'{"token":"x"}', key=None)
    assert response.status == 200
    assert response.json
    assert web.stored() == []


def test_posthogs_remote_configuration_switches_nothing_on(web):
    assert web.send(f"/array/{KEY}/config", method="GET", key=None).json["hasFeatureFlags"] is False
    script = web.send(f"/array/{KEY}/config.js", method="GET", key=None)
    assert script.headers["content-type"].startswith("text/javascript")


# --- contracts that reject ------------------------------------------------------------------------


def test_a_single_call_that_its_contract_rejects_is_told_so_and_a_batch_goes_on(tmp_path):
    contract = Contract(name="E", on_violation="reject", properties={"n": Property(type="integer", required=True)})
    good, bad = ONE | {"properties": {"n": 1}}, ONE | {"messageId": "bad"}
    with site(tmp_path, Project(contracts=(contract,))) as opened:
        response = opened.send("/v1/track", bad)
        assert (response.status, response.json["code"]) == (400, "contract")
        assert opened.send("/v1/track", good).status == 200
        batch = {"batch": [bad | {"type": "track"}, good | {"type": "track", "messageId": "m2"}]}
        assert opened.send("/v1/batch", batch).status == 200
        counts = opened.log.stored_counts()
        assert (counts.received, counts.stored, counts.rejected) == (4, 2, 2)


def test_the_script_is_named_in_the_environment():
    assert declared_script({}) is None
    assert declared_script({"CADENZA_ANALYTICS_JS": "a/standalone.js"}) == Path("a/standalone.js")


# --- hostile bodies ---------------------------------------------------------------------------------


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 100_000 + b"]" * 100_000])
@pytest.mark.parametrize(
    "around", [b'{"batch":%s}', b'{"batch":[{"type":"track","event":"E","properties":%s}]}', b"%s"]
)
def test_a_hundred_thousand_levels_are_answered_at_once(web, deep, around):
    status = web.send("/v1/batch", around % deep).status
    assert status in (200, 400)
    assert web.send("/v1/track", ONE).status == 200
    assert len(web.stored()) == 1
    counts = web.log.stored_counts()
    assert counts.received == counts.stored + counts.quarantined + counts.rejected == 2
