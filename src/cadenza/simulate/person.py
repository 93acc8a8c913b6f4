"""What the reference model keeps of one person, and where an enrollment can stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from cadenza.clock import EPOCH
from cadenza.definitions.kinds import Branch, Call, HandOff, Identifier, Journey, Split, Step, Subject, WaitFor
from cadenza.definitions.project import Project
from cadenza.ids import is_account
from cadenza.simulate.evaluate import Event, Value, View, json_text

START, END = "start", "end"
_BLOCKED = {"", "null", "none", "undefined", "nan", "unknown", "anonymous", "test", "0", "-1"}


class Task(msgspec.Struct, kw_only=True, eq=False):
    """A task opened at a hand-off. ``stage``: how often its time was up; ``ended``: how, once it has."""

    task_id: str
    pid: int
    step: HandOff
    accepted_by: str | None = None
    outcome: str | None = None
    stage: int = 0
    ended: str | None = None
    stopped: bool = False


class Asked(msgspec.Struct, kw_only=True, eq=False):
    """A question put to a service. ``refused``: why it was not allowed; ``result``: answered or failed, once it is."""

    call_id: str
    eid: int
    journey: str
    channel: str
    step: Call
    deliverable: bool
    refused: str | None = None
    result: str | None = None


class Enrollment(msgspec.Struct, kw_only=True, eq=False):
    """One passage of a person and entry key through a journey. ``step`` is a path in the journey's tree."""

    eid: int
    origin: int
    journey: Journey
    key: str
    entered_at: datetime
    limit_at: datetime
    step: str = START
    wake_at: datetime | None = None
    due_since: datetime | None = None
    check_at: datetime | None = None
    """When time alone may next change what it waits for, or may exit by."""
    verdict: str | None = None
    """At a send: ``sent`` or ``dropped`` once that is known."""
    moves: int = 0
    """How often it has moved from one place to rest to another; entering is one."""
    flags: dict[str, bool] = {}
    entered: dict[str, Value] = {}
    """The values at entry of the traits that its conditions read so."""
    jumps: dict[str, int] = {}
    """How often each jump was taken, by its path."""
    seen: set[int] = set()
    """At a wait_for with ``all``: which of its conditions have been TRUE since arrival."""
    still: tuple[str, datetime] | None = None
    """While its journey pauses: how (freeze or run) and since when."""
    clocks: tuple[datetime | None, datetime] = (None, EPOCH)
    """``wake_at`` and ``limit_at`` as they were when the pause began."""
    restarted: bool = False
    """Whether it began because a version took the place of another."""
    leaving: str = ""
    """The exit by which it has left, while it takes the last steps of that."""
    held: tuple[str, str, str] | None = None
    """The way on that a pause held back: cause, path that follows, reason where that is the end."""
    task: Task | None = None
    """The last one that it opened."""
    asked: Asked | None = None
    """The last question that it put to a service."""
    entry: Event | None = None
    """The record that was the item in which it began."""

    def sees(self, view: View) -> View:
        """What a condition of this passage sees."""
        return msgspec.structs.replace(view, flags=self.flags, entered=self.entered)

    def due(self, now: datetime) -> bool:
        return self.wake_at is not None and self.wake_at <= now


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message decided to be sent."""

    message_id: str
    eid: int
    journey: str
    template: str
    channel: str
    topic: str
    marketing: bool
    address: str
    planned_at: datetime
    deliverable: bool


class Suppression(msgspec.Struct, frozen=True):
    """A reason not to use a channel (``*``: any), which nobody has ended; it ends at ``until`` by itself."""

    channel: str
    reason: str
    until: datetime | None = None


class Person(msgspec.Struct, kw_only=True, eq=False):
    """A living person; a merge pours the loser's lists into the survivor's."""

    pid: int
    events: list[Event] = []
    values: list[tuple[str, datetime, int, str]] = []
    """Trait, occurred_at, order of application, text."""
    consents: list[tuple[str, str, datetime, bool]] = []
    """Purpose, channel, occurred_at, granted."""
    suppressions: list[Suppression] = []
    messages: list[Message] = []
    enrollments: list[Enrollment] = []
    assignments: list[tuple[str, datetime, int, str]] = []
    """Holdout, when, origin pid, arm."""
    tasks: list[Task] = []
    asked: list[Asked] = []
    segments: set[str] = set()
    check_at: datetime | None = None

    def is_a(self, subject: Subject) -> bool:
        """Whether it is a person, or an account."""
        return is_account(self.pid) == (subject == "account")

    def live(self) -> list[Enrollment]:
        return sorted((e for e in self.enrollments if e.step != END), key=lambda e: e.eid)

    def due_at(self) -> datetime | None:
        """When the person's next timer is due."""
        times = [t for e in self.live() for t in (e.wake_at, e.check_at)] + [self.check_at]
        return min((t for t in times if t is not None), default=None)

    def take_over(self, loser: Person) -> None:
        """Everything of the loser becomes this person's."""
        lists = ("events", "values", "consents", "suppressions", "messages", "enrollments", "assignments", "tasks")
        self.asked.extend(loser.asked)
        for name in lists:
            getattr(self, name).extend(getattr(loser, name))
        self.segments |= loser.segments

    def trait_text(self, name: str) -> str | None:
        """The value with the greatest (occurred_at, order of application)."""
        found = [(at, order, text) for trait, at, order, text in self.values if trait == name]
        return max(found)[2] if found else None

    def consented(self, purpose: str, channel: str) -> bool:
        said = [(at, granted) for p, c, at, granted in self.consents if (p, c) == (purpose, channel)]
        latest = max((at for at, _ in said), default=None)
        return bool(said) and all(granted for at, granted in said if at == latest)

    def arm(self, holdout: str) -> str | None:
        """The assignment in force: the earliest."""
        found = [(at, origin, arm) for name, at, origin, arm in self.assignments if name == holdout]
        return min(found)[2] if found else None


def account_of(project: Project, body: dict[str, Any]) -> str | None:
    """A1: the account that a call speaks of; None where there is none."""
    declared, kind = project.identity.accounts, body.get("type")
    if declared is None or kind not in ("group", "track", "page", "screen"):
        return None
    place, _, name = declared.source.partition(".")
    told = body.get("groupId") if kind == "group" else (body.get(place) or {}).get(name)
    return normal(json_text(told), Identifier(type="account", source="", blocked=declared.blocked))


def layout(steps: tuple[Step, ...], prefix: str = "steps", after: str = END) -> Iterator[tuple[str, Step, str]]:
    """Every step of a tree with its path and the path that follows it."""
    for i, step in enumerate(steps):
        path, follows = f"{prefix}[{i}]", f"{prefix}[{i + 1}]" if i + 1 < len(steps) else after
        yield path, step, follows
        for inner, inside in inner_steps(step, path):
            yield from layout(inside, inner, follows)


def inner_steps(step: Step, path: str) -> list[tuple[str, tuple[Step, ...]]]:
    """The step lists inside a branch, split, wait_for or hand_off, with their path prefixes."""
    match step:
        case Branch(arms=arms, unknown=unknown, otherwise=otherwise):
            inner = [(f"{path}.branch.arms[{i}].steps", arm.steps) for i, arm in enumerate(arms)]
            return [*inner, (f"{path}.branch.unknown", unknown), (f"{path}.branch.otherwise", otherwise)]
        case WaitFor(arms=own, matched=matched, timeout=timeout):
            inner = [(f"{path}.wait_for.any[{i}].steps", steps) for i, steps in enumerate(own)]
            return [*inner, (f"{path}.wait_for.matched", matched), (f"{path}.wait_for.timeout", timeout)]
        case Split(arms=arms):
            return [(f"{path}.split.{arm.name}.steps", arm.steps) for arm in arms]
        case HandOff(outcomes=outcomes, breached=breached):
            inner = [(f"{path}.hand_off.{arm.name}.steps", arm.steps) for arm in outcomes]
            return [*inner, *([(f"{path}.hand_off.breached.steps", breached.steps)] if breached else [])]
        case Call(answered=answered, failed=failed, unanswered=unanswered):
            arms = (("answered", answered), ("failed", failed), ("unanswered", unanswered))
            return [(f"{path}.call.{name}", steps) for name, steps in arms]
    return []


def normal(text: str | None, kind: Identifier) -> str | None:
    """The identifier's value as it is compared, or None when it identifies nobody."""
    value = (text or "").strip(" \t\n\r\f\v")
    value = value.lower() if kind.type == "email" else value
    blocked = value.lower() in _BLOCKED or re.fullmatch("0+|-+", value) or any(_matches(b, value) for b in kind.blocked)
    return None if blocked else value


def _matches(blocked: str, value: str) -> bool:
    if len(blocked) > 1 and blocked[0] == blocked[-1] == "/":
        return re.search(blocked[1:-1], value) is not None
    return blocked == value


def identifiers_of(project: Project, body: dict[str, Any]) -> list[tuple[str, str]]:
    """The usable identifiers (type, value) that the record itself carries, in order of priority."""
    found = []
    for kind in project.identity.identifiers:
        place, _, name = kind.source.rpartition(".")
        value = normal(json_text((body.get(place) or {} if place else body).get(name)), kind)
        if value is not None:
            found.append((kind.type, value))
    return list(dict.fromkeys(found))
