"""The explanation of one person over the same store."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import msgspec
import pytest

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Entry
from cadenza.definitions.project import encode
from cadenza.errors import CadenzaError
from cadenza.runtime.explain import Explanation, explain
from cadenza.runtime.explain.asof import Moment, evaluate
from cadenza.runtime.explain.not_qualified import conjuncts
from cadenza.runtime.explain.person import resolve
from cadenza.surfaces.explain_text import explanation_text
from tests.report.conftest import ORDER, Hand, day


@pytest.mark.parametrize("person", ["ann", "anon-13", "u14", "u15", "u19", "u21", "u22", "u26"])
def test_an_explanation_reads_as_its_golden(hand: Hand, golden: Callable[[str, str], None], person: str) -> None:
    golden(f"explain_{person}.txt", explanation_text(explain(hand.engine, hand.project, person)))


def test_an_explanation_of_one_journey_reads_as_its_golden(hand: Hand, golden: Callable[[str, str], None]) -> None:
    golden("explain_u14_welcome.txt", explanation_text(explain(hand.engine, hand.project, "u14", "welcome")))


@pytest.mark.parametrize(
    "asked",
    [
        "p_10",
        "p_12",
        "ann",
        "ann@shop.example",
        " ANN@Shop.Example ",
        "anon-12",
        "email:Ann@shop.example",
        "user_id:ann",
    ],
)
def test_a_person_is_found_by_any_name(hand: Hand, asked: str) -> None:
    assert resolve(hand.engine, asked) == 10


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("bobb", "Did you mean 'bob'"),
        ("an@shop.example", "Did you mean 'ann@shop.example'"),
        ("p_99", "Give p_<number>"),
        ("p_99999999999999999999999", "Give p_<number>"),
        ("", "there is no person ''"),
        ("'; DROP TABLE person; --", "there is no person"),
    ],
)
def test_an_unknown_person_is_named_with_near_misses(hand: Hand, asked: str, said: str) -> None:
    with pytest.raises(CadenzaError, match="there is no person") as raised:
        explain(hand.engine, hand.project, asked)
    assert said in str(raised.value)


def test_a_value_of_two_persons_asks_which(hand: Hand) -> None:
    hand.row("identifier", type="anonymous_id", value="bob", pid=13)
    with pytest.raises(CadenzaError, match=r"names 2 persons.*user_id:bob"):
        explain(hand.engine, hand.project, "bob")
    assert resolve(hand.engine, "anonymous_id:bob") == 13


def test_an_unknown_journey_is_an_error(hand: Hand) -> None:
    with pytest.raises(CadenzaError, match="Did you mean 'win_back'"):
        explain(hand.engine, hand.project, "ann", "winback")


def test_identity_and_its_proof(hand: Hand) -> None:
    x = explain(hand.engine, hand.project, "p_12")
    assert (x.person, x.absorbed, x.records) == ("p_10", ("p_12",), 4)
    assert [(m.absorbed, m.survivor, m.offset) for m in x.merges] == [("p_12", "p_10", 19)]
    assert {(i.type, i.offset) for i in x.identifiers} == {("user_id", 10), ("email", 10), ("anonymous_id", 12)}


def test_traits_and_what_they_come_from(hand: Hand) -> None:
    for position in range(10):
        hand.order(60 + position, 14, day(40 + position), 1)
    traits = {t.name: t for t in explain(hand.engine, hand.project, "u14").traits}
    assert traits["country"].value == "Germany"
    assert [s.value for s in traits["country"].sent] == ["Germany", "France"]
    assert (traits["lifetime_revenue"].value, traits["recent_orders"].value) == ("130.0000", "10")
    counted = traits["lifetime_revenue"].counted[0]
    assert counted.events == 12
    assert [s.offset for s in counted.shown] == [24, 30, 60, 67, 68, 69]
    assert traits["recent_orders"].counted[0].events == 10


def test_consent_in_force_and_a_tie(hand: Hand) -> None:
    both = explain(hand.engine, hand.project, "ann").consents
    assert [(c.granted, c.in_force, c.text_version) for c in both] == [(True, False, "v2"), (False, True, "v2")]


def test_memberships_follow_a_merge(hand: Hand) -> None:
    """12 was in the segment when it was merged into 10; as a whole the stay goes on."""
    hand.row("membership", pid=10, origin_pid=12, segment="vip", ts=day(0.8), entered=True, cause="record")
    hand.row("membership", pid=10, origin_pid=10, segment="vip", ts=day(0.9), entered=True, cause="merged")
    hand.row("membership", pid=12, origin_pid=12, segment="vip", ts=day(0.9), entered=False, cause="merged")
    hand.row("membership", pid=10, origin_pid=10, segment="vip", ts=day(9), entered=False, cause="time")
    stays = explain(hand.engine, hand.project, "ann").memberships
    assert [(s.since, s.cause, s.until, s.left_by) for s in stays] == [(day(0.8), "record", day(9), "time")]


def test_a_sent_message_shows_its_delivery(hand: Hand) -> None:
    hand.engine.execute("UPDATE message SET deliverable = TRUE WHERE message_id = 'm1'")
    hand.row("message_outcome", message_id="m1", name="Message Sent", occurred_at=day(1.1), offset_=70, detail="250 ok")
    hand.row("cancellation", message_id="m1", ts=day(1.2), reason="goal")
    message = explain(hand.engine, hand.project, "ann").passages[0].messages[0]
    assert [(d.name, d.detail) for d in message.deliveries] == [("Message Sent", "250 ok"), ("cancelled", "goal")]
    assert (message.outcome, message.replayed) == ("sent", False)


def test_a_candidate_that_did_not_qualify_is_derived_again(hand: Hand) -> None:
    when = parse(f"country = 'France' and events('{ORDER}', within => '30 days') >= 2 and not in_segment('vip')")
    welcome, win_back = hand.project.journeys
    entry = Entry(on=welcome.entry.on, when=when)
    project = msgspec.structs.replace(
        hand.project, journeys=(msgspec.structs.replace(welcome, entry=entry), win_back)
    )  # fmt: skip
    hand.engine.execute("UPDATE deployment SET project = ?", [encode(project).decode()])
    (first, *_) = explain(hand.engine, project, "u15").not_qualified
    assert (first.journey, first.offset, first.answer) == ("welcome", 25, "false")
    assert [(p.answer, p.values) for p in first.parts] == [
        ("false", {"country": "Germany"}),
        ("false", {}),
        ("true", {}),
    ]
    (unknown,) = explain(hand.engine, project, "bob").not_qualified
    assert [p.answer for p in unknown.parts] == ["unknown", "false", "true"] and unknown.answer == "false"


def test_what_was_answered_is_not_derived_again(hand: Hand) -> None:
    x = explain(hand.engine, hand.project, "ann")
    assert x.not_qualified == () and [r.rule for r in x.refusals] == ["once"]
    hand.engine.execute("DELETE FROM refusal WHERE pid = 10")
    (left,) = explain(hand.engine, hand.project, "ann").not_qualified
    assert (left.offset, left.answer) == (22, "true")


def test_expressions_see_what_was_known_then(hand: Hand) -> None:
    def at(item: int | None, now: float, *texts: str) -> list[object]:
        moment = Moment(pid=10, family=(10, 12), now=day(now), item=item)
        return evaluate(hand.engine, hand.project, moment, [parse(text) for text in texts])

    assert at(20, 1, f"events('{ORDER}')", "lifetime_revenue") == [1, 100]
    assert at(22, 2, f"events('{ORDER}')", f"event('{ORDER}', where => revenue = 30)", "event('Other')") == [
        2,
        True,
        False,
    ]
    assert at(None, 2, f"events('{ORDER}')") == [1], "a timer comes before the record of its instant"
    assert at(None, 40, "recent_orders", "lifetime_revenue", "email is null") == [0, 130, False]
    assert at(None, 3, "consented('marketing', 'email')", "in_journey('welcome')") == [True, True]
    assert at(None, 30, "consented('marketing', 'email')", "in_journey('welcome')") == [False, False]
    assert at(None, 33, f"older_than(last_at('{ORDER}'), '30 days')", "in_segment('lapsing')") == [True, False]


def test_in_journey_is_the_state_before_the_item(hand: Hand) -> None:
    moment = Moment(pid=10, family=(10,), now=day(1), item=20)
    assert evaluate(hand.engine, hand.project, moment, [parse("in_journey('welcome')")]) == [False]


def test_conjuncts_are_the_parts_that_must_all_hold() -> None:
    assert len(conjuncts(parse("a = 1 and (b = 2 or c = 3) and not d"))) == 3


def test_plain_text_fits_and_json_goes_round(hand: Hand) -> None:
    for person in ("ann", "u14", "u26"):
        found = explain(hand.engine, hand.project, person)
        text = explanation_text(found)
        assert "\x1b" not in text and max(map(len, text.splitlines())) <= 100
        assert msgspec.json.decode(msgspec.json.encode(found), type=Explanation) == found


def test_an_old_passage_is_told_by_its_own_definition(hand: Hand) -> None:
    welcome, win_back = hand.project.journeys
    emptied = msgspec.structs.replace(welcome, steps=())
    later = msgspec.structs.replace(hand.project, journeys=(emptied, win_back))
    hand.row("deployment", offset_=400, recorded_at=day(59), fingerprint="g", project=encode(later).decode())
    first, second, third, *_ = explain(hand.engine, later, "ann").passages[0].moves
    assert second.words == "sent; now: wait 5 days" and third.at - second.at == timedelta(days=5)
    hand.engine.execute("UPDATE journey_version SET definition = NULL")
    first, *_ = explain(hand.engine, later, "ann").passages[0].moves
    assert first.words == "entered; now: send (steps[0])", "without its definition the path is shown"
