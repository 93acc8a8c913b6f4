"""The operations of the API on tasks: what is to be done, and what people say of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from cadenza.surfaces.operation import BadParameter, Operation, Parameter, limit_of
from cadenza.workspace import (
    TaskReceipt,
    TaskRow,
    TaskShown,
    TaskWanted,
    TeamFigures,
    Workspace,
    find_server,
)  # fmt: skip

Arguments = Mapping[str, Any]
STATES = ("active", "open", "accepted", "completed", "breached", "withdrawn", "any")
LOOKS, LOOK_S = 100, 0.02
"""How often, and after how long each time, an answer looks whether the tick has decided what was said."""


class TaskAccept(msgspec.Struct, frozen=True, kw_only=True):
    """Who takes the task on."""

    actor: str


class TaskComplete(msgspec.Struct, frozen=True, kw_only=True):
    """How the task ended, who says so, and what there is to say."""

    outcome: str
    actor: str
    note: str = ""


class TaskReassign(msgspec.Struct, frozen=True, kw_only=True):
    """Who gives the task to which team, person or both."""

    actor: str
    team: str | None = None
    assignee: str | None = None
    note: str = ""


class TaskComment(msgspec.Struct, frozen=True, kw_only=True):
    """Who says what."""

    actor: str
    note: str


def _list(workspace: Workspace, given: Arguments) -> list[TaskRow]:
    wanted = TaskWanted(
        team=given["team"], assignee=given["assignee"], journey=given["journey"], person=given["person"],
        state=given["state"] or "active", overdue=given["overdue"] == "true", limit=given["limit"],
    )  # fmt: skip
    return workspace.tasks.list(wanted)


def _accept(workspace: Workspace, given: Arguments) -> TaskReceipt:
    said: TaskAccept = given["body"]
    return _decided(workspace, workspace.tasks.accept(given["task"], _actor(said.actor)))


def _complete(workspace: Workspace, given: Arguments) -> TaskReceipt:
    said: TaskComplete = given["body"]
    receipt = workspace.tasks.complete(given["task"], said.outcome, _actor(said.actor), said.note)
    return _decided(workspace, receipt)


def _reassign(workspace: Workspace, given: Arguments) -> TaskReceipt:
    said: TaskReassign = given["body"]
    receipt = workspace.tasks.reassign(given["task"], _actor(said.actor), said.team, said.assignee, said.note)
    return _decided(workspace, receipt)


def _comment(workspace: Workspace, given: Arguments) -> TaskReceipt:
    said: TaskComment = given["body"]
    return _decided(workspace, workspace.tasks.comment(given["task"], _actor(said.actor), said.note))


def _actor(name: str) -> str:
    if not name.strip():
        raise BadParameter("who says so?", where="actor", remedy="Give the name or address of who works on the task.")
    return name


def _decided(workspace: Workspace, receipt: TaskReceipt) -> TaskReceipt:
    """The receipt once the tick has decided it. Beside a server its tick does; alone, this process ticks. A tick that takes
    longer than an answer may is not waited for: the record is durable already."""
    if find_server(workspace.folder) is None:
        workspace.tick()
    for _ in range(LOOKS):
        receipt = workspace.tasks.decided(receipt)
        if receipt.decided:
            break
        threading.Event().wait(LOOK_S)
    return receipt


_TASK = Parameter(name="task", place="path", meaning="The id of a task.")

TASK_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/tasks", name="tasks", answer=list[TaskRow], run=_list,
        summary="Tasks that journeys handed to people, the most urgent first",
        parameters=(
            limit_of(100, 1_000),
            Parameter(name="team", place="query", meaning="Only tasks of this team."),
            Parameter(name="assignee", place="query", meaning="Only tasks of this person of the team."),
            Parameter(name="journey", place="query", meaning="Only tasks of this journey."),
            Parameter(name="person", place="query", kind="integer", meaning="Only tasks about the customer of this id."),
            Parameter(name="state", place="query", enum=STATES,
                      meaning="Only tasks in this state; without it, those that can be worked on."),
            Parameter(name="overdue", place="query", enum=("true", "false"), meaning="Only tasks whose time is up."),
        ),
    ),
    Operation(
        path="/api/tasks/teams", name="task_teams", answer=list[TeamFigures],
        run=lambda workspace, _: workspace.tasks.teams(),
        summary="How each team stands: open, overdue, ended, time to accept and to complete",
    ),
    Operation(
        path="/api/tasks/{task}", name="task", answer=TaskShown, parameters=(_TASK,),
        run=lambda workspace, given: workspace.tasks.show(given["task"]),
        summary="One task: who it is about, why they are here, and its history",
    ),
    Operation(
        path="/api/tasks/{task}/accept", name="task_accept", method="POST", group="tasks", answer=TaskReceipt,
        run=_accept, parameters=(_TASK,), body=TaskAccept,
        summary="Take a task on; of several who do, the first in the log has it",
    ),
    Operation(
        path="/api/tasks/{task}/reassign", name="task_reassign", method="POST", group="tasks", answer=TaskReceipt,
        run=_reassign, parameters=(_TASK,), body=TaskReassign,
        summary="Give a task to another team or person",
    ),
    Operation(
        path="/api/tasks/{task}/comment", name="task_comment", method="POST", group="tasks", answer=TaskReceipt,
        run=_comment, parameters=(_TASK,), body=TaskComment,
        summary="Say something about a task",
    ),
    Operation(
        path="/api/tasks/{task}/complete", name="task_complete", method="POST", group="tasks", answer=TaskReceipt,
        run=_complete, parameters=(_TASK,), body=TaskComplete,
        summary="Complete a task with one of its outcomes: the person goes on by that arm",
    ),
)  # fmt: skip
