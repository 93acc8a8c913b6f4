"""Triggers beyond events and segments, on a project as a user has it: they start journeys, and everybody can see why."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cadenza.errors import CadenzaError
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.surfaces.cli import app
from cadenza.workspace import Workspace

_JOURNEY = """    owner: me
    outcome: {{ metric: revenue_28d }}
    arena: null
    entry: {entry}
    exit: {{ goal: 'false', disqualified: 'false', superseded: true, time_limit: 90 days }}
    steps: [ {{ wait: 2 days }} ]
"""
_ENTRIES = {
    "rich": "{ on: { becomes: lifetime_revenue > 100 } }",
    "upgraded": "{ on: { trait: first_name, from: Ada, to: Bea } }",
    "called": "{ on: { api: true, where: reason = 'help' }, key: reason, again: replace }",
    "ordered": "{ on: { event: Order Completed }, late: 1 day, again: after_exit }",
    "missing": "{ on: { absence: { event: Order Completed, for: 14 days } } }",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Workspace.create(tmp_path / "shop")
    (tmp_path / "shop" / "contracts" / "more.yaml").write_text(
        "contract: Entry Requested\nproperties:\n  reason: { type: string }\n"
    )
    text = "journeys:\n" + "".join(f"  {name}:\n{_JOURNEY.format(entry=entry)}" for name, entry in _ENTRIES.items())
    (tmp_path / "shop" / "journeys" / "kinds.yaml").write_text(text)
    return tmp_path / "shop"


def take(workspace: Workspace, *calls: dict[str, Any]) -> None:
    collector = workspace.collector()
    asyncio.run(
        collector.keep(
            collector.received_at(), write_receipt(Receipt(source="website")), json.dumps({"batch": calls}).encode()
        )
    )
    collector.close()
    workspace.run(workspace.clock.now())


def order(n: int, revenue: int, **more: Any) -> dict[str, Any]:
    properties = {"order_id": f"o{n}", "revenue": revenue}
    return {
        "type": "track",
        "event": "Order Completed",
        "userId": "u1",
        "messageId": f"o{n}",
        "properties": properties,
        **more,
    }


def named(n: int, name: str) -> dict[str, Any]:
    return {"type": "identify", "userId": "u1", "messageId": f"n{n}", "traits": {"first_name": name}}


def entered(workspace: Workspace) -> dict[str, list[tuple[str, str, str | None]]]:
    found: dict[str, list[tuple[str, str, str | None]]] = {}
    for passage in workspace.explain("u1").passages:
        found.setdefault(passage.journey, []).append((passage.key, passage.trigger, passage.reason))
    return found


def test_what_starts_a_journey_and_what_is_said_of_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Workspace.open(folder) as workspace:
        workspace.apply()
        workspace.run()
        workspace.go_live()
        take(workspace, named(1, "Ada"), order(1, 60), order(2, 60), named(2, "Bea"), named(3, "Cleo"))
        take(workspace, order(3, 1, timestamp="2020-01-01T00:00:00Z"))
        first = workspace.entries.enter("called", user_id="u1", properties={"reason": "help"}, message_id="c1")
        again = workspace.entries.enter("called", user_id="u1", properties={"reason": "help"}, message_id="c1")
        assert (again.offset, again.duplicate) == (first.offset, True)
        workspace.run(workspace.clock.now())
    for reason in ("help", "talk"):
        with pytest.raises(SystemExit, match="0"):
            app(["enter", "called", "--user", "u1", "--property", f"reason={reason}", "-p", str(folder)])
    with Workspace.open(folder) as workspace:
        workspace.run(workspace.clock.now())
        found = entered(workspace)
        assert found["rich"] == [("", found["rich"][0][1], None)]
        assert found["rich"][0][1].startswith("lifetime_revenue > 100 becoming true with 'Order Completed', record ")
        assert found["upgraded"][0][1].startswith("first_name changing from Ada to Bea with record ")
        assert [(key, reason) for key, _, reason in found["called"]] == [("help", "replaced"), ("help", None)]
        assert len(found["upgraded"]) == 1
        figures = {j.name: j for j in workspace.report().journeys}
        late = {c.name: c.n for c in figures["ordered"].not_qualified}
        assert late == {"late": 1}
        assert all(
            figures[name].candidates == n for name, n in (("rich", 1), ("upgraded", 1), ("called", 2), ("ordered", 3))
        )
        told = workspace.explain("u1", "ordered").not_qualified
        assert [n.answer for n in told] == ["the event was too late"]
        assert {s.name for s in workspace.report().segments} == {"regulars"}
    capsys.readouterr()


def test_a_call_for_nobody_or_for_another_kind_of_journey_is_refused(folder: Path) -> None:
    with Workspace.open(folder) as workspace:
        workspace.apply()
        workspace.run()
        with pytest.raises(CadenzaError, match="'calld' in force is entered by a call"):
            workspace.entries.enter("calld", user_id="u1")
        with pytest.raises(CadenzaError, match="names nobody"):
            workspace.entries.enter("called")
