"""A small store, written by hand row by row, whose every figure is known. `make golden` rewrites the texts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.definitions.expression import parse, parse_where
from cadenza.definitions.kinds import (
    Arm,
    Branch,
    Contract,
    Entry,
    Exit,
    Holdout,
    Journey,
    Metric,
    Outcome,
    Property,
    Segment,
    Send,
    Split,
    SplitArm,
    Template,
    TraitDefinition,
    Trigger,
    Wait,
    WaitFor,
)
from cadenza.definitions.project import Project, encode
from cadenza.sql.columns import schema_of
from cadenza.sql.tables import BY_NAME, create_statements
from cadenza.store.duckdb_engine import DuckEngine

GOLDEN = Path(__file__).parents[1] / "golden" / "report"
START = datetime(2011, 1, 1)
ORDER = "Order Completed"
REFUND = "Order Refunded"


def day(n: float) -> datetime:
    return START + timedelta(days=n)


def _journeys() -> tuple[Journey, Journey]:
    ends = Exit(
        goal=parse(f"event('{ORDER}')"),
        disqualified=parse("not consented('marketing', 'email')"),
        superseded=True,
        time_limit_s=30 * 86400,
    )
    welcome = Journey(
        name="welcome",
        owner="crm@retail.example",
        outcome=Outcome(metric="revenue_28d"),
        entry=Entry(on=Trigger(event=ORDER, where=parse_where("revenue > 10")), when=parse("country = 'France'")),
        exit=ends,
        steps=(Send(template="welcome_mail"), Wait(duration_s=5 * 86400), Send(template="welcome_mail")),
    )
    win_back = Journey(
        name="win_back",
        owner="crm@retail.example",
        outcome=Outcome(metric="revenue_28d"),
        entry=Entry(on=Trigger(segment="lapsing"), again="after_exit"),
        exit=ends,
        holdout=Holdout(name="win_back_2011", share_bp=3000),
        steps=(
            Split(
                name="offer",
                arms=(
                    SplitArm(name="free_shipping", share_bp=5000, steps=(Send(template="free_mail"),)),
                    SplitArm(name="bestsellers", share_bp=5000, steps=(Send(template="best_mail"),)),
                ),
            ),
            WaitFor(any=(parse("event('Email Link Clicked')"),), until_s=5 * 86400, as_="clicked"),
            Branch(
                arms=(Arm(when=parse("lifetime_revenue > 1000"), steps=()),),
                unknown=(),
                otherwise=(Send(template="free_mail"),),
            ),
        ),
    )
    return welcome, win_back


def make_project() -> Project:
    """Two journeys: one on an event, one on a segment with a holdout."""
    amounts = {"revenue": Property(type="decimal"), "order_id": Property(type="string")}
    template = {"channel": "email", "purpose": "marketing", "subject": "Hello", "body": "Hello"}
    return Project(
        name="shop",
        contracts=(Contract(name=ORDER, properties=amounts), Contract(name=REFUND, properties=amounts)),
        traits=(
            TraitDefinition(name="country", type="string", from_="traits.country"),
            TraitDefinition(name="email", type="string", from_="traits.email"),
            TraitDefinition(name="lifetime_revenue", type="decimal", value=parse(f"sum_of('{ORDER}', revenue)")),
            TraitDefinition(name="recent_orders", type="integer", value=parse(f"events('{ORDER}', within => '30 days')")),
        ),
        segments=(
            Segment(name="lapsing", when=parse("older_than(last_at('Order Completed'), '90 days')")),
            Segment(name="vip", when=parse("lifetime_revenue > 1000")),
        ),
        journeys=_journeys(),
        templates=tuple(Template(name=name, **template) for name in ("best_mail", "free_mail", "welcome_mail")),
        metrics=(
            Metric(name="revenue_28d", kind="sum", event=ORDER, property="revenue", minus=REFUND,
                   within_s=28 * 86400, unit_label="GBP"),
        ),
    )  # fmt: skip


class Hand:
    """Writes rows into the catalogue's tables."""

    def __init__(self, engine: DuckEngine, project: Project) -> None:
        self.engine = engine
        self.project = project

    def create(self) -> None:
        """Every table of the catalogue, with the columns of the project."""
        project, engine = self.project, self.engine
        types = {n: p.type for c in project.contracts for n, p in c.properties.items()}
        schema = schema_of(project, types)  # type: ignore[arg-type]
        added = {"profile": schema.profile_columns(), "event": schema.event_columns()}
        for statement in create_statements():
            engine.execute(statement)
        for table, columns in added.items():
            for column, kind in columns.items():
                engine.execute(f'ALTER TABLE {table} ADD COLUMN "{column}" {kind}')

    def row(self, table: str, **values: Any) -> None:
        """One row; columns not given are NULL."""
        assert table in BY_NAME
        names = ", ".join(f'"{name}"' for name in values)
        marks = ", ".join("?" for _ in values)
        self.engine.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def person(self, pid: int, at: datetime, **identifiers: str) -> None:
        self.row("person", pid=pid, created_at=at)
        self.row("profile", pid=pid)
        for kind, value in identifiers.items():
            self.row("identifier", type=kind, value=value, pid=pid)
            self.row("link", offset_=pid, recorded_at=at, pid=pid, rule="new", type=kind, value=value, score=1.0)

    def order(self, offset: int, pid: int, at: datetime, revenue: float, name: str = ORDER) -> None:
        self.row(
            "event", offset_=offset, pid=pid, origin_pid=pid, type="track", name=name, occurred_at=at, recorded_at=at,
            source="shop", message_id=f"m-{offset}", p_revenue=Decimal(str(revenue)), p_order_id=f"o{offset}",
        )  # fmt: skip
        self.row("event_payload", offset_=offset, properties=f'{{"revenue":{revenue},"order_id":"o{offset}"}}')

    def enter(self, eid: int, pid: int, jid: int, at: datetime, step: int, offset: int | None, *moves: Any) -> None:
        """An enrollment and its transitions: (time, cause, from, to, hop)."""
        self.row(
            "enrollment", eid=eid, pid=pid, origin_pid=pid, jid=jid, key="", entered_at=at, entry_offset=offset,
            limit_at=at + timedelta(days=30), step=step, wake_at=None if step < 0 else day(70), due_since=at,
        )  # fmt: skip
        for ts, cause, source, target, hop in moves:
            self.row(
                "transition", eid=eid, pid=pid, jid=jid, ts=ts, cause=cause, from_step=source, to_step=target, hop=hop
            )

    def end(self, eid: int, pid: int, jid: int, at: datetime, reason: str) -> None:
        self.row("enrollment_end", eid=eid, pid=pid, jid=jid, ts=at, reason=reason)

    def judge(self, eid: int, pid: int, jid: int, step: int, at: datetime, verdict: str, **more: Any) -> None:
        self.row("decision", eid=eid, pid=pid, jid=jid, step=step, ts=at, verdict=verdict, **more)

    def message(
        self, mid: str, eid: int, pid: int, jid: int, step: int, at: datetime, deliverable: bool = False
    ) -> None:
        template = {(1, 0): "welcome_mail", (2, 0): "free_mail", (2, 1): "best_mail"}[jid, step]
        self.row(
            "message", message_id=mid, eid=eid, pid=pid, origin_pid=pid, jid=jid, step=step, template=template,
            channel="email", purpose="marketing", message_class="marketing", address="ann@shop.example", planned_at=at,
            deliverable=deliverable, context="{}",
        )  # fmt: skip


def _definitions(hand: Hand) -> None:
    hand.row("clock", consumed=500, horizon=day(60), records=60, waves=9)
    hand.row("deployment", offset_=1, recorded_at=day(0), fingerprint="f", project=encode(hand.project).decode())
    for jid, journey in enumerate(hand.project.journeys, start=1):
        hand.row(
            "journey_version", jid=jid, journey=journey.name, version="v1", priority=50, deployed_at=day(0), current=True,
            definition=msgspec.json.encode(journey).decode(),
        )  # fmt: skip
    steps = [
        (1, 0, "steps[0]", "send", "welcome_mail"), (1, 1, "steps[1]", "wait", None), (1, 2, "steps[2]", "send", "welcome_mail"),
        (2, 0, "steps[0].split.free_shipping.steps[0]", "send", "free_mail"),
        (2, 1, "steps[0].split.bestsellers.steps[0]", "send", "best_mail"),
        (2, 2, "steps[1]", "wait_for", None), (2, 3, "steps[2].branch.otherwise[0]", "send", "free_mail"),
    ]  # fmt: skip
    for jid, step, path, kind, template in steps:
        hand.row("journey_step", jid=jid, step=step, path=path, kind=kind, template=template)
    hops = [(1, 0, "[]"), (2, 0, '["steps[0]: free_shipping"]'), (2, 1, '["steps[0]: bestsellers"]'),
            (2, 2, '["steps[2]: otherwise"]'), (2, 3, '["steps[2]: unknown"]')]  # fmt: skip
    for jid, hop, taken in hops:
        hand.row("journey_hop", jid=jid, hop=hop, taken=taken)


def _people(hand: Hand) -> None:
    """Ann (10) took over an anonymous visitor (12); 13 is anonymous; the others are known by a user id."""
    hand.person(10, day(0.5), user_id="ann", email="ann@shop.example")
    hand.person(11, day(0.6), user_id="bob")
    hand.row("person", pid=12, created_at=day(0.7), merged_into=10)
    hand.row("identifier", type="anonymous_id", value="anon-12", pid=10)
    hand.row(
        "link", offset_=12, recorded_at=day(0.7), pid=12, rule="new", type="anonymous_id", value="anon-12", score=1.0
    )
    hand.row("link", offset_=19, recorded_at=day(0.9), pid=10, rule="merge", type="anonymous_id", value="anon-12",
             other_pid=12, score=1.0)  # fmt: skip
    hand.person(13, day(0.8), anonymous_id="anon-13")
    for pid in range(14, 27):
        hand.person(pid, day(0.8), user_id=f"u{pid}")
    sent = [(10, "country", "France", 0.5, 10), (10, "email", "ann@shop.example", 0.5, 10), (14, "country", "France", 0.8, 14),
            (14, "country", "Germany", 19, 29), *((pid, "country", "Germany", 0.8, pid) for pid in (15, 16, 17, 22, 24))]  # fmt: skip
    for pid, trait, value, at, offset in sent:
        hand.row("trait_value", pid=pid, origin_pid=pid, trait=trait, value=value, occurred_at=day(at), applied_at=day(at),
                 wave=1, offset_=offset, cause="record")  # fmt: skip
    for granted, at, offset in ((True, 0.9, 19), (False, 5, 28)):
        hand.row("event", offset_=offset, pid=10, origin_pid=10, type="track", name="Consent Updated", occurred_at=day(at),
                 recorded_at=day(at), source="shop", message_id=f"m-{offset}")  # fmt: skip
        hand.row("consent", pid=10, origin_pid=10, purpose="marketing", channel="email", granted=granted, occurred_at=day(at),
                 offset_=offset, source="signup form", text_version="v2")  # fmt: skip
    hand.row(
        "suppression", pid=13, origin_pid=13, channel="email", reason="hard_bounce", occurred_at=day(4), offset_=27
    )
    hand.row("unidentified", offset_=18, recorded_at=day(0.8), name=ORDER, reason="no_identifier")


def _welcome(hand: Hand) -> None:
    """Candidates 10: two entered, one refused, seven not qualified (one of them unknown)."""
    hand.order(20, 10, day(1), 100)
    hand.order(21, 11, day(1.1), 50)
    hand.order(22, 10, day(2), 30)
    hand.order(23, 13, day(2), 5)
    hand.order(24, 14, day(3), 20)
    hand.order(25, 15, day(3), 20)
    hand.enter(
        101, 10, 1, day(1), -1, 20, (day(1), "entered", -1, 0, 0), (day(1), "sent", 0, 1, 0),
        (day(6), "timer", 1, 2, 0), (day(6.3), "dropped", 2, -1, 0),
    )  # fmt: skip
    hand.end(101, 10, 1, day(6.3), "completed")
    hand.judge(101, 10, 1, 0, day(1), "send")
    hand.message("m1", 101, 10, 1, 0, day(1))
    hand.judge(101, 10, 1, 2, day(6), "defer", reason="quiet_hours", until=day(6.3), evidence='{"local":"23:10"}')
    hand.judge(
        101, 10, 1, 2, day(6.3), "drop", reason="no_consent", evidence='{"purpose":"marketing","channel":"email"}'
    )
    hand.enter(102, 14, 1, day(3), 0, 24, (day(3), "entered", -1, 0, 0))
    hand.judge(
        102,
        14,
        1,
        0,
        day(3),
        "defer",
        reason="cap",
        rule="weekly",
        until=day(70),
        evidence='{"channel":"email","zone":null}',
    )
    hand.row("refusal", pid=10, jid=1, ts=day(2), key="", reason="re_entry", rule="once", offset_=22)
    hand.row("nonqualified", jid=1, hour=day(1) + timedelta(hours=2), rule="when_unknown", n=1)
    hand.row("nonqualified", jid=1, hour=day(3), rule="when", n=1)
    hand.row("nonqualified", jid=1, hour=day(20), rule="when", n=5)


def _win_back(hand: Hand) -> None:
    """Nine enter (one late, its window is not over), four are held out. Values, treated: 100 10 30 0 0 0 0 0, held
    out: 40 0 60 0."""
    for pid in range(14, 26):
        hand.row("membership", pid=pid, origin_pid=pid, segment="lapsing", ts=day(10), entered=True, cause="time")
        arm = "treated" if pid < 22 else "holdout"
        hand.row("assignment", holdout="win_back_2011", pid=pid, origin_pid=pid, arm=arm, bucket=pid, ts=day(10), jid=2)
    for pid in range(22, 26):
        hand.row("refusal", pid=pid, jid=2, ts=day(10), key="", reason="holdout", rule="win_back_2011")
    hand.row("membership", pid=26, origin_pid=26, segment="lapsing", ts=day(50), entered=True, cause="time")
    hand.row("assignment", holdout="win_back_2011", pid=26, origin_pid=26, arm="treated", bucket=26, ts=day(50), jid=2)
    hand.row("membership", pid=14, origin_pid=14, segment="lapsing", ts=day(20), entered=False, cause="record")
    hand.engine.execute("UPDATE profile SET s_lapsing = pid BETWEEN 15 AND 26, s_vip = FALSE")
    for pid in range(14, 21):
        step = (pid + 1) % 2
        hand.enter(
            200 + pid, pid, 2, day(10), -1, None, (day(10), "entered", -1, step, step), (day(10), "sent", step, 2, None)
        )
        hand.judge(200 + pid, pid, 2, step, day(10), "send")
        hand.message(f"w{pid}", 200 + pid, pid, 2, step, day(10))
        hand.end(200 + pid, pid, 2, day(20) if pid < 16 else day(40), "goal" if pid < 16 else "time_limit")
    hand.row("transition", eid=219, pid=19, jid=2, ts=day(15), cause="timeout", from_step=2, to_step=-1, hop=3)
    hand.engine.execute("UPDATE enrollment_end SET ts = ?, reason = 'completed' WHERE eid = 219", [day(15)])
    hand.enter(221, 21, 2, day(10), -1, None, (day(10), "entered", -1, 0, 0))
    hand.judge(221, 21, 2, 0, day(10), "defer", reason="quiet_hours", until=day(10.4))
    hand.end(221, 21, 2, day(10.2), "disqualified")
    hand.enter(226, 26, 2, day(50), 2, None, (day(50), "entered", -1, 1, 1), (day(50), "dropped", 1, 2, None))
    hand.judge(226, 26, 2, 1, day(50), "drop", reason="unreachable")
    orders = ((30, 14, 100), (31, 15, 10), (32, 16, 50), (33, 22, 40), (34, 24, 60))
    for offset, pid, revenue in orders:
        hand.order(offset, pid, day(20), revenue)
    hand.order(35, 16, day(21), 20, REFUND)
    hand.order(36, 17, day(38), 70)


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of the store described above, written once."""
    path = tmp_path_factory.mktemp("hand") / "store.duckdb"
    engine = DuckEngine.open(path)
    writer = Hand(engine, make_project())
    writer.create()
    with engine.transaction():
        for write in (_definitions, _people, _welcome, _win_back):
            write(writer)
    engine.close()
    return path


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def hand(project: Project, written: Path, tmp_path: Path) -> Iterator[Hand]:
    """A copy of that store, to damage at will."""
    engine = DuckEngine.open(Path(shutil.copy(written, tmp_path / "store.duckdb")))
    yield Hand(engine, project)
    engine.close()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with its golden; `CADENZA_GOLDEN=write` writes it instead."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("CADENZA_GOLDEN") == "write":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no golden {path.name}: write it with `make golden`"
        assert text == path.read_text(encoding="utf-8"), (
            "the golden differs: `make golden` rewrites it, the diff is the review"
        )

    return compare
