"""Small scenarios, worked out by hand, that pin the rules of ``docs/explanation/semantics.md`` one by one."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from cadenza.clock import MICROSECOND
from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Holdout
from cadenza.ids import bucket, enrollment_id
from cadenza.simulate.evaluate import convert, evaluate
from tests.simulation.tape import (
    Tape,
    at,
    journey,
    send,
    wait,
)  # fmt: skip

T0 = at(0)


def in_holdout(name: str, share_bp: int, pid: int) -> bool:
    return bucket(name, pid) < share_bp


# --- identity ----------------------------------------------------------------------------------------------


def test_a_record_without_usable_identifier_does_nothing() -> None:
    tape = Tape(journey(wait(1)))
    for user in ("", " NULL ", "0000", "---", "Unknown", "-1"):
        tape.track(0, "Order", user)
    assert tape.rows("identifiers") == [] and tape.rows("enrollments") == []


def test_the_pid_is_the_offset_of_the_first_record_and_email_is_normalised() -> None:
    tape = Tape()
    tape.track(0, "Order", "null")
    assert tape.identify(1, " u ", email=" A@X.Example ") == 2
    tape.identify(2, None, "dev", email="a@x.example")
    assert tape.rows("identifiers") == [("anonymous_id", "dev", 2), ("email", "a@x.example", 2), ("user_id", "u", 2)]


def test_several_owners_merge_into_the_smallest_pid() -> None:
    tape = Tape()
    tape.identify(0, None, "dev")
    tape.identify(1, "u", plan="gold")
    tape.identify(2, "v")
    tape.identify(3, "v", "dev")
    tape.identify(4, "u", "dev")
    assert {row[2] for row in tape.rows("identifiers")} == {1}
    assert tape.rows("traits") == [(1, "orders", "0"), (1, "plan", "gold")]


def test_alias_joins_a_known_user_else_an_anonymous_id_and_self_alias_does_nothing() -> None:
    tape = Tape()
    tape.identify(0, "old")
    tape.add(1, "call", type="alias", userId="new", previousId="old")
    tape.add(2, "call", type="alias", userId="new", previousId="device")
    tape.add(3, "call", type="alias", userId="x", previousId=" x")
    assert tape.rows("identifiers") == [
        ("anonymous_id", "device", 1), ("user_id", "new", 1), ("user_id", "old", 1), ("user_id", "x", 4),
    ]  # fmt: skip


def test_an_outcome_finds_its_person_through_merges() -> None:
    tape = Tape()
    tape.identify(0, "u")
    tape.identify(1, None, "dev")
    tape.identify(2, "u", "dev")
    tape.add(3, "outcome", type="track", event="Email Bounced", person=2, properties={"bounce_type": "hard"})
    assert [(s.channel, s.reason, s.until) for s in tape.model.persons[1].suppressions] == [
        ("email", "hard_bounce", None)
    ]


# --- merge of running state ----------------------------------------------------------------------------------


def test_merge_keeps_the_earliest_enrollment_of_a_journey_and_key() -> None:
    tape = Tape(journey(wait(100)), journey(wait(100), name="k", key="order_id", arena=None))
    tape.track(0, "Order", "u", order_id="1")
    tape.track(1, "Order", "v", order_id="2")
    tape.identify(2, "u", None, email="a@x.example")
    tape.identify(3, "v", None, email="a@x.example")
    live = [(row[1], row[2], row[3], row[4]) for row in tape.rows("enrollments") if row[5] != "end"]
    assert live == sorted(
        [(1, "j", "", at(0)), (1, "k", "1", at(0)), (1, "k", "2", at(1))], key=lambda r: live.index(r)
    )
    assert tape.ends() == [(at(3), "merged")]


def test_merge_of_memberships_is_never_a_trigger_but_the_step_after_it_is() -> None:
    tape = Tape(
        journey(wait(1), name="e", segment="gold", arena=None), journey(wait(1), name="l", segment="new", change="left", arena=None),
        segments={"gold": "plan = 'gold'", "new": "orders < 2"},
    )  # fmt: skip
    tape.identify(0, None, "dev", email="a@x.example")
    tape.track(1, "Order", "u")
    tape.identify(2, "u", plan="gold")
    tape.track(3, "Order", "v")
    tape.identify(4, "u", "dev")
    tape.identify(5, "v", "dev")
    assert [row for row in tape.rows("memberships") if row[2] == at(4)] == [
        (1, "gold", at(4), False, "merged"), (1, "gold", at(4), True, "merged"), (1, "new", at(4), False, "merged"),
    ]  # fmt: skip
    assert [(row[1], row[3], row[4]) for row in tape.rows("memberships") if row[2] == at(5)] == [
        ("new", False, "merged"), ("new", False, "record"),
    ]  # fmt: skip
    assert [(row[2], row[4]) for row in tape.rows("enrollments")].count(("e", at(2))) == 1
    assert ("l", at(5)) in [(row[2], row[4]) for row in tape.rows("enrollments")]


def test_after_a_merge_the_earliest_assignment_is_in_force() -> None:
    unit = next(n for n in range(2, 50) if in_holdout("h", 5000, n) != in_holdout("h", 5000, 1))
    tape = Tape(journey(send(), holdout=Holdout(name="h", share_bp=5000), again="after_exit"))
    tape.identify(0, "u")
    for n in range(2, unit):
        tape.identify(0, f"filler{n}")
    assert tape.track(1, "Order", "v") == unit  # the later pid is assigned first
    tape.track(2, "Order", "u")
    tape.identify(3, "u", "dev")
    tape.identify(4, "v", "dev")
    first = "holdout" if in_holdout("h", 5000, unit) else "treated"
    assert tape.model.persons[1].arm("h") == first
    assert len(tape.rows("assignments")) == 2


# --- values, traits, consent -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("12.34565", "decimal", Decimal("12.3457")), ("-0.00004", "decimal", Decimal("0.0000")), ("1e2", "decimal", Decimal("100.0000")),
        ("much", "decimal", None), ("100000000000000", "decimal", None), ("2", "integer", 2), ("2.0", "integer", None),
        ("9223372036854775808", "integer", None), ("true", "boolean", True), ("yes", "boolean", None),
        ("2024-05-06T10:00:00+02:00", "timestamp", datetime(2024, 5, 6, 8)), ("2024-05-06", "timestamp", datetime(2024, 5, 6)),
        ("2024-05-06 10:00:00.5Z", "timestamp", datetime(2024, 5, 6, 10, 0, 0, 500000)), ("2024-13-06", "timestamp", None),
        ("20240506", "timestamp", None), (None, "string", None),
    ],
)  # fmt: skip
def test_values_convert_or_are_null(text: str | None, kind: str, value: object) -> None:
    assert convert(text, kind) == value


def test_a_trait_is_the_value_with_the_latest_occurrence() -> None:
    tape = Tape()
    tape.identify(0, plan="first", score="12", vip="perhaps", renews_at="2024-05-06T12:00:00+02:00")
    tape.identify(2, plan="now", score="many")
    tape.identify(3, plan="late", late=1)
    tape.identify(4, plan="tie", late=2)
    assert [row[1:] for row in tape.rows("traits")] == [
        ("orders", "0"), ("plan", "tie"), ("renews_at", "2024-05-06T10:00:00.000000Z"), ("score", "12"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("plan = 'x'", None), ("plan = 'x' or true", True), ("plan = 'x' and false", False), ("not (plan = 'x')", None),
        ("plan in ('x', 'y')", None), ("plan is null", True), ("(plan = 'x') is true", False), ("coalesce(plan, 'z') = 'z'", True),
        ("sum_of('None', total) is null", True), ("events('None') = 0", True), ("revenue = 31", True), ("revenue + 1 > 31.5", True),
        ("max_of('Order', quantity) = 3", True), ("sum_of('Order', total, where => gift) = 20", True),
        ("events('Order', where => gift is null) = 1", True), ("older_than(renews_at, '1 day')", None),
        ("older_than(last_order_at, '1 hour')", True), ("older_than(last_order_at, '61 minutes')", False),
        ("min_of('Order', order_id) like 'a_%'", True), ("orders between 2 and 3", True), ("last_at('Order') < first_at('Order')", False),
    ],
)  # fmt: skip
def test_three_valued_logic_and_aggregates(text: str, value: object) -> None:
    tape = Tape()
    tape.track(0, "Order", total=11, quantity=3, order_id="abc")
    tape.track(1, "Order", total="20", gift=True, quantity="x", order_id="b")
    model = tape.model
    view = model._view(model.persons[1], at(2), None)
    found = evaluate(parse(text), view)
    assert (found, type(found)) == (value, type(value))


def test_consent_is_the_latest_statement_and_a_tie_denies() -> None:
    tape = Tape()
    tape.consent(1)
    person = tape.model.persons[1]
    assert person.consented("marketing", "email") and not person.consented("news", "email")
    tape.consent(2, granted=False, late=0)
    assert person.consented("marketing", "email")
    tape.consent(3, granted=False, late=1)
    assert not person.consented("marketing", "email")
    tape.consent(4, granted="true", late=3)
    tape.consent(5, granted="yes", late=4)
    assert person.consented("marketing", "email")


def test_unsubscribed_withdraws_every_purpose_of_the_channel() -> None:
    tape = Tape()
    tape.consent(0)
    tape.consent(0, purpose="news")
    person = tape.model.persons[1]
    tape.track(1, "Unsubscribed", purpose="news")
    assert person.consented("marketing", "email") and not person.consented("news", "email")
    tape.track(2, "Unsubscribed")
    assert not person.consented("marketing", "email")


# --- segments ---------------------------------------------------------------------------------------------------


def test_windows_are_open_at_the_start_and_closed_at_now() -> None:
    tape = Tape(segments={"active": "events('Order', within => '1 day') >= 1"})
    tape.track(0, "Order")
    assert tape.model.next_due() == at(24)
    tape.until(23.999)
    assert tape.rows("memberships") == [(1, "active", at(0), True, "record")]
    tape.until(24)
    assert (1, "active", at(24), False, "time") in tape.rows("memberships")
    tape.track(30, "Order", late=6 + 1 / 3600_000_000)
    tape.track(31, "Order", late=7)
    assert len(tape.rows("memberships")) == 4  # in by a late event of one microsecond ago, out, and no more


def test_older_than_and_live_traits_set_the_next_check() -> None:
    tape = Tape(
        segments={"lapsed": "older_than(last_order_at, '3 days') and recent = 0", "nested": "not in_segment('lapsed')"}
    )
    tape.track(0, "Order")
    assert tape.model.next_due() == at(48)  # `recent` leaves its window first
    tape.until(24 * 10)
    assert [(row[1], row[2], row[3]) for row in tape.rows("memberships")] == [
        ("lapsed", at(72), True), ("nested", at(0), True), ("nested", at(72), False),
    ]  # fmt: skip


# --- entry -----------------------------------------------------------------------------------------------------


def test_entry_needs_the_trigger_and_when_is_counted_unless_is_a_row() -> None:
    tape = Tape(
        journey(name="w", where="total > 10", when="plan = 'gold'", arena=None), journey(name="s", unless="plan = 'gold'", arena=None)
    )  # fmt: skip
    tape.track(0, "Order", total=10)  # not triggered: w; unless unknown: s
    tape.track(0.5, "Order", total=11)  # when unknown: w; s again
    tape.identify(1, plan="free")
    tape.track(1, "Order", total=11)  # when false: w; s enters
    tape.identify(2, plan="gold")
    tape.track(2, "Order", total=11)
    assert tape.rows("nonqualified") == [("w", T0, "when_unknown", 1), ("w", at(1), "when", 1)]
    assert [(r[1], r[2], *r[4:]) for r in tape.rows("refusals")] == [
        ("s", at(0), "suppressed", "unless"), ("s", at(0.5), "suppressed", "unless"),
        ("s", at(2) + MICROSECOND, "suppressed", "unless"),
    ]  # fmt: skip
    assert sorted((r[2], r[4]) for r in tape.rows("enrollments")) == [
        ("s", at(1) + MICROSECOND),
        ("w", at(2) + MICROSECOND),
    ]


def test_entry_keys_and_the_id_of_an_enrollment() -> None:
    tape = Tape(journey(wait(10), key="order_id"), journey(wait(10), name="q", key="quantity", arena=None))
    tape.track(0, "Order", order_id="a", quantity=2)
    tape.track(1, "Order", order_id="b")
    tape.track(2, "Order", order_id="a", quantity="x")
    micros = int((T0 - datetime(1970, 1, 1)) / MICROSECOND)
    keys = {(row[2], row[3]): row[0] for row in tape.rows("enrollments")}
    assert keys[("j", "a")] == enrollment_id("j", 1, "a", micros) and set(keys) == {("j", "a"), ("j", "b"), ("q", "2")}
    assert [(r[1], *r[3:]) for r in sorted(tape.rows("refusals"), key=lambda r: (r[2], r[1]))] == [
        ("q", "", "no_key", "key"), ("j", "a", "re_entry", "running"), ("q", "", "no_key", "key"),
    ]  # fmt: skip


def test_re_entry_counts_from_the_entry() -> None:
    tape = Tape(
        journey(wait(1), name="once", again="once", arena=None), journey(wait(1), name="after", again="after", after=5, arena=None),
        journey(wait(1), name="exit", arena=None),
    )  # fmt: skip
    for hour in (0, 0.5, 2, 4.99, 5):
        tape.track(hour, "Order")
    entered = sorted((row[2], row[4]) for row in tape.rows("enrollments"))
    assert entered == [
        ("after", at(0)),
        ("after", at(5)),
        ("exit", at(0)),
        ("exit", at(2)),
        ("exit", at(4.99)),
        ("once", at(0)),
    ]
    assert ("re_entry", "after") in tape.refused() and ("re_entry", "once") in tape.refused()
    assert tape.refused().count(("re_entry", "running")) == 4  # all three at 0.5, `exit` at 5


def test_an_overdue_enrollment_does_not_block_its_successor() -> None:
    tape = Tape(journey(wait(50), limit=4))
    tape.track(0, "Order")
    tape.track(4, "Order")
    assert tape.ends() == [(at(4), "time_limit")] and len(tape.rows("enrollments")) == 2


def test_arena_the_better_runs_and_supersedes() -> None:
    tape = Tape(
        journey(wait(9), name="low", priority=10), journey(wait(9), name="high", priority=20, on="Call"),
        journey(wait(9), name="same", priority=20, on="Other"), journey(wait(9), name="alone", priority=1, on="Other", arena=None),
    )  # fmt: skip
    tape.track(0, "Order")
    tape.track(1, "Call")
    tape.track(2, "Order")
    tape.track(3, "Other")
    assert tape.ends() == [(at(1), "superseded")]
    assert tape.refused() == [("priority", "default"), ("priority", "default")]
    assert {row[2] for row in tape.rows("enrollments")} == {"low", "high", "alone"}


def test_in_one_item_the_better_candidate_enters_and_names_break_ties() -> None:
    tape = Tape(
        journey(wait(9), name="b"), journey(wait(9), name="a"), journey(wait(9), name="z", priority=99, when="vip")
    )
    tape.track(0, "Order")
    assert [row[2] for row in tape.rows("enrollments")] == ["a"]
    assert [(r[1], r[4]) for r in tape.rows("refusals")] == [("b", "priority")]
    assert tape.rows("nonqualified") == [("z", T0, "when_unknown", 1)]


def test_who_may_not_be_superseded_stays() -> None:
    tape = Tape(journey(wait(9), name="low", priority=1, superseded=False), journey(wait(9), name="high", on="Call"))
    tape.track(0, "Order")
    tape.track(1, "Call")
    assert tape.ends() == [] and len(tape.rows("enrollments")) == 2


def test_overdue_ends_superseded_when_an_entrant_takes_over() -> None:
    tape = Tape(journey(wait(9), name="low", priority=1, limit=3), journey(wait(9), name="high", segment="s"),
                segments={"s": "older_than(last_order_at, '3 hours')"})  # fmt: skip
    tape.track(0, "Order")
    tape.until(3)
    assert tape.ends() == [(at(3), "superseded")]


def test_holdout_assignment_is_recorded_once_and_refuses() -> None:
    tape = Tape(
        *(
            journey(wait(1), name=n, holdout=Holdout(name="h", share_bp=s), arena=None)
            for n, s in (("a", 5000), ("b", 0))
        )
    )
    for n in range(8):
        tape.track(n, "Order", f"u{n}")
    out = {n for n in range(1, 9) if in_holdout("h", 5000, n)}
    assert 0 < len(out) < 8
    assert tape.rows("assignments") == sorted(("h", n, "holdout" if n in out else "treated") for n in range(1, 9))
    assert {(r[0], r[1]) for r in tape.rows("refusals")} == {
        (n, j) for n in out for j in "ab"
    }  # the first assignment decides
