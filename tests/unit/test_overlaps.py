"""How many people two journeys wanted at the same time, counted by hand."""

from __future__ import annotations

from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds_journey import Entry, Exit, Journey, Outcome, Trigger, Wait
from cadenza.definitions.project import Project
from cadenza.runtime.deploy import prepare
from cadenza.runtime.lint import Overlap, overlaps
from cadenza.store.duckdb_engine import DuckEngine


def _journey(name: str, arena: str | None) -> Journey:
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=86_400)
    return Journey(
        name=name, owner="o", outcome=Outcome(metric="m"), entry=Entry(on=Trigger(event="e")), exit=exit_,
        steps=(Wait(duration_s=60),), arena=arena,
    )  # fmt: skip


def test_candidates_of_both_within_the_days() -> None:
    """1 within two days (and within one), 2 too, but refused by the first for the other's priority; 3 too late; 4 only in one; 5 in the
    journey that competes with nobody."""
    engine = DuckEngine.open(None)
    prepare(engine)
    for jid, name in enumerate(("a", "b", "c"), start=1):
        engine.execute(f"INSERT INTO journey_version (jid, journey) VALUES ({jid}, '{name}')")
    entered = [(1, 1, 1), (1, 2, 3), (2, 2, 1), (3, 1, 1), (3, 2, 20), (4, 1, 1), (5, 1, 2), (5, 3, 2), (1, 1, 2)]
    for eid, (pid, jid, day) in enumerate(entered):
        at = f"TIMESTAMP '2024-05-{day:02} 10:00:00'"
        engine.execute(
            f"INSERT INTO enrollment (eid, pid, jid, key, entered_at) VALUES ({eid}, {pid}, {jid}, '', {at})"
        )
    engine.execute(
        "INSERT INTO refusal (pid, jid, ts, key, reason, rule) VALUES (2, 1, TIMESTAMP '2024-05-01 11:00:00', '', 'priority', 'x'),"
        " (4, 2, TIMESTAMP '2024-06-01 11:00:00', '', 're_entry', 'once')"
    )
    project = Project(journeys=(_journey("a", "default"), _journey("b", "default"), _journey("c", None)))
    assert overlaps(engine, project, 7) == (
        Overlap(first="a", second="b", arena="default", persons=2, of_first=5, of_second=4, beaten_first=1, beaten_second=0),
        Overlap(first="a", second="c", arena=None, persons=1, of_first=5, of_second=1, beaten_first=0, beaten_second=0),
    )  # fmt: skip
    assert [o.persons for o in overlaps(engine, project, 32)] == [4, 1]
    assert [o.persons for o in overlaps(engine, project, 1)] == [2, 1]
    engine.close()
