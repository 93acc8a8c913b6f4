"""A forecast is what then happens when nothing new does; with days of the past once more it is seeded, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import from_micros, to_micros
from cadenza.errors import CadenzaError, OperatingError
from cadenza.runtime.rebuild import table_hash
from cadenza.runtime.trials.figures import side
from cadenza.runtime.trials.past import just_after
from cadenza.runtime.trials.resample import resampled
from cadenza.simulate.worlds import World
from cadenza.sql.tables import TABLES
from tests.simulation.tape import at, journey, send, wait
from tests.trials.kit import Site, call, history, lived, project, started, thanks

DAY_US = 86_400_000_000
NUDGE = journey(wait(3), send("news"), name="nudge", arena=None, again="once")
"""Three hours after an order: when the thanks have taken the day's only place."""
COMING = project(thanks(arena=None), NUDGE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop just after everybody's first order: nudges and second thanks are to come."""
    records = tuple(r for r in history(COMING).records if r.recorded_at < to_micros(at(2)))
    world = World(project=COMING, records=records, horizon=records[-1].recorded_at)
    with lived(tmp_path_factory.mktemp("coming"), world) as found:
        yield found


def hashes(site: Site) -> dict[str, tuple[int, str]]:
    with site.store() as engine:
        return {table.name: table_hash(engine, table.name) for table in TABLES}


def test_who_will_be_contested(site: Site) -> None:
    """The four who consented: the nudge loses to the thanks, and so do the second thanks."""
    before = hashes(site)
    found = site.trials.forecast(3)
    assert found.since == from_micros(site.world.horizon) and (found.until - found.since).days == 3
    lost = {(c.journey, c.winner, c.what): c.n for c in found.side.contention}
    assert lost["nudge", "thanks", "cap daily"] == 4
    assert found.contested_persons == 4 and {p.journeys for p in found.contested} == {("nudge", "thanks")}
    caps = {(x.journey, x.verdict, x.rule): x.n for j in found.side.journeys for x in j.losses if x.reason == "cap"}
    assert caps["nudge", "drop", "daily"] == 4
    assert hashes(site) == before and not list(site.folder.glob("trial-*"))


def test_it_is_what_then_happens(site: Site, tmp_path: Path) -> None:
    """Also when a server holds the store, and what it stands on is made from the log."""
    found = site.trials.forecast(3)
    site.served = True
    try:
        assert site.trials.forecast(3) == found
    finally:
        site.served = False
    world = msgspec.structs.replace(site.world, horizon=to_micros(found.until))
    with lived(tmp_path / "reality", world) as reality, reality.store() as store:
        then = side(store, COMING, just_after(found.since), just_after(found.until), outcomes=False)
    assert found.side == then and then.days == () and any(j.losses for j in then.journeys)


# --- days of the past once more -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weeks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ten days in a shop: every day one somebody new, and u0 orders every day, at ten past."""
    log = started(project(thanks(again="once"), cap=None))
    for day in range(10):
        traits = {"email": f"v{day}@x.example", "time_zone": "UTC"}
        call(log, 24 * day, f"v{day}", type="identify", traits=traits)
        consent = {"purpose": "marketing", "channel": "email", "granted": True}
        call(log, 24 * day, f"v{day}", event="Consent Updated", properties=consent)
        call(log, 24 * day + 1, f"v{day}", event="Order", properties={"total": day})
        call(log, 24 * day + 2, "v0", event="Order", properties={"total": day})
    world = World(project=project(thanks(again="once"), cap=None), records=tuple(log), horizon=to_micros(at(24 * 10)))
    with lived(tmp_path_factory.mktemp("weeks"), world) as found:
        yield found


def drawn(site: Site, days: int, seed: int) -> list[tuple[int, str, str, bytes]]:
    with site.store() as engine:
        return resampled(engine, site.log, site.world.project, from_micros(site.world.horizon), days, seed)


def test_days_are_drawn_by_weekday_and_shifted_whole(weeks: Site) -> None:
    """Four records a day; who was new is new again, u0 is who they are; instants keep their time of day."""
    found = drawn(weeks, 7, 1)
    assert len(found) == 7 * 4
    originals = {r.offset: r for r in weeks.world.records}
    for number, (instant, kind, message_id, body) in enumerate(found):
        day, offset = (int(part) for part in message_id.split("-")[1:])
        past, said = originals[offset], msgspec.json.decode(body)
        was = msgspec.json.decode(past.body)
        assert (kind, day) == ("call", number // 4)
        assert (instant - past.recorded_at) % (7 * DAY_US) == 0
        assert said["occurred_at"] - was["occurred_at"] == instant - past.recorded_at
        known = was["userId"] == "v0" and past.recorded_at >= to_micros(at(24))
        assert said["userId"] == (was["userId"] if known else f"{was['userId']}~{day}")
        if "traits" in said:
            name, _, domain = was["traits"]["email"].partition("@")
            assert said["traits"]["email"] == f"{name}~{day}@{domain}"
    assert [r[0] for r in found] == sorted(r[0] for r in found)


def test_the_seed_decides(weeks: Site) -> None:
    assert drawn(weeks, 30, 1) == drawn(weeks, 30, 1)
    assert drawn(weeks, 30, 1) != drawn(weeks, 30, 2)


def test_newcomers_enter_what_they_entered(weeks: Site) -> None:
    """A newcomer a day, thanked once each."""
    before = hashes(weeks)
    found = weeks.trials.forecast(6, resample=1)
    assert found.resampled == 6 * 4
    (volume,) = found.side.journeys
    assert volume.entered == 6
    assert sum(d.planned for d in found.side.days) >= 6
    assert hashes(weeks) == before


def test_too_short_a_history_is_refused(site: Site) -> None:
    with pytest.raises(OperatingError, match="0 whole days"):
        site.trials.forecast(3, resample=1)


@pytest.mark.parametrize("days", [0, 367])
def test_how_many_days(site: Site, days: Any) -> None:
    with pytest.raises(CadenzaError, match="Give 1 to 366"):
        site.trials.forecast(days)
