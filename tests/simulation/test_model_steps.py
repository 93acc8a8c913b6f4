"""Small scenarios, worked out by hand, that pin the rules of ``docs/explanation/semantics.md`` one by one."""

from __future__ import annotations

from datetime import datetime

import pytest

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Cap, Holdout, Policy, QuietHours, Suppress
from cadenza.ids import bucket, message_id
from cadenza.simulate.model import ModelError
from cadenza.simulate.verdicts import rests_until
from tests.simulation.tape import (
    HOUR,
    Tape,
    at,
    branch,
    journey,
    leave,
    send,
    split,
    update,
    wait,
    wait_for,
)  # fmt: skip

T0 = at(0)


def in_holdout(name: str, share_bp: int, pid: int) -> bool:
    return bucket(name, pid) < share_bp


# --- exits ------------------------------------------------------------------------------------------------------


def test_exits_are_checked_in_order_at_every_item_before_steps() -> None:
    tape = Tape(
        journey(wait(5), send(), name="goal", goal="event('Paid')", disqualified="event('Paid')", arena=None),
        journey(wait(5), send(), name="left", disqualified="vip", arena=None), journey(wait(5), name="time", limit=3, arena=None),
    )  # fmt: skip
    tape.track(0, "Order")
    tape.track(1, "Paid")
    tape.identify(2, vip=True)
    tape.until(9)
    assert tape.ends() == [(at(1), "goal"), (at(2), "disqualified"), (at(3), "time_limit")]


def test_goal_at_the_instant_of_a_timer_comes_after_the_timer() -> None:
    tape = Tape(journey(wait(5), wait(1), goal="event('Paid')"))
    tape.track(0, "Order")
    tape.track(5, "Paid")
    assert [(m[0], m[1]) for m in tape.moves()] == [(at(0), "entered"), (at(5), "timer")]
    assert tape.ends() == [(at(5), "goal")]


def test_messages_of_an_ended_enrollment_are_cancelled_unless_handed_over_or_replayed() -> None:
    tape = Tape(journey(send(), send("news"), wait(50), goal="event('Paid')"))
    tape.reachable()
    tape.consent(0, purpose="news")
    tape.track(1, "Order")
    tape.until(2)
    (first, *_), (second, *_) = sorted(tape.rows("messages"), key=lambda r: r[2])
    tape.add(3, "outcome", type="track", event="Message Sent", person=1, properties={"message_id": first})
    tape.track(4, "Paid")
    assert tape.rows("cancellations") == [(second, "goal")]


def test_messages_that_consent_or_suppression_forbids_by_now_are_cancelled() -> None:
    tape = Tape(journey(send(), send("receipt"), wait(50)))
    tape.reachable()
    tape.track(1, "Order")
    tape.until(1)
    marketing, receipt = (next(r[0] for r in tape.rows("messages") if r[2] == t) for t in ("hello", "receipt"))
    tape.consent(2, granted=False)
    assert tape.rows("cancellations") == [(marketing, "no_consent")]
    tape.track(3, "Email Bounced", bounce_type="hard")
    assert tape.rows("cancellations") == sorted([(marketing, "no_consent"), (receipt, "suppressed")], key=repr)
    assert tape.ends() == []


def test_replayed_messages_are_not_deliverable_and_never_cancelled() -> None:
    tape = Tape(journey(send(), wait(50), goal="event('Paid')"))
    tape.add(0, "command", command="replay")
    tape.reachable()
    tape.track(1, "Order")
    tape.track(2, "Paid")
    tape.add(3, "command", command="live")
    tape.track(4, "Order")
    tape.until(5)
    assert [row[5] for row in sorted(tape.rows("messages"), key=lambda r: r[4])] == [False, True]
    assert tape.rows("cancellations") == []


# --- steps ------------------------------------------------------------------------------------------------------


def test_steps_walk_to_the_next_resting_place() -> None:
    tape = Tape(journey(branch(("vip", wait(1)), unknown=(wait(2), wait(3))), update(plan="gold"), leave("enough")))
    tape.track(0, "Order")
    tape.until(9)
    assert tape.moves() == [
        (at(0), "entered", "start", "steps[0].branch.unknown[0]"),
        (at(2), "timer", "steps[0].branch.unknown[0]", "steps[0].branch.unknown[1]"),
        (at(5), "timer", "steps[0].branch.unknown[1]", "steps[1]"), (at(5), "updated", "steps[1]", "end"),
    ]  # fmt: skip
    assert tape.ends() == [(at(5), "enough")] and (1, "plan", "gold") in tape.rows("traits")


@pytest.mark.parametrize(
    ("traits", "path"),
    [({"vip": True}, "arms[0].steps[0]"), ({"vip": False, "score": 7}, "arms[1].steps[0]"),
     ({"vip": False, "score": 1}, "otherwise[0]"), ({"score": 7}, "unknown[0]"), ({"vip": False}, "unknown[0]")],
)  # fmt: skip
def test_the_first_arm_that_is_not_false_decides(traits: dict[str, object], path: str) -> None:
    tape = Tape(journey(branch(("vip", wait(1)), ("score > 5", wait(1)), unknown=(wait(1),), otherwise=(wait(1),))))
    tape.identify(0, **traits)
    tape.track(1, "Order")
    assert tape.rows("enrollments")[0][5] == f"steps[0].branch.{path}"


def test_split_is_by_bucket_against_cumulated_shares() -> None:
    tape = Tape(journey(split("offer", a=(3000, wait(1)), b=(7000, wait(1)))))
    for n in range(1, 21):
        tape.track(n, "Order", f"u{n}")
        expected = "a" if bucket("offer", n) < 3000 else "b"
        row = next(r for r in tape.rows("enrollments") if r[1] == n)
        assert row[5] == f"steps[0].split.{expected}.steps[0]"


def test_an_update_is_seen_by_segments_and_branches_of_the_same_item() -> None:
    tape = Tape(
        journey(update(plan="gold", score=3), branch(("plan = 'gold'", wait(5)))), journey(wait(1), name="k", segment="gold", arena=None),
        segments={"gold": "plan = 'gold' and score = 3"},
    )  # fmt: skip
    tape.identify(0, plan="free")
    tape.track(1, "Order")
    tape.until(1)
    assert tape.rows("memberships") == [(1, "gold", at(1), True, "time")]
    assert sorted((r[2], r[5]) for r in tape.rows("enrollments")) == [
        ("j", "steps[1].branch.arms[0].steps[0]"),
        ("k", "steps[0]"),
    ]


def test_wait_for_matches_times_out_and_sets_its_flag() -> None:
    j = journey(
        wait_for("event('Click')", "vip", until=10, flag="clicked"),
        branch(("clicked", leave("yes")), otherwise=(leave("no"),)),
    )
    tape = Tape(j)
    for user in "cab":
        tape.track(0, "Order", user)
    tape.track(1, "Click", "a")
    tape.identify(2, "b", vip=True)
    tape.track(10, "Click", "c")  # the timer of hour 10 comes first
    assert [(m[0], m[1]) for m in tape.moves()[3:]] == [(at(1), "matched"), (at(2), "matched"), (at(10), "timeout")]
    assert tape.ends() == [(at(1), "yes"), (at(2), "yes"), (at(10), "no")]


def test_wait_for_on_arrival_passes_a_true_condition_but_not_the_present_event() -> None:
    tape = Tape(
        journey(
            wait_for("event('Order')", until=5), wait_for("orders = 1", until=5, flag="one"), branch(("one", wait(7)))
        )
    )
    tape.track(0, "Order")
    assert tape.moves() == [(at(0), "entered", "start", "steps[0]")]
    tape.until(5)
    assert tape.moves()[1:] == [(at(5), "timeout", "steps[0]", "steps[2].branch.arms[0].steps[0]")]


def test_no_wait_lasts_longer_than_the_time_limit() -> None:
    tape = Tape(journey(wait_for("vip", until=10), limit=4))
    tape.track(0, "Order")
    assert tape.rows("enrollments")[0][6] == at(4)
    tape.until(4)
    assert tape.ends() == [(at(4), "time_limit")] and tape.moves()[1:] == []


def test_in_journey_is_the_state_before_the_item_for_journeys() -> None:
    tape = Tape(journey(wait(5), name="a", arena=None), journey(wait(5), name="b", when="in_journey('a')", arena=None))
    tape.track(0, "Order")
    tape.track(1, "Order")
    assert sorted((r[2], r[4]) for r in tape.rows("enrollments")) == [("a", at(0)), ("b", at(1))]


def test_timers_of_one_instant_are_one_item_and_chains_stay_at_the_instant() -> None:
    tape = Tape(
        journey(wait(5), wait(0), wait(1), name="a", arena=None),
        journey(wait(5), name="b", arena=None, goal="in_journey('a')"),
    )
    tape.track(0, "Order")
    tape.until(5)
    assert [m[:2] for m in tape.moves()] == [(at(0), "entered"), (at(0), "entered"), (at(5), "timer"), (at(5), "timer")]
    assert tape.ends() == [(at(5), "goal")]  # the goal, in the state before the item, comes before the step


# --- governance ---------------------------------------------------------------------------------------------------


def decided(tape: Tape, *templates: str, zone: str = "UTC") -> list[tuple[object, ...]]:
    tape.until(24 * 30)
    return [row[1:] for row in tape.verdicts()]


def test_a_send_goes_on_in_the_same_instant_with_its_message() -> None:
    tape = Tape(journey(send(), wait(1)))
    tape.reachable()
    tape.track(1, "Order")
    tape.until(1)
    assert [m[:2] for m in tape.moves()] == [(at(1), "entered"), (at(1), "sent")]
    eid = tape.rows("enrollments")[0][0]
    assert tape.rows("messages") == [(message_id(eid, "steps[0]"), 1, "hello", "u@x.example", at(1), True)]


def test_verdicts_in_their_order() -> None:
    tape = Tape(
        journey(send(), send("receipt")), policy=Policy(suppress=(Suppress(name="s", when=parse("score > 5")),))
    )

    def order(hour: float) -> list[tuple[str, str | None]]:
        tape.track(hour, "Order")
        tape.until(hour + 0.5)
        return [row[1:3] for row in tape.verdicts() if row[0] >= at(hour)]

    assert order(0) == [("drop", "unreachable"), ("drop", "unreachable")]
    tape.identify(1, email="a@x.example")
    assert order(1) == [("drop", "policy"), ("send", None)]  # score unknown
    tape.identify(2, score=1)
    assert order(2) == [("drop", "no_consent"), ("send", None)]
    tape.consent(3)
    assert order(3) == [("send", None), ("send", None)]
    tape.identify(4, score=6)
    assert order(4) == [("drop", "policy"), ("send", None)]
    tape.track(5, "Suppressed", channel="email", reason="sales_talk")
    assert order(5) == [("drop", "suppressed"), ("send", None)]
    tape.track(6, "Email Bounced", bounce_type="soft")
    assert order(6) == [("drop", "suppressed"), ("send", None)]
    tape.track(7, "Email Bounced", bounce_type="hard")
    assert order(7) == [("drop", "suppressed"), ("drop", "suppressed")]
    assert {m[1] for m in tape.moves()} == {"entered", "sent", "dropped"}


def test_global_holdout_drops_marketing() -> None:
    tape = Tape(journey(send(), send("receipt")), policy=Policy(holdout=Holdout(name="g", share_bp=10_000)))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("drop", "holdout", None), ("send", None, None)]
    assert tape.rows("assignments") == [("g", 1, "holdout")]


NIGHT = QuietHours(from_="21:00", to="08:00")


def test_quiet_hours_defer_and_are_looked_at_again() -> None:
    tape = Tape(journey(send(), wait(1)), policy=Policy(quiet_hours=NIGHT))
    tape.reachable(zone="America/New_York")  # 06:00 there
    tape.track(1.5, "Order")
    assert decided(tape) == [("defer", "quiet_hours", at(2)), ("send", None, None)]
    assert tape.sent() == [("hello", at(2))]


def test_transactional_skips_quiet_hours_and_consent() -> None:
    tape = Tape(
        journey(send("receipt")),
        policy=Policy(quiet_hours=QuietHours(from_="00:00", to="23:59"), missing_time_zone="drop"),
    )
    tape.identify(0, email="a@x.example")
    tape.track(1, "Order")
    assert decided(tape) == [("send", None, None)]


@pytest.mark.parametrize(
    ("zone", "missing", "expected"),
    [("Mars/Olympus", "drop", ("drop", "no_time_zone", None)), ("Mars/Olympus", "UTC", ("send", None, None)),
     ("Asia/Tokyo", "UTC", ("defer", "quiet_hours", at(13)))],
)  # fmt: skip
def test_missing_zone(zone: str, missing: str, expected: tuple[object, ...]) -> None:
    tape = Tape(
        journey(send()), policy=Policy(quiet_hours=QuietHours(from_="20:00", to="08:00"), missing_time_zone=missing)
    )
    tape.reachable(zone=zone)
    tape.track(1, "Order")
    assert decided(tape)[0] == expected


def test_a_deferral_past_the_deadline_is_dropped_and_the_deadline_counts_from_the_first_arrival() -> None:
    quiet = QuietHours(from_="10:30", to="14:00")
    tape = Tape(journey(send()), policy=Policy(quiet_hours=quiet, deadline_s=3 * HOUR))
    tape.reachable()
    tape.track(0.75, "Order")
    assert decided(tape) == [("drop", "deadline", None)]
    tape = Tape(journey(send()), policy=Policy(quiet_hours=quiet, deadline_s=3 * HOUR))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("defer", "quiet_hours", at(4)), ("send", None, None)]


def test_a_deferred_send_does_not_outlive_the_time_limit() -> None:
    tape = Tape(journey(send(), limit=1), policy=Policy(quiet_hours=QuietHours(from_="10:00", to="20:00")))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("defer", "quiet_hours", at(10))]
    assert tape.ends() == [(at(2), "time_limit")] and tape.sent() == []


@pytest.mark.parametrize(
    ("zone", "quiet", "now", "until"),
    [
        # gap: 02:00 -> 03:00 local on 31 March, at 01:00 UTC: the clock never shows 02:30
        ("Europe/Berlin", ("01:30", "02:30"), "2024-03-31T00:45:00", "2024-03-31T01:00:00"),
        ("Europe/Berlin", ("02:10", "02:40"), "2024-03-31T00:59:59", None),
        ("Europe/Berlin", ("21:00", "08:00"), "2024-03-30T23:00:00", "2024-03-31T06:00:00"),
        ("Europe/Berlin", ("21:00", "08:00"), "2024-03-29T23:00:00", "2024-03-30T07:00:00"),
        # overlap: 03:00 -> 02:00 local on 27 October, at 01:00 UTC
        ("Europe/Berlin", ("01:30", "02:30"), "2024-10-26T23:45:00", "2024-10-27T00:30:00"),
        ("Europe/Berlin", ("01:30", "02:30"), "2024-10-27T01:05:00", "2024-10-27T01:30:00"),
        ("Europe/Berlin", ("02:30", "03:00"), "2024-10-27T00:45:00", "2024-10-27T02:00:00"),
        ("Europe/Berlin", ("02:30", "03:00"), "2024-10-27T01:15:00", None),
        # half an hour, southern hemisphere: 02:00 -> 02:30 on 6 October at 15:30 UTC of the 5th
        ("Australia/Lord_Howe", ("01:00", "02:15"), "2024-10-05T15:00:00", "2024-10-05T15:30:00"),
        # clocks go back at 01:00 to 00:00: the local date happens twice
        ("America/Havana", ("23:00", "00:30"), "2024-11-03T03:30:00", "2024-11-03T04:30:00"),
        ("America/New_York", ("21:00", "08:00"), "2024-11-02T23:59:59.999999", None),
        ("UTC", ("21:00", "08:00"), "2024-05-06T21:00:00", "2024-05-07T08:00:00"),
        ("UTC", ("21:00", "08:00"), "2024-05-06T08:00:00", None),
        ("UTC", ("08:00", "08:00"), "2024-05-06T08:00:00", None),
    ],
)  # fmt: skip
def test_quiet_hours_are_exact_across_daylight_saving(
    zone: str, quiet: tuple[str, str], now: str, until: str | None
) -> None:
    expected = None if until is None else datetime.fromisoformat(until)
    rests = rests_until([QuietHours(from_=quiet[0], to=quiet[1])], [], zone, datetime.fromisoformat(now))
    assert (rests and rests[1]) == expected


def cap(limit: int, hours: float, when_full: str = "defer", name: str = "c", channel: str | None = None) -> Cap:
    return Cap(name=name, limit=limit, per_s=int(hours * HOUR), when_full=when_full, channel=channel)  # type: ignore[arg-type]


def test_a_full_cap_defers_until_enough_messages_have_left_the_window() -> None:
    tape = Tape(journey(send(), wait(1), send(), wait(1), send()), policy=Policy(caps=(cap(2, 24),)))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("send", None, None), ("send", None, None), ("defer", "cap", at(25)), ("send", None, None)]
    assert tape.sent() == [("hello", at(1)), ("hello", at(2)), ("hello", at(25))]


def test_of_several_full_caps_the_latest_counts_and_drop_wins() -> None:
    for extra, expected in ((cap(1, 8), ("defer", "cap", at(9))), (cap(1, 8, "drop"), ("drop", "cap", None))):
        tape = Tape(journey(send(), wait(1), send()), policy=Policy(caps=(cap(1, 4), extra)))
        tape.reachable()
        tape.track(1, "Order")
        assert decided(tape)[1] == expected


def test_a_cap_past_the_deadline_drops() -> None:
    tape = Tape(journey(send(), wait(1), send()), policy=Policy(caps=(cap(1, 24),), deadline_s=23 * HOUR - 1))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("send", None, None), ("drop", "cap", None)]


def test_transactional_failed_and_cancelled_messages_do_not_count() -> None:
    tape = Tape(journey(send("receipt"), send(), wait(2)), policy=Policy(caps=(cap(1, 24, "drop"),)))
    tape.reachable()
    tape.track(1, "Order")
    tape.until(2)
    failed = next(row[0] for row in tape.rows("messages") if row[2] == "hello")
    tape.add(2, "outcome", type="track", event="Message Failed", person=1, properties={"message_id": failed})
    tape.track(4, "Order")
    tape.until(5)
    assert [row[1] for row in tape.verdicts()] == ["send"] * 4


def test_one_candidate_at_a_time_by_priority_then_first_due() -> None:
    tape = Tape(
        journey(send(), name="low", priority=1, arena=None), journey(send("news"), name="high", priority=9, arena=None),
        policy=Policy(caps=(cap(1, 24, "drop"),)),
    )  # fmt: skip
    tape.reachable()
    tape.consent(0, purpose="news")
    tape.track(1, "Order")
    tape.until(1)
    assert tape.sent() == [("news", at(1))]
    assert [row[:3] for row in tape.verdicts()] == [(at(1), "drop", "cap"), (at(1), "send", None)]
    assert tape.model.persons[1].live() == []


def test_the_first_due_goes_first_at_equal_priority() -> None:
    quiet = QuietHours(from_="10:00", to="14:00")
    tape = Tape(
        journey(send("news"), name="first", arena=None, on="A"), journey(send(), name="second", arena=None, on="B"),
        policy=Policy(caps=(cap(1, 24, "drop"),), quiet_hours=quiet),
    )  # fmt: skip
    tape.reachable()
    tape.consent(0, purpose="news")
    for event, hour in (("A", 1), ("B", 2)):
        tape.track(hour, event)
    tape.until(4)
    assert tape.sent() == [("news", at(4))]


def test_the_union_of_messages_counts_after_a_merge() -> None:
    tape = Tape(journey(send(), again="after_exit"), policy=Policy(caps=(cap(1, 24, "drop"),)))
    tape.reachable(user="u")
    tape.reachable(user="v")
    tape.track(1, "Order", "u")
    tape.identify(2, "u", "dev")
    tape.identify(2, "v", "dev")
    tape.track(3, "Order", "v")
    tape.until(3)
    assert [row[1] for row in tape.verdicts()] == ["send", "drop"]


def test_suppress_sees_the_journeys_after_the_item() -> None:
    rule = Suppress(name="open", when=parse("in_journey('case')"))
    tape = Tape(journey(send()), journey(wait(9), name="case", arena=None), policy=Policy(suppress=(rule,)))
    tape.reachable()
    tape.track(1, "Order")
    assert decided(tape) == [("drop", "policy", None)]


# --- the model's own limits -------------------------------------------------------------------------------------------


def test_journeys_that_feed_each_other_come_to_an_end() -> None:
    """Nobody enters a journey twice at one instant (10.2), so the circle is broken where it closes."""
    tape = Tape(
        journey(update(plan="a"), name="to_a", segment="a", change="left", arena=None),
        journey(update(plan="b"), name="to_b", segment="a", arena=None), segments={"a": "plan = 'a'"},
    )  # fmt: skip
    tape.identify(0, plan="a")
    tape.until(1)
    refused = [(journey, *why) for _, journey, _, _, *why in tape.rows("refusals")]
    assert refused == [("to_b", "re_entry", "running")], refused


def test_an_unknown_kind_of_record_and_another_project_are_refused() -> None:
    tape = Tape()
    with pytest.raises(ModelError, match="No record is of the kind"):
        tape.add(0, "gossip")
    with pytest.raises(ModelError, match="new traits and properties"):
        tape.add(0, "deploy", project={"name": "another"})
