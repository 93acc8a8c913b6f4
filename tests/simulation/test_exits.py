"""Last steps of exits, to the instant: what is sent, entered and cancelled, and what has ended meanwhile. And which
passage stays in a merge."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from cadenza.clock import to_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.graph import flatten
from cadenza.definitions.kinds import Enter, Entry, Exit, Journey, Policy, QuietHours, Send, Trigger, Wait, WaitFor
from cadenza.definitions.step_names import step_at, step_names
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.step_changes import step_changes
from tests.simulation.test_control import START, Site, journey, project

HOUR_S = 3600
_MAIL = project().templates[0]
THANKS = replace(_MAIL, name="thanks")
OFFER = replace(_MAIL, name="offer", message_class="marketing")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.close()


def _leaving(*then: Any, **changes: Any) -> Journey:
    """A message, a wait of ten hours; by the goal the last steps."""
    given = journey("j", Send(template="t"), Wait(duration_s=10 * HOUR_S))
    return replace(given, exit=replace(given.exit, goal_then=then), **changes)


def _guest(arena: str | None = None, priority: int = 50) -> Journey:
    never = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=100 * HOUR_S)
    entry = Entry(on=Trigger(event="Asked"), again="after_exit")
    return journey("guest", Wait(duration_s=HOUR_S), entry=entry, exit=never, arena=arena, priority=priority)


def _with(*journeys: Journey) -> Any:
    given = project(*journeys)
    return replace(given, templates=(*given.templates, THANKS, OFFER))


def _ends(site: Site) -> list[tuple[Any, ...]]:
    return site.rows(
        "SELECT v.journey, e.reason FROM enrollment_end AS e JOIN journey_version AS v ON v.jid = e.jid ORDER BY e.ts"
    )


def _agree(site: Site) -> None:
    said = {"purpose": "service", "channel": "email", "granted": True}
    body = {"type": "track", "event": "Consent Updated", "userId": "ann", "properties": said}
    now = to_micros(site.clock.now())
    site.log.append([NewRecord(kind="call", source="s", message_id="yes", body=msgspec.json.encode(body), at=now)], now)


def test_the_queue_is_cancelled_the_last_message_goes_and_another_journey_takes_over(site: Site) -> None:
    """Also one of lower priority in the same arena: who has left holds no place there."""
    then = (Send(template="thanks"), Enter(journey="guest"))
    site.deploy(_with(_leaving(*then, arena="a", priority=80), _guest("a", 10)))
    site.at(1, "Start")
    site.at(2, "Bought")
    left = [("goal", 2), ("sent", 2), ("asked", 2), ("entered", 2), ("goal", 2)]
    assert sorted(site.moves()) == sorted([("entered", 1), ("sent", 1), *left])
    sent = site.rows(
        "SELECT m.template, c.reason FROM message AS m LEFT JOIN cancellation AS c ON c.message_id = m.message_id ORDER BY 1"
    )
    assert sent == [("t", "goal"), ("thanks", None)]
    assert _ends(site) == [("j", "goal")]
    site.at(3)
    assert _ends(site) == [("j", "goal"), ("guest", "completed")]


def test_a_last_message_that_waits_outlives_the_limit_and_holds_nobody(site: Site) -> None:
    """The quiet hours last past the time limit; meanwhile the journey takes the person again."""
    consented = replace(
        _with(_leaving(Send(template="offer"))),
        policy=Policy(
            quiet_hours=QuietHours(from_="09:30", to="08:30"), missing_time_zone="UTC", deadline_s=72 * HOUR_S
        ),
    )
    site.deploy(consented)
    _agree(site)
    site.at(1, "Start")
    site.at(2, "Bought")
    assert _ends(site) == []
    site.at(23, "Start")
    assert site.rows("SELECT count(*) FROM enrollment WHERE step >= 0") == [(2,)]
    assert site.rows("SELECT count(*) FROM refusal") == [(0,)]
    site.at(24.6)
    assert _ends(site) == [("j", "goal")]
    assert site.rows("SELECT count(*) FROM message WHERE template = 'offer'") == [(1,)]


@pytest.mark.parametrize("clocks", ["freeze", "run"])
def test_in_a_pause_the_last_steps_are_left_out(site: Site, clocks: Any) -> None:
    site.deploy(_with(_leaving(Send(template="thanks"))))
    site.at(1, "Start")
    site.controls.pause("j", clocks)
    site.at(2, "Bought")
    assert _ends(site) == [("j", "goal")]
    assert site.rows("SELECT count(*) FROM message WHERE template = 'thanks'") == [(0,)]


def test_a_project_without_last_steps_has_nothing_of_it() -> None:
    graph = flatten(journey("j", Wait(duration_s=HOUR_S)))
    assert not graph.exits and not any(stop.leaving for stop in graph.stops)


def test_tests_and_plans_call_them_by_name() -> None:
    now = _leaving(Send(template="thanks"))
    path = "exit.goal.then[0]"
    assert step_at(now, path) == Send(template="thanks") and step_at(now, "exit.goal.then[1]") is None
    assert step_names(now, "send", path)[0] == "send thanks"
    [change] = step_changes(_leaving(), now)
    assert (change.change, change.path, change.words) == ("added", path, "send thanks")


@pytest.mark.parametrize(
    ("moved", "kept"),
    [("bob", {"earliest": [1], "latest": [2], "furthest": [2], "both": [1, 2]}),
     ("ann", {"earliest": [1], "latest": [2], "furthest": [1], "both": [1, 2]})],
)  # fmt: skip
def test_each_journey_says_which_passage_stays_in_a_merge(site: Site, moved: str, kept: dict[str, list[int]]) -> None:
    """Ann entered at 1, bob at 2; one of them has moved on when they turn out to be one."""
    asks = (WaitFor(any=(parse("event('Asked')"),), until_s=15 * HOUR_S), Wait(duration_s=5 * HOUR_S))
    site.deploy(project(*(journey(rule, *asks, on_merge=rule) for rule in kept)))
    site.at(1, "Start", "ann")
    site.at(2, "Start", "bob")
    site.at(3, "Asked", moved)
    body = {"type": "alias", "userId": "ann", "previousId": "bob"}
    now = to_micros(site.clock.now())
    site.log.append([NewRecord(kind="call", source="s", message_id="one", body=msgspec.json.encode(body), at=now)], now)
    site.at(4)
    live = site.rows(
        f"SELECT v.journey, list(date_diff('hour', TIMESTAMP '{START}', e.entered_at) ORDER BY e.entered_at) "
        "FROM enrollment AS e JOIN journey_version AS v ON v.jid = e.jid WHERE e.step >= 0 GROUP BY v.journey"
    )
    assert dict(live) == kept
