"""What the report says of an experiment, on a log whose figures follow from the hash of each person."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal

import msgspec
import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds import (
    Contract,
    Entry,
    Exit,
    Experiment,
    Journey,
    Metric,
    Outcome,
    Property,
    SplitArm,
    Trigger,
    Wait,
)
from cadenza.definitions.project import Project
from cadenza.ids import bucket
from cadenza.ports.ledger import Record
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.report import report
from cadenza.runtime.report.figures import ExperimentFigures
from cadenza.runtime.tick import Ticker
from cadenza.statistics import lift
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.surfaces.report_tables import report_text
from tests.simulation.engine import FixedLog, HeldOutbox

START = datetime(2024, 5, 6)
PEOPLE = 90
SHARES = {"plain": 3000, "bold": 3000, "brief": 4000}


def project() -> Project:
    arms = tuple(SplitArm(name=name, share_bp=share, steps=()) for name, share in SHARES.items())
    steps = (Wait(duration_s=3600), Experiment(name="subject", metric="revenue", arms=arms), Wait(duration_s=86400))
    journey = Journey(
        name="j", owner="o", outcome=Outcome(metric="revenue"), entry=Entry(on=Trigger(event="In"), again="after_exit"), arena=None,
        exit=Exit(goal=FALSE, disqualified=FALSE, superseded=False, time_limit_s=10**7), steps=steps,
    )  # fmt: skip
    return Project(
        journeys=(journey,), contracts=(Contract(name="Bought", properties={"amount": Property(type="decimal")}), Contract(name="In")),
        metrics=(Metric(name="revenue", kind="sum", event="Bought", property="amount", within_s=5 * 86400),),
    )  # fmt: skip


def _record(offset: int, at: datetime, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=to_micros(at) + offset, writer="main", kind=kind, source="test", message_id=f"m{offset}",
        imported=False, body=body,
    )  # fmt: skip


def _track(offset: int, at: datetime, user: str, event: str, **properties: object) -> Record:
    said = {"type": "track", "event": event, "properties": properties, "userId": user, "anonymousId": f"a{user}"}
    return _record(offset, at, "call", msgspec.json.encode(said))


def log() -> list[Record]:
    """Everybody comes in on the first day and again a week later, and buys for as much as their number: on the third day;
    a tenth of it before the experiment, and after its window, where it does not count."""
    records = [_record(1, START, "deploy", deploy_body(project()))]
    days = ((0, "In", None), (0.02, "Bought", 10), (3, "Bought", 1), (7, "In", None), (8, "Bought", 10))
    for day, event, part in days:
        for n in range(PEOPLE):
            more = {} if part is None else {"amount": n / part}
            records.append(_track(len(records) + 1, START + timedelta(days=day), f"u{n}", event, **more))
    return records


@pytest.fixture(scope="module")
def engine() -> Iterator[DuckEngine]:
    found = DuckEngine.open(None, threads=1)
    ticker = Ticker(found, FixedLog(log()), HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    while ticker.tick(START + timedelta(days=20)).more:
        pass
    yield found
    found.close()


def drawn() -> dict[str, list[Decimal]]:
    """Arm -> what each of its persons bought, by the hash of the person's id: the offset of their first record."""
    found: dict[str, list[Decimal]] = {name: [] for name in SHARES}
    for n in range(PEOPLE):
        number = bucket("subject", n + 2)
        arm = "plain" if number < 3000 else "bold" if number < 6000 else "brief"
        found[arm].append(Decimal(n))
    return found


def figures(engine: DuckEngine, days: float) -> tuple[ExperimentFigures, ...]:
    return report(engine, project(), as_of=START + timedelta(days=days)).journeys[0].experiments


def test_arms_are_compared_with_the_first(engine: DuckEngine) -> None:
    [found] = figures(engine, 19)
    wanted = drawn()
    assert [(a.arm, a.share_bp, a.n, a.total, a.incomplete) for a in found.arms] == [
        (name, SHARES[name], len(values), float(sum(values)), 0) for name, values in wanted.items()
    ]
    plain, bold, _ = found.arms
    assert plain.lift is None and bold.lift is not None
    sums = [(len(v), sum(v), sum(x * x for x in v)) for v in (wanted["bold"], wanted["plain"])]
    assert bold.lift == lift.mean_difference(*sums[0], *sums[1], 0.975)
    assert found.sample_ratio is not None and found.sample_ratio.ok
    assert (found.kind, found.crossed, found.metric) == ("placebo", 0, "revenue")


def test_a_window_that_is_not_over_is_not_counted(engine: DuckEngine) -> None:
    [found] = figures(engine, 4)
    assert [(a.n, a.incomplete) for a in found.arms] == [(0, len(values)) for values in drawn().values()]
    assert not figures(engine, 0.04), "nobody has come to it before an hour has passed"


def test_the_text_says_so(engine: DuckEngine) -> None:
    text = report_text(report(engine, project(), as_of=START + timedelta(days=19)))
    for said in (
        "j, experiment subject, revenue within 5 days",
        "all together miss the truth once in 20",
        "as declared",
    ):
        assert said in text
