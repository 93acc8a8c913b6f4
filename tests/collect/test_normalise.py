"""From calls to records: each rule of the body's shape, and each refusal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st

from cadenza.clock import iso
from cadenza.definitions.kinds import Contract, Property
from cadenza.definitions.project import Project
from cadenza.runtime.normalise import Normaliser, Prepared
from cadenza.runtime.wire import MAX_DEPTH, decode
from tests.collect.asgi import NOW, RECEIVED

S = 1_000_000


def prepare(call: Any, project: Project | None = None, batch: dict[str, Any] | None = None) -> Prepared:
    held = project or Project()
    body = json.dumps({"batch": call if isinstance(call, list) else [call]} | (batch or {})).encode()
    return Normaliser(lambda: held).prepare(decode(body, batch=True), "web", RECEIVED)


def body(call: Any, **more: Any) -> dict[str, Any]:
    prepared = prepare(call, **more)
    assert prepared.refused == []
    [raw] = prepared.batch.bodies
    return json.loads(raw)


def reason(call: Any, **more: Any) -> str:
    prepared = prepare(call, **more)
    assert prepared.batch.ids == []
    [refused] = prepared.refused
    assert refused.detail.endswith(".")
    return refused.reason


def track(**fields: Any) -> dict[str, Any]:
    return {"type": "track", "event": "Order Completed", "messageId": "m1"} | fields


def test_the_shape_of_a_track():
    call = track(
        userId="u1", anonymousId="a1", properties={"revenue": 9.9, "items": [1, None, ""]}, context={"ip": "1.2.3.4"},
        timestamp=iso(NOW - timedelta(hours=1)), integrations={"All": True}, writeKey="secret",
    )  # fmt: skip
    assert body(call) == {
        "type": "track", "event": "Order Completed", "userId": "u1", "anonymousId": "a1", "occurred_at": RECEIVED - 3600 * S,
        "properties": {"revenue": 9.9, "items": [1, None, ""]}, "context": {"ip": "1.2.3.4"},
    }  # fmt: skip


def test_null_and_blank_are_absent():
    call = track(
        userId=None, anonymousId="", properties={"a": None, "b": "", "c": 0, "d": False}, traits={}, context={"x": None}
    )
    assert body(call) == {
        "type": "track",
        "event": "Order Completed",
        "occurred_at": RECEIVED,
        "properties": {"c": 0, "d": False},
    }
    assert "properties" not in body(track(properties={"a": None}))


def test_ids_are_text_exactly():
    found = body(track(userId=2**53 + 1, anonymousId="007"))
    assert (found["userId"], found["anonymousId"]) == ("9007199254740993", "007")


def test_integers_beyond_64_bits_stay_exact():
    assert body(track(properties={"n": 10**30, "m": -(2**70)}))["properties"] == {"n": 10**30, "m": -(2**70)}


@pytest.mark.parametrize("kind", ["track", "identify", "page", "screen", "alias"])
def test_traits_are_found_wherever_they_ride_and_traits_win(kind):
    call = {
        "type": kind,
        "event": "E",
        "userId": "u",
        "previousId": "p",
        "traits": {"a": 1, "n": None},
        "context": {"traits": {"a": 2, "b": 3, "n": 4}, "ip": "x"},
    }
    found = body(call)
    assert found["traits"] == {"a": 1, "b": 3, "n": 4}
    assert found["context"] == {"ip": "x"}


def test_traits_only_in_context():
    assert body({"type": "identify", "userId": "u", "context": {"traits": {"email": "a@b.example"}}})["traits"] == {
        "email": "a@b.example"
    }


def test_group_traits_describe_the_account_not_the_person():
    call = {
        "type": "group",
        "userId": "u",
        "groupId": "g",
        "traits": {"email": "info@acme.example"},
        "context": {"traits": {"plan": "pro"}},
    }
    found = body(call)
    assert found["properties"] == {"email": "info@acme.example"}
    assert found["traits"] == {"plan": "pro"}
    assert found["groupId"] == "g"


@pytest.mark.parametrize("kind", ["page", "screen"])
def test_page_and_screen_carry_their_name_in_properties(kind):
    assert body({"type": kind, "name": "Home", "category": "Docs"})["properties"] == {
        "name": "Home",
        "category": "Docs",
    }
    assert body({"type": kind, "name": "Home", "properties": {"name": "Own", "url": "/"}})["properties"] == {
        "name": "Own",
        "url": "/",
    }


def test_alias():
    found = body({"type": "alias", "userId": "u", "previousId": "a"})
    assert (found["userId"], found["previousId"]) == ("u", "a")


def test_the_context_of_the_batch_is_for_calls_without_one():
    first, second = prepare(
        [track(messageId="1"), track(messageId="2", context={"b": 1})], batch={"context": {"a": 1}}
    ).batch.bodies
    assert json.loads(first)["context"] == {"a": 1}
    assert json.loads(second)["context"] == {"b": 1}


# --- time -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "sent", "occurred"),
    [
        ({}, None, 0),
        ({"timestamp": -60}, None, -60),
        ({"timestamp": 60}, None, 0),
        ({"timestamp": -3660}, -3600, -60),
        ({"timestamp": 3540}, 3600, -60),
        ({"timestamp": 3660}, 3600, 0),
        ({"originalTimestamp": -3660, "timestamp": -5}, -3600, -60),
        ({"originalTimestamp": -60}, None, -60),
        ({"timestamp": -3660, "sentAt": -3600}, -9, -60),
        ({"originalTimestamp": -3660, "sentAt": -3600}, None, -60),
    ],
    ids=["none", "past", "future", "clock behind", "clock ahead", "after it was sent", "original first", "original alone", "own sentAt", "rudder"],
)  # fmt: skip
def test_occurred_at_is_corrected_by_the_clients_own_clock(fields, sent, occurred):
    call = track(**{name: iso(NOW + timedelta(seconds=offset)) for name, offset in fields.items()})
    batch = {} if sent is None else {"sentAt": iso(NOW + timedelta(seconds=sent))}
    assert body(call, batch=batch)["occurred_at"] == RECEIVED + occurred * S


@pytest.mark.parametrize("zone", ["+00:00", "+05:30", "-08:00", ""])
def test_zones(zone):
    assert body(track(timestamp=f"2026-11-20T12:00:00.000001{zone}"))["occurred_at"] == {
        "+00:00": RECEIVED - 172_800 * S + 1, "+05:30": RECEIVED - 172_800 * S - 19_800 * S + 1,
        "-08:00": RECEIVED - 172_800 * S + 28_800 * S + 1, "": RECEIVED - 172_800 * S + 1,
    }[zone]  # fmt: skip


def test_old_history_is_taken_and_nonsense_is_not():
    assert body(track(timestamp="1999-12-31T23:59:59Z"))["occurred_at"] == 946_684_799 * S
    assert reason(track(timestamp="1066-10-14T09:00:00Z")) == "timestamp_out_of_range"
    assert (
        reason(track(timestamp="2026-01-01T00:00:00Z"), batch={"sentAt": "9999-12-31T23:59:59Z"})
        == "timestamp_out_of_range"
    )


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"event": "E"}, "unknown_type"),
        ({"type": "merge"}, "unknown_type"),
        ({"type": "track"}, "missing: event"),
        ({"type": "track", "event": ""}, "missing: event"),
        ({"type": "group", "userId": "u"}, "missing: groupId"),
        ({"type": "alias", "userId": "u"}, "missing: previousId"),
        ({"type": "alias", "previousId": "u"}, "missing: userId"),
        ({"type": "identify", "context": 5}, "type: context"),
        ({"type": "identify", "context": []}, "type: context"),
        (track(messageId="x" * 101), "message_id_too_long"),
    ],
)
def test_what_makes_a_call_unusable(call, expected):
    assert reason(call) == expected


def test_a_message_id_of_100_characters_is_taken_and_a_missing_one_made():
    assert prepare(track(messageId="x" * 100)).batch.ids == ["x" * 100]
    assert prepare(track(messageId=12345678901234567890123)).batch.ids == ["12345678901234567890123"]
    made = [prepare(track(messageId=blank)).batch.ids[0] for blank in (None, "", None)]
    assert len(set(made)) == 3
    assert {len(i) for i in made} == {32}


@pytest.mark.parametrize("levels", [MAX_DEPTH - 2, MAX_DEPTH + 2])
@pytest.mark.parametrize("field", ["properties", "traits", "context"])
def test_depth_is_bounded_for_calls_of_any_weight(levels, field):
    deep: Any = "." * 600
    for level in range(levels):
        deep = {"x": deep} if level % 2 else {"x": [deep]} if level == 0 else {"y": deep}
    prepared = prepare(track(**{field: deep}))
    assert [r.reason for r in prepared.refused] == ([] if levels < MAX_DEPTH - 1 else ["too_deep"])


def test_refused_calls_keep_what_they_said_but_not_the_key():
    [refused] = prepare(
        {"type": "merge", "userId": "u", "writeKey": "secret", "messageId": "m", "context": {"a": 1}}
    ).refused
    assert json.loads(refused.body) == {"type": "merge", "userId": "u", "messageId": "m", "context": {"a": 1}}
    assert refused.message_id == "m"


# --- contracts --------------------------------------------------------------------------------


def contracted(on_violation: Any = "quarantine", name: str = "Order Completed", **properties: Property) -> Project:
    held = properties or {"revenue": Property(type="decimal", required=True, minimum=0)}
    return Project(contracts=(Contract(name=name, properties=held, on_violation=on_violation),))


def test_a_broken_contract_quarantines_the_normal_form():
    [refused] = prepare(track(userId=5, properties={"revenue": "9.90"}), project=contracted()).refused
    assert refused.reason.startswith("contract: Order Completed.revenue")
    assert json.loads(refused.body)["userId"] == "5"
    assert refused.message_id == "m1"


def test_or_flags_it():
    found = body(track(properties={"revenue": -1}), project=contracted("flag"))
    assert len(found["flags"]) == 1
    assert found["flags"][0].startswith("contract: Order Completed.revenue")


@pytest.mark.parametrize(
    ("declared", "good", "bad"),
    [
        (Property(type="string", max_length=3), ["abc", None, ""], ["abcd", 5, []]),
        (Property(type="integer", minimum=1, maximum=9), [1, 9, 5.0, None], [0, 10, 1.5, "5"]),
        (Property(type="decimal"), [1, 1.5, 10**30], ["1.5", True]),
        (Property(type="boolean"), [True, False], [1, "true"]),
        (Property(type="timestamp"), ["2026-01-15T12:00:00Z"], ["yesterday", 5]),
        (Property(type="string", enum=("a", "b")), ["a"], ["c"]),
        (Property(type="object"), [{}, {"x": [1]}], [[], "x"]),
        (Property(type="array"), [[], [{"x": 1}]], [{}, "x"]),
        (Property(type="string", required=True), ["x"], [None, ""]),
    ],
)  # fmt: skip
def test_what_contracts_can_say(declared, good, bad):
    project = contracted(p=declared)
    for value in good:
        assert prepare(track(properties={"p": value, "other": 1}), project=project).refused == [], value
    for value in bad:
        [refused] = prepare(track(properties={"p": value}), project=project).refused
        assert refused.reason.startswith("contract: Order Completed.p "), value


def test_contracts_of_identify_and_group_judge_their_traits():
    project = contracted(name="identify", email=Property(type="string", required=True))
    assert reason({"type": "identify", "userId": "u"}, project=project).startswith("contract: identify.email")
    assert body({"type": "identify", "userId": "u", "context": {"traits": {"email": "x"}}}, project=project)[
        "traits"
    ] == {"email": "x"}
    project = contracted(name="group", seats=Property(type="integer"))
    assert reason(
        {"type": "group", "userId": "u", "groupId": "g", "traits": {"seats": "x"}}, project=project
    ).startswith("contract: group.seats")


def test_a_new_project_brings_its_contracts():
    held = [Project()]
    normaliser = Normaliser(lambda: held[0])
    decoded = decode(json.dumps({"batch": [track()]}).encode(), batch=True)
    assert normaliser.prepare(decoded, "web", RECEIVED).refused == []
    held[0] = contracted()
    assert len(normaliser.prepare(decoded, "web", RECEIVED).refused) == 1


@given(
    st.lists(st.tuples(st.sampled_from([None, "", 0, "x", False]), st.sampled_from([None, 1, "a", "9"])), max_size=4)
)
def test_quick_and_full_checks_agree(pairs):
    """The acceptor decides alone when it says yes; the check that explains must never disagree with it."""
    project = contracted(a=Property(type="string", max_length=1), b=Property(type="integer", required=True))
    for a, b in pairs:
        prepared = prepare(track(properties={"a": a, "b": b}), project=project)
        expected = a in (None, "", "x") and not isinstance(a, bool) and a != 0 and type(b) is int
        assert bool(prepared.batch.ids) == expected
