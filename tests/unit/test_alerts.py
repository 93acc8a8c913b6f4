"""Each silence alert: the facts that provoke it, those that just do not, and the facts as the store has them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from cadenza.clock import VirtualClock
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds_alerts import Alerts
from cadenza.definitions.kinds_journey import Arm, Branch, Entry, Exit, Journey, Outcome, Send, Split, SplitArm, Trigger
from cadenza.definitions.project import Project
from cadenza.runtime.alerts import Alert, Count, Facts, facts_of, judge
from cadenza.runtime.deploy import prepare
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.workspace import Workspace

NOW = datetime(2024, 6, 30, 12)
LONG_AGO = datetime(2023, 1, 1)
_BRANCH = Branch(arms=(Arm(when=parse("plan = 'gold'"), steps=()),), unknown=(), otherwise=(Send(template="hello"),))
_SPLIT = Split(
    name="half", arms=(SplitArm(name="unknown", share_bp=5000, steps=()), SplitArm(name="b", share_bp=5000, steps=()))
)
JOURNEY = Journey(
    name="welcome", owner="o", outcome=Outcome(metric="m"), entry=Entry(on=Trigger(event="Signed Up")),
    exit=Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=86_400), steps=(_BRANCH, _SPLIT),
)  # fmt: skip


PLAIN = Alerts()


def told(facts: dict[str, Any], alerts: Alerts = PLAIN, since: datetime = LONG_AGO) -> list[tuple[str, str]]:
    """Code and subject of what is found."""
    found = judge(replace(JOURNEY, alerts=alerts), replace(Facts(since=since, entries=Count(9, 9)), **facts), NOW)
    assert all(a.journey == "welcome" and a.what.startswith("welcome: ") and a.remedy for a in found)
    return [(a.code, a.about) for a in found]


@pytest.mark.parametrize(
    ("entries", "alerts", "since", "silent"),
    [
        (Count(0, 4), Alerts(), LONG_AGO, True),
        (Count(0, 3), Alerts(), LONG_AGO, False),
        (Count(1, 400), Alerts(), LONG_AGO, False),
        (Count(0, 0), Alerts(no_entries_s=86_400), LONG_AGO, True),
        (Count(0, 9), Alerts(), NOW - timedelta(days=6), False),
        (Count(0, 9), Alerts(no_entries_s=86_400), NOW - timedelta(days=6), True),
        (Count(0, 9), Alerts(mute=("no_entries",)), LONG_AGO, False),
    ],
)
def test_nobody_enters(entries: Count, alerts: Alerts, since: datetime, silent: bool) -> None:
    assert told({"entries": entries}, alerts, since) == ([("no_entries", "entry")] if silent else [])


def test_a_step_without_traffic() -> None:
    arrivals = {"steps[0]": Count(0, 8), "steps[1]": Count(0, 7), "steps[2]": Count(1, 100), "steps[3]": Count(0, 0)}
    assert told({"arrivals": arrivals}) == [("quiet_step", "steps[0]")]
    # Where nobody enters, every step is quiet: one alert says it.
    assert told({"arrivals": arrivals, "entries": Count(0, 50)}) == [("no_entries", "entry")]


@pytest.mark.parametrize(
    ("now", "before", "jumped"),
    [((20, 10), (10, 20), True), ((20, 10), (80, 40), False), ((14, 15), (10, 20), False), ((20, 10), (40, 50), True), ((18, 12), (15, 16), False)],
)  # fmt: skip
def test_branch_shares_that_jump(now: tuple[int, int], before: tuple[int, int], jumped: bool) -> None:
    """By 20 points or more, of at least 30 in both windows."""
    arms = dict(zip(("arms[0]", "otherwise"), map(Count, now, before), strict=True))
    expected = [("branch_jump", f"steps[0]: {arm}") for arm in arms]
    assert told({"choices": {"steps[0]": arms}}) == (expected if jumped else [])


@pytest.mark.parametrize(("unknown", "much"), [(9, True), (8, False)])
def test_branches_on_what_is_null(unknown: int, much: bool) -> None:
    choices = {"steps[0]": {"unknown": Count(unknown, unknown), "otherwise": Count(30 - unknown, 30 - unknown)}}
    assert told({"choices": choices}) == ([("unknown", "steps[0]")] if much else [])
    assert told({"choices": choices}, Alerts(least=31)) == []


def test_reasons_for_not_sending_that_rise() -> None:
    verdicts = {"sent": Count(20, 80), "no_consent": Count(10, 10), "cap": Count(10, 30)}
    assert told({"verdicts": verdicts}) == []
    assert told({"verdicts": verdicts}, Alerts(drops_bp=1_600)) == [("drops", "no_consent")]
    fallen = {"sent": Count(40, 10), "cap": Count(0, 40)}
    assert told({"verdicts": fallen}) == [], "fewer drops are nothing to look at"


def test_the_facts_of_the_store() -> None:
    """Windows end now; five of them are looked at; what is later is not known yet, what is older not any more."""
    engine = DuckEngine.open(None)
    prepare(engine)
    for jid, current in ((1, False), (2, True)):
        engine.execute(
            f"INSERT INTO journey_version (jid, journey, deployed_at, current) VALUES ({jid}, 'welcome', TIMESTAMP '2024-01-0{jid}', {current})"
        )
        engine.execute(
            f"INSERT INTO journey_step (jid, step, path, kind) VALUES ({jid}, 0, 'steps[0].branch.otherwise[0]', 'send')"
        )
    hop = '["steps[0]: unknown", "steps[1]: unknown"]'
    engine.execute(f"INSERT INTO journey_hop VALUES (2, 0, '{hop}')")
    days = {"now": [0.5, 6.9], "before": [7, 30, 34.9], "neither": [35, -1]}
    for n, day in enumerate(d for some in days.values() for d in some):
        at = f"TIMESTAMP '{NOW - timedelta(days=day)}'"
        engine.execute(
            f"INSERT INTO enrollment (eid, pid, jid, key, entered_at) VALUES ({n}, {n}, {1 + n % 2}, '', {at})"
        )
        engine.execute(
            f"INSERT INTO transition (eid, pid, jid, ts, cause, from_step, to_step, hop) VALUES ({n}, {n}, 2, {at}, 'entered', -2, 0, 0)"
        )
        engine.execute(
            f"INSERT INTO decision (eid, pid, jid, step, ts, verdict, reason) VALUES ({n}, {n}, 2, 0, {at}, 'drop', 'cap'), ({n}, {n}, 2, 0, {at}, 'defer', 'cap')"
        )
    journey = replace(JOURNEY, alerts=Alerts(quiet_step_s=7 * 86_400))
    found = facts_of(engine, Project(journeys=(journey, replace(JOURNEY, name="new"))), NOW)
    two_and_three = Count(2, 3)
    assert found == {
        "welcome": Facts(
            since=datetime(2024, 1, 1), entries=two_and_three, arrivals={"steps[0].branch.otherwise[0]": two_and_three},
            choices={"steps[0]": {"unknown": two_and_three}}, verdicts={"cap": two_and_three},
        )
    }  # fmt: skip
    assert facts_of(engine, Project(), NOW) == {}
    engine.close()


def test_the_workspace_tells(tmp_path: Path) -> None:
    clock = VirtualClock(NOW)
    Workspace.create(tmp_path / "shop")
    welcome = tmp_path / "shop/journeys/welcome.yaml"
    welcome.write_text(welcome.read_text() + "alerts: { no_entries: 1 day, mute: quiet_step }\n")
    with Workspace.open(tmp_path / "shop", clock) as shop:
        assert shop.alerts.run() == ()
        shop.apply()
        shop.tick()
        assert shop.alerts.run() == (), "it was deployed just now"
        clock.advance_to(NOW + timedelta(days=2))
        (alert,) = shop.alerts.run()
        assert isinstance(alert, Alert) and (alert.code, alert.journey) == ("no_entries", "welcome")
        assert alert.what == "welcome: nobody entered for 1 day; in the 4 days before, 0 did."
        assert shop.alerts.run(NOW) == ()
