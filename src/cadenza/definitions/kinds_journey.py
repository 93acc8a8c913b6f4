"""Journeys as frozen structs: entry, exits and steps. Durations in seconds (``_s``), shares in basis points (``_bp``)."""

from __future__ import annotations

from typing import Literal, Union

import msgspec

from cadenza.definitions.definition import Definition
from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds_alerts import Alerts
from cadenza.definitions.kinds_policy import Holdout
from cadenza.definitions.kinds_wait import LocalWait

Subject = Literal["person", "account"]
"""What a journey, or a segment, is about."""


class Absence(Definition, frozen=True, kw_only=True):
    """No ``event`` for ``for_s`` seconds since the last one, or since the last event called ``after``."""

    event: str
    for_s: int
    after: str | None = None


class Trigger(Definition, frozen=True, kw_only=True):
    """What makes a person a candidate. One of: a track event (``where`` TRUE); a change of a segment; a condition that
    ``becomes`` TRUE; the absence of an event; a change of a trait ``from_`` and/or ``to`` a value; a date in a trait, less
    ``before_s`` or plus ``after_s``, at a local time; a time of a schedule, for the members of ``segment``; a call of the
    API."""

    event: str | None = None
    where: Expr | None = None
    segment: str | None = None
    change: Literal["entered", "left"] = "entered"
    becomes: Expr | None = None
    absence: Absence | None = None
    trait: str | None = None
    from_: str | int | float | bool | None = msgspec.field(default=None, name="from")
    to: str | int | float | bool | None = None
    date: str | None = None
    before_s: int = 0
    after_s: int = 0
    at: str | None = None
    past: Literal["skip", "enter"] = "skip"
    """``date``: whether those enter whose date was reached already when it became known."""
    zone: str | None = None
    """``date``, ``schedule``: an IANA zone; None is the person's."""
    api: bool = False
    schedule: str | None = None
    """Five fields of cron, on the clock of the zone; ``segment`` says for whom."""


class Entry(Definition, frozen=True, kw_only=True):
    """Trigger, qualification (``when``), suppression (``unless``), re-entry (``again``), entry key.

    ``again``: ``once``; ``after_exit``; ``after`` with ``again_after_s`` since the last entry; ``unless_goal``: after exit,
    until the goal was reached once; ``replace``: at any time, which ends the one that runs.
    ``key``: an expression over the triggering event's properties; None is the person.
    ``late_s``: an event that occurred so long before it was recorded triggers nothing; None: every event does.
    """

    on: Trigger
    when: Expr | None = None
    unless: Expr | None = None
    again: Literal["once", "after_exit", "after", "unless_goal", "replace"] = "once"
    again_after_s: int = 0
    key: Expr | None = None
    late_s: int | None = None


class Exit(Definition, frozen=True, kw_only=True):
    """The four exits, checked at every item in this order. ``..._then``: the last steps of who leaves so."""

    goal: Expr
    disqualified: Expr
    superseded: bool
    time_limit_s: int
    goal_then: tuple["Step", ...] = ()
    disqualified_then: tuple["Step", ...] = ()
    superseded_then: tuple["Step", ...] = ()
    time_limit_then: tuple["Step", ...] = ()

    @property
    def last_steps(self) -> dict[str, tuple["Step", ...]]:
        """The exits that have last steps, in the order of the exits."""
        found = {
            "goal": self.goal_then, "disqualified": self.disqualified_then, "superseded": self.superseded_then,
            "time_limit": self.time_limit_then,
        }  # fmt: skip
        return {name: steps for name, steps in found.items() if steps}


class Outcome(Definition, frozen=True, kw_only=True):
    """The primary outcome metric of a journey and its unit."""

    metric: str
    unit: Literal["person"] = "person"


class _Step(Definition, frozen=True, kw_only=True):
    """What every step has: ``label`` is the name by which a jump finds it."""

    label: str | None = None


class Send(_Step, frozen=True, kw_only=True, tag_field="step", tag="send"):
    """``holdout``: the share of persons from whom the message is withheld here; they go on. ``templates``: with
    ``channel: best`` the message by each of its channels, in the order written; ``template`` is the first of them."""

    template: str
    holdout: Holdout | None = None
    templates: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[str, ...]:
        """The templates of which one is sent."""
        return self.templates or (self.template,)


class Wait(_Step, frozen=True, kw_only=True, tag_field="step", tag="wait"):
    """Rest for ``duration_s``; or by a local clock, where ``local`` is set (and ``duration_s`` is 0)."""

    duration_s: int
    local: LocalWait | None = None


class WaitFor(_Step, frozen=True, kw_only=True, tag_field="step", tag="wait_for"):
    """Rest until one of ``any`` is TRUE, or each of ``all`` has been TRUE at some item since arrival; or the time is up.

    ``arms``: the steps of each condition of ``any``, in its order; empty when none has its own. ``matched``: the steps
    when ``all`` have come true; ``timeout``: the steps when the time is up. All ways join behind it.
    """

    any: tuple[Expr, ...] = ()
    all: tuple[Expr, ...] = ()
    until_s: int
    as_: str | None = msgspec.field(default=None, name="as")
    arms: tuple[tuple["Step", ...], ...] = ()
    matched: tuple["Step", ...] = ()
    timeout: tuple["Step", ...] = ()

    @property
    def conditions(self) -> tuple[Expr, ...]:
        """What is waited for, ``any`` or ``all``."""
        return self.any or self.all


class Arm(Definition, frozen=True, kw_only=True):
    when: Expr
    steps: tuple["Step", ...]


class Branch(_Step, frozen=True, kw_only=True, tag_field="step", tag="branch"):
    """The first arm whose ``when`` is not FALSE decides: TRUE takes the arm, NULL takes ``unknown``."""

    arms: tuple[Arm, ...]
    unknown: tuple["Step", ...]
    otherwise: tuple["Step", ...]


class SplitArm(Definition, frozen=True, kw_only=True):
    name: str
    share_bp: int
    steps: tuple["Step", ...]


class Split(_Step, frozen=True, kw_only=True, tag_field="step", tag="split"):
    """A sticky random split: bucket(name, person) against cumulated shares, in the order written."""

    name: str
    arms: tuple[SplitArm, ...]


class Experiment(Split, frozen=True, kw_only=True, tag_field="step", tag="experiment"):
    """A split of which the report compares the outcome of each arm, on ``metric``, with that of the first."""

    metric: str


class Update(_Step, frozen=True, kw_only=True, tag_field="step", tag="update"):
    """Set traits (of kind ``from``) to literals."""

    set: dict[str, str | int | float | bool]


class Jump(_Step, frozen=True, kw_only=True, tag_field="step", tag="jump"):
    """Go on at the step with the label ``to``, at most so many times in one enrollment; after that, go on here."""

    to: str
    at_most: int


class Enter(_Step, frozen=True, kw_only=True, tag_field="step", tag="enter"):
    """Make the person a candidate of another journey, by its own rules of entry and with the key of this enrollment."""

    journey: str


class OutcomeArm(Definition, frozen=True, kw_only=True):
    """A way in which a hand-off can be completed, and what the person gets then."""

    name: str
    steps: tuple["Step", ...]


class BreachedArm(Definition, frozen=True, kw_only=True):
    """What the person gets when nobody completes the task in time."""

    steps: tuple["Step", ...]


class Escalation(Definition, frozen=True, kw_only=True):
    """A task not completed when it was due passes to the team ``to``, ``after_s`` seconds later; ``due_s``: its new
    time to completion, from then on (0: none)."""

    to: str
    after_s: int = 0
    due_s: int = 0


class HandOff(_Step, frozen=True, kw_only=True, tag_field="step", tag="hand_off"):
    """A task for people. The passage rests until it is completed with one of the ``outcomes``, or its time is up
    (``breached``; None: it goes on waiting)."""

    team: str
    title: str
    due_s: int
    outcomes: tuple[OutcomeArm, ...]
    assignee: str | None = None
    priority: int = 50
    context: tuple[str, ...] = ()
    """Traits that the task shows as they were when it was opened."""
    recent_events: int = 10
    """How many of the person's last events it shows."""
    breached: BreachedArm | None = None
    escalate: Escalation | None = None
    hold_marketing: bool = False
    """Marketing to the person waits while the task is open."""


class Call(_Step, frozen=True, kw_only=True, tag_field="step", tag="call"):
    """A question to a service outside. The passage rests until it is answered, or the call has failed, or the time is up."""

    destination: str
    timeout_s: int
    body: dict[str, str] = {}
    """Member of the JSON that is sent -> a trait, or ``entry.NAME``: a property of the event that started the passage."""
    answer: dict[str, str] = {}
    """Trait that is set -> where its value stands in the answer (``score.risk``)."""
    purpose: str | None = None
    """What the person must have consented to; None: nothing is asked."""
    as_: str | None = msgspec.field(default=None, name="as")
    answered: tuple["Step", ...] = ()
    failed: tuple["Step", ...] = ()
    unanswered: tuple["Step", ...] = ()


class ExitStep(_Step, frozen=True, kw_only=True, tag_field="step", tag="exit"):
    """End here. The reason is the author's word, default ``completed``."""

    reason: str = "completed"


Step = Union[Send, Wait, WaitFor, Branch, Split, Experiment, Update, HandOff, Call, Jump, Enter, ExitStep]


class Journey(Definition, frozen=True, kw_only=True):
    name: str
    owner: str
    outcome: Outcome
    entry: Entry
    exit: Exit
    steps: tuple[Step, ...]
    priority: int = 50
    arena: str | None = "default"
    """Journeys of one arena compete for a person; None competes with nobody."""
    holdout: Holdout | None = None
    in_flight: Literal["pin", "exit", "restart", "map"] = "pin"
    """What a version does with those inside another one when it comes into force."""
    step_map: dict[str, str] = {}
    """With ``map``: the path of a step in their version -> the path of the step in this one at which they stand."""
    unmapped: Literal["pin", "exit", "restart"] = "pin"
    """With ``map``: what happens to those at other steps."""
    on_merge: Literal["earliest", "latest", "furthest", "both"] = "earliest"
    """Of passages with one key of persons who turn out to be one: which stays."""
    alerts: Alerts = Alerts()
    """When it is worth a look although nothing fails."""
    description: str = ""
    value: Expr | None = None
    """A number: of messages of one priority the more valuable goes first; unknown is last."""
    programme: str | None = None
    """The group of journeys that it belongs to, with one holdout for all of them."""
    subject: Subject = "person"
    """Whose passages they are: persons', or accounts'."""

    @property
    def every_step(self) -> tuple[Step, ...]:
        """The steps, and the last steps of the exits: the top level of all that it may do."""
        return (*self.steps, *(step for steps in self.exit.last_steps.values() for step in steps))
