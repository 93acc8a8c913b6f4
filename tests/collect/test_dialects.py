"""Each wire format: what its clients send becomes the calls they mean; what cannot be used is kept with its reason."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import given, strategies as st

from cadenza.errors import TerminalError
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.dialects.registry import DIALECTS, decode, write_key
from cadenza.runtime.wire import Malformed
from cadenza.surfaces.api import OPEN_PATHS
from cadenza.surfaces.collect_routes import ROUTES, owns
from cadenza.surfaces.operations import OPERATIONS
from tests.collect.asgi import KEY, RECEIVED, site

BIG = 2**53 + 1


@pytest.fixture
def web(tmp_path):
    with site(tmp_path) as opened:
        yield opened


def stored(web: Any) -> list[dict[str, Any]]:
    """What is in the log, without the times."""
    return [{key: value for key, value in body.items() if key != "occurred_at"} for body in web.stored()]


# --- the interface ----------------------------------------------------------------------------------


def test_a_dialect_that_is_not_known_is_named():
    with pytest.raises(TerminalError, match="no dialect 'klingon'"):
        decode(Received(dialect="klingon", body=b"{}"))


@given(
    name=st.sampled_from(sorted(DIALECTS)), call_type=st.sampled_from(["", "track", "event", "device", "merge", "delete", "identify"]),
    body=st.one_of(
        st.binary(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                st.sampled_from(["batch", "data", "event", "properties", "$set", "distinct_id", "offset", "id", "source", "type", "specversion", "time", "uuid", "timestamp", "mergeProperties", "primary", "secondary", "device", "name", "$groups", "data_base64"]),
                inner, max_size=5),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
)  # fmt: skip
def test_whatever_comes_is_calls_or_reasons_or_malformed(name, call_type, body):
    if name == "customerio" and call_type in ("", "track"):
        call_type = "event"
    received = Received(dialect=name, body=body, call_type=call_type)
    try:
        write_key(received)
        decoded = decode(received)
    except Malformed:
        return
    for bad in decoded.bad:
        assert bad.reason and bad.detail
        json.loads(bad.body)


def test_a_request_survives_being_written_down():
    received = Received(dialect="segment", body=b'{"event":"E","userId":"u"}', call_type="track", facts={"sentat": "x"})
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(received), type=Received)
    assert again == received
    assert [call.type for call in decode(again).calls] == ["track"]


# --- RudderStack, Jitsu -----------------------------------------------------------------------------


def test_a_merge_of_two_identifiers_is_an_identify_and_of_two_users_an_alias(web):
    def merge(*named: tuple[str, Any]) -> int:
        properties = [{"type": kind, "value": value} for kind, value in named]
        return web.send("/v1/merge", {"type": "merge", "mergeProperties": properties}).status

    assert merge(("user_id", "u1"), ("email", "a@x.org")) == 200
    assert merge(("user_id", "u2"), ("user_id", "u1")) == 200
    assert merge(("device", "d"), ("email", "a@x.org")) == 200
    assert stored(web) == [
        {"type": "identify", "userId": "u1", "traits": {"email": "a@x.org"}},
        {"type": "alias", "userId": "u2", "previousId": "u1"},
    ]
    assert web.log.quarantine_counts() == {("web", "unsupported: merge"): 1}


def test_a_batch_keeps_whole_what_is_none_of_the_six_calls(web):
    named = [{"type": "user_id", "value": "u2"}, {"type": "user_id", "value": "u1"}]
    calls = [
        {"type": "track", "event": "E", "userId": "u", "properties": {"n": BIG}},
        {"type": "merge", "mergeProperties": named},
    ]
    other = {"type": "audiencelist", "channel": "sources", "sql": "x", "messageId": "m-9"}
    assert web.send("/v1/batch", {"batch": [*calls, other], "context": {"locale": "de"}}).status == 200
    assert stored(web) == [
        calls[0] | {"context": {"locale": "de"}},
        {"type": "alias", "userId": "u2", "previousId": "u1", "context": {"locale": "de"}},
    ]
    kept = web.log.quarantine_list(10)
    assert [(item.reason, item.message_id, json.loads(item.body)) for item in kept] == [("unknown_type", "m-9", other)]


def test_what_has_a_segment_form_is_kept_in_it_so_that_it_can_be_mended(web):
    event = {"event": "E", "distinct_id": "u", "timestamp": "yesterday", "uuid": "m-1", "properties": {"n": 1}}
    assert web.send("/batch/", {"api_key": KEY, "batch": [event, {"event": "$groupidentify"}]}, key=None).status == 200
    first, second = sorted(web.log.quarantine_list(10), key=lambda item: item.reason, reverse=True)
    assert (first.reason, first.message_id) == ("type: timestamp", "m-1")
    assert {"type": "track", "event": "E", "userId": "u", "timestamp": "yesterday"}.items() <= json.loads(
        first.body
    ).items()
    assert (second.reason, json.loads(second.body)) == ("missing: $group_key", {"event": "$groupidentify"})


def test_a_beacon_has_its_key_in_the_query_and_brings_cookies(web):
    headers = {"cookie": "a=b", "content-type": "text/plain", "origin": "https://shop.example"}
    call = {"type": "track", "event": "E", "userId": "u"}
    response = web.send("/beacon/v1/batch", {"batch": [call]}, key=None, query=f"writeKey={KEY}", headers=headers)
    assert response.status == 200
    assert stored(web) == [call]


def test_jitsu_sends_id_and_secret_in_a_header_and_a_mask_in_the_body(web):
    call = {"event": "E", "userId": "u", "groupId": "g", "writeKey": "WK:***", "context": {"locale": "de"}}
    assert web.send("/api/s/track", call, key=None, headers={"x-write-key": f"{KEY}:secret"}).status == 200
    assert web.send("/api/s/s2s/track", call, key=None, headers={"x-write-key": "WRONG:secret"}).status == 401
    assert web.send("/api/s/track", call | {"writeKey": KEY}, key=None).status == 401
    assert stored(web) == [{"type": "track", "event": "E", "userId": "u", "context": {"locale": "de", "groupId": "g"}}]


# --- JSON lines ---------------------------------------------------------------------------------------


LINES = b"""{"type":"track","event":"A","userId":"u"}

{"type":"track","event":"B","userId":"u","properties":{"n":9007199254740993}}\r
not json
{"type":"identify","userId":"u","traits":{"plan":"pro"}}"""


@pytest.mark.parametrize(
    ("path", "media"), [("/v1/ndjson", "text/plain"), ("/v1/batch", "application/x-ndjson; charset=utf-8")]
)
def test_json_lines(web, path, media):
    assert web.send(path, LINES, headers={"content-type": media}).status == 200
    assert [body.get("event") for body in stored(web)] == ["A", "B", None]
    assert stored(web)[1]["properties"] == {"n": BIG}
    assert web.log.quarantine_counts() == {("web", "not_json"): 1}


# --- CloudEvents ----------------------------------------------------------------------------------------

EVENT = {
    "specversion": "1.0", "id": "e-1", "source": "/shop/7", "type": "Order Completed", "subject": "u1",
    "time": "2026-01-15T12:00:00Z", "data": {"total": 12, "big": BIG, "none": None, "blank": ""},
}  # fmt: skip
AS_CALL = {
    "type": "track", "event": "Order Completed", "userId": "u1", "properties": {"total": 12, "big": BIG},
    "context": {"cloudevent": {"source": "/shop/7", "subject": "u1"}},
}  # fmt: skip


def test_a_cloudevent_is_a_track_call_and_is_known_by_source_and_id(web):
    for _ in range(2):
        assert web.send("/v1/events", EVENT, headers={"content-type": "application/cloudevents+json"}).status == 200
    assert web.send("/v1/events", EVENT | {"source": "/shop/8"}).status == 200
    assert stored(web)[0] == AS_CALL
    assert [record.message_id for record in web.log.read(0, 9)] == ["/shop/7#e-1", "/shop/8#e-1"]
    assert web.stored()[0]["occurred_at"] == 1_768_478_400_000_000


def test_cloudevents_in_a_batch_with_extensions(web):
    traits = EVENT | {"id": "e-2", "calltype": "identify", "anonymousid": "a1", "data": {"plan": "pro"}, "tenant": "t"}
    group = EVENT | {"id": "e-3", "calltype": "group", "groupid": "g1", "data": {"name": "Acme"}}
    bad = [EVENT | {"specversion": "0.3"}, EVENT | {"id": ""}, 5, EVENT | {"calltype": "dance"}]
    media = {"content-type": "application/cloudevents-batch+json"}
    assert web.send("/v1/events", [EVENT, traits, group, *bad], headers=media).status == 200
    first, second, third = stored(web)
    assert first == AS_CALL
    assert (second["type"], second["userId"], second["anonymousId"], second["traits"]) == (
        "identify",
        "u1",
        "a1",
        {"plan": "pro"},
    )
    assert second["context"]["cloudevent"]["tenant"] == "t"
    assert (third["type"], third["groupId"], third["properties"]) == ("group", "g1", {"name": "Acme"})
    assert sorted(reason for _, reason in web.log.quarantine_counts()) == [
        "missing: id", "not_an_object", "unknown_type", "unsupported: specversion",
    ]  # fmt: skip


def test_a_cloudevent_in_binary_mode(web):
    headers = {
        "ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/shop/7", "ce-type": "Order%20Completed", "ce-subject": "u1",
        "ce-time": "2026-01-15T12:00:00Z", "content-type": "application/json",
    }  # fmt: skip
    assert web.send("/v1/events", EVENT["data"], headers=headers).status == 200
    assert stored(web) == [AS_CALL]
    text = headers | {"ce-id": "e-2", "content-type": "text/plain"}
    assert web.send("/v1/events", "grüße".encode(), headers=text).status == 200
    assert web.send("/v1/events", b"\xff\x00", headers=text | {"ce-id": "e-3"}).status == 200
    assert [body["properties"] for body in stored(web)[1:]] == [{"data": "grüße"}, {"data_base64": "/wA="}]


def test_data_in_base64_and_data_that_is_no_object(web):
    encoded = base64.b64encode(b'{"n":1}').decode()
    plain = {key: value for key, value in EVENT.items() if key != "data"}
    events = [
        plain | {"id": "1", "data_base64": encoded}, plain | {"id": "2", "data": [1, 2]}, plain | {"id": "3"},
        plain | {"id": "4", "data_base64": encoded, "datacontenttype": "image/png"}, plain | {"id": "5", "data_base64": "?"},
    ]  # fmt: skip
    assert web.send("/v1/events", events).status == 200
    assert [body.get("properties") for body in stored(web)] == [
        {"n": 1},
        {"data": [1, 2]},
        None,
        {"data_base64": encoded},
    ]
    assert web.log.quarantine_counts() == {("web", "type: data_base64"): 1}


# --- PostHog ----------------------------------------------------------------------------------------------


def posthog(web: Any, *events: dict[str, Any], **envelope: Any) -> list[dict[str, Any]]:
    """The stored calls of a PostHog batch, without their contexts."""
    assert web.send("/batch/", {"api_key": KEY, "batch": events} | envelope, key=None).status == 200
    return [{key: value for key, value in body.items() if key != "context"} for body in stored(web)]


def test_posthogs_own_events_are_calls(web):
    found = posthog(
        web,
        {"event": "Paid", "distinct_id": "u1", "properties": {"n": BIG, "none": None, "$lib": "posthog-python", "$os": "Linux"}},
        {"event": "$set", "distinct_id": "u1", "$set": {"plan": "pro"}},
        {"event": "$identify", "distinct_id": "u1", "properties": {"$anon_distinct_id": "a1", "$set": {"plan": "free"}, "$set_once": {"first": 1}}},
        {"event": "$create_alias", "distinct_id": "a1", "properties": {"alias": "u1", "distinct_id": "a1"}},
        {"event": "$pageview", "distinct_id": "a1", "properties": {"$current_url": "https://x/", "$is_identified": False, "q": 1}},
        {"event": "$screen", "distinct_id": "u1", "properties": {"$screen_name": "Start", "v": 1}},
        {"event": "$groupidentify", "distinct_id": "chance", "properties": {"$group_type": "company", "$group_key": "g1", "$group_set": {"name": "Acme"}, "$is_server": True}},
        {"event": "Seen", "distinct_id": "u1", "properties": {"$groups": {"company": "g1"}, "$set": {"plan": "max"}}},
        {"event": "$merge_dangerously", "distinct_id": "u1", "properties": {"alias": "u0"}},
    )  # fmt: skip
    assert found == [
        {"type": "track", "event": "Paid", "userId": "u1", "properties": {"n": BIG}},
        {"type": "identify", "userId": "u1", "traits": {"plan": "pro"}},
        {"type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {"plan": "free"}},
        {"type": "alias", "userId": "u1", "previousId": "a1"},
        {"type": "page", "anonymousId": "a1", "properties": {"url": "https://x/", "q": 1}},
        {"type": "screen", "userId": "u1", "properties": {"name": "Start", "v": 1}},
        {"type": "group", "groupId": "company:g1", "properties": {"type": "company", "key": "g1", "name": "Acme"}},
        {"type": "track", "event": "Seen", "userId": "u1", "traits": {"plan": "max"}},
        {"type": "alias", "userId": "u1", "previousId": "u0"},
    ]
    contexts = [body.get("context", {}) for body in stored(web)]
    assert contexts[0] == {"library": {"name": "posthog-python"}, "posthog": {"os": "Linux"}}
    assert contexts[2]["posthog"] == {"anon_distinct_id": "a1", "set_once": {"first": 1}}
    assert contexts[7]["groupId"] == "company:g1"


def test_posthog_corrects_clocks_by_sent_at_or_offset(web):
    one = {"event": "E", "distinct_id": "u", "timestamp": "2026-11-22T10:00:00+00:00"}
    posthog(web, one, sent_at="2026-11-22T10:00:05.000Z")
    posthog(web, {"event": "E", "distinct_id": "u", "offset": 2500, "uuid": "id-1"})
    assert [RECEIVED - body["occurred_at"] for body in web.stored()] == [5_000_000, 2_500_000]
    assert web.log.read(0, 9)[1].message_id == "id-1"


@pytest.mark.parametrize("how", ["json", "gzip", "form", "form of gzip", "array"])
def test_the_forms_in_which_posthogs_browser_client_sends(web, how):
    event = {"event": "E", "properties": {"distinct_id": "ü", "token": KEY, "n": BIG}}
    raw = json.dumps([event] if how == "array" else event).encode()
    body = {
        "gzip": gzip.compress(raw, mtime=0),
        "form": b"data=" + quote(base64.b64encode(raw)).encode(),
        "form of gzip": b"data=" + base64.b64encode(gzip.compress(raw, mtime=0)),
    }.get(how, raw)
    assert (
        web.send("/e/", body, key=None, query="compression=base64&ip=0", headers={"content-type": "text/plain"}).status
        == 200
    )
    assert web.send("/i/v0/e/", body, key=None).status == 200
    assert [body["properties"] for body in stored(web)] == [{"n": BIG}] * 2
    assert stored(web)[0]["userId"] == "ü"


@pytest.mark.parametrize(
    "body", [b"", b"data=", b"data=!!!", b"\x00", b"data=" + base64.b64encode(gzip.compress(b"{}", mtime=0)[:-4])]
)
def test_what_is_no_form_of_posthogs_is_400(web, body):
    assert web.send("/e/", body, key=None).status == 400


def test_a_form_cannot_unpack_without_bound(web):
    bomb = b"data=" + base64.b64encode(gzip.compress(b"[" + b" " * 50_000_000 + b"]"))
    assert web.send("/e/", bomb, key=None).status == 400


# --- Customer.io ----------------------------------------------------------------------------------------------


def test_the_track_api_of_customerio(web):
    def ask(method: str, path: str, body: Any) -> None:
        assert web.send(f"/api/v1/{path}", body, method=method).status == 200, path

    ask("PUT", "customers/u1", {"email": "a@x.org", "plan": "", "big": BIG, "anonymous_id": "a1"})
    ask("POST", "customers/u1/events", {"name": "Paid", "data": {"total": 5, "none": None}, "timestamp": 1_768_478_400})
    ask("POST", "customers/u1/events", {"name": "Home", "type": "page", "data": {"url": "https://x/"}})
    ask("POST", "events", {"name": "Seen", "anonymous_id": "a2", "id": "given"})
    ask(
        "PUT",
        "customers/u1/devices",
        {"device": {"id": "d1", "platform": "ios", "last_used": 1, "attributes": {"v": 2}}},
    )
    ask("DELETE", "customers/u1/devices/d1", {})
    ask("POST", "merge_customers", {"primary": {"id": "u1"}, "secondary": {"id": "u0"}})
    ask("POST", "merge_customers", {"primary": {"email": "b@x.org"}, "secondary": {"id": "u0"}})
    ask("POST", "merge_customers", {"primary": {"email": "b@x.org"}, "secondary": {"email": "c@x.org"}})
    ask("DELETE", "customers/u1", b"")
    ask("POST", "customers/u1/suppress", {})
    assert stored(web) == [
        {"type": "identify", "userId": "u1", "anonymousId": "a1", "traits": {"email": "a@x.org", "big": BIG}},
        {"type": "track", "event": "Paid", "userId": "u1", "properties": {"total": 5}},
        {"type": "page", "userId": "u1", "properties": {"name": "Home", "url": "https://x/"}},
        {"type": "track", "event": "Seen", "anonymousId": "a2"},
        {
            "type": "track", "event": "Device Created or Updated", "userId": "u1",
            "properties": {"id": "d1", "platform": "ios", "last_used": 1, "v": 2}, "context": {"device": {"token": "d1", "type": "ios"}},
        },
        {"type": "track", "event": "Device Deleted", "userId": "u1", "properties": {"id": "d1"}},
        {"type": "alias", "userId": "u1", "previousId": "u0"},
        {"type": "identify", "userId": "u0", "traits": {"email": "b@x.org"}},
        {"type": "track", "event": "User Deleted", "userId": "u1"},
        {"type": "track", "event": "User Suppressed", "userId": "u1"},
    ]  # fmt: skip
    assert web.stored()[1]["occurred_at"] == 1_768_478_400_000_000
    assert web.log.quarantine_counts() == {("web", "unsupported: merge by email"): 1}


def test_an_event_of_customerio_with_a_time_is_known_again(web):
    for total in (5, 5, 6):
        web.send("/api/v1/customers/u1/events", {"name": "Paid", "data": {"total": total}, "timestamp": 1_768_478_400})
    assert [body["properties"] for body in stored(web)] == [{"total": 5}, {"total": 6}]


def test_a_person_whose_id_has_slashes_and_blanks(web):
    person = "a/b c@ü"
    web.send(f"/api/v1/customers/{quote(person, safe='')}/events", {"name": "E"}, key="WK:api-key")
    assert stored(web)[0]["userId"] == person


def test_customerio_needs_basic_auth(web):
    assert web.send("/api/v1/customers/u1", {"writeKey": KEY}, key=None, method="PUT").status == 401
    assert web.send("/api/v1/customers/u1", {}, method="POST").status == 405
    assert web.send("/api/v1/nothing", {}).status == 404


# --- who answers what ---------------------------------------------------------------------------------------


def test_collection_and_the_read_api_share_no_path():
    theirs = {operation.path for operation in OPERATIONS} | {*OPEN_PATHS, "/metrics", "/mailbox", "/mailbox/1"}
    assert [path for path in theirs if owns(path)] == []
    assert [route.path for route in ROUTES if not owns(route.path)] == []
    assert owns("/v1/nothing") and owns("/e/") and not owns("/events") and not owns("/api/status") and not owns("/")


def test_every_dialect_of_a_route_is_known():
    assert {route.dialect for route in ROUTES if route.ask is None} <= set(DIALECTS)
