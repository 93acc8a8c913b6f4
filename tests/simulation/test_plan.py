"""What a plan counts is what applying it then does, and planning changes nothing."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from cadenza.clock import VirtualClock, from_micros
from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Segment, TraitDefinition
from cadenza.definitions.project import Project
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.runtime.plan import Plan, apply, plan
from cadenza.runtime.rebuild import table_hash
from cadenza.runtime.tick import Ticker
from cadenza.simulate.worlds import seeded
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation import stored
from tests.simulation.redeployed import changed

_LIVED = seeded(1019, 24, 2)
WORLD = replace(_LIVED, horizon=_LIVED.records[-1].recorded_at)
"""Up to its last record: many are inside a journey then."""


class Site:
    """A store with its ledger, at which projects are planned and applied."""

    def __init__(self, folder: Path) -> None:
        self.engine = DuckEngine.open(folder / "store.duckdb", threads=1)
        self._log, self._outbox = SqliteLog.open(folder / "log.db"), SqliteOutbox.open(folder / "outbox.db")
        self._ticker = Ticker(self.engine, self._log, self._outbox, VirtualClock())

    def plan(self, wanted: Project) -> Plan:
        return plan(self.engine.reader(), WORLD.project, wanted)

    def apply(self, wanted: Project) -> str:
        """Deploys right after the last record; the fingerprint."""
        deployed = apply(self._log, wanted, from_micros(WORLD.horizon + 1))
        self._ticker.run()
        assert self._ticker.consumed() == deployed.offset and self._ticker.project() == wanted
        return deployed.fingerprint

    def counts(self, sql: str) -> Counter[object]:
        """Of (key, n) or (key, key, n) rows."""
        return Counter({row[0] if len(row) == 2 else row[:-1]: row[-1] for row in self.engine.query(sql)})

    def hashes(self) -> dict[str, tuple[int, str]]:
        return {table.name: table_hash(self.engine, table.name) for table in TABLES}

    def close(self) -> None:
        self.engine.close()
        self._outbox.close()
        self._log.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    stored.live(folder, WORLD)
    return folder


@pytest.fixture
def site(lived: Path, tmp_path: Path) -> Iterator[Site]:
    found = Site(Path(shutil.copytree(lived, tmp_path / "state")))
    yield found
    found.close()


def _with_trait(project: Project) -> Project:
    """A trait that nobody had declared when its values were sent, and a segment of those who have it."""
    trait = TraitDefinition(name="tier", type="string", from_="traits.phone")
    segments = (*project.segments, Segment(name="tiered", when=parse("tier <> '+u0'"), owner="o"))
    return replace(project, traits=(*project.traits, trait), segments=segments)


def _turned(project: Project) -> Project:
    """Another condition for the last segment: some come, more go."""
    *others, last = changed(project, "pin").segments
    return replace(
        project, segments=(*others, replace(last, when=parse("events('Order Completed', within => '6 hours') = 0")))
    )


WANTED = {"conditions change": _turned(WORLD.project), "a trait is new": _with_trait(WORLD.project)}
MEMBERS = "SELECT segment, count(*) FILTER (WHERE entered) - count(*) FILTER (WHERE NOT entered) FROM membership GROUP BY segment"


@pytest.mark.parametrize("wanted", WANTED.values(), ids=list(WANTED))
def test_segments_change_by_what_was_counted(site: Site, wanted: Project) -> None:
    planned = site.plan(wanted)
    assert planned.segments and any(s.entering for s in planned.segments)
    before = site.counts(MEMBERS)
    assert site.apply(wanted) == planned.fingerprint
    after = site.counts(MEMBERS)
    written = site.counts("SELECT segment, entered, count(*) FROM membership WHERE cause = 'deploy' GROUP BY ALL")
    counted: Counter[object] = Counter()
    for segment in planned.segments:
        counted[segment.name, True], counted[segment.name, False] = segment.entering, segment.leaving
        assert (segment.members, segment.after) == (before[segment.name], after[segment.name])
    assert +counted == written
    assert planned.persons == site.engine.query("SELECT count(*) FROM profile")[0][0]


def test_some_enter_and_some_leave(site: Site) -> None:
    """Or the test above would not tell one from the other."""
    segment = site.plan(WANTED["conditions change"]).segments[-1]
    assert segment.entering and segment.leaving and segment.entering != segment.leaving


INSIDE = (
    "SELECT v.journey, s.path, count(*) FROM enrollment AS e JOIN journey_version AS v USING (jid) "
    "JOIN journey_step AS s ON s.jid = e.jid AND s.step = e.step WHERE e.step >= 0 AND {which} GROUP BY ALL"
)
ENDED = "SELECT v.journey, count(*) FROM enrollment_end AS e JOIN journey_version AS v USING (jid) WHERE reason = 'replaced' GROUP BY ALL"


def _planned_inside(planned: Plan) -> tuple[Counter[object], Counter[object]]:
    steps = Counter({(j.name, path): n for j in planned.journeys for path, n in j.steps.items()})
    return steps, Counter({j.name: j.inside for j in planned.journeys})


def test_pinned_passages_stay_on_their_version(site: Site) -> None:
    wanted = changed(WORLD.project, "pin")
    planned = site.plan(wanted)
    steps, inside = _planned_inside(planned)
    assert {j.in_flight for j in planned.journeys} == {"pin"} and sum(inside.values()) > 5
    site.apply(wanted)
    assert site.counts(INSIDE.format(which="NOT v.current")) == steps
    assert not site.counts(INSIDE.format(which="v.current")) and not site.counts(ENDED)


def test_passages_that_are_to_exit_end_replaced(site: Site) -> None:
    wanted = changed(WORLD.project, "exit")
    planned = site.plan(wanted)
    _, inside = _planned_inside(planned)
    assert {j.in_flight for j in planned.journeys} == {"exit"} and sum(inside.values()) > 5
    site.apply(wanted)
    assert site.counts(ENDED) == +inside
    assert not site.counts(INSIDE.format(which="TRUE"))
    assert not site.engine.query("SELECT 1 FROM enrollment WHERE step < 0 AND wake_at IS NOT NULL")


@pytest.mark.parametrize("wanted", WANTED.values(), ids=list(WANTED))
def test_planning_changes_nothing(site: Site, wanted: Project) -> None:
    before = site.hashes()
    first = site.plan(wanted)
    assert site.plan(wanted) == first, "and is the same again"
    assert site.hashes() == before


def test_the_same_project_changes_nobody(site: Site) -> None:
    planned = site.plan(WORLD.project)
    assert (planned.changes, planned.segments, planned.journeys) == ((), (), ())
    assert planned.fingerprint == planned.deployed
    before = {k: v for k, v in site.hashes().items() if k not in ("clock", "deployment")}
    site.apply(WORLD.project)
    assert {k: v for k, v in site.hashes().items() if k not in ("clock", "deployment")} == before
