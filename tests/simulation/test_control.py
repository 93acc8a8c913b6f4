"""Pause, stop and kill, to the instant; and the way out of the real outbox closes before a kill is answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import VirtualClock, from_micros, to_micros
from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import (
    Contract,
    Destination,
    Entry,
    Exit,
    Journey,
    Metric,
    Outcome,
    Policy,
    Send,
    Template,
    TraitDefinition,
    Trigger,
    Wait,
    WaitFor,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.controls import Controls
from cadenza.runtime.plan import apply
from cadenza.runtime.tick import Ticker
from cadenza.store.duckdb_engine import DuckEngine

START = datetime(2026, 3, 2, 8)
HOUR = timedelta(hours=1)


def journey(name: str, *steps: Any, **changes: Any) -> Journey:
    return msgspec.structs.replace(
        Journey(
            name=name, owner="o", outcome=Outcome(metric="m"), arena=None,
            entry=Entry(on=Trigger(event="Start"), again="after_exit"),
            exit=Exit(goal=parse("event('Bought')"), disqualified=FALSE, superseded=True, time_limit_s=20 * 3600), steps=steps,
        ),
        **changes,
    )  # fmt: skip


def project(*journeys: Journey) -> Project:
    return Project(
        contracts=tuple(Contract(name=n, properties={}) for n in ("Start", "Bought", "Asked")),
        traits=(TraitDefinition(name="email", type="string", from_="traits.email"),), journeys=journeys, policy=Policy(),
        destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
        templates=(Template(name="t", channel="email", purpose="service", message_class="transactional", body="hi"),),
        metrics=(Metric(name="m", kind="count", event="Bought", within_s=60),),
    )  # fmt: skip


class Site:
    """One project on real files with a clock that stands where it is put."""

    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock(START)
        self.log, self.outbox = SqliteLog.open(folder / "log.db"), SqliteOutbox.open(folder / "outbox.db")
        self.engine = DuckEngine.open(None, threads=1)
        self.ticker = Ticker(self.engine, self.log, self.outbox, self.clock)
        self.controls = Controls(self.log, lambda: self.outbox, self._reading, self._project, self.clock)
        self._said = 0

    @contextmanager
    def _reading(self) -> Iterator[DuckEngine]:
        yield self.engine

    def _project(self) -> Project:
        return self.ticker.project() or Project()

    def deploy(self, wanted: Project) -> None:
        apply(self.log, wanted, self.clock.now())
        self.ticker.run()

    def at(self, hours: float, event: str | None = None, person: str = "ann") -> None:
        """Go to so many hours after the start; there an event is told."""
        self.clock.advance_to(START + hours * HOUR)
        if event is not None:
            self._said += 1
            now = to_micros(self.clock.now())
            body = {
                "type": "track",
                "event": event,
                "userId": person,
                "occurred_at": now,
                "traits": {"email": f"{person}@x.example"},
            }
            record = NewRecord(
                kind="call", source="s", message_id=f"m{self._said}", body=msgspec.json.encode(body), at=now
            )
            self.log.append([record], now)
        self.ticker.run(self.clock.now())

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self.engine.query(sql)

    def moves(self) -> list[tuple[str, float]]:
        """Causes of moves and ends with hours after the start."""
        found = self.rows(
            "SELECT cause, ts FROM transition UNION ALL SELECT reason, ts FROM enrollment_end ORDER BY ts, cause"
        )
        return [(cause, round((ts - START) / HOUR, 3)) for cause, ts in found]

    def close(self) -> None:
        self.engine.close()
        self.log.close()
        self.outbox.close()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.close()


WAITS = project(journey("j", Wait(duration_s=3600), Wait(duration_s=5 * 3600)))
ASKS = project(journey("j", WaitFor(any=(parse("event('Asked')"),), until_s=3600, as_="asked"), Wait(duration_s=3600)))


def _paused(site: Site, wanted: Project, clocks: Any) -> None:
    """Ann enters at 1; from 1.5 to 4 the journey pauses."""
    site.deploy(wanted)
    site.at(1, "Start")
    site.at(1.5)
    site.controls.pause("j", clocks)
    site.at(3)


def test_frozen_clocks_are_shifted(site: Site) -> None:
    _paused(site, WAITS, "freeze")
    site.at(4)
    site.controls.resume("j")
    site.at(40)
    assert site.moves() == [("entered", 1), ("timer", 4.5), ("completed", 9.5), ("timer", 9.5)]


def test_running_clocks_let_go_what_came_due(site: Site) -> None:
    _paused(site, WAITS, "run")
    site.at(4)
    site.controls.resume("j")
    site.at(40)
    assert [m for m in site.moves() if m[0] == "timer"] == [("timer", 4), ("timer", 9)]


@pytest.mark.parametrize(("clocks", "ended"), [("run", [("time_limit", 21.0)]), ("freeze", [])])
def test_the_time_limit_runs_or_stands(site: Site, clocks: Any, ended: list[Any]) -> None:
    _paused(site, WAITS, clocks)
    site.at(60)
    assert site.moves()[1:] == ended
    site.controls.resume("j")
    site.at(100)
    assert site.moves()[1:] == ended or site.moves()[1] == ("timer", 60.5)


@pytest.mark.parametrize("clocks", ["freeze", "run"])
def test_what_a_wait_waits_for_may_come_in_the_pause(site: Site, clocks: Any) -> None:
    _paused(site, ASKS, clocks)
    site.at(3.2, "Asked")
    assert site.moves() == [("entered", 1)], "nobody moves in a pause"
    site.at(4)
    site.controls.resume("j")
    site.at(40)
    assert site.moves()[1] == ("matched", 4)
    assert site.rows("SELECT count(*) FROM paused") == [(0,)]


@pytest.mark.parametrize("clocks", ["freeze", "run"])
def test_exits_hold_in_a_pause_and_nobody_enters(site: Site, clocks: Any) -> None:
    _paused(site, WAITS, clocks)
    site.at(3.2, "Start", "bob")
    site.at(3.5, "Bought")
    assert site.moves() == [("entered", 1), ("goal", 3.5)]
    assert site.rows("SELECT reason, rule FROM refusal") == [("paused", clocks)]
    [state] = site.controls.list()
    assert (state.state, state.inside, state.since) == (
        f"paused ({clocks})",
        0,
        from_micros(to_micros(START + 1.5 * HOUR)),
    )


def test_a_drain_lets_those_inside_finish(site: Site) -> None:
    _paused(site, WAITS, "drain")
    assert [s.state for s in site.controls.list()] == ["draining"]
    site.at(8, "Start", "bob")
    assert site.moves() == [("entered", 1), ("timer", 2), ("completed", 7), ("timer", 7)]
    assert [s.state for s in site.controls.list()] == ["drained"]
    site.controls.resume("j")
    site.at(9, "Start", "bob")
    assert site.moves()[-1] == ("entered", 9)


MAILS = project(
    journey("j", Send(template="t"), Wait(duration_s=7200)), journey("k", Wait(duration_s=60), Send(template="t"))
)


def _claimed(site: Site) -> tuple[str, str]:
    """A message of j in flight and one of k that is claimed, not begun."""
    now = to_micros(site.clock.now())
    claims = site.outbox.claim("w", now, 10**9, 10, 0)
    by_journey = {claim.message.journey: claim.message.message_id for claim in claims}
    assert site.outbox.begin([by_journey["j"]], "w", now) == [by_journey["j"]]
    return by_journey["j"], by_journey["k"]


@pytest.fixture
def mails(site: Site) -> Site:
    site.deploy(MAILS)
    site.log.append(
        [NewRecord(kind="command", source="", message_id="live", body=b'{"command":"live"}')], to_micros(START)
    )
    site.at(1, "Start")
    site.at(2)
    return site


def _later(site: Site, worker: str = "w") -> list[str]:
    """What delivery can hand over now, once every lease has run out."""
    site.at((site.clock.now() - START) / HOUR + 1)
    now = to_micros(site.clock.now())
    site.outbox.expire(now)
    claims = site.outbox.claim(worker, now, 10**9, 10, 0)
    return site.outbox.begin([claim.message.message_id for claim in claims], worker, now)


def _state(site: Site, message_id: str) -> str:
    found = site.outbox.get(message_id)
    assert found is not None
    return found.state


@pytest.mark.parametrize("reach", [{}, {"journey": "k"}, {"channel": "email"}])
def test_a_kill_holds_when_it_is_answered(mails: Site, reach: dict[str, str]) -> None:
    """Before any tick: what was claimed is not begun, and the answer names it and what the provider may have."""
    flying, claimed = _claimed(mails)
    killed = mails.controls.kill("hold", **reach)
    assert killed.in_flight == (() if "journey" in reach else (flying,))
    assert (killed.stopped, killed.queued) == ((claimed,), 0)
    assert mails.outbox.begin([claimed], "w", to_micros(mails.clock.now())) == []
    assert _later(mails) == [], "nor later"
    mails.controls.release(**reach)
    assert _later(mails) == [claimed], "what was held goes out when the switch is taken back"


def test_a_kill_may_cancel_what_waits(mails: Site) -> None:
    flying, claimed = _claimed(mails)
    mails.controls.kill("cancel", "k")
    mails.at(2.1, "Start", "bob")
    assert [(r.message.message_id, r.detail) for r in mails.outbox.list(state="cancelled")] == [(claimed, "killed")]
    assert mails.rows("SELECT message_id, reason FROM cancellation") == [(claimed, "killed")]
    mails.at(3)
    assert mails.rows("SELECT verdict, reason, rule FROM decision WHERE verdict = 'drop'") == [("drop", "killed", "k")]
    mails.controls.release("k")
    assert claimed not in _later(mails), "what was cancelled stays cancelled"
    assert _state(mails, flying) == "ambiguous", "of a call under way nobody knows"


def test_the_tick_closes_the_gate_too(mails: Site, tmp_path: Path) -> None:
    """A process that ends between the log and the outbox has killed all the same; an older word opens nothing."""
    _, claimed = _claimed(mails)
    said = mails.controls.kill("hold", channel="email")
    mails.outbox.close()
    (tmp_path / "outbox.db").unlink()
    mails.outbox = SqliteOutbox.open(tmp_path / "outbox.db")
    mails.ticker = Ticker(mails.engine, mails.log, mails.outbox, mails.clock)
    assert _later(mails) == []
    assert _state(mails, claimed) == "ready"
    mails.ticker = Ticker(mails.engine, mails.log, mails.outbox, mails.clock)
    assert _later(mails) == [] and said.offset == 4


def test_a_stop_ends_everyone_and_withdraws(mails: Site) -> None:
    mails.controls.stop("k")
    mails.controls.stop("j")
    mails.at(2.5, "Start", "bob")
    assert sorted(m for m in mails.moves() if m[0] == "stopped") == [("stopped", 2)]
    assert {r.state for r in mails.outbox.list()} == {"ready", "cancelled"}
    assert mails.rows("SELECT reason, rule FROM refusal") == [("paused", "stop")] * 2
    mails.controls.resume("j")
    mails.at(3, "Start", "bob")
    assert mails.rows("SELECT count(*) FROM enrollment_end WHERE reason = 'stopped'") == [(1,)]
    assert ("entered", 3) in mails.moves()


@pytest.mark.parametrize("act", [
    lambda c: c.pause("jj", "run"), lambda c: c.kill("hold", channel="mail"), lambda c: c.kill("hold", "j", "email"), lambda c: c.stop("x"),
])  # fmt: skip
def test_what_does_not_exist_is_not_commanded(mails: Site, act: Callable[[Controls], object]) -> None:
    before = mails.log.head()
    with pytest.raises(CadenzaError):
        act(mails.controls)
    assert mails.log.head() == before


@pytest.mark.parametrize("claimed", [False, True])
def test_who_is_superseded_leaves_and_their_published_messages_are_withdrawn(site: Site, claimed: bool) -> None:
    """Also when the message is in the outbox already, and even when it is claimed for a call that has not begun."""
    low = journey("low", Send(template="t"), Wait(duration_s=7200), arena="a", priority=10)
    high = journey("high", Wait(duration_s=60), arena="a", priority=20, entry=Entry(on=Trigger(event="Asked")))
    site.deploy(project(low, high))
    site.log.append(
        [NewRecord(kind="command", source="", message_id="live", body=b'{"command":"live"}')], to_micros(START)
    )
    site.at(1, "Start")
    [row] = site.outbox.list()
    assert (row.state, row.message.journey) == ("ready", "low")
    now = to_micros(site.clock.now())
    if claimed:
        assert site.outbox.claim("w", now, 10**10, 10, 0)
    site.at(1.5, "Asked")
    assert ("superseded", 1.5) in site.moves()
    assert (_state(site, row.message.message_id), site.outbox.list()[-1].detail) == ("cancelled", "superseded")
    assert site.outbox.begin([row.message.message_id], "w", now) == []
