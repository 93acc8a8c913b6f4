"""Jumps, worked out by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cadenza.definitions.expression import parse
from cadenza.definitions.graph import flatten
from cadenza.definitions.kinds import Jump, Step, WaitFor
from cadenza.definitions.spots import spots_of, timeless_jumps
from tests.simulation.tape import HOUR, Tape, at, branch, journey, leave, send, split, update, wait, wait_for


def labelled(step: Step, label: str) -> Step:
    return replace(step, label=label)


def test_a_loop_turns_so_often_and_every_round_has_a_message_of_its_own() -> None:
    tape = Tape(journey(labelled(send("receipt"), "again"), wait(2), Jump(to="again", at_most=2), leave("done")))
    tape.reachable()
    tape.track(1, "Order")
    tape.until(20)
    assert tape.sent() == [("receipt", at(1)), ("receipt", at(3)), ("receipt", at(5))]
    assert len({row[0] for row in tape.rows("messages")}) == 3
    assert tape.ends() == [(at(7), "done")]


def test_a_new_passage_has_its_jumps_again() -> None:
    tape = Tape(journey(labelled(wait(1), "again"), Jump(to="again", at_most=1)))
    tape.track(0, "Order")
    tape.track(5, "Order")
    tape.until(20)
    assert tape.ends() == [(at(2), "completed"), (at(7), "completed")]


def test_a_jump_from_an_arm_to_a_step_further_down() -> None:
    steps = (branch(("vip", Jump(to="end", at_most=1)), otherwise=(wait(5),)), wait(1), labelled(wait(2), "end"))
    tape = Tape(journey(*steps))
    tape.identify(0, "a", vip=True)
    tape.identify(0, "b", vip=False)
    tape.track(1, "Order", "a")
    tape.track(2, "Order", "b")
    tape.until(20)
    assert tape.ends() == [(at(3), "completed"), (at(10), "completed")]


def test_what_follows_a_loop_is_not_multiplied_by_its_rounds() -> None:
    loop = (labelled(wait(1), "again"), Jump(to="again", at_most=20))
    stops = flatten(journey(*loop, send(), wait(1), send(), wait(1))).stops
    assert len(stops) == 21 + 4


@pytest.mark.parametrize(
    ("steps", "timeless"),
    [
        ((labelled(send(), "a"), Jump(to="a", at_most=1)), True),
        ((labelled(send(), "a"), wait(1), Jump(to="a", at_most=1)), False),
        ((labelled(send(), "a"), wait_for("vip"), Jump(to="a", at_most=1)), True),
        ((labelled(WaitFor(any=(parse("vip"),), until_s=HOUR, timeout=(Jump(to="a", at_most=1),)), "a"),), False),
        ((labelled(update(plan="x"), "a"), split("s", x=(5000, wait(1)), y=(5000, send())), Jump(to="a", at_most=1)), True),
        ((labelled(update(plan="x"), "a"), split("s", x=(5000, wait(1)), y=(5000, leave())), Jump(to="a", at_most=1)), False),
        ((Jump(to="b", at_most=1), wait(1), labelled(send(), "b")), False),
    ],
)  # fmt: skip
def test_a_loop_needs_time_on_every_way_round(steps: tuple[Step, ...], timeless: bool) -> None:
    assert bool(list(timeless_jumps(spots_of(steps)))) is timeless
