"""``cadenza tasks``: what journeys handed to people; accept it, complete it, give it to others, comment on it."""

from __future__ import annotations

import getpass
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from cyclopts import App, Parameter

from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_INPUT, EXIT_OK
from cadenza.surfaces.reading import ask
from cadenza.surfaces.task_operations import TaskAccept, TaskComment, TaskComplete, TaskReassign
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import TaskChange, TaskReceipt, TaskRow, TaskShown, TeamFigures

tasks_app = App(name="tasks", help_format="plaintext")
States = Literal["active", "open", "accepted", "completed", "breached", "withdrawn", "any"]
Who = Annotated[str | None, Parameter(name=["--as"])]
_REFUSED = {
    "unknown_task": "the person has no such task",
    "already_accepted": "another has accepted it before",
    "already_completed": "it was completed before",
    "already_withdrawn": "it was withdrawn before",
    "already_breached": "it was given up before: its time was up",
    "unknown_outcome": "it has no such outcome any more",
}


@tasks_app.default
def teams(*, on: OnProject = HERE) -> int:
    """Show how each team stands: open, overdue, ended, median time to accept and to complete.

    ``tasks list``, ``show``, ``accept``, ``complete``, ``reassign`` and ``comment`` work on single tasks.
    """
    with using(on) as (workspace, terminal, _):
        found: list[TeamFigures] = ask(workspace, "task_teams")
        if on.json:
            terminal.answer(found)
        if not found:
            terminal.say("No journey has handed anybody to people.")
            return EXIT_OK
        rows = [
            (t.team, t.active, t.accepted, t.overdue, t.completed, t.breached, t.withdrawn, _took(t.seconds_to_accept),
             _took(t.seconds_to_complete))
            for t in found
        ]  # fmt: skip
        columns = (
            "team",
            "open",
            "accepted",
            "overdue",
            "completed",
            "given up",
            "withdrawn",
            "to accept",
            "to complete",
        )
        terminal.table("Tasks by team", columns, rows)
    return EXIT_OK


@tasks_app.command(name="list")
def list_tasks(
    *, team: str | None = None, assignee: str | None = None, journey: str | None = None, person: int | None = None,
    state: States = "active", overdue: bool = False, limit: int = 100, on: OnProject = HERE,
) -> int:  # fmt: skip
    """List tasks, the most urgent first.

    Parameters
    ----------
    team
        Only tasks of this team.
    assignee
        Only tasks of this member of the team.
    journey
        Only tasks of this journey.
    person
        Only tasks about the customer of this id (a number).
    state
        Only tasks in this state; "active" are those that can be worked on.
    overdue
        Only tasks whose time is up.
    limit
        How many at most.
    """
    with using(on) as (workspace, terminal, _):
        given = {"team": team, "assignee": assignee, "journey": journey, "person": person, "state": state}
        late = "true" if overdue else None
        found: list[TaskRow] = ask(workspace, "tasks", limit=limit, overdue=late, **given)
        if on.json:
            terminal.answer(found)
        if not found:
            terminal.say("There is no such task.")
            return EXIT_OK
        rows = [
            (t.task, _state(t), t.team, t.assignee, t.priority, _minute(t.due_at), t.person, t.journey, t.title) for t in found
        ]  # fmt: skip
        columns = ("task", "state", "team", "assignee", "priority", "due", "person", "journey", "title")
        terminal.table("Tasks", columns, rows)
    return EXIT_OK


@tasks_app.command
def show(task: str, /, *, on: OnProject = HERE) -> int:
    """Show one task: who it is about, why they are here, and what was done.

    Parameters
    ----------
    task
        The id of the task, as the list shows it.
    """
    with using(on) as (workspace, terminal, _):
        found: TaskShown = ask(workspace, "task", task=task)
        if on.json:
            terminal.answer(found)
        _show(terminal, found)
    return EXIT_OK


@tasks_app.command
def accept(task: str, /, *, as_: Who = None, on: OnProject = HERE) -> int:
    """Take a task on. Of several who do, the first in the log has it.

    Parameters
    ----------
    task
        The id of the task.
    as_
        Who takes it on; without it, the user of this machine.
    """
    return _say(on, "task_accept", task, TaskAccept(actor=_who(as_)))


@tasks_app.command
def complete(task: str, outcome: str, /, *, as_: Who = None, note: str = "", on: OnProject = HERE) -> int:
    """Complete a task with one of its outcomes: the person goes on by that arm.

    Parameters
    ----------
    task
        The id of the task.
    outcome
        One of the outcomes that ``tasks show`` names.
    as_
        Who says so; without it, the user of this machine.
    note
        What there is to say.
    """
    return _say(on, "task_complete", task, TaskComplete(outcome=outcome, actor=_who(as_), note=note))


@tasks_app.command
def reassign(
    task: str, /, *, team: str | None = None, assignee: str | None = None, as_: Who = None, note: str = "",
    on: OnProject = HERE,
) -> int:  # fmt: skip
    """Give a task to another team or person. Whoever accepted it is rid of it.

    Parameters
    ----------
    task
        The id of the task.
    team
        The team that is to work on it.
    assignee
        The member of the team.
    as_
        Who says so; without it, the user of this machine.
    note
        Why.
    """
    return _say(on, "task_reassign", task, TaskReassign(actor=_who(as_), team=team, assignee=assignee, note=note))


@tasks_app.command
def comment(task: str, note: str, /, *, as_: Who = None, on: OnProject = HERE) -> int:
    """Say something about a task, also about an ended one.

    Parameters
    ----------
    task
        The id of the task.
    note
        What there is to say.
    as_
        Who says so; without it, the user of this machine.
    """
    return _say(on, "task_comment", task, TaskComment(actor=_who(as_), note=note))


def _say(on: OnProject, operation: str, task: str, body: msgspec.Struct) -> int:
    with using(on) as (workspace, terminal, _):
        receipt: TaskReceipt = ask(workspace, operation, task=task, body=body)
        if on.json:
            terminal.answer(receipt)
        if receipt.refused is not None:
            why = _REFUSED.get(receipt.refused, receipt.refused)
            terminal.say(f"On record (offset {receipt.offset}), without effect: {why}.", style="bold red")
            return EXIT_INPUT
        done = f"task {receipt.task} is {receipt.state}." if receipt.decided else "it is decided with the next tick."
        terminal.say(f"On record (offset {receipt.offset}): {done}", style="green")
    return EXIT_OK


def _show(terminal: Terminal, found: TaskShown) -> None:
    t = found.task
    ended = f"{_minute(t.ended_at)}" + "".join(f", {part}" for part in (t.outcome, t.ended_by, t.ended_why) if part)
    rows = [
        ("title", t.title), ("state", _state(t)), ("team", t.team), ("assignee", t.assignee), ("priority", t.priority),
        ("person", t.person), ("journey", t.journey), ("opened", _minute(t.opened_at)), ("due", _minute(t.due_at)),
        *([("ended", ended)] if t.ended_at is not None else []), ("outcomes", ", ".join(found.outcomes)),
    ]  # fmt: skip
    terminal.table(f"Task {t.task}", ("what", "value"), rows)
    if found.context:
        values = [(name, "unknown" if value is None else value) for name, value in found.context.items()]
        terminal.table("The person, when it was opened", ("trait", "value"), values)
    if found.recent:
        events = [(e.at, e.event, _plain(e.properties)) for e in found.recent]
        terminal.table("What the person did before", ("at", "event", "properties"), events)
    way = [(_minute(m.at), m.cause, "; ".join(m.decided), m.to) for m in found.way]
    terminal.table("Why the person is here", ("at", "what happened", "decided", "then"), way)
    if found.history:
        rows = [
            (_minute(h.at), h.change if h.refused is None else f"{h.change} (refused: {h.refused})", *_about(h))
            for h in found.history
        ]
        terminal.table("What was done", ("at", "change", "by", "about", "note"), rows)


def _about(change: TaskChange) -> tuple[str | None, str, str | None]:
    said = (change.outcome, change.team, change.assignee)
    return change.actor, ", ".join(part for part in said if part), change.note


def _plain(properties: object) -> str:
    text = msgspec.json.encode(properties).decode() if properties else ""
    return text if len(text) <= 80 else text[:77] + "..."


def _who(name: str | None) -> str:
    return name if name is not None else getpass.getuser()


def _state(task: TaskRow) -> str:
    return f"{task.state}, overdue" if task.overdue else task.state


def _minute(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M}"


def _took(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(tasks_app)
