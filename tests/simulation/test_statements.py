"""How many statements a wave takes: few, and not more for more journeys (DESIGN section 7)."""

from __future__ import annotations

import re

import msgspec
import pytest

from cadenza.clock import VirtualClock
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
    Property,
    Send,
    Template,
    TraitDefinition,
    Trigger,
    Wait,
)  # fmt: skip
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.tick import Ticker
from cadenza.store.duckdb_engine import DuckEngine
from tests.simulation.engine import FixedLog, HeldOutbox

MOST_STATEMENTS = 66
"""Of one live tick with one event that enters journeys and sends: landing, lanes and one wave with all stages."""
MOST_PROFILE_SCANS = 3


def project(journeys: int) -> Project:
    """``journeys`` alike, all entered by one event, each sending at once."""
    return Project(
        contracts=(Contract(name="Signed Up", properties={"plan": Property(type="string")}),),
        traits=(
            TraitDefinition(name="email", type="string", from_="traits.email"),
            TraitDefinition(name="sign_ups", type="integer", value=parse("events('Signed Up')")),
        ),
        journeys=tuple(
            Journey(
                name=f"j{i:02}", owner="o", outcome=Outcome(metric="m"), arena=None, priority=i,
                entry=Entry(on=Trigger(event="Signed Up"), when=parse(f"sign_ups < {i + 100}"), again="after_exit"),
                exit=Exit(goal=FALSE, disqualified=parse("email is null"), superseded=False, time_limit_s=10**6),
                steps=(Send(template="t"), Wait(duration_s=600)),
            )
            for i in range(journeys)
        ),
        policy=Policy(), destinations=(Destination(name="mail", channel="email", adapter="mailbox"),),
        templates=(Template(name="t", channel="email", purpose="service", message_class="transactional", body="hi"),),
        metrics=(Metric(name="m", kind="count", event="Signed Up", within_s=60),),
    )  # fmt: skip


def record(offset: int, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=1_700_000_000_000_000 + offset, writer="main", kind=kind, source="test",
        message_id=f"m{offset}", imported=False, body=body,
    )  # fmt: skip


def sign_up(offset: int) -> Record:
    body = {"type": "track", "event": "Signed Up", "userId": f"u{offset}", "occurred_at": 1_700_000_000_000_000,
            "properties": {"plan": "pro"}, "traits": {"email": f"u{offset}@example.com"}}  # fmt: skip
    return record(offset, "call", msgspec.json.encode(body))


def statements_of_one_event(journeys: int, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    log = FixedLog([record(1, "deploy", deploy_body(project(journeys))), sign_up(2)])
    log.shown = 1
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, log, HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    ticker.tick()
    seen: list[str] = []
    run = DuckEngine.query
    monkeypatch.setattr(DuckEngine, "query", lambda self, sql, p=None: (seen.append(sql), run(self, sql, p))[1])
    log.shown = 2
    report = ticker.tick()
    monkeypatch.undo()
    engine.close()
    assert (report.waves, report.messages) == (1, journeys)
    return seen


def test_a_tick_takes_few_statements_whatever_the_number_of_journeys(monkeypatch: pytest.MonkeyPatch) -> None:
    one, many = (statements_of_one_event(n, monkeypatch) for n in (1, 40))
    assert len(one) == len(many), "a statement per journey has crept in"
    assert len(many) <= MOST_STATEMENTS, "\n".join(s[:90] for s in many)


def test_few_statements_scan_every_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = statements_of_one_event(1, monkeypatch)
    scans = [s for s in seen if re.search(r"(FROM|JOIN) profile\b", s)]
    assert 0 < len(scans) <= MOST_PROFILE_SCANS, "\n".join(s[:90] for s in scans)
