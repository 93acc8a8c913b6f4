"""What an explanation is made of: frozen, JSON-encodable. Instants are naive UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from cadenza.ids import record_number

V = TypeVar("V", bound=msgspec.Struct)


class _View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs below."""


class IdentifierView(_View, frozen=True, kw_only=True):
    """An identifier the person holds, and the link that brought it: rule, record (log offset), time."""

    type: str
    value: str
    rule: str | None
    offset: int | None
    at: datetime | None


class MergeView(_View, frozen=True, kw_only=True):
    """A merge: ``absorbed`` became part of ``survivor``, proved by the record at ``offset`` and its identifier."""

    at: datetime
    absorbed: str
    survivor: str
    offset: int
    identifier: str | None


class SourceView(_View, frozen=True, kw_only=True):
    """A record, or a journey's step, that a value comes from."""

    what: str
    at: datetime
    offset: int | None
    value: str | None = None
    source: str | None = None


class CountedView(_View, frozen=True, kw_only=True):
    """One aggregate of a computed trait: its text, how many events it counts, the first and last few of them."""

    text: str
    events: int
    shown: tuple[SourceView, ...]


class TraitView(_View, frozen=True, kw_only=True):
    """A trait: its value now (text), and where that comes from: values sent (latest first), or events counted."""

    name: str
    type: str
    value: str | None
    definition: str
    sent: tuple[SourceView, ...] = ()
    counted: tuple[CountedView, ...] = ()


class ConsentView(_View, frozen=True, kw_only=True):
    """An explicit statement of consent and its proof; ``in_force``: it decides now."""

    purpose: str
    channel: str
    granted: bool
    in_force: bool
    at: datetime
    offset: int | None
    source: str | None
    text_version: str | None


class SuppressionView(_View, frozen=True, kw_only=True):
    """A reason not to use a channel (``*``: every one), and the record that gave it. ``until``: when it ends by itself;
    ``ended_at``: when somebody ended it; ``in_force``: now."""

    channel: str
    reason: str
    at: datetime
    offset: int | None
    until: datetime | None = None
    ended_at: datetime | None = None
    said_by: str | None = None
    ended_by: str | None = None
    in_force: bool = True


class MembershipView(_View, frozen=True, kw_only=True):
    """A stay in a segment; ``until`` None: still in."""

    segment: str
    since: datetime
    cause: str
    until: datetime | None
    left_by: str | None


class MoveView(_View, frozen=True, kw_only=True):
    """One move of an enrollment, in words. ``offset``: the record that caused it, None for time."""

    at: datetime
    words: str
    cause: str
    offset: int | None


class ChannelView(_View, frozen=True, kw_only=True):
    """One of the channels that a message could go by: what governance said of it then (``verdict``, ``reason``, ``until``),
    and what it was worth, its cost off, in the money of the policy (None: it was not weighed). ``words`` say it all."""

    channel: str
    template: str
    chosen: bool
    words: str
    verdict: str
    reason: str | None
    until: datetime | None
    worth: float | None
    messages: int | None
    responses: int | None


class VerdictView(_View, frozen=True, kw_only=True):
    """A verdict on a candidate message, with its rule and evidence. ``words`` say it in a sentence. ``channels``: those it
    could go by, in the order written, where the step says ``channel: best``."""

    at: datetime
    verdict: str
    words: str
    reason: str | None
    rule: str | None
    until: datetime | None
    evidence: dict[str, str]
    channels: tuple[ChannelView, ...] = ()


class DeliveryView(_View, frozen=True, kw_only=True):
    """What delivery reported, or a cancellation."""

    at: datetime
    name: str
    detail: str | None


class MessageView(_View, frozen=True, kw_only=True):
    """A candidate message: where it arose, every verdict in order, and what became of it.

    ``outcome``: sent, dropped, withdrawn (the journey ended first) or waiting. ``replayed``: decided to be sent while
    history was replayed, so it was handed to nobody."""

    step: str
    template: str | None
    arrived_at: datetime
    outcome: str
    message_id: str | None
    replayed: bool
    verdicts: tuple[VerdictView, ...]
    deliveries: tuple[DeliveryView, ...]


class TaskChangeView(_View, frozen=True, kw_only=True):
    """Something that happened to a task, in words. ``offset``: the record that said it, None for time."""

    at: datetime
    words: str
    offset: int | None


class TaskView(_View, frozen=True, kw_only=True):
    """A task that a passage opened. ``replayed``: nobody works on it."""

    task: str
    team: str
    title: str
    opened_at: datetime
    due_at: datetime
    replayed: bool
    changes: tuple[TaskChangeView, ...]


class CallView(_View, frozen=True, kw_only=True):
    """A question that a passage put to a service. ``refused``: in words, why it was not allowed; ``replayed``: it was never
    put. ``answers``: what came, and what became of it."""

    call: str
    destination: str
    planned_at: datetime
    sent: str
    refused: str | None
    replayed: bool
    answers: tuple[TaskChangeView, ...]


class PassageView(_View, frozen=True, kw_only=True):
    """One enrollment. ``offset``: the record that started it, None for time. ``position`` and ``wakes_at`` while it
    lives; ``paused_since``: its journey pauses, and ``wakes_at`` is as the clock stood then; ``ended_at``, ``ended_by`` (the
    record's name, None for time) and ``reason`` after."""

    journey: str
    version: str
    key: str
    entered_at: datetime
    trigger: str
    offset: int | None
    moves: tuple[MoveView, ...]
    messages: tuple[MessageView, ...]
    position: str | None
    wakes_at: datetime | None
    ended_at: datetime | None
    ended_by: str | None
    reason: str | None
    paused_since: datetime | None = None
    tasks: tuple[TaskView, ...] = ()
    calls: tuple[CallView, ...] = ()
    at_entry: dict[str, str | None] = {}
    """The traits whose values at entry its conditions read, with these values."""


class RefusalView(_View, frozen=True, kw_only=True):
    """A time the person was a candidate and did not enter."""

    journey: str
    at: datetime
    trigger: str
    offset: int | None
    reason: str
    rule: str | None
    words: str


class PartView(_View, frozen=True, kw_only=True):
    """One part of a condition and what it gave: true, false or unknown; ``values``: the traits it reads, as then."""

    text: str
    answer: str
    values: dict[str, str | None]


class NotQualifiedView(_View, frozen=True, kw_only=True):
    """A trigger that led to neither entry nor refusal, re-derived: the condition as of that instant, part by part."""

    journey: str
    at: datetime
    trigger: str
    offset: int | None
    condition: str
    answer: str
    parts: tuple[PartView, ...]


class AssignmentView(_View, frozen=True, kw_only=True):
    """The arm of the person under a holdout: bucket 0..9999 against the share in basis points."""

    holdout: str
    arm: str
    bucket: int
    share_bp: int | None
    at: datetime
    journey: str | None
    in_force: bool


class Explanation(_View, frozen=True, kw_only=True):
    """Everything known of one person as of ``as_of``. ``asked`` is what was looked up; ``absorbed`` are the ids
    that were merged into ``person``; ``not_qualified`` are the latest of ``not_qualified_n``."""

    asked: str
    person: str
    as_of: datetime
    created_at: datetime
    absorbed: tuple[str, ...]
    identifiers: tuple[IdentifierView, ...]
    merges: tuple[MergeView, ...]
    records: int
    traits: tuple[TraitView, ...]
    consents: tuple[ConsentView, ...]
    suppressions: tuple[SuppressionView, ...]
    memberships: tuple[MembershipView, ...]
    journey: str | None
    passages: tuple[PassageView, ...]
    refusals: tuple[RefusalView, ...]
    not_qualified_n: int
    not_qualified: tuple[NotQualifiedView, ...]
    assignments: tuple[AssignmentView, ...]


def as_logged(view: V) -> V:
    """A view of an account with the numbers of its records as they stand in the log."""
    changed: dict[str, Any] = {}
    for name in view.__struct_fields__:
        value = getattr(view, name)
        if name == "offset" and value is not None:
            changed[name] = record_number(value)
        elif isinstance(value, msgspec.Struct):
            changed[name] = as_logged(value)
        elif isinstance(value, tuple):
            changed[name] = tuple(as_logged(v) if isinstance(v, msgspec.Struct) else v for v in value)
    return msgspec.structs.replace(view, **changed)
