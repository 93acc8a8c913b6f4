"""Waits, worked out by hand: for any, for all, with steps of their own on each way, and to the instant."""

from __future__ import annotations

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import WaitFor
from tests.simulation.tape import HOUR, Tape, at, journey, leave, wait, wait_for


def awaiting(*, any: tuple[str, ...] = (), all: tuple[str, ...] = (), until: float = 24, **more: object) -> WaitFor:
    return WaitFor(any=tuple(map(parse, any)), all=tuple(map(parse, all)), until_s=int(until * HOUR), **more)  # type: ignore[arg-type]


def test_a_windowed_condition_is_seen_at_the_instant_at_which_it_changes() -> None:
    tape = Tape(journey(wait_for("events('Order', within => '3 hours') = 0", until=24)))
    tape.track(0, "Order")
    tape.track(1, "Order")
    tape.until(30)
    assert [(m[0], m[1]) for m in tape.moves()] == [(at(0), "entered"), (at(4), "matched")]


def test_an_exit_over_a_window_is_seen_at_the_instant_too() -> None:
    tape = Tape(journey(wait(50), disqualified="older_than(renews_at, '2 hours')", goal="recent = 0"))
    tape.identify(0, renews_at="2024-05-06T13:00:00Z")
    tape.track(1, "Order")
    tape.until(60)
    assert tape.ends() == [(at(5), "disqualified")]


def test_all_need_not_hold_together() -> None:
    wait_all = awaiting(all=("event('Paid')", "vip", "event('Shipped')"), matched=(leave("both"),))
    tape = Tape(journey(wait_all))
    tape.track(0, "Order")
    tape.identify(1, vip=True)
    tape.track(2, "Paid")
    tape.identify(3, vip=False)
    tape.track(4, "Paid")
    tape.track(5, "Shipped")
    assert tape.ends() == [(at(5), "both")]


def test_what_came_true_before_arrival_does_not_count_and_what_is_true_on_arrival_does() -> None:
    again = awaiting(all=("event('Paid')", "vip"), until=10, matched=(leave("paid"),), timeout=(leave("late"),))
    tape = Tape(journey(awaiting(all=("event('Paid')", "vip"), until=5), again))
    tape.identify(0, vip=True)
    tape.track(1, "Order")
    tape.track(2, "Paid")  # the first wait is over, the second begins with vip
    tape.identify(3, vip=False)
    tape.track(4, "Paid")
    assert tape.ends() == [(at(4), "paid")]


def test_all_that_is_true_already_is_passed_through() -> None:
    tape = Tape(journey(awaiting(all=("vip", "orders >= 1"), matched=(leave("at_once"),))))
    tape.identify(0, vip=True)
    tape.track(1, "Order")
    assert tape.ends() == [(at(1), "at_once")]


def test_the_first_true_condition_in_order_gives_the_way_and_all_ways_join() -> None:
    arms = ((wait(1),), (), (wait(2),))
    fork = awaiting(any=("event('Paid')", "vip", "event('Paid') or orders > 5"), arms=arms, timeout=(wait(3),), until=9)
    tape = Tape(journey(fork, leave("joined"), again="after_exit"))
    tape.track(0, "Order")
    tape.track(1, "Paid")
    tape.until(2)
    tape.track(3, "Order")
    tape.until(20)
    assert tape.ends() == [(at(2), "joined"), (at(15), "joined")]
    assert [m[3] for m in tape.moves()][1] == "steps[0].wait_for.any[0].steps[0]"
    assert [m[3] for m in tape.moves()][-2] == "steps[0].wait_for.timeout[0]"
