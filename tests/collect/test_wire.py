"""Reading request bodies: two readers, one meaning, nothing that a client sends can break them."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from cadenza.runtime.wire import Call, Decoded, Malformed, decode, micros, parse_instant

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(Call.__struct_fields__)


def one(body: bytes) -> Call:
    decoded = decode(body, batch=False)
    assert decoded.bad == []
    return decoded.calls[0]


@given(st.binary(max_size=200), st.booleans())
@example(b"\xef\xbb\xbf{}", False)
@example(b"[" * 100_000, False)
@example(b'{"batch":[' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"]}", True)
@example(b'{"batch":' + b"9" * 5000 + b"}", True)
def test_any_bytes_are_read_or_refused(body, batch):
    try:
        decoded = decode(body, batch)
    except Malformed as error:
        assert error.remedy
    else:
        assert isinstance(decoded, Decoded)


@given(JSON, st.booleans())
def test_any_json_is_read_or_refused(value, batch):
    try:
        decoded = decode(json.dumps(value).encode(), batch)
    except Malformed:
        return
    assert len(decoded.calls) + len(decoded.bad) == (len(value["batch"]) if batch else 1)


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=4) | JSON, max_size=5))
def test_one_bad_call_does_not_take_its_batch_down(items):
    good = {"type": "track", "event": "Good", "messageId": "g"}
    decoded = decode(json.dumps({"batch": [good, *items, good]}).encode(), batch=True)
    assert len(decoded.calls) + len(decoded.bad) == len(items) + 2
    assert [call.event for call in decoded.calls].count("Good") >= 2
    assert all(bad.reason and bad.detail for bad in decoded.bad)


@given(
    st.fixed_dictionaries(
        {"type": st.just("track")},
        optional={
            "event": st.text(max_size=5), "userId": st.none() | st.text(max_size=5) | st.integers(),
            "timestamp": st.none() | st.datetimes(min_value=datetime(1950, 1, 1)).map(lambda t: t.isoformat() + "Z"),
            "properties": st.none() | st.dictionaries(st.text(max_size=4), JSON, max_size=3),
            "traits": st.none() | st.dictionaries(st.text(max_size=4), JSON, max_size=3),
        },
    )
)  # fmt: skip
def test_both_readers_mean_the_same(call):
    """A batch that the strict reader refuses (its second call is bad) reads its first as if it stood alone."""
    try:
        alone = decode(json.dumps(call).encode(), batch=False)
    except Malformed:
        return
    mixed = decode(json.dumps({"batch": [call, 7]}).encode(), batch=True)
    assert len(mixed.calls) == len(alone.calls)
    for a, b in zip(alone.calls, mixed.calls, strict=True):
        assert plain(a) == plain(b)


def plain(call: Call) -> dict[str, Any]:
    fields = {name: getattr(call, name) for name in Call.__struct_fields__ if name != "context"}
    return fields | {"timestamp": call.timestamp and micros(call.timestamp)}


@given(st.integers())
@example(2**53 + 1)
@example(2**64)
@example(10**40)
def test_integers_are_exact(number):
    text = str(number).encode()
    for reader in (b"", b',"event":5'):
        decoded = decode(
            b'{"userId":%s,"properties":{"n":%s}%s}' % (text, text, reader.replace(b"5", b'"x"')), batch=False
        )
        assert decoded.calls[0].properties == {"n": number}
        assert str(decoded.calls[0].userId) == str(number)
    lenient = decode(b'{"batch":[{"properties":{"n":%s}},7]}' % text, batch=True)
    assert lenient.calls[0].properties == {"n": number}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_quarantined_singly(text):
    body = (
        b'{"batch":[{"type":"track","event":"A","properties":{"x":%s}},{"type":"track","event":"B"}]}' % text.encode()
    )
    decoded = decode(body, batch=True)
    assert [bad.reason for bad in decoded.bad] == ["not_finite"]
    assert [call.event for call in decoded.calls] == ["B"]


def test_half_of_a_surrogate_pair_becomes_the_replacement_character():
    call = one(rb'{"event":"a\ud800b","properties":{"\udc00":"\ud83d\ude00"}}')
    assert call.event == "a\ufffdb"
    assert call.properties == {"\ufffd": "😀"}


def test_a_byte_order_mark_is_ignored():
    assert one(b'\xef\xbb\xbf{"event":"A"}').event == "A"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b'"x"',
        b'{"a":1} x',
        b"\xff\xfe",
        b'{"event":"\xff"}',
        b'{"context":{"a":"\xff"}}',
    ],
)
def test_what_is_no_json_object_is_malformed(body):
    with pytest.raises(Malformed):
        decode(body, batch=False)


@pytest.mark.parametrize("body", [b"{}", b'{"batch":null}', b'{"batch":{}}', b'{"batch":"x"}'])
def test_a_batch_needs_its_array(body):
    with pytest.raises(Malformed, match="batch"):
        decode(body, batch=True)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ({"userId": {}}, "type: userId"), ({"userId": True}, "type: userId"), ({"event": 5}, "type: event"), ({"properties": []}, "type: properties"),
        ({"traits": "x"}, "type: traits"), ({"timestamp": "yesterday"}, "type: timestamp"), ({"timestamp": 1700000000000}, "type: timestamp"),
        ({"type": 1}, "type: type"), ({"context": 5, "event": []}, "type: event"), ([], "not_an_object"), (None, "not_an_object"),
    ],
)  # fmt: skip
def test_each_bad_call_says_what_is_wrong_and_keeps_its_bytes(call, reason):
    decoded = decode(json.dumps({"batch": [call]}).encode(), batch=True)
    [bad] = decoded.bad
    assert bad.reason == reason
    assert json.loads(bad.body) == call


def test_depth_is_bounded():
    deep: Any = 1
    for _ in range(40):
        deep = {"x": deep}
    decoded = decode(json.dumps({"batch": [{"properties": deep}, 7]}).encode(), batch=True)
    assert [bad.reason for bad in decoded.bad] == ["too_deep", "not_an_object"]


def test_numbers_as_ids_and_blank_objects_are_taken():
    decoded = decode(
        b'{"batch":[{"userId":5.0,"anonymousId":1.5,"properties":"","timestamp":"","sentAt":7},3]}', batch=True
    )
    [call] = decoded.calls
    assert (call.userId, call.anonymousId, call.properties, call.timestamp, call.sentAt) == (5, "1.5", None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-15T12:00:00.000Z", datetime(2026, 1, 15, 12)), ("2026-01-15T12:00:00.123456+02:00", datetime(2026, 1, 15, 10, 0, 0, 123456)),
        ("2026-01-15T12:00:00", datetime(2026, 1, 15, 12)), ("2026-01-15 12:00:00Z", datetime(2026, 1, 15, 12)), ("2026-01-15", datetime(2026, 1, 15)),
        ("2026-01-15T12:00Z", datetime(2026, 1, 15, 12)), ("0001-01-01T00:00:00+14:00", datetime(1, 1, 1) - timedelta(0)),
    ],
)  # fmt: skip
def test_instants(text, expected):
    parsed = parse_instant(text)
    assert parsed is not None
    offset = timedelta(hours=14) if "+14" in text else timedelta(0)
    assert micros(parsed) == (expected.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC) - offset) // timedelta(
        microseconds=1
    )


@given(JSON)
def test_any_value_is_an_instant_or_none(value):
    assert parse_instant(value) is None or isinstance(value, str)


def test_the_envelope_is_read():
    decoded = decode(
        b'{"batch":[],"writeKey":"k","sentAt":"2026-01-01T00:00:00Z","context":{"ip":"1.2.3.4"}}', batch=True
    )
    assert (decoded.write_key, decoded.calls) == ("k", [])
    assert decoded.sent_at == datetime(2026, 1, 1, tzinfo=UTC)
    assert msgspec.json.decode(decoded.context or b"") == {"ip": "1.2.3.4"}


def test_floats_keep_their_value():
    assert one(b'{"properties":{"x":49.95,"y":1e-7,"z":-0.0}}').properties == {"x": 49.95, "y": 1e-7, "z": -0.0}
    assert math.copysign(1, one(b'{"properties":{"z":-0.0}}').properties["z"]) == -1  # type: ignore[index]
