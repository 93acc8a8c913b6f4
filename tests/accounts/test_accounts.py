"""An account as those see it who run its journeys: tasks, explanations, the report, and how lanes stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.definitions.kinds import Accounts, Identifier, Identity
from cadenza.errors import CadenzaError
from cadenza.ids import ACCOUNTS, named_subject, record_number, subject_name
from cadenza.ports.ledger import NewRecord, Record
from cadenza.runtime.deploy import deploy_body
from cadenza.runtime.tick import Ticker
from cadenza.store.duckdb_engine import DuckEngine
from cadenza.surfaces.explain_text import explanation_text
from tests.simulation.engine import FixedLog, HeldOutbox
from tests.simulation.test_statements import project
from tests.tasks.kit import Shop

FILES: dict[str, str | None] = {
    "identity.yaml": """
identifiers:
  - { type: user_id, from: userId }
  - { type: email, from: traits.email }
accounts: { from: context.groupId, blocked: [staff] }
""",
    "traits/account.yaml": """
traits:
  plan: { type: string, from: traits.plan }
""",
    "journeys/grow.yaml": """
journey: grow
subject: account
owner: sales@shop.example
outcome: { metric: revenue_28d }
entry: { on: { event: Order Completed }, when: plan = 'team', again: after_exit }
exit: { goal: event('Signed Up'), disqualified: 'false', superseded: false, time_limit: 30 days }
steps:
  - hand_off: { team: sales, title: Offer more seats, due: 3 days, context: [plan, orders], outcomes: { won: { steps: [] } } }
""",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    Shop.create_files(tmp_path / "shop", FILES)
    found = Shop(tmp_path / "shop", None)
    with found.workspace:
        yield found


def _order(shop: Shop, who: str, account: str | None) -> None:
    context = {"groupId": account} if account else {}
    shop.say(who, "Order Completed", {"order_id": "A-1", "revenue": 20}, context=context)


def _group(shop: Shop, who: str, account: str, **said: Any) -> None:
    at = to_micros(shop.clock.now())
    body = {"type": "group", "userId": who, "groupId": account, "occurred_at": at, "properties": said}
    record = NewRecord(kind="call", source="website", message_id=f"g{at}", body=msgspec.json.encode(body))
    shop.workspace._log.append([record], at)
    shop.later(seconds=1)


def test_an_account_is_handed_over_and_explained(shop: Shop) -> None:
    _order(shop, "u1", "acme")
    _order(shop, "u2", None)
    _group(shop, "u2", "acme", plan="team", seats=9)
    _order(shop, "u2", "acme")
    _order(shop, "u2", "staff")

    task = shop.task("open")
    assert task.person == "a_2", "the account that record 2 made known"
    shown = shop.workspace.tasks.show(task.task)
    assert shown.context == {"plan": "team", "orders": "2"}, "of u1 and u2, and not what u2 ordered for themselves"
    explained = shop.workspace.explain("account:acme")
    assert (explained.person, [p.trigger for p in explained.passages]) == ("a_2", ["'Order Completed', record 5"])
    assert [(i.type, i.value, i.offset) for i in explained.identifiers] == [("account", "acme", 2)]
    [unanswered] = explained.not_qualified
    assert (unanswered.journey, unanswered.answer, unanswered.offset) == ("grow", "unknown", 2)
    assert "record 4" in explanation_text(explained), "where the plan is from"
    person = shop.workspace.explain("u2")
    assert (
        [p.journey for p in person.passages if p.journey == "grow"]
        == []
        == [n for n in person.not_qualified if n.journey == "grow"]
    )
    assert "plan" not in {t.name for t in person.traits if t.value is not None}, (
        "what a group call says is the account's"
    )
    shop.workspace.tasks.complete(task.task, "won", "ann")
    shop.later(seconds=1)
    assert shop.workspace.explain("a_2").passages[0].reason == "completed"
    with pytest.raises(CadenzaError, match="'a_2' is an account, and messages go to persons"):
        shop.workspace.suppressions.add("a_2", "manual", channel="email")
    with pytest.raises(CadenzaError, match="there is no person 'staff'"):
        shop.workspace.explain("staff")


def test_the_report_counts_persons_and_candidates_by_subject(shop: Shop) -> None:
    _group(shop, "u1", "acme", plan="team")
    _order(shop, "u1", "acme")
    _order(shop, "u2", "globex")
    report = shop.workspace.report()
    assert (report.people.living, dict((e.name, e.n) for e in report.events)["Order Completed"]) == (2, 2)
    assert [c for c in report.checks if not c.holds] == []
    grow = next(j for j in report.journeys if j.name == "grow")
    assert (grow.candidates, grow.entered) == (2, 1)
    assert shop.workspace.status().persons == 2


def test_numbers_have_names() -> None:
    assert [subject_name(57), subject_name(ACCOUNTS + 57)] == ["p_57", "a_57"]
    assert [named_subject(name) for name in ("p_57", "a_57", "acme", "p_x", f"p_{ACCOUNTS}", "a_")] == [
        57, ACCOUNTS + 57, None, None, None, None,
    ]  # fmt: skip
    assert [record_number(57), record_number(ACCOUNTS + 57)] == [57, 57]


# --- lanes, and what accounts cost ---------------------------------------------------------------------------


def _record(offset: int, kind: str, body: bytes) -> Record:
    return Record(
        offset=offset, recorded_at=1_700_000_000_000_000 + offset, writer="main", kind=kind, source="test",
        message_id=f"m{offset}", imported=False, body=body,
    )  # fmt: skip


def _said(offset: int, who: str, account: str) -> Record:
    body: dict[str, Any] = {"type": "track", "event": "Signed Up", "userId": who, "context": {"groupId": account}}
    body |= {"occurred_at": 1_700_000_000_000_000, "properties": {}, "traits": {"email": f"{who}@example.com"}}
    return _record(offset, "call", msgspec.json.encode(body))


def _ticked(
    records: list[Record], monkeypatch: pytest.MonkeyPatch | None = None, accounts: bool = True, max_waves: int = 512
) -> tuple[int, list[tuple[Any, ...]], int]:
    """Waves of the tick that takes all records at once, the accounts with their events, and how many statements."""
    identity = Identity(
        identifiers=(Identifier(type="user_id", source="userId"),), accounts=Accounts() if accounts else None
    )
    deployed = msgspec.structs.replace(project(1), identity=identity)
    log = FixedLog([_record(1, "deploy", deploy_body(deployed)), *records])
    log.shown = 1
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, log, HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    ticker.tick()
    log.shown = len(records) + 1
    seen: list[str] = []
    run = DuckEngine.query
    if monkeypatch is not None:
        monkeypatch.setattr(DuckEngine, "query", lambda self, sql, p=None: (seen.append(sql), run(self, sql, p))[1])
    waves, more = 0, True
    while more:
        report = ticker.tick(max_waves=max_waves)
        waves, more = waves + report.waves, report.more
    if monkeypatch is not None:
        monkeypatch.undo()
    rows = engine.query(
        "SELECT i.value, i.pid, count(*) FROM identifier AS i JOIN event AS e ON e.pid = i.pid WHERE i.type = 'account' GROUP BY ALL ORDER BY 1"
    )
    engine.close()
    return waves, rows, len(seen)


def test_an_account_does_not_couple_its_people() -> None:
    records = [_said(n, f"u{n}", "acme") for n in range(2, 8)]
    waves, accounts, _ = _ticked(records)
    assert accounts == [("acme", ACCOUNTS + 2, 6)]
    assert waves == 6, "the account's lane has an item for each of its records"
    assert _ticked([*records, _said(8, "u2", "globex")])[0] == 6, "and nobody's second record waits for another's"
    assert _ticked(records, max_waves=1)[1] == accounts, "what is carried over is taken up once"


def test_what_came_before_the_first_deployment_speaks_of_accounts_too() -> None:
    records = [_said(1, "u1", "acme"), _said(2, "u2", "acme")]
    deployed = msgspec.structs.replace(
        project(1), identity=Identity(identifiers=(Identifier(type="user_id", source="userId"),), accounts=Accounts())
    )
    log = FixedLog([*records, _record(3, "deploy", deploy_body(deployed)), _said(4, "u1", "acme")])
    engine = DuckEngine.open(None, threads=1)
    ticker = Ticker(engine, log, HeldOutbox(), VirtualClock())  # type: ignore[arg-type]
    log.shown = 2
    ticker.tick()
    log.shown = 4
    ticker.run()
    found = engine.query("SELECT pid, count(*) FROM event GROUP BY pid ORDER BY pid")
    engine.close()
    assert found == [(1, 2), (2, 1), (ACCOUNTS + 1, 3)]


def test_accounts_cost_two_statements_a_tick_and_none_where_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    records = [_said(2, "u2", "acme"), _said(3, "u3", "globex")]
    without = _ticked(records, monkeypatch, accounts=False)[2]
    waves, _, statements = _ticked(records, monkeypatch)
    assert (waves, statements - without) == (1, 2)
