"""A timer of T comes before a record of T: what that record tells of a message is not known yet when the timer decides."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from cadenza.clock import from_micros
from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds import Exit, Send, Wait
from cadenza.ids import enrollment_id, message_id
from cadenza.simulate.worlds import World
from tests.simulation.audit_faults import Town, town_project
from tests.simulation.engine import run_engine
from tests.simulation.strategies import play
from tests.simulation.test_engine_agrees import difference

_DAY = 86_400


def _world(told_after_us: int) -> World:
    """A message by somebody who leaves a day later, and of which is told so long after that."""
    given = town_project()
    limited = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=_DAY)
    first = replace(
        given.journeys[0], holdout=None, exit=limited, steps=(Send(template="hello"), Wait(duration_s=2 * _DAY))
    )
    project = replace(given, journeys=(first,), policy=replace(given.policy, holdout=None))
    log = Town(project)
    known = {"email": "ann@example.com", "time_zone": "Europe/London", "plan": "gold"}
    pid = log.add("call", type="identify", userId="ann", traits=known).offset
    log.consent("ann", True)
    log.add("command", command="live")
    log.at_hour(3.5)
    entered = log.track("ann", "Order Completed").recorded_at
    message = message_id(enrollment_id("first", pid, "", entered), "steps[0]")
    log.at = entered + _DAY * 1_000_000 + told_after_us - 1
    log.add("outcome", type="track", event="Message Sent", person=pid, properties={"message_id": message})
    return World(project=project, records=tuple(log.records), horizon=log.at + 60_000_000)


@pytest.mark.parametrize(("told_after_us", "cancelled"), [(-1, False), (0, True), (1, True)])
@pytest.mark.parametrize("batches", [(1000,), (1,)])
def test_a_timer_does_not_know_what_is_told_at_its_instant(
    told_after_us: int, cancelled: bool, batches: tuple[int, ...]
) -> None:
    world = _world(told_after_us)
    found = run_engine(world.project, list(world.records), batches, False, from_micros(world.horizon))
    assert difference(play(world), found) is None
    assert [reason for *_, reason in found["ends"]] == ["time_limit"]
    assert bool(found["cancellations"]) == cancelled
