"""The fit finds the rates by which a history was made, with the uncertainty it states, and assumes nothing it cannot see."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from cadenza.clock import to_micros
from cadenza.definitions.kinds import Holdout
from cadenza.errors import CadenzaError, OperatingError
from cadenza.ids import seeded_random
from cadenza.ports.engine import Engine
from cadenza.runtime.deploy import load
from cadenza.runtime.trials.ahead import Ahead
from cadenza.runtime.trials.response import Fit, Model, People, described, fitted
from cadenza.statistics.rates import overdispersed, poisson
from tests.simulation.tape import T0, journey as taped, project, send, wait
from tests.trials.filled import Filling, deployed

PEOPLE, DAYS = 900, 28
SINCE = T0 + timedelta(days=DAYS)
PRO, TURNED = 1, 14
"""The bit of the segment, and the day in whose middle every fourth person enters it."""
ORDERS = {0: 0.04, PRO: 0.12}
RETURNS = 0.05
LAUNCHES, LIFT = 0.1, 1.0
"""Launches a day, and by how much more within a week after a message."""
ANSWERS = {0: (0.05, 0.3, 0.2), PRO: (0.05, 0.6, 0.2)}
"""Bounced of all, opened of what arrived, clicked of what was opened."""
SHOP = project(
    taped(send("hello"), wait(4), name="thanks", goal="event('Refund')", holdout=Holdout(name="held", share_bp=5_000)),
    taped(send("hello"), name="launch", on="Launch", arena=None, again="once"),
    segments={"pro": "plan = 'pro'"},
)


def cell_of(person: int, day: int) -> int:
    """Every second person is always a pro, every fourth turns one."""
    return PRO if person % 2 == 0 or (person % 4 == 1 and day > TURNED) else 0


def lived(filling: Filling) -> None:
    chance = seeded_random("history")
    filling.event(1, "Page Viewed", T0 - timedelta(hours=1), {})
    for person in range(1, PEOPLE + 1):
        filling.add("person", pid=person, created_at=T0 - timedelta(days=2))
        filling.add("profile", pid=person, check_at=None, s_pro=cell_of(person, DAYS) == PRO)
        entered = T0 - timedelta(days=1) if person % 2 == 0 else T0 + timedelta(days=TURNED, hours=12)
        if person % 2 == 0 or person % 4 == 1:
            filling.add(
                "membership", pid=person, origin_pid=person, segment="pro", ts=entered, entered=True, cause="record"
            )
        likes = chance.gammavariate(0.5, 2.0)
        treated = person % 3 > 0
        filling.add("assignment", holdout="held", pid=person, origin_pid=person, arm="treated" if treated else "holdout",
                    bucket=0, ts=T0 + timedelta(days=8, seconds=1), jid=1)  # fmt: skip
        for day in range(DAYS):
            lifted = LIFT if treated and 8 <= day < 15 else 0.0
            for name, rate in (
                ("Order", ORDERS[cell_of(person, day)]),
                ("Refund", RETURNS * likes),
                ("Launch", LAUNCHES * (1 + lifted)),
            ):
                for _ in range(poisson(chance, rate)):
                    at = T0 + timedelta(days=day, seconds=2 + chance.random() * 86_000)
                    filling.event(
                        person,
                        name,
                        at,
                        {"order_id": f"o{len(filling.rows['person'])}-{at}", "total": 5 * (1 + person % 2)},
                    )
        for number, day in enumerate((8, 20) if treated else (20,)):
            answered(
                filling, chance, person, f"m{person}-{number}", T0 + timedelta(days=day, hours=1), cell_of(person, day)
            )


def answered(filling: Filling, chance: Any, person: int, message: str, at: datetime, cell: int) -> None:
    """A message and what became of it."""
    filling.add("message", message_id=message, eid=person, pid=person, origin_pid=person, jid=1, step=0, template="hello",
                channel="email", destination="mail", message_class="marketing", purpose="marketing", planned_at=at,
                deliverable=True, wave=1)  # fmt: skip
    bounced, opened, clicked = ANSWERS[cell]
    said = {"message_id": message}
    if chance.random() < bounced:
        return filling.event(person, "Email Bounced", at + timedelta(minutes=5), {**said, "bounce_type": "soft"})
    if chance.random() < opened:
        filling.event(person, "Email Opened", at + timedelta(hours=2), said)
        if chance.random() < clicked:
            filling.event(person, "Email Link Clicked", at + timedelta(hours=3), {**said, "url": "https://x.example"})
    return None


@pytest.fixture(scope="module")
def store() -> Iterator[Engine]:
    """A store in which a month was lived by known rates."""
    with deployed(SHOP) as engine:
        filling = Filling()
        lived(filling)
        filling.write(engine)
        yield engine


def fit(engine: Engine, since: datetime = SINCE, by: tuple[str, ...] | None = None) -> Model:
    program = load(engine)
    assert program is not None
    return fitted(engine, Ahead(0), program, program.project, since, by)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def found(store: Engine) -> Fit:
    return described(fit(store))


def rate(found: Fit, name: str, cell: str) -> Any:
    return next(r for r in found.events if (r.name, r.cell) == (name, cell))


@pytest.mark.parametrize(("cell", "truth"), [("no segment", ORDERS[0]), ("pro", ORDERS[PRO])])
def test_rates_of_events_by_segment(found: Fit, cell: str, truth: float) -> None:
    """Whoever turned counts where they were on each day: 14 and a half days of a quarter are another cell's."""
    order = rate(found, "Order", cell)
    always = {"no segment": PEOPLE // 4 * DAYS, "pro": PEOPLE // 2 * DAYS}[cell]
    assert order.person_days == always + PEOPLE // 4 * {"no segment": TURNED + 1, "pro": DAYS - TURNED - 1}[cell]
    assert order.low <= truth <= order.high and (order.high - order.low) < 0.2 * truth + 0.01
    assert order.dispersion < 2


def test_cells_that_do_not_differ_are_one(found: Fit) -> None:
    """Refunds are the same in both, but not of all people: some do it much more often."""
    refunds = [rate(found, "Refund", cell) for cell in ("no segment", "pro")]
    assert all(r.low * 0.9 <= RETURNS <= r.high * 1.1 for r in refunds)


def test_people_who_do_it_often_do_it_again(store: Engine) -> None:
    fit(store)
    names = {name: number for number, name in store.query("SELECT number, name FROM sim_event")}
    weighted = dict(store.query("SELECT number, count(*) FROM sim_propensity GROUP BY number"))
    assert weighted[names["Refund"]] == PEOPLE
    spread = store.query(
        "SELECT max(weight) / 1e9, avg(weight) / 1e9 FROM sim_propensity WHERE number = ?", [names["Refund"]]
    )[0]
    assert spread[0] > 3 and spread[1] == pytest.approx(1, abs=0.05)
    if names["Order"] in weighted:  # by chance a little
        assert (
            store.query("SELECT max(weight) / 1e9 FROM sim_propensity WHERE number = ?", [names["Order"]])[0][0] < 1.5
        )


@pytest.mark.parametrize("cell", ["no segment", "pro"])
def test_shares_of_answers_by_segment(found: Fit, cell: str) -> None:
    truth = dict(zip(("bounced", "opened", "clicked"), ANSWERS[PRO if cell == "pro" else 0], strict=True))
    for kind, share in truth.items():
        answer = next(r for r in found.responses if (r.kind, r.cell) == (kind, cell))
        assert answer.low <= share <= answer.high, kind
        assert answer.high - answer.low < 0.15


def test_only_messages_whose_answers_are_in(found: Fit) -> None:
    """The treated got one on day 8 and everybody one on day 20: both more than a week ago, 5 % of them bounced."""
    bounced = [r for r in found.responses if r.kind == "bounced"]
    assert sum(r.of for r in bounced) == PEOPLE + 2 * PEOPLE // 3
    assert not any(r.kind in ("unsubscribed", "complained", "failed") for r in found.responses)
    assert any("unsubscribed" in note for note in found.notes)


def test_an_effect_is_found_where_a_holdout_shows_it(found: Fit) -> None:
    effects = {e.name: e for e in found.effects}
    launch = effects["Launch"]
    assert launch.assumed and launch.low is not None and launch.high is not None and launch.low <= LIFT <= launch.high
    assert (launch.treated, launch.held_out) == (2 * PEOPLE // 3, PEOPLE // 3)
    for name in ("Order", "Refund"):
        assert not effects[name].assumed and effects[name].reason == "the holdouts cannot tell it from none"


def test_what_identifies_an_event_is_marked(store: Engine) -> None:
    """Order ids never repeat, totals do; a donor's other properties stay."""
    fit(store)
    marked, whole = store.query(
        "SELECT count(*) FILTER (WHERE contains(properties, '<cadenza:again>')), count(*) FROM sim_donor"
    )[0]
    assert marked == whole > 0
    totals = store.query("SELECT DISTINCT json_extract_string(properties, '$.total') FROM sim_donor ORDER BY ALL")
    assert totals == [("10",), ("5",)]


def test_days_of_the_week_and_days_that_scatter() -> None:
    """Twice as many on two days of seven; and days that scatter five times as much as people alone make them."""
    with deployed(project(taped(send("hello"), goal="event('Refund')"))) as engine:
        chance, filling = seeded_random("weeks"), Filling()
        for person in range(1, 201):
            filling.add("person", pid=person, created_at=T0 - timedelta(days=2))
        for day in range(DAYS):
            for name, mean, spread in (("Order", 60.0 * (2 if day % 7 < 2 else 1), 1.0), ("Refund", 60.0, 5.0)):
                for n in range(overdispersed(chance, mean, spread)):
                    at = T0 + timedelta(days=day, seconds=60 + n)
                    filling.event(1 + chance.randrange(200), name, at, {})
        filling.event(1, "Page Viewed", T0 - timedelta(hours=1), {})
        filling.write(engine)
        found = {a.name: a for a in fit(engine).arriving}
    order = found["Order"].weekdays
    assert min(order[:2]) > 1.3 > 1 > max(order[2:]) and found["Order"].dispersion < 2
    assert 2.5 < found["Refund"].dispersion < 10


def test_too_little_and_unknown(store: Engine) -> None:
    with pytest.raises(OperatingError, match="6 whole days; 7 at least"):
        fit(store, since=T0 + timedelta(days=6))
    with pytest.raises(CadenzaError, match="no segment 'prox'") as caught:
        fit(store, by=("prox",))
    assert "pro" in str(caught.value.remedy)
    with deployed(SHOP) as empty, pytest.raises(OperatingError, match="0 whole days"):
        fit(empty)


def test_told_apart_by_nothing(store: Engine) -> None:
    """One rate for everybody, between those of the cells."""
    (order,) = [r for r in described(fit(store, by=())).events if r.name == "Order"]
    assert order.cell == "everybody" and ORDERS[0] < order.per_day < ORDERS[PRO]


# --- people who behave so ------------------------------------------------------------------------------------


def said(drawn: list[tuple[int, str, str, bytes]]) -> list[dict[str, Any]]:
    return [{"kind": kind, "id": name, **msgspec.json.decode(body)} for _, kind, name, body in drawn]


@pytest.fixture(scope="module")
def days(store: Engine) -> list[dict[str, Any]]:
    """What people do on six first days; every third person got a message the day before."""
    filling = Filling()
    for person in range(3, PEOPLE + 1, 3):
        filling.add("message", message_id=f"late{person}", eid=person, pid=person, origin_pid=person, jid=1, step=0,
                    template="hello", channel="email", destination="mail", message_class="marketing", purpose="marketing",
                    planned_at=SINCE - timedelta(days=1), deliverable=True, wave=1)  # fmt: skip
    filling.write(store)
    model = fit(store)
    found = [record for draw in range(6) for record in said(People(store, model, 7, draw, 0).day(SINCE, 0))]
    store.execute("DELETE FROM message WHERE message_id LIKE 'late%'")
    return found


def test_they_do_what_their_cell_does(days: list[dict[str, Any]]) -> None:
    for cell, people in ((PRO, 675), (0, 225)):
        n = sum(r["event"] == "Order" and cell_of(r["person"], DAYS) == cell for r in days)
        assert n == pytest.approx(6 * people * ORDERS[cell], rel=0.25)


def test_those_who_got_a_message_do_what_a_holdout_shows(days: list[dict[str, Any]]) -> None:
    """Launches: about twice as often. Orders: no more often."""
    for name, times in (("Launch", 1 + LIFT), ("Order", 1.0)):
        touched = sum(r["event"] == name and r["person"] % 3 == 0 for r in days) / 300
        others = sum(r["event"] == name and r["person"] % 3 > 0 for r in days) / 600
        assert touched / others == pytest.approx(times, rel=0.3)


def test_each_event_is_one_of_its_kind(days: list[dict[str, Any]]) -> None:
    """At a time of the day, by somebody by number, with an order id of its own."""
    assert len({r["id"] for r in days}) == len(days)
    orders = [r["properties"]["order_id"] for r in days]
    assert len(set(orders)) == len(orders) and not any("cadenza" in order for order in orders)
    begins = to_micros(SINCE)
    assert all(begins <= r["occurred_at"] < begins + 86_400_000_000 and r["kind"] == "task" for r in days)
    totals = {(cell_of(r["person"], DAYS), r["properties"]["total"]) for r in days if r["event"] == "Order"}
    assert {total for _, total in totals} == {5, 10}


def test_messages_are_answered_as_their_cell_answers(store: Engine) -> None:
    """Nobody sooner than the step; a click follows an opening; the same again for the same seed."""
    filling = Filling()
    for person in range(1, PEOPLE + 1):
        filling.add("message", message_id=f"new{person}", eid=person, pid=person, origin_pid=person, jid=1, step=0,
                    template="hello", channel="email", destination="mail", message_class="marketing", purpose="marketing",
                    planned_at=SINCE + timedelta(hours=1), deliverable=False, wave=1)  # fmt: skip
    model = fit(store)
    filling.write(store)
    soonest = 3_600_000_000 * 3
    assert People(store, model, 8, 0, soonest).day(SINCE, 0) != People(store, model, 7, 1, soonest).day(SINCE, 0)
    people = People(store, model, 7, 0, soonest)
    assert people.day(SINCE, 0) == people.day(SINCE, 0) != people.day(SINCE, 1)
    drawn = people.answers(SINCE, SINCE + timedelta(hours=3))
    assert (
        drawn == people.answers(SINCE, SINCE + timedelta(hours=3))
        and people.answers(SINCE - timedelta(hours=1), SINCE) == []
    )
    store.execute("DELETE FROM message WHERE message_id LIKE 'new%'")
    answers = said(drawn)
    assert all(r["occurred_at"] >= to_micros(SINCE + timedelta(hours=4)) for r in answers)
    opened = {r["person"]: r["occurred_at"] for r in answers if r["event"] == "Email Opened"}
    clicked = {r["person"]: r["occurred_at"] for r in answers if r["event"] == "Email Link Clicked"}
    assert clicked.keys() <= opened.keys() and all(opened[p] < at for p, at in clicked.items())
    assert len(clicked) / len(opened) == pytest.approx(0.2, abs=0.1)
    for cell, count in ((PRO, 675), (0, 225)):
        share = sum(cell_of(p, DAYS) == cell for p in opened) / count
        assert share == pytest.approx(0.95 * ANSWERS[cell][1], abs=0.1)
    assert all(r["properties"]["message_id"] == f"new{r['person']}" and r["properties"]["journey"] for r in answers)
