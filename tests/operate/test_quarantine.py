"""A refused record can be seen, corrected, taken in and dropped; everything that is done stays written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from cadenza import faults
from cadenza.clock import to_micros
from cadenza.errors import CadenzaError, StateError
from cadenza.ports.ledger import NewRecord, Refused
from tests.operate.orders import NOW, Shop, order


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "log.db")
    yield shop
    shop.conserved()
    shop.log.close()


def fix(shop: Shop, id: int, **values: object):
    return shop.quarantine.fix(
        id, "ann", put={path.replace("__", "."): json.dumps(v).encode() for path, v in values.items()}
    )


def test_a_corrected_record_is_stored_as_if_it_had_come_right(shop: Shop) -> None:
    at = "2027-01-15T08:00:00Z"
    shop.send(
        order("a", -5, timestamp="2027-01-15T07:59:30Z", context={"ip": "1.2.3.4"}), sentAt="2027-01-15T08:00:30Z"
    )
    shop.send(order("b", 5, timestamp="2027-01-15T07:59:30Z", context={"ip": "1.2.3.4"}), sentAt="2027-01-15T08:00:30Z")
    [kept] = shop.quarantine.list()
    assert (kept.form, kept.reason) == ("record", "contract: Order.revenue minimum")
    shop.later(3600)
    assert fix(shop, kept.id, properties__revenue=5).reason is None
    told = shop.quarantine.replay("ann", [kept.id])
    assert (told.stored, told.refused, told.passed_over) == (1, {}, 0)
    (_, right), (name, mended) = shop.stored()
    assert name == "a"
    assert mended == right, "the client's clock is corrected by when it came, not by when it was mended"
    assert shop.log.read(1, 1)[0].recorded_at >= NOW + 3_600_000_000, f"decisions see it now, not at {at}"


@pytest.mark.parametrize(
    ("call", "values"),
    [
        ({"type": "track", "userId": "u1", "messageId": "a"}, {"event": "Order"}),
        ({"type": "identify", "userId": "u1", "messageId": "a", "traits": "x"}, {"traits": {"plan": "gold"}}),
        ({"type": "group", "userId": "u1", "messageId": "a", "traits": {"size": 3}}, {"groupId": "g"}),
        ({"type": "sing", "userId": "u1", "messageId": "a"}, {"type": "page"}),
        ({"type": "page", "userId": "u1", "messageId": "m" * 101}, {"messageId": "a"}),
        (
            {"type": "page", "userId": "u1", "messageId": "a", "timestamp": "1066-10-14T09:00:00Z"},
            {"timestamp": "2027-01-15T07:00:00Z"},
        ),
    ],
)
def test_a_call_is_read_again_with_what_its_request_said_around_it(shop: Shop, call: dict, values: dict) -> None:
    around = {"sentAt": "2027-01-15T08:00:07Z", "context": {"app": "till", "traits": {"vip": True}}}
    shop.send(call, **around)
    shop.send({**call, **values, "messageId": "right"}, **around)
    shop.later(86_400)
    [kept] = shop.quarantine.list()
    assert kept.form == "call"
    fix(shop, kept.id, **values)
    assert shop.quarantine.replay("ann", [kept.id]).stored == 1
    (_, right), (name, mended) = shop.stored()
    assert (name, mended) == ("a", right)


def test_the_original_is_taken_once_the_contract_allows_it(shop: Shop) -> None:
    shop.send(order("a", -5), order("b", -50))
    assert shop.quarantine.replay("ann").refused == {"contract: Order.revenue minimum": 2}
    shop.want(-10)
    told = shop.quarantine.replay("ann", source="web")
    assert (told.stored, sum(told.refused.values())) == (1, 1)
    assert [name for name, _ in shop.stored()] == ["a"]


def test_the_original_stays_beside_the_correction_and_corrections_add_up(shop: Shop) -> None:
    shop.send(order("a", -5))
    [kept] = shop.quarantine.list()
    fix(shop, kept.id, properties__revenue=1)
    fix(shop, kept.id, properties__coupon="x")
    shown = shop.quarantine.show(kept.id)
    assert shown.record.body == kept.body
    assert json.loads(shown.record.corrected or b"")["properties"] == {"revenue": 1, "coupon": "x"}
    assert [(act.action, act.who, act.note) for act in shown.history] == [
        ("fixed", "ann", "set properties.revenue"), ("fixed", "ann", "set properties.coupon"),
    ]  # fmt: skip


def test_replayed_twice_is_stored_once_and_a_resent_original_is_a_duplicate(shop: Shop) -> None:
    shop.send(order("a", -5))
    [kept] = shop.quarantine.list()
    fix(shop, kept.id, properties__revenue=1)
    assert shop.quarantine.replay("ann", [kept.id]).stored == 1
    again = shop.quarantine.replay("ann", [kept.id])
    assert (again.stored, again.passed_over) == (0, 1)
    shop.send(order("a", -5))
    assert len(shop.stored()) == 1
    assert shop.quarantine.list(state=None)[0].state == "stored"
    assert shop.log.stored_counts().duplicate == 1


def test_a_record_without_an_id_is_stored_once(shop: Shop) -> None:
    shop.send(order(None, -5), order(None, -5))
    shop.want(-10)
    shop.quarantine.replay("ann")
    shop.quarantine.replay("ann")
    assert len({name for name, _ in shop.stored()}) == 2


def test_what_came_right_meanwhile_is_a_duplicate(shop: Shop) -> None:
    shop.send(order("a", -5))
    shop.want(-10)
    shop.send(order("a", -5))
    told = shop.quarantine.replay("ann")
    assert (told.stored, told.duplicate) == (0, 1)
    assert shop.quarantine.list(state="duplicate")[0].log_offset == 1


def test_an_id_that_is_taken_stays_as_a_conflict_until_it_gets_another(shop: Shop) -> None:
    shop.send(order("a", 1), order("a", 2))
    [kept] = shop.quarantine.list(reason="conflict")
    assert shop.quarantine.replay("ann").refused == {"conflict": 1}
    fix(shop, kept.id, messageId="a2")
    assert shop.quarantine.replay("ann").stored == 1
    assert [(name, body["properties"]["revenue"]) for name, body in shop.stored()] == [("a", 1), ("a2", 2)]


def test_what_is_refused_again_counts_under_its_new_reason(shop: Shop) -> None:
    shop.send(order("a", -5))
    [kept] = shop.quarantine.list()
    fix(shop, kept.id, type="sing")
    assert shop.quarantine.replay("ann").refused == {"unknown_type": 1}
    assert shop.log.quarantine_counts() == {("web", "unknown_type"): 1}
    assert [act.action for act in shop.quarantine.show(kept.id).history] == ["fixed", "refused again"]


def test_a_dropped_record_stays_with_who_and_why_and_is_done_with(shop: Shop) -> None:
    shop.send(order("a", -5), order("b", -5))
    second, first = shop.quarantine.list()
    assert shop.quarantine.drop([first.id], "a test of the till", "bob") == [first.id]
    assert shop.quarantine.drop([first.id, second.id], "again", "bob") == [second.id]
    [act] = shop.quarantine.show(first.id).history
    assert (act.action, act.who, act.note, act.at) == ("dropped", "bob", "a test of the till", shop.now)
    shop.want(-10)
    assert shop.quarantine.replay("ann", [first.id]).passed_over == 1
    with pytest.raises(StateError, match=r"was dropped.*new messageId"):
        fix(shop, first.id, properties__revenue=1)
    assert shop.log.stored_counts().quarantined == 2
    assert [(c.resting, c.dropped) for c in shop.quarantine.counts()] == [(0, 2)]


def test_nothing_is_dropped_when_one_of_them_cannot_be(shop: Shop) -> None:
    shop.send(order("a", -5), order("b", -50))
    shop.want(-10)
    shop.quarantine.replay("ann")
    [kept] = shop.quarantine.list()
    with pytest.raises(StateError, match="stored by a replay"):
        shop.quarantine.drop([kept.id, *(q.id for q in shop.quarantine.list(state="stored"))], "why not", "bob")
    assert len(shop.quarantine.list()) == 1
    with pytest.raises(CadenzaError, match="for a reason"):
        shop.quarantine.drop([kept.id], "  ", "bob")


def test_a_correction_between_reading_and_storing_is_not_passed_over(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.send(order("a", -5))
    [kept] = shop.quarantine.list()
    fix(shop, kept.id, properties__revenue=1)
    readmit = shop.log.readmit

    def late(*given):
        monkeypatch.undo()
        fix(shop, kept.id, properties__revenue=2)
        return readmit(*given)

    monkeypatch.setattr(shop.log, "readmit", late)
    assert shop.quarantine.replay("ann").passed_over == 1
    assert shop.quarantine.replay("ann").stored == 1
    assert shop.stored()[0][1]["properties"] == {"revenue": 2}


@pytest.mark.parametrize("point", ["log.before_commit", "log.after_commit"])
def test_a_crash_within_a_replay_loses_and_doubles_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    shop.send(order("a", -5), order("b", -50))
    shop.want(-10)

    def crash(name: str) -> None:
        if name == point:
            raise KeyboardInterrupt

    monkeypatch.setattr("cadenza.ledger.log.fault", crash)
    with pytest.raises(KeyboardInterrupt):
        shop.quarantine.replay("ann")
    monkeypatch.setattr("cadenza.ledger.log.fault", faults.fault)
    shop.reopen()
    shop.conserved()
    shop.quarantine.replay("ann")
    assert [name for name, _ in shop.stored()] == ["a"]


def test_numbers_keep_their_digits_through_a_correction(shop: Shop) -> None:
    body = b'{"type":"track","event":"Order","messageId":"a","occurred_at":1700000000000000,"properties":{"revenue":12345678901234567.890}}'
    shop.log.quarantine([
        Refused(source="file", reason="contract: x", detail="line 1: x", body=body, message_id="a", form="record", imported=True)
    ], NOW)  # fmt: skip
    fix(shop, 1, properties__note="n")
    assert shop.quarantine.replay("ann").stored == 1
    [record] = shop.log.read(0, 1)
    assert b'"revenue":12345678901234567.890' in record.body
    assert record.imported
    assert msgspec.json.decode(record.body)["occurred_at"] == 1_700_000_000_000_000


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"type":"track","event":"E"}', "bad_timestamp"),
        (b'{"type":"track","event":"E","occurred_at":9000000000000000}', "future_timestamp"),
        (b'{"type":"track","event":"E","occurred_at":true}', "bad_timestamp"),
        (b'{"type":"track","occurred_at":1}', "missing: event"),
        (b'{"type":"track","event":"E","occurred_at":1,"properties":[]}', "type: properties"),
        (b'{"type":"track","event":"E","occurred_at":1,"context":7}', "type: context"),
        (b'{"type":"hum","occurred_at":1}', "unknown_type"),
        (b"[1]", "not_an_object"),
        (b"{", "not_an_object"),
    ],
)
def test_a_normal_form_comes_in_by_the_same_rules(shop: Shop, body: bytes, reason: str) -> None:
    kept = Refused(
        source="file", reason="old", detail="line 1", body=body, message_id="a", form="record", imported=True
    )
    shop.log.quarantine([kept], NOW)
    assert shop.quarantine.replay("ann").refused == {reason: 1}


def test_a_line_that_is_no_row_needs_the_whole_record(shop: Shop) -> None:
    kept = Refused(
        source="file",
        reason="unreadable_line",
        detail="line 1",
        body=b"a;b;",
        message_id="f:1",
        form="text",
        imported=True,
    )
    shop.log.quarantine([kept], NOW)
    assert shop.quarantine.replay("ann").refused == {"unreadable_line": 1}
    with pytest.raises(CadenzaError, match="whole record"):
        fix(shop, 1, event="E")
    whole = b'{"type":"track","event":"E","userId":"u","timestamp":"2020-01-01T00:00:00Z"}'
    shop.quarantine.fix(1, "ann", record=whole)
    assert shop.quarantine.replay("ann").stored == 1
    assert shop.stored()[0][0] == "f:1"


def test_records_of_cadenza_itself_do_not_come_in_again(shop: Shop) -> None:
    for text in ("sent", "failed"):
        body = json.dumps({"outcome": text}).encode()
        shop.log.append([NewRecord(kind="outcome", source="delivery", message_id="o", body=body)], shop.now)
    assert shop.quarantine.replay("ann").refused == {"conflict": 1}


@pytest.mark.parametrize(
    ("put", "remove", "told"),
    [
        ({"event.name": b"1"}, [], "holds no fields"), ({"": b"1"}, [], "path is empty"), ({"a": b"{"}, [], "no JSON"),
        ({}, ["properties.nothing"], r"has no 'properties\.nothing'"), ({"a": b'"' + b"x" * 1_000_001 + b'"'}, [], "bytes"),
    ],
)  # fmt: skip
def test_a_correction_that_cannot_be_made_changes_nothing(shop: Shop, put: dict, remove: list, told: str) -> None:
    shop.send(order("a", -5))
    with pytest.raises(CadenzaError, match=told):
        shop.quarantine.fix(1, "ann", put=put, remove=remove)
    assert shop.quarantine.show(1).history == ()


def test_a_number_that_json_cannot_hold_must_be_corrected_itself(shop: Shop) -> None:
    shop.send(order("a", float("nan")))
    with pytest.raises(CadenzaError, match=r"properties\.revenue holds"):
        fix(shop, 1, event="Order")
    fix(shop, 1, properties__revenue=3)
    assert shop.quarantine.replay("ann").stored == 1


def test_a_key_with_dots_is_found_before_a_path(shop: Shop) -> None:
    shop.send(order("a", -5, properties={"revenue": -5, "order.id": 1}))
    fix(shop, 1, **{"properties__order.id": 2, "properties__deep__er": 1, "properties__revenue": 0})
    shop.quarantine.replay("ann")
    assert shop.stored()[0][1]["properties"] == {"revenue": 0, "order.id": 2, "deep": {"er": 1}}


def test_unknown_records_are_named(shop: Shop) -> None:
    for act in (lambda: shop.quarantine.show(9), lambda: fix(shop, 9, a=1), lambda: shop.quarantine.drop([9], "x", "y"),
                lambda: shop.quarantine.replay("x", [9])):  # fmt: skip
        with pytest.raises(CadenzaError, match="no record 9 in quarantine"):
            act()


def test_a_replay_goes_on_page_by_page(shop: Shop) -> None:
    shop.send(*(order(f"m{n}", -5 if n % 3 else -50) for n in range(30)))
    shop.want(-10)
    stored, last, pages = 0, 0, 0
    while True:
        page = shop.quarantine.replay("ann", after=last, limit=7)
        stored, last, pages = stored + page.stored, page.last, pages + 1
        if not page.more:
            break
    assert (stored, pages) == (20, 5)


def test_counts_name_the_newest_and_the_first_and_last_time(shop: Shop) -> None:
    shop.send(order("a", -5))
    shop.later(60)
    shop.send(order("b", -5), {"type": "track", "messageId": "c"}, source="web")
    largest, other = shop.quarantine.counts()
    assert (largest.reason, largest.resting, largest.example) == ("contract: Order.revenue minimum", 2, 2)
    assert (largest.first_at, largest.last_at) == (NOW, to_micros(shop.clock.now()))
    assert (other.reason, other.resting) == ("missing: event", 1)
