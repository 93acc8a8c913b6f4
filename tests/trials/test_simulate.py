"""A simulated future covers what then happens, is the same for the same seed and any batch, and touches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import SystemClock, to_micros
from cadenza.definitions.kinds import Cap, Metric, Policy
from cadenza.errors import CadenzaError
from cadenza.ids import seeded_random
from cadenza.ports.engine import Engine
from cadenza.runtime.rebuild import table_hash
from cadenza.runtime.trials.ahead import Ahead, ticker_on
from cadenza.runtime.trials.past import just_after
from cadenza.runtime.trials.simulate import Course, Passed, Simulation, counted, simulate
from cadenza.runtime.trials.trials import Trials
from cadenza.sql.tables import TABLES
from cadenza.statistics.rates import poisson
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.surfaces import cli_trials
from cadenza.surfaces.on_project import OnProject
from cadenza.surfaces.progress import Display
from cadenza.surfaces.terminal import Terminal
from tests.simulation.tape import DAY, T0, journey, project, send, wait_for
from tests.trials.kit import started

PEOPLE, HISTORY, AHEAD = 60, 11, 2
ORDERS = {"pro": 0.3, "free": 0.1}
OPENS = {"pro": 0.7, "free": 0.3}
CLICKS, LEAVES, COME = 0.5, 0.02, 1.5
THANKS = journey(
    send("hello"), wait_for("event('Email Link Clicked')", until=60), send("hello"), name="thanks", arena=None,
    goal="event('Refund')", disqualified="not consented('marketing', 'email')",
)  # fmt: skip
SHOP = msgspec.structs.replace(
    project(
        THANKS, segments={"pro": "plan = 'pro'"},
        policy=Policy(caps=(Cap(name="weekly", limit=3, per_s=7 * DAY, when_full="drop"),)),
    ),
    metrics=(Metric(name="m", kind="sum", event="Order", property="total", within_s=3 * DAY),),
)  # fmt: skip


class Shop:
    """A shop whose people behave by known rates, day by day; messages are answered a day or two later."""

    def __init__(self) -> None:
        self.engine = DuckEngine.open(None, threads=1)
        self.log = Ahead(0)
        self.chance = seeded_random("shop")
        self.log.add([(r.recorded_at, r.kind, r.message_id, r.body) for r in started(SHOP, live=True)])
        self.ticker = ticker_on(self.engine, self.log)
        self.people: list[str] = []
        self.coming: list[tuple[int, str, str, bytes]] = []
        self.number = self.day = 0
        self._arrive(PEOPLE, T0)

    def _record(self, at: Any, kind: str = "call", **body: Any) -> None:
        self.number += 1
        said = {"type": "track", "occurred_at": to_micros(at), **body}
        self.coming.append((to_micros(at), kind, f"r{self.number}", msgspec.json.encode(said)))

    def _arrive(self, count: int, begins: Any) -> None:
        for _ in range(count):
            at, user = begins + timedelta(seconds=5 + self.chance.random() * 80_000), f"u{len(self.people)}"
            self.people.append(user)
            plan = "pro" if len(self.people) % 2 else "free"
            self._record(
                at,
                userId=user,
                type="identify",
                traits={"email": f"{user}@x.example", "plan": plan, "time_zone": "UTC"},
            )
            for purpose in ("marketing", "news"):
                said = {"purpose": purpose, "channel": "email", "granted": True}
                self._record(at + timedelta(seconds=1), userId=user, event="Consent Updated", properties=said)

    def live(self, days: int) -> None:
        """So many days on."""
        for _ in range(days):
            begins = T0 + timedelta(days=self.day)
            known = list(self.people) if self.day else []
            if self.day:
                self._arrive(poisson(self.chance, COME), begins)
            for number, user in enumerate(known):
                for _ in range(poisson(self.chance, ORDERS["free" if number % 2 else "pro"])):
                    at = begins + timedelta(seconds=5 + self.chance.random() * 86_000)
                    said = {"order_id": f"o{self.number}", "total": 10 + 5 * (number % 3)}
                    self._record(at, userId=user, event="Order", properties=said)
            until = begins + timedelta(days=1)
            self.coming.sort()
            self.log.add([r for r in self.coming if r[0] < to_micros(until)])
            self.coming = [r for r in self.coming if r[0] >= to_micros(until)]
            self.ticker.run(until)
            self._answer(begins, until)
            self.day += 1

    def _answer(self, after: Any, until: Any) -> None:
        rows = self.engine.query(
            "SELECT m.message_id, m.pid, m.planned_at, p.t_plan FROM message m JOIN profile p USING (pid) "
            "WHERE m.planned_at > ? AND m.planned_at <= ? ORDER BY m.message_id", [after, until],
        )  # fmt: skip
        for message, pid, planned, plan in rows:
            said, at = {"message_id": message}, planned + timedelta(hours=24 + 20 * self.chance.random())
            if self.chance.random() < OPENS[plan]:
                self._record(at, "outcome", person=pid, event="Email Opened", properties=said)
                if self.chance.random() < CLICKS:
                    self._record(
                        at + timedelta(hours=1), "outcome", person=pid, event="Email Link Clicked", properties=said
                    )
            if self.chance.random() < LEAVES:
                more = {**said, "channel": "email", "purpose": "marketing"}
                self._record(at + timedelta(hours=2), "outcome", person=pid, event="Unsubscribed", properties=more)


@pytest.fixture(scope="module")
def shop() -> Iterator[Shop]:
    """The shop after its history."""
    found = Shop()
    found.live(HISTORY)
    yield found
    found.engine.close()


def run(shop: Shop, folder: Path, passed: Any = None, page: int = 10_000, **course: Any) -> Simulation:
    trials = Trials(lambda: None, folder, lambda: kept(shop), SystemClock(), 1)  # type: ignore[arg-type,return-value]
    settings: dict[str, Any] = {"days": AHEAD, "draws": 9, "step_h": 24} | course
    wanted = Course(**settings)
    return simulate(wanted, shop.log, trials.scratch, lambda: kept(shop), trials.fork, None, passed, page)  # type: ignore[arg-type]


@contextmanager
def kept(shop: Shop) -> Iterator[Engine]:
    yield shop.engine


def hashes(engine: Engine) -> dict[str, tuple[int, str]]:
    return {table.name: table_hash(engine, table.name) for table in TABLES}


def test_the_same_seed_gives_the_same_whatever_the_batch(shop: Shop, tmp_path: Path) -> None:
    """The store stays as it is, and nothing is left behind."""
    before = hashes(shop.engine)
    few = {"draws": 1, "days": 1, "seed": 5}
    found = run(shop, tmp_path, **few)
    assert run(shop, tmp_path, page=5, **few) == found
    assert hashes(shop.engine) == before and not list(tmp_path.iterdir())


def test_a_draft_is_put_in_force_at_the_beginning(shop: Shop, tmp_path: Path) -> None:
    """Without journeys nobody enters; who is inside leaves by the draft."""
    draft = msgspec.structs.replace(SHOP, journeys=(journey(send("news"), name="only", again="once", arena=None),))
    found = run(shop, tmp_path, draws=1, days=1, draft=draft)
    entered = {j.name: j.entered.median for j in found.journeys}
    assert entered["only"] > 0 and not entered.get("thanks")


def test_interrupted_it_leaves_nothing(shop: Shop, tmp_path: Path) -> None:
    """Also the progress is told: days of all draws."""
    seen: list[Passed] = []

    def passed(at: Passed) -> None:
        seen.append(at)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(shop, tmp_path, passed, days=1, draws=3, draft=msgspec.structs.replace(SHOP, journeys=()))
    assert not list(tmp_path.iterdir())
    (at,) = seen
    assert (at.days, at.of_days, at.draw) == (1, 3, 1) and at.at == T0 + timedelta(days=HISTORY + 1)


@pytest.mark.parametrize("course", [{"draws": 0}, {"days": 367}, {"step_h": 25}])
def test_how_many(tmp_path: Path, course: dict[str, Any]) -> None:
    trials = Trials(lambda: None, tmp_path, lambda: None, SystemClock(), 1)  # type: ignore[arg-type,return-value]
    with pytest.raises(CadenzaError, match="cannot be simulated"):
        trials.simulate(Course(**course))


@pytest.fixture(scope="module")
def found(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Nine futures."""
    return run(shop, tmp_path_factory.mktemp("nine"))


def test_the_command_shows_it(
    found: Simulation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its progress, and as JSON."""
    asked: list[Course] = []

    class Canned:
        trials = property(lambda self: self)

        def simulate(self, course: Course, progress: Any, passed: Any) -> Simulation:
            asked.append(course)
            passed(Passed(days=1, of_days=2, draw=1, at=T0))
            passed(Passed(days=2, of_days=2, draw=1, at=T0))
            return found

    @contextmanager
    def using(on: Any) -> Iterator[Any]:
        terminal = Terminal(on.json)
        yield Canned(), terminal, Display(terminal.err, SystemClock(), quiet=on.json)

    monkeypatch.setattr(cli_trials, "using", using)
    cli_trials.simulate(days=2, draws=9, by=["pro"], step=24)
    shown = capsys.readouterr()
    assert asked == [Course(days=2, draws=9, by=("pro",), step_h=24)]
    assert "Simulated, not measured" in shown.out and "95 % needs 39 draws" in shown.out
    assert "No effect of messages is assumed" in shown.out and "How sure the fit is" in shown.out
    assert "2 days in" in shown.err
    cli_trials.simulate(on=OnProject(json=True))
    assert msgspec.json.decode(capsys.readouterr().out)["fit"]["segments"] == ["pro"]


def test_it_covers_what_then_happens(shop: Shop, found: Simulation) -> None:
    """The last test of the module: the shop lives on. Of many figures about eight in ten lie in their 80 % interval."""
    since = found.since
    shop.live(AHEAD)
    truth = counted(shop.engine, SHOP, just_after(since), just_after(found.until), 0)
    inside: dict[str, bool] = {}
    for journey_ in found.journeys:
        for what in ("entered", "inside", "planned"):
            inside[f"{what} {journey_.name}"] = within(getattr(journey_, what), truth[what, journey_.name])
        assert journey_.outcome is not None
        inside[f"total {journey_.name}"] = within(journey_.outcome.total, truth["total", journey_.name])
    for day in found.periods:
        key = ("period", day.begins.isoformat(), day.channel, day.message_class)
        inside[" ".join(key)] = within(day.planned, truth.get(key, 0))
    for answer in found.answers:
        inside[answer.name] = within(answer.n, truth.get(("answer", answer.channel, answer.name), 0))
    for what in ("persons", "reached", "mean", "most"):
        inside[what] = within(getattr(found.pressure, what), truth["pressure", what])
    share = sum(inside.values()) / len(inside)
    assert len(inside) >= 12 and share >= 0.6, sorted(name for name, held in inside.items() if not held)


def within(spread: Any, value: float) -> bool:
    return spread.low80 <= value <= spread.high80
