"""A plan says what a changed contract would do, and apply does not take one that breaks its promise."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from cadenza.clock import VirtualClock, to_micros
from cadenza.ledger.log import SqliteLog
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.contract_impact import RECENT_US, BreakingContract, recent_records
from cadenza.surfaces.plan_text import render_plan
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import Plan, Workspace
from tests.contracts.kit import prepare, track, written

NOW = datetime(2026, 11, 22, 12)
OLD = """contract: E
version: 1.0.0
compatibility: backward
properties: { a: { type: integer, minimum: 0 }, b: { type: string } }
"""
TIGHT = OLD.replace("1.0.0", "2.0.0").replace("minimum: 0", "minimum: 5").replace("b: {", "c: {")
SEGMENT = "segment: s\nwhen: sum_of('E', a) > 5\n"


@pytest.fixture
def workspace(tmp_path: Path):
    """A project in force, and ten records under its contract: a is 0 to 9, b is there in the last."""
    with Workspace.open(written(tmp_path, OLD, segments__s=SEGMENT), VirtualClock(NOW)) as opened:
        opened.apply()
        opened.run()
        calls = [track(a=n, **({"c": 1} if n == 9 else {})) | {"messageId": f"m{n}"} for n in range(10)]
        calls.append(track(a=1) | {"event": "Other", "messageId": "o"})
        log = SqliteLog.open(tmp_path / ".cadenza" / "log.db")
        log.write([prepare(opened.deployed(), *calls).batch], (), to_micros(NOW))
        log.close()
        opened.run()
        yield opened


def shown(plan: Plan, capsys: pytest.CaptureFixture[str]) -> str:
    Terminal(json=False).show(*render_plan(plan, sql=False))
    return capsys.readouterr().out


def test_the_plan_counts_recent_records_and_names_readers(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    written(workspace.folder, TIGHT.replace("backward", "none"), segments__s=SEGMENT)
    plan = workspace.plan()
    [found] = plan.contracts
    assert found.recent is not None and found.compatibility is not None
    assert (found.recent.judged, found.recent.failing, found.recent.outcomes) == (10, 6, {"quarantine": 6})
    assert found.recent.reasons == {"contract: E.a minimum": 5, "contract: E.c type": 1}
    assert [(f.field, [r.name for r in f.readers]) for f in found.fields] == [("a", ["s"])]
    assert found.compatibility.holds == "none" and found.compatibility.refused is None
    text = shown(plan, capsys)
    assert "Contract E 1.0.0 -> 2.0.0" in text
    assert "promised: none; holds: none" in text
    assert "a is read by segment s" in text
    assert "6 of 10 recent records would break it" in text
    workspace.apply()


def test_a_broken_promise_is_planned_and_not_applied(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    written(workspace.folder, TIGHT, segments__s=SEGMENT)
    text = shown(workspace.plan(), capsys)
    assert "BREAKS its promise" in text and "It will not be applied" in text
    before = workspace.status().log_records
    with pytest.raises(BreakingContract, match="'E' promises to be backward compatible"):
        workspace.apply()
    assert workspace.status().log_records == before


def test_a_plan_without_changed_contracts_reads_no_records(workspace: Workspace) -> None:
    written(workspace.folder, OLD, segments__s=SEGMENT.replace("> 5", "> 6"))
    assert workspace.plan().contracts == ()


def test_a_removed_contract_names_its_readers(workspace: Workspace) -> None:
    written(workspace.folder, "contract: Other\n", segments__s="segment: s\nwhen: events('Other') > 1\n")
    plans = {plan.name: plan for plan in workspace.plan().contracts}
    assert plans["E"].change == "removed" and plans["E"].fields[0].readers[0].name == "s"
    assert plans["Other"].recent is not None and plans["Other"].recent.judged == 1


def test_recent_is_bounded_by_count_and_by_age(tmp_path: Path) -> None:
    log = SqliteLog.open(tmp_path / "log.db")
    start = to_micros(NOW - timedelta(days=100))
    for n in range(100):
        record = NewRecord(
            kind="call", source="ab"[n % 2], message_id=str(n), body=b"{}", at=start + n * 86_400_000_000
        )
        log.append([record], to_micros(NOW))
    assert [r.message_id for r in recent_records(log)] == [str(n) for n in range(69, 100)]
    assert [r.message_id for r in recent_records(log, most=3)] == ["97", "98", "99"]
    assert [r.message_id for r in recent_records(log, most=4, source="a")] == ["96", "98"]
    assert len([*recent_records(log, since=0)]) == 100
    assert RECENT_US == 30 * 86_400_000_000
    log.close()
