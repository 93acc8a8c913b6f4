"""From payloads to calls: topics, conditions, arrays, ids; and conservation over generated payloads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings, strategies as st

from cadenza.definitions.kinds import Source, Webhook, WebhookRecord
from cadenza.runtime.webhooks.mapping import MOST_CALLS, Mapped, Mapper

RECORD = WebhookRecord(name="r", call="track", event="E", message_id="id", timestamp="epoch_seconds(0)", user_id="who")


def mapped(payload: Any, *records: WebhookRecord, headers: dict[str, str] | None = None, **webhook: Any) -> Mapped:
    source = Source(name="s", kind="webhook", webhook=Webhook(records=records, **webhook))
    return Mapper(source).map(json.dumps(payload).encode(), headers or {})


def record(**changes: Any) -> WebhookRecord:
    return WebhookRecord(**({field: getattr(RECORD, field) for field in RECORD.__struct_fields__} | changes))


def ids(found: Mapped) -> list[str]:
    return [str(call.messageId) for call in found.decoded.calls]


def reasons(found: Mapped) -> list[str]:
    return [bad.reason for bad in found.decoded.bad]


def test_one_payload_makes_several_calls_each_with_its_own_id():
    found = mapped({"id": 1, "who": "u"}, record(), record(name="i", call="identify", event=None, traits={"a": "who"}))
    assert ids(found) == ["s:1:r", "s:1:i"]
    assert [(call.type, call.event, call.userId, call.traits) for call in found.decoded.calls] == [
        ("track", "E", "u", None), ("identify", None, "u", {"a": "u"}),
    ]  # fmt: skip


def test_a_condition_that_is_not_true_is_counted():
    one, two = record(when="n > 1"), record(name="q", when="n > 5")
    assert ids(mapped({"id": 1, "n": 3}, one, two)) == ["s:1:r"]
    for payload in ({"id": 1, "n": 0}, {"id": 1}):
        found = mapped(payload, one, two)
        assert (ids(found), reasons(found), found.ignored) == ([], [], {"r when": 1})


def test_a_record_comes_before_an_ignored_topic():
    webhook = {"topic": "type", "ignore": ("a.*",)}
    one = record(topics=("a.b",))
    assert ids(mapped({"id": 1, "type": "a.b"}, one, **webhook)) == ["s:1:r"]
    assert mapped({"id": 1, "type": "a.c"}, one, **webhook).ignored == {"a.*": 1}
    assert reasons(mapped({"id": 1, "type": "b"}, one, **webhook)) == ["webhook: unmapped"]
    assert reasons(mapped({"id": 1}, one, **webhook)) == ["webhook: unmapped"]


def test_each_element_is_a_change_of_its_own():
    webhook = {"each": "payload", "topic": "item.kind", "id": "item.id", "ignore": ("b",)}
    one = record(message_id=None, user_id="item.who", topics=("a",))
    found = mapped(
        [{"id": 1, "kind": "a"}, {"id": 2, "kind": "b"}, {"id": 3, "kind": "c"}, {"id": 4, "kind": "a"}], one, **webhook
    )
    assert (ids(found), reasons(found), found.ignored) == (["s:1:r", "s:4:r"], ["webhook: unmapped"], {"b": 1})


def test_an_element_that_fails_does_not_take_the_others_down():
    one = record(message_id=None, each="lines", properties={"n": "integer(item)"})
    found = mapped({"id": 1, "lines": [1, 2, "x"]}, one, id="id")
    assert (ids(found), reasons(found)) == (["s:1:r:0", "s:1:r:1"], ["webhook: mapping r.properties.n"])


def test_elements_without_an_id_are_numbered_in_their_place():
    inner = record(message_id=None, each="item.lines", properties={"sku": "item.sku"})
    payload = [{"id": 7, "lines": [{"sku": "a"}, {"sku": "b"}]}, {"id": 7, "lines": [{"sku": "c"}]}]
    found = mapped(payload, inner, each="payload", id="payload[0].id")
    assert ids(found) == ["s:7:r:0.0", "s:7:r:0.1", "s:7:r:1.0"]
    assert [call.properties for call in found.decoded.calls] == [{"sku": "a"}, {"sku": "b"}, {"sku": "c"}]


def test_nothing_to_unnest_is_no_call():
    for payload in ({"id": 1}, {"id": 1, "lines": None}, {"id": 1, "lines": []}):
        found = mapped(payload, record(each="lines"))
        assert (ids(found), reasons(found), found.ignored) == ([], [], {"r when": 1})
    assert reasons(mapped({"id": 1, "lines": {}}, record(each="lines"))) == ["webhook: mapping r.each"]
    assert reasons(mapped({"id": 1}, RECORD, each="payload")) == ["webhook: mapping each"]


def test_an_id_that_is_too_long_is_hashed_and_stays_the_same():
    (first,), (again,), (other,) = (ids(mapped({"id": text * 99}, RECORD)) for text in ("ab", "ab", "ac"))
    assert first == again != other
    assert len(first) <= 100


def test_a_webhook_makes_a_bounded_number_of_calls():
    found = mapped({"id": 1, "lines": [1] * (MOST_CALLS + 1)}, record(each="lines"))
    assert (len(found.decoded.calls), reasons(found)) == (MOST_CALLS, ["webhook: mapping r.each"])


def test_numbers_arrive_exactly_or_not_at_all():
    one = record(properties={"n": "decimal(n)", "raw": "n"})
    (call,) = mapped({"id": 1, "n": "19.90"}, one).decoded.calls
    assert call.properties == {"n": 19.9, "raw": "19.90"}
    assert reasons(mapped({"id": 1, "n": "12345678901234567.891"}, one)) == ["webhook: mapping r.properties.n"]
    (call,) = mapped({"id": 2**63 + 1, "n": 0}, one).decoded.calls
    assert call.messageId == f"s:{2**63 + 1}:r"


def test_a_detail_says_what_was_found_but_not_what_it_was():
    found = mapped({"id": 1, "n": "Ann Example"}, record(properties={"n": "decimal(n)"}))
    (bad,) = found.decoded.bad
    assert bad.detail == "The record 'r', 'properties.n': a number was expected, not a text."


KINDS = st.sampled_from(["a", "b", "c", "d", None, 5, ""])
ITEM = st.fixed_dictionaries(
    {
        "id": st.integers(1, 5) | st.none() | st.just("x"),
        "kind": KINDS,
        "n": st.integers(0, 3) | st.sampled_from(["x", None]),
    }
)


@settings(deadline=None)
@given(st.lists(ITEM, max_size=8))
def test_every_item_ends_as_a_call_as_ignored_or_in_quarantine(items):
    """Nothing vanishes: where one of them ends is known by the rules."""
    webhook = {"each": "payload", "topic": "item.kind", "id": "item.id", "ignore": ("c",)}
    records = (
        record(message_id=None, topics=("a",), user_id="item.id", properties={"n": "integer(item.n)"}),
        record(name="q", message_id=None, topics=("b",), user_id="item.id", when="item.n > 1"),
    )
    found = mapped(items, *records, **webhook)
    calls, ignored, kept = 0, {"c": 0, "q when": 0}, set()
    for item in items:
        kind, n = item["kind"], item["n"]
        if kind == "a" and item["id"] is not None and n != "x":
            calls += 1
        elif kind == "a":
            kept.add("webhook: mapping r.message_id" if item["id"] is None else "webhook: mapping r.properties.n")
        elif kind == "b" and n == "x":
            kept.add("webhook: mapping q.when")
        elif kind == "b" and n is not None and n > 1 and item["id"] is not None:
            calls += 1
        elif kind == "b" and n is not None and n > 1:
            kept.add("webhook: mapping q.message_id")
        elif kind in ("b", "c"):
            ignored["q when" if kind == "b" else "c"] += 1
        else:
            kept.add("webhook: unmapped")
    assert len(found.decoded.calls) == calls
    assert found.ignored == {rule: n for rule, n in ignored.items() if n}
    assert set(reasons(found)) == kept
