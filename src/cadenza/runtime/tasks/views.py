"""Tasks as people see them. Instants are naive UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

TaskState = Literal["open", "accepted", "completed", "breached", "withdrawn"]
"""``open`` and ``accepted`` can be worked on; the others have ended."""
ACTIVE: tuple[TaskState, ...] = ("open", "accepted")


class TaskWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which tasks: of a team, an assignee, a journey, a person (its number); in a state (``active``: that can be worked
    on, ``any``); only those that are overdue."""

    team: str | None = None
    assignee: str | None = None
    journey: str | None = None
    person: int | None = None
    state: str = "active"
    overdue: bool = False
    limit: int = 100


class TaskRow(msgspec.Struct, frozen=True, kw_only=True):
    """A task as it stands. ``overdue``: it can be worked on and its time is up; ``ended_why``: why it was withdrawn."""

    task: str
    state: str
    team: str
    assignee: str | None
    title: str
    priority: int
    person: str
    journey: str
    opened_at: datetime
    due_at: datetime
    overdue: bool
    accepted_at: datetime | None
    ended_at: datetime | None
    outcome: str | None
    ended_by: str | None
    ended_why: str | None
    live: bool


class RecentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the person, as it was known when the task was opened."""

    event: str
    at: str
    properties: dict[str, Any] | None


class TaskMove(msgspec.Struct, frozen=True, kw_only=True):
    """A move of the person on the way to the task: when, what set it off, what was decided, where to."""

    at: datetime
    cause: str
    decided: tuple[str, ...]
    to: str


class TaskChange(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done to a task, or became of it. ``refused``: why it had no effect."""

    at: datetime
    change: str
    actor: str | None
    outcome: str | None
    team: str | None
    assignee: str | None
    note: str | None
    refused: str | None
    offset: int | None


class TaskShown(msgspec.Struct, frozen=True, kw_only=True):
    """A task with everything that helps to work on it. ``context`` and ``recent`` are as of its opening; ``way``: how the
    person came here; ``entered_by``: the event that began the passage, with its properties."""

    task: TaskRow
    outcomes: tuple[str, ...]
    context: dict[str, str | None]
    recent: tuple[RecentEvent, ...]
    entered_at: datetime
    entered_by: RecentEvent | None
    way: tuple[TaskMove, ...]
    history: tuple[TaskChange, ...]


class TaskReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said of a task is on record at ``offset``. ``decided``: a tick has taken it in; ``refused``: why it has
    no effect, if so; ``state``: of the task, as far as that is decided."""

    task: str
    change: str
    offset: int
    decided: bool
    refused: str | None
    state: str


class TeamFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a team stands with its live tasks: those that can be worked on, accepted and overdue among them; those ended;
    medians in seconds from opening."""

    team: str
    active: int
    accepted: int
    overdue: int
    completed: int
    breached: int
    withdrawn: int
    ever_breached: int
    seconds_to_accept: float | None
    seconds_to_complete: float | None
