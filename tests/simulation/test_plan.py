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
from cadenza.definitions.graph import resting_paths
from cadenza.definitions.kinds import Segment, TraitDefinition
from cadenza.definitions.project import Project, version_of
from cadenza.errors import CadenzaError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.runtime.plan import Plan, apply, older_project, plan
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


def _where(site: Site) -> dict[int, tuple[str, str, str]]:
    """Enrollment -> version, path and journey, of those inside."""
    rows = site.engine.query(
        "SELECT e.eid, v.version, s.path, v.journey FROM enrollment AS e JOIN journey_version AS v USING (jid) "
        "JOIN journey_step AS s ON s.jid = e.jid AND s.step = e.step WHERE e.step >= 0"
    )
    return {eid: (version, path, journey) for eid, version, path, journey in rows}


ARRIVED = (
    "SELECT t.eid, t.cause, v.version, s.path, v.journey FROM transition AS t JOIN journey_version AS v USING (jid) "
    "JOIN journey_step AS s ON s.jid = t.jid AND s.step = t.to_step WHERE t.cause IN ('mapped', 'restarted')"
)


def _moved(project: Project, in_flight: str, **more: object) -> Project:
    """Every journey with a wait in front; with ``map`` people stand one step later, or (the last) where ``unmapped`` says."""
    longer = changed(project, in_flight)
    maps = (
        {f"steps[{i}]": f"steps[{i + 1}]" for i in range(len(j.steps)) if f"steps[{i + 1}]" in resting_paths(j)}
        if in_flight == "map"
        else {}
        for j in longer.journeys
    )
    return replace(
        longer, journeys=tuple(replace(j, step_map=m, **more) for j, m in zip(longer.journeys, maps, strict=True))
    )


@pytest.mark.parametrize(
    ("in_flight", "unmapped"), [("restart", "pin"), ("map", "exit"), ("map", "restart"), ("map", "pin")]
)
def test_what_was_planned_happens_to_each_person(site: Site, in_flight: str, unmapped: str) -> None:
    """Person by person: those at a step do what the plan says of that step; nobody is lost, nobody is twice."""
    more = {"unmapped": unmapped} if in_flight == "map" else {}
    wanted = _moved(WORLD.project, in_flight, **more)
    planned = {(j.name, p.version, p.path): p for j in site.plan(wanted).journeys for p in j.people}
    before = _where(site)
    assert Counter((j, v, p) for v, p, j in before.values()) == Counter({key: p.people for key, p in planned.items()})
    site.apply(wanted)
    after, ended = _where(site), dict(site.engine.query("SELECT eid, reason FROM enrollment_end"))
    versions = {j.name: version_of(j) for j in wanted.journeys}
    arrived = {(eid, cause): where for eid, cause, *where in site.engine.query(ARRIVED)}
    begun = Counter(where[2] for (eid, cause), where in arrived.items() if cause == "restarted" and eid not in before)
    for eid, (version, path, journey) in before.items():
        fate = planned[journey, version, path]
        if fate.fate == "pin":
            assert after[eid] == (version, path, journey)
        elif fate.fate == "map":
            assert arrived[eid, "mapped"] == [versions[journey], fate.to, journey]
        else:
            assert eid not in after and ended[eid] == {"exit": "replaced", "restart": "restarted"}[fate.fate]
    restarted = Counter(j for (j, *_), p in planned.items() for _ in range(p.people) if p.fate == "restart")
    assert begun == restarted and not set(after) & set(ended)
    assert all(after[eid][0] == versions[after[eid][2]] for eid in after if eid not in before)
    assert {p.fate for p in planned.values()} >= {in_flight}


def test_an_older_version_comes_back(site: Site) -> None:
    """Those inside the newer one do what the older one says of them; nobody is mapped back."""
    wanted = _moved(WORLD.project, "map", unmapped="exit")
    site.apply(wanted)
    inside = _where(site)
    back = older_project(site.engine, "simul")
    assert back == WORLD.project
    planned = plan(site.engine.reader(), wanted, back)
    assert {p.fate for j in planned.journeys for p in j.people} == {"pin"}
    site.apply(back)
    assert _where(site) == inside
    with pytest.raises(CadenzaError, match="names 0 deployed versions"):
        older_project(site.engine, "beef")


def test_steps_that_differ_are_said_in_words(site: Site) -> None:
    said = {j.name: j.step_changes for j in site.plan(changed(WORLD.project, "pin")).journeys}
    assert set(said) == {j.name for j in WORLD.project.journeys}
    for changes in said.values():
        assert [(c.change, c.path, c.words) for c in changes] == [("added", "steps[0]", "wait 1 minute")]
