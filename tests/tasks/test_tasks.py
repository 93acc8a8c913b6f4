"""Tasks from their opening to their end, as those see them who work on them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from cadenza.errors import CadenzaError, StateError
from cadenza.ports.ledger import NewRecord
from cadenza.runtime.tasks import TaskWanted
from cadenza.surfaces.api import api_app
from cadenza.surfaces.metrics import exposition
from tests.tasks.kit import START, Shop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    found = Shop(tmp_path / "shop")
    with found.workspace:
        yield found


def test_a_task_shows_who_it_is_about_and_why(shop: Shop) -> None:
    shop.say("u1", traits={"email": "u1@shop.example"})
    shop.order("u1", 100)
    shop.say("u1", "Page Seen", {"path": "/"})  # nothing reacts to it, and it is shown all the same
    shop.order("u1")
    shown = shop.workspace.tasks.show(shop.task().task)

    task = shown.task
    assert (task.state, task.team, task.title, task.priority, task.person) == (
        "open",
        "sales",
        "Thank for the order",
        80,
        "p_2",
    )
    assert task.due_at - task.opened_at == timedelta(days=2)
    assert shown.outcomes == ("won", "lost")
    opened = "2024-05-06T09:00:03.000000Z"
    assert shown.context == {
        "orders": "2",
        "lifetime_revenue": "1000.0000",
        "last_order_at": opened,
        "first_name": None,
    }
    assert [event.event for event in shown.recent] == ["Order Completed", "Page Seen", "Order Completed"]
    assert shown.recent[0].properties == {"order_id": "A-1", "revenue": 900.0}
    assert shown.entered_by is not None and shown.entered_by.at == opened
    assert [(move.cause, move.to) for move in shown.way] == [
        ("entered", "handed to team sales ('Thank for the order'), due in 2 days")
    ]


def test_the_outcome_is_the_arm(shop: Shop) -> None:
    shop.order("u1")
    shop.order("u2")
    first, second = (row.task for row in shop.workspace.tasks.list(TaskWanted()))
    desk = shop.workspace.tasks
    desk.accept(first, "ann")
    shop.later(hours=1)
    assert [row.state for row in desk.list(TaskWanted(assignee="ann"))] == ["accepted"]
    receipt = desk.complete(first, "won", "ann", "She was glad.")
    desk.complete(second, "lost", "bob")
    shop.later(seconds=1)
    decided = desk.decided(receipt)
    assert (decided.decided, decided.refused, decided.state) == (True, None, "completed")
    assert shop.ends() == ["won"], "the other arm waits for a day"
    done = desk.show(first)
    assert [(h.change, h.actor, h.outcome, h.note) for h in done.history] == [
        ("accepted", "ann", None, None), ("completed", "ann", "won", "She was glad."),
    ]  # fmt: skip
    [sales] = desk.teams()
    assert (sales.active, sales.completed, round(sales.seconds_to_accept or 0)) == (0, 2, 2)
    [figures] = [j for j in shop.workspace.report().journeys if j.name == "big_order"]
    assert [(way.name, way.n) for way in figures.tasks] == [("lost", 1), ("won", 1)]
    assert b'cadenza_tasks{state="completed",team="sales"} 2.0' in exposition(shop.workspace)


def test_the_first_in_the_log_has_it(shop: Shop) -> None:
    """Two accept before either is decided: both are on record, and everybody sees who has it."""
    shop.order("u1")
    task, desk = shop.task().task, shop.workspace.tasks
    receipts = [desk.accept(task, "ann"), desk.accept(task, "bob")]
    shop.later(seconds=1)
    assert [desk.decided(receipt).refused for receipt in receipts] == [None, "already_accepted"]
    assert shop.task().assignee == "ann"
    with pytest.raises(StateError, match="ann has accepted this task"):
        desk.accept(task, "bob")
    desk.reassign(task, "ann", assignee="bob")
    shop.later(seconds=1)
    assert (shop.task().state, shop.task().assignee) == ("open", "bob")
    desk.accept(task, "bob")
    shop.later(seconds=1)
    assert (shop.task().state, shop.task().assignee) == ("accepted", "bob")


def test_time_is_kept(shop: Shop) -> None:
    shop.order("u1")
    task, desk = shop.task().task, shop.workspace.tasks
    desk.accept(task, "ann")
    shop.later(days=2)
    assert (shop.task().state, shop.task().overdue) == ("accepted", True)
    assert desk.list(TaskWanted(overdue=True)) != []
    shop.later(hours=1)
    passed = shop.task()
    assert (passed.state, passed.team, passed.assignee, passed.overdue) == ("open", "leads", None, False)
    assert passed.due_at == START + timedelta(days=3, hours=1)
    shop.later(days=1)
    assert (shop.task().state, shop.ends()) == ("breached", ["given_up"])
    with pytest.raises(StateError, match=r"given up at .*not completed within 3 days 1 hour\. .* on record"):
        desk.complete(task, "won", "ann")
    shop.later(seconds=1)
    assert shop.changes()[-1] == ("completed", "already_breached"), "nothing that was said is lost"
    assert desk.teams()[0].ever_breached == 1


def test_an_exit_withdraws_the_task(shop: Shop) -> None:
    shop.order("u1")
    task, desk = shop.task().task, shop.workspace.tasks
    shop.say("u1", type="page", properties={"name": "thanks"})
    assert (shop.task().state, shop.task().ended_why, shop.ends()) == ("withdrawn", "goal", ["goal"])
    with pytest.raises(StateError, match=r"withdrawn at .*\(goal\).* on record \(offset"):
        desk.complete(task, "won", "ann")
    with pytest.raises(StateError, match="withdrawn"):
        desk.accept(task, "ann")
    desk.comment(task, "ann", "I had called already.")
    shop.later(seconds=1)
    [passage] = shop.workspace.explain("u1", "big_order").passages
    assert [change.words for change in passage.tasks[0].changes] == [
        "withdrawn, since the passage ended: goal",
        "completed as 'won' by ann, without effect (already withdrawn)",
        "commented by ann: I had called already.",
    ]
    assert shop.changes()[-2:] == [("completed", "already_withdrawn"), ("commented", None)]


def test_what_cannot_be_said(shop: Shop) -> None:
    shop.order("u1")
    task, desk = shop.task().task, shop.workspace.tasks
    with pytest.raises(CadenzaError, match=r"'wonn' is no outcome of this task\. Did you mean 'won'\?"):
        desk.complete(task, "wonn", "ann")
    with pytest.raises(CadenzaError, match=f"there is no task '{task}x'. Did you mean '{task}'?"):
        desk.accept(f"{task}x", "ann")
    with pytest.raises(CadenzaError, match="to whom"):
        desk.reassign(task, "ann")
    with pytest.raises(CadenzaError, match="4,000"):
        desk.comment(task, "ann", "x" * 4_001)
    assert shop.workspace._log.head().offset == 2, "nothing of it is on record"


def test_coming_again_is_another_task(shop: Shop) -> None:
    shop.order("u1")
    first = shop.task().task
    shop.workspace.tasks.complete(first, "won", "ann")
    shop.later(seconds=1)
    shop.order("u1")
    assert shop.task("active").task != first
    with pytest.raises(StateError, match="completed by ann as 'won'"):
        shop.workspace.tasks.complete(first, "lost", "bob")


def test_merged_persons_keep_one_passage_and_its_task(shop: Shop) -> None:
    shop.order("u1")
    shop.say("u2", "Order Completed", {"order_id": "A-2", "revenue": 900}, traits={"email": "two@shop.example"})
    shop.say("u1", traits={"email": "two@shop.example"})
    rows = shop.workspace.tasks.list(TaskWanted(state="any"))
    assert sorted((row.state, row.ended_why, row.person) for row in rows) == [
        ("open", None, "p_2"), ("withdrawn", "merged", "p_2"),
    ]  # fmt: skip
    shop.workspace.tasks.complete(next(row.task for row in rows if row.state == "open"), "won", "ann")
    shop.later(seconds=1)
    assert sorted(shop.ends()) == ["merged", "won"]


def test_replayed_history_gives_nobody_work(shop: Shop) -> None:
    log, now = shop.workspace._log, shop.clock.micros()
    log.append([NewRecord(kind="command", source="t", message_id="c1", body=b'{"command":"replay"}')], now)
    shop.order("u1")
    assert shop.workspace.tasks.list(TaskWanted(state="any")) == []
    [row] = shop.workspace.tasks.list(TaskWanted(state="any", person=3))
    assert (row.live, row.state) == (False, "open")
    with pytest.raises(StateError, match="while history was replayed"):
        shop.workspace.tasks.accept(row.task, "ann")
    assert shop.workspace.tasks.teams() == []


def test_marketing_waits_for_the_task_of_another_journey(shop: Shop) -> None:
    shop.say("u1", traits={"email": "u1@shop.example", "time_zone": "Europe/London"})
    shop.say("u1", "Consent Updated", {"purpose": "marketing", "channel": "email", "granted": True})
    shop.order("u1")
    shop.say("u1", "Signed Up", {"plan": "free"})
    decided = "SELECT verdict, reason, rule FROM decision ORDER BY ts, eid"
    held = {"verdict": "defer", "reason": "hand_off", "rule": "big_order"}
    assert shop.workspace.query(decided) == [held]
    shop.workspace.tasks.complete(shop.task().task, "lost", "ann")
    shop.later(seconds=1)
    assert shop.workspace.query(decided) == [held, {"verdict": "send", "reason": None, "rule": None}]


def test_over_http(shop: Shop) -> None:
    shop.order("u1")
    with TestClient(api_app(shop.workspace, None), base_url="http://127.0.0.1:8400") as client:
        [row] = client.get("/api/tasks?team=sales").json()
        path = f"/api/tasks/{row['task']}"
        assert client.get(path).json()["outcomes"] == ["won", "lost"]
        said = client.post(f"{path}/accept", json={"actor": "ann"}).json()
        assert (said["decided"], said["refused"], said["state"]) == (True, None, "accepted")
        taken = client.post(f"{path}/accept", json={"actor": "bob"})
        assert (taken.status_code, taken.json()["detail"]) == (409, "ann has accepted this task.")
        assert client.post(f"{path}/complete", json={"actor": "ann", "outcome": "maybe"}).status_code == 404
        assert client.post(f"{path}/complete", json={"actor": " ", "outcome": "won"}).status_code == 400
        done = client.post(f"{path}/complete", json={"actor": "ann", "outcome": "won"}).json()
        assert (done["refused"], done["state"]) == (None, "completed")
        assert client.post(f"{path}/complete", json={"actor": "ann", "outcome": "won"}).status_code == 409
        assert client.get("/api/tasks").json() == []
        assert client.get("/api/tasks/teams").json()[0]["completed"] == 1
    assert shop.ends() == ["won"]
