"""A backtest is what applying the draft and running would do, step by step and reason by reason; it changes nothing."""

from __future__ import annotations

import ast
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import from_micros, to_micros
from cadenza.definitions.kinds import Holdout
from cadenza.definitions.project import Project, version_of
from cadenza.errors import CadenzaError, LedgerError, OperatingError
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.runtime import trials
from cadenza.runtime.rebuild import compare, table_hash
from cadenza.runtime.trials import Backtest, Wanted, past
from cadenza.runtime.trials.figures import side
from cadenza.runtime.trials.past import just_after, replay_under
from cadenza.simulate.worlds import World, seeded
from cadenza.sql.tables import TABLES
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.redeployed import again, changed, deployment
from tests.simulation.tape import at
from tests.trials.kit import CAP, RAN, Site, aside, history, launch, lived, project, thanks

FREE = project(thanks(), launch(), aside(), cap=None)
"""A draft without caps and holdouts."""
TURNED = project(thanks(priority=80), launch(in_flight="exit"), aside(), cap=msgspec.structs.replace(CAP, limit=2))
"""A draft in which the thanks come first."""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The shop's two days, lived; nobody may change it."""
    with lived(tmp_path_factory.mktemp("shop"), history()) as site:
        yield site


@pytest.fixture(scope="module")
def free(shop: Site) -> Backtest:
    """Without caps, from the beginning."""
    return shop.trials.backtest(Wanted(draft=FREE))


@pytest.fixture(scope="module")
def turned(shop: Site) -> Backtest:
    """The thanks first, from the beginning."""
    return shop.trials.backtest(Wanted(draft=TURNED))


def same_tables(one: Any, other: Any) -> None:
    """Every fact of two stores; not from whom a merged person's event came, which depends on how the log was cut where
    nothing reacts to the event."""
    assert [check.table for check in compare(one, other) if not check.same and check.table != "event"] == []
    query = "SELECT * EXCLUDE (origin_pid) FROM event ORDER BY offset_"
    assert one.records(query) == other.records(query)


# --- the same history, the same decisions ----------------------------------------------------------------


def test_what_is_deployed_is_what_really_ran(shop: Site) -> None:
    found = shop.trials.backtest(Wanted(draft=RAN))
    assert found.draft == found.against
    assert found.changes.paths == () and sum(j.alike for j in found.changes.journeys) == 15
    assert found.made.records == len(shop.world.records) - 1, "all but the word that nothing is real"
    assert found.until == from_micros(shop.world.horizon)


def test_beside_a_server_the_past_is_made_from_the_log(shop: Site) -> None:
    wanted = Wanted(draft=TURNED, until=at(27))
    alone = shop.trials.backtest(wanted)
    shop.served = True
    try:
        assert shop.trials.backtest(wanted) == alone
    finally:
        shop.served = False


def test_a_history_whose_project_changed_on_the_way(tmp_path: Path) -> None:
    """What ran is read from the store, or made from the log with every deployment it holds: the same. A draft leaves out
    the later ones."""
    first = history().records
    records = [*first, deployment(TURNED, first[-1])]
    records += again(first[17:22], records[-1])
    world = World(project=RAN, records=tuple(records), horizon=records[-1].recorded_at)
    with lived(tmp_path / "site", world) as site:
        found = site.trials.backtest(Wanted(draft=RAN))
        drafted, ran = ({(s.journey, s.version) for s in one.steps} for one in (found.draft, found.against))
        assert drafted == {(j.name, version_of(j)) for j in RAN.journeys} < ran
        site.served = True
        assert site.trials.backtest(Wanted(draft=RAN, until=found.until)) == found


# --- preview is reality ------------------------------------------------------------------------------------


def decided(site: Site, draft: Project, since: int | None, until: int, delivered: bool = True) -> DuckEngine:
    """A store decided as a backtest decides."""
    engine = DuckEngine.open(None, threads=1)
    start = None if since is None else from_micros(since)
    replay_under(engine, site.log, draft, start, from_micros(until), delivered=delivered)
    return engine


def test_from_the_beginning(shop: Site, turned: Backtest, tmp_path: Path) -> None:
    """The draft deployed at first and the same things happening: every table is the same, and every figure."""
    world, draft, preview = history(TURNED), TURNED, turned.draft
    made = decided(shop, draft, None, world.horizon)
    with lived(tmp_path / "reality", world) as reality, reality.store() as store:
        same_tables(store, made)
        assert preview == side(store, draft, at(0), just_after(from_micros(world.horizon)))
    assert preview.journeys[0].losses and preview.contention and preview.days
    made.close()


def worlds_and_drafts() -> Iterator[Any]:
    yield pytest.param(history(live=True), TURNED, id="shop, launch exits")
    for seed, in_flight in ((8, "exit"),):
        world = seeded(seed, 24)
        yield pytest.param(world, changed(world.project, in_flight), id=f"world {seed} {in_flight}")


@pytest.mark.parametrize(("world", "draft"), list(worlds_and_drafts()))
def test_from_now_on(world: World, draft: Project, tmp_path: Path) -> None:
    """On frozen data: what the backtest says of the days after its --from is what apply and run then do."""
    now, until = world.records[-1].recorded_at + 1, world.records[-1].recorded_at + 72 * 3600_000_000
    frozen = msgspec.structs.replace(world, horizon=now)
    with lived(tmp_path / "site", frozen) as site:
        start = from_micros(now)
        wanted = Wanted(draft=draft, since=start, until=from_micros(until), delivered=False)
        preview = site.trials.backtest(wanted).draft
        made = decided(site, draft, now, until, delivered=False)
        site.apply(draft, now, until)
        with site.store() as store:
            same_tables(store, made)
            assert preview == side(store, draft, start, just_after(from_micros(until)))
        made.close()


@pytest.fixture(scope="module")
def late(shop: Site) -> Iterator[DuckEngine]:
    """Under the draft from hour 26 on."""
    made = decided(shop, TURNED, to_micros(at(26)), shop.world.horizon)
    yield made
    made.close()


def test_before_its_beginning_nothing_is_otherwise(shop: Site, late: DuckEngine) -> None:
    with shop.store() as store:
        for table, column in (
            ("transition", "ts"),
            ("decision", "ts"),
            ("message", "planned_at"),
            ("enrollment_end", "ts"),
        ):
            hidden = "jid, wave" if table == "message" else "jid"
            query = f"SELECT * EXCLUDE ({hidden}) FROM {table} WHERE {column} < ? ORDER BY ALL"
            facts, drafted = (engine.query(query, [at(26)]) for engine in (store, late))
            assert facts and facts == drafted
    assert late.query("SELECT count(*) FROM enrollment_end WHERE reason = 'replaced' AND ts = ?", [at(26)])[0][0] > 0


def test_how_the_log_is_cut_does_not_matter(shop: Site, late: DuckEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(past, "PAGE", 7)
    cut = decided(shop, TURNED, to_micros(at(26)), shop.world.horizon)
    same_tables(late, cut)
    cut.close()


# --- the figures, counted by hand ---------------------------------------------------------------------------


def test_what_the_shop_gains_without_caps(free: Backtest) -> None:
    """Five get launch and aside at hour 3; whoever did not consent (u4) is dropped everywhere."""
    ran, then = ({j.name: j for j in s.journeys} for s in (free.against, free.draft))
    assert {(x.verdict, x.reason, x.rule): x.n for x in ran["aside"].losses} == {
        ("drop", "cap", "daily"): ran["aside"].entered - 1,
        ("drop", "no_consent", "news/email"): 1,
    }
    assert {(x.verdict, x.reason): x.n for x in then["aside"].losses} == {("drop", "no_consent"): 1}
    assert (ran["aside"].planned, then["aside"].planned) == (0, 4)
    assert then["launch"].entered == 5 and then["launch"].inside == 0
    assert {(x.verdict, x.reason, x.rule): x.n for x in then["thanks"].losses} == {
        ("refused", "priority", "default"): 3,
        ("drop", "no_consent", "marketing/email"): 1,
    }
    assert [(c.journey, c.winner, c.what, c.n) for c in free.draft.contention] == [
        ("thanks", "launch", "superseded in default", 5), ("thanks", "launch", "arena default", 3),
    ]  # fmt: skip
    (day,) = {d.day for d in free.draft.days}
    assert day == at(0).date()


def test_at_a_cap_those_lose_whose_turn_came_later(shop: Site) -> None:
    """The thanks of hour 1 have taken the day's only place."""
    found = shop.trials.backtest(Wanted(draft=project(thanks(), launch(), aside())))
    capped = {(c.journey, c.winner): c.n for c in found.draft.contention if c.what == "cap daily"}
    launched = next(j for j in found.draft.journeys if j.name == "launch")
    lost = sum(x.n for x in launched.losses if x.reason == "cap")
    assert capped == {("aside", "thanks"): 4, ("launch", "thanks"): lost} and lost >= 4


def test_every_step_and_arm_is_counted(shop: Site, free: Backtest) -> None:
    launched = free.draft.only("launch")
    assert [j.name for j in launched.journeys] == ["launch"]
    steps = {s.path: s for s in launched.steps}
    arms = {c.name: c.n for c in steps["steps[1]"].ways}
    assert steps["steps[1]"].kind == "arms" and arms["a"] + arms["b"] == 5
    assert steps["steps[1].split.a.steps[0]"].arrived == arms["a"]
    assert steps["steps[1].split.b.steps[0]"].arrived == arms["b"]
    assert (steps["steps[0]"].arrived, steps["steps[2]"].arrived, steps["steps[2]"].standing) == (5, 5, 0)
    short = shop.trials.backtest(Wanted(draft=FREE, journey="launch", until=at(20)))
    assert {s.journey for s in short.draft.steps} == {"launch"}
    assert {s.path: s.standing for s in short.draft.steps}["steps[2]"] == 5


def test_the_outcome_is_never_called_an_effect(shop: Site) -> None:
    held = project(thanks(holdout=Holdout(name="thanked", share_bp=5_000)), launch(), aside())
    found = shop.trials.backtest(Wanted(draft=held, journey="thanks"))
    outcome = found.draft.journeys[0].outcome
    assert outcome is not None and outcome.kind == "placebo"
    assert outcome.treated.n + outcome.treated.incomplete + outcome.held_out.n + outcome.held_out.incomplete == 5
    assert found.against.journeys[0].outcome is None


def test_messages_of_the_draft_count_as_handed_over(tmp_path: Path) -> None:
    """Nothing reports that they were delivered; still the exits of the thanks withdraw none of them."""
    with lived(tmp_path / "live", history(live=True)) as site:
        found = site.trials.backtest(Wanted(draft=RAN, journey="thanks"))
        assert found.draft.journeys[0].cancelled == 0 < found.against.journeys[0].cancelled
        strict = site.trials.backtest(Wanted(draft=RAN, journey="thanks", delivered=False))
        assert strict.draft == strict.against == found.against


def test_who_goes_another_way(turned: Backtest) -> None:
    """The thanks before the launch: nobody is superseded, all wait their day out and are thanked again."""
    paths = {(p.journey, p.was, p.becomes): p for p in turned.changes.paths}
    kept = paths["thanks", "superseded", "completed"]
    assert (kept.passages, kept.persons, kept.examples) == (5, 5, ("p_3", "p_6", "p_9"))
    lost = [p for (journey, _, becomes), p in paths.items() if (journey, becomes) == ("launch", "refused: priority")]
    assert sum(p.passages for p in lost) == 5
    again = [p for (journey, was, _), p in paths.items() if (journey, was) == ("thanks", "refused: priority")]
    assert sum(p.passages for p in again) == 3
    compared = {j.journey: j for j in turned.changes.journeys}
    assert (compared["thanks"].both, compared["thanks"].only_new) == (5, 3)
    assert compared["launch"].only_old == 5 - held_out(turned)


def held_out(found: Backtest) -> int:
    """How many the launch's holdout really kept out."""
    launched = next(j for j in found.against.journeys if j.name == "launch")
    return sum(x.n for x in launched.losses if x.reason == "holdout")


def test_two_versions_against_each_other(shop: Site, free: Backtest, turned: Backtest) -> None:
    """Against another version, not against what ran; it says how far each is."""
    said: list[tuple[str, int | None]] = []
    wanted = Wanted(draft=TURNED, against=FREE)
    found = shop.trials.backtest(wanted, lambda what, done: said.append((what, done.total)))
    assert (found.draft, found.against) == (turned.draft, free.draft)
    assert {p.was for p in found.changes.paths} and found.changes != turned.changes
    assert {what for what, _ in said} == {"Deciding under the draft", "Deciding under the other version"}
    assert {total for _, total in said} == {len(shop.world.records)}


# --- nothing leaves, nothing stays ----------------------------------------------------------------------------


def state_of(site: Site) -> tuple[Any, ...]:
    """Everything that could have changed."""
    with site.store() as engine:
        tables = {t.name: table_hash(engine, t.name) for t in TABLES}
    messages = stored_messages(site.folder)
    return tables, messages, site.log.head(), sorted(p.name for p in site.folder.iterdir())


def stored_messages(folder: Path) -> Any:
    """What the outbox holds."""
    outbox = SqliteOutbox.open(folder / "outbox.db")
    try:
        return outbox.list(100_000), outbox.published_through()
    finally:
        outbox.close()


def test_nothing_changes_and_nothing_leaves(shop: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state_of(shop)

    def refuse(*_: Any) -> None:
        raise AssertionError("something wants to leave the house")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("append", "write", "quarantine", "fence"):
        monkeypatch.setattr(SqliteLog, name, refuse)
    shop.trials.backtest(Wanted(draft=FREE, since=at(2)))
    assert state_of(shop) == before


def test_trials_know_no_way_out() -> None:
    """Neither an adapter nor the outbox is imported: there is nothing to send with."""
    for path in Path(trials.__file__).parent.glob("*.py"):
        names = {
            node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
        }
        assert not {
            n for n in names if n.startswith(("cadenza.adapters", "cadenza.ledger.outbox", "cadenza.runtime.deliver"))
        }


def test_an_interrupted_trial_leaves_nothing(shop: Site) -> None:
    before = state_of(shop)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shop.trials.backtest(Wanted(draft=FREE), interrupt)
    assert state_of(shop) == before


# --- what cannot be tried --------------------------------------------------------------------------------------


def test_a_time_that_is_not_over_is_refused(shop: Site) -> None:
    with pytest.raises(CadenzaError, match=r"not over yet.*forecast"):
        shop.trials.backtest(Wanted(draft=FREE, until=at(10**6)))


def test_a_time_without_history_is_refused(shop: Site) -> None:
    with pytest.raises(CadenzaError, match="holds nothing"):
        shop.trials.backtest(Wanted(draft=FREE, since=at(20), until=at(19)))


def test_an_unknown_journey_is_refused_with_a_hint(shop: Site) -> None:
    with pytest.raises(CadenzaError, match=r"no journey 'launhc'.*launch"):
        shop.trials.backtest(Wanted(draft=FREE, journey="launhc"))


def test_without_a_history_there_is_nothing_to_try(tmp_path: Path) -> None:
    empty = World(project=RAN, records=(), horizon=0)
    SqliteLog.open(tmp_path / "log.db").close()
    site = Site(tmp_path, empty)
    site.served = True
    with pytest.raises(OperatingError, match="log is empty"):
        site.trials.backtest(Wanted(draft=FREE))
    site.close()


def test_a_history_that_is_not_whole_is_refused(shop: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(shop.folder, tmp_path / "part"))
    site = Site(folder, shop.world)
    gone = type("Gone", (), {"last_offset": 7})()
    monkeypatch.setattr(site.log.archive, "forgotten", lambda reader: [gone])
    with pytest.raises(LedgerError, match="up to offset 7"):
        site.trials.backtest(Wanted(draft=FREE))
    site.close()
