"""The store is a function of the log: made anew it is the same, also where the project changed on the way, and a store
that was tampered with is found out and named."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from cadenza.errors import LedgerError, StoreError
from cadenza.runtime.rebuild import rebuild
from cadenza.runtime.tick import Ticker
from cadenza.simulate.worlds import seeded
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation import stored
from tests.simulation.redeployed import redeployed

WORLD = redeployed(seeded(1035, 24, 2), "exit", "pin")


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lived")
    stored.live(folder, WORLD)
    return folder


@pytest.fixture
def state(lived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(lived, tmp_path / "state"))


def _store(folder: Path, sql: str) -> list[tuple[object, ...]]:
    engine = DuckEngine.open(folder / "store.duckdb", threads=1)
    try:
        return engine.query(sql)
    finally:
        engine.close()


def test_the_project_changed_on_the_way(lived: Path) -> None:
    assert _store(lived, "SELECT count(*) FROM deployment") == [(3,)]
    assert dict(_store(lived, "SELECT cause, count(*) FROM membership GROUP BY cause"))["deploy"]
    assert dict(_store(lived, "SELECT reason, count(*) FROM enrollment_end GROUP BY reason"))["replaced"]


def test_made_anew_it_is_the_same(state: Path) -> None:
    before = _files(state)
    report = rebuild(state, True)
    assert report.verified and report.records == len(WORLD.records)
    assert {check.table: check.rows for check in report.tables if check.rows} == {
        check.table: check.rebuilt_rows for check in report.tables if check.rebuilt_rows
    }
    assert _files(state) == before, "verifying leaves no file behind"


@pytest.mark.parametrize("seed", [7, 8])
def test_whose_a_record_was_does_not_depend_on_how_the_log_is_cut(tmp_path: Path, seed: int) -> None:
    """Also of records that nothing reacts to, when their persons merge in the same tick or in a later one."""
    stored.live(tmp_path, seeded(seed, 24))
    assert rebuild(tmp_path, True).verified


@pytest.mark.parametrize(
    ("table", "change"),
    [
        ("membership", "UPDATE membership SET ts = ts + INTERVAL 1 MICROSECOND WHERE rowid = (SELECT max(rowid) FROM membership)"),
        ("enrollment", "UPDATE enrollment SET wake_at = TIMESTAMP '2031-01-01' WHERE eid = (SELECT min(eid) FROM enrollment)"),
        ("person", "DELETE FROM person WHERE pid = (SELECT max(pid) FROM person)"),
        ("event", "INSERT INTO event SELECT * FROM event LIMIT 1"),
    ],
)  # fmt: skip
def test_a_tampered_store_is_noticed_and_named(state: Path, table: str, change: str) -> None:
    _store(state, change)
    report = rebuild(state, True)
    assert report.verified is False
    assert [check.table for check in report.tables if not check.same] == [table]


def test_the_store_is_replaced_and_whole_again(state: Path) -> None:
    expected, messages = stored.observed(state, WORLD)
    _store(state, "DELETE FROM transition")
    report = rebuild(state, False)
    assert report.verified is None and report.records == len(WORLD.records)
    rows, outbox = stored.observed(state, WORLD)
    assert rows["transitions"] and rows == expected
    assert outbox == messages, "nothing is handed over again"


def test_the_store_of_another_version_is_named_and_made_anew(state: Path) -> None:
    expected, _ = stored.observed(state, WORLD)
    _store(state, "ALTER TABLE suppression DROP COLUMN reason")
    with pytest.raises(StoreError, match=r"another version .* 'suppression' has no column 'reason'.*cadenza rebuild"):
        stored.live(state, WORLD)
    rebuild(state, False)
    assert stored.observed(state, WORLD)[0] == expected


def test_a_lost_store_is_made_from_the_log(state: Path) -> None:
    """And what nothing was reported of is handed over again to an outbox that is lost too."""
    expected, messages = stored.observed(state, WORLD)
    for file in ("store.duckdb", "outbox.db"):
        (state / file).unlink()
    rebuild(state, False)
    stored.live(state, WORLD)
    rows, outbox = stored.observed(state, WORLD)
    assert rows == expected
    bodies = [msgspec.json.decode(record.body) for record in WORLD.records if record.kind == "outcome"]
    reported = {body["properties"]["message_id"] for body in bodies}
    assert {m.message.message_id for m in outbox} == {m.message.message_id for m in messages} - reported


def _interrupted(state: Path, after_ticks: int) -> None:
    """A rebuild that is stopped after so many ticks, as by Ctrl-C; ticks are small for once."""
    with pytest.MonkeyPatch.context() as patch:
        run, done = Ticker.tick, []

        def tick(self: Ticker, horizon: object, most: int, progress: object) -> object:
            if len(done) == after_ticks:
                raise KeyboardInterrupt
            done.append(1)
            return run(self, horizon, 7, progress)  # type: ignore[arg-type]

        patch.setattr(Ticker, "tick", tick)
        with pytest.raises(KeyboardInterrupt):
            rebuild(state, False)


def test_interrupted_it_goes_on_where_it_was(state: Path) -> None:
    expected, messages = stored.observed(state, WORLD)
    before = (state / "store.duckdb").read_bytes()
    _interrupted(state, 3)
    assert (state / "store.duckdb").read_bytes() == before
    _interrupted(state, 1)
    report = rebuild(state, False)
    assert 7 < report.resumed_from < report.records == len(WORLD.records)
    assert stored.observed(state, WORLD) == (expected, messages)
    assert _files(state) == {"store.duckdb"} and not list(state.glob("*.json"))


@pytest.mark.parametrize("how", ["other code", "another log", "damaged", "no note"])
def test_what_cannot_be_gone_on_with_is_begun_anew(state: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    _interrupted(state, 3)
    note = state / "store.rebuilt.json"
    if how == "other code":
        monkeypatch.setattr("cadenza.runtime.rebuild.code_digest", lambda: "another")
    elif how == "another log":
        note.write_text(note.read_text().replace("|m1", "|m2"))
    elif how == "damaged":
        (state / "store.rebuilt.duckdb").write_bytes(b"no store" * 2000)
    else:
        note.unlink()
    report = rebuild(state, True)
    assert report.verified and report.resumed_from == 0


def test_without_a_log_nothing_is_touched(state: Path) -> None:
    (state / "log.db").unlink()
    before = (state / "store.duckdb").read_bytes()
    with pytest.raises(LedgerError, match="no log"):
        rebuild(state, False)
    assert (state / "store.duckdb").read_bytes() == before


def _files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == ".duckdb"}
