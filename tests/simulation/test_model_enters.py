"""Journeys that enter others, worked out by hand."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.kinds import Enter
from tests.simulation.tape import Tape, at, journey, wait


def moves(tape: Tape) -> list[tuple[object, ...]]:
    return sorted(move[:2] for move in tape.moves())


def test_the_person_enters_at_the_same_instant_with_the_key_and_the_asking_journey_goes_on() -> None:
    tape = Tape(
        journey(wait(1), Enter(journey="guest"), wait(1), name="host", arena=None, key="order_id"),
        journey(wait(5), name="guest", on="Never", arena=None, key="order_id"),
    )  # fmt: skip
    tape.track(1, "Order", order_id="o1")
    tape.until(20)
    assert moves(tape) == [
        (at(1), "entered"),
        (at(2), "asked"),
        (at(2), "entered"),
        (at(2), "timer"),
        (at(3), "timer"),
        (at(7), "timer"),
    ]
    assert [row[2:5] for row in tape.rows("enrollments") if row[2] == "guest"] == [("guest", "o1", at(2))]


def test_it_is_refused_like_any_candidate_and_the_step_goes_on() -> None:
    tape = Tape(
        journey(Enter(journey="keyed"), Enter(journey="busy"), Enter(journey="vips"), name="host", priority=50),
        journey(wait(1), name="keyed", on="Never", key="order_id", arena=None),
        journey(wait(1), name="busy", on="Never", priority=50), journey(wait(1), name="vips", on="Never", when="vip", arena=None),
    )  # fmt: skip
    tape.track(1, "Order")
    tape.until(1)
    assert sorted(tape.refused()) == [("no_key", "key"), ("priority", "default")]
    assert tape.model.nonqualified["vips", at(1), "when_unknown"] == 1
    assert tape.ends() == [(at(1), "completed")]


def test_of_two_that_enter_one_journey_at_once_the_second_is_refused() -> None:
    hosts = [journey(Enter(journey="guest"), name=f"host_{n}", arena=None) for n in "ab"]
    tape = Tape(*hosts, journey(wait(5), name="guest", on="Never", again="after_exit", arena=None))
    tape.track(1, "Order")
    tape.until(2)
    assert tape.refused() == [("re_entry", "running")]
    assert len([row for row in tape.rows("enrollments") if row[2] == "guest"]) == 1


def test_one_who_has_reached_the_goal_enters_nothing() -> None:
    host = replace(
        journey(wait(1), Enter(journey="guest"), name="host", arena=None, goal="older_than(last_order_at, '1 hour')")
    )
    tape = Tape(host, journey(wait(5), name="guest", on="Never", arena=None))
    tape.track(1, "Order")
    tape.until(9)
    assert tape.ends() == [(at(2), "goal")]
