"""What the report is made of: frozen figures, JSON-encodable."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from cadenza.definitions.holdouts import Level
from cadenza.statistics.lift import Lift
from cadenza.statistics.ratio import ArmsCheck, RatioCheck


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs below: plain facts, JSON-encodable."""


class Count(msgspec.Struct, frozen=True):
    """How many under one name."""

    name: str
    n: int


class Quarantined(_Figures, frozen=True, kw_only=True):
    """Refused records of one source for one reason, from the log."""

    source: str
    reason: str
    n: int


class LogCounts(_Figures, frozen=True, kw_only=True):
    """What the ledger knows and the store does not: duplicates and quarantined records."""

    duplicates: int = 0
    quarantined: tuple[Quarantined, ...] = ()


class People(_Figures, frozen=True, kw_only=True):
    """Living persons; identified ones hold an identifier other than an anonymous id."""

    living: int
    identified: int
    anonymous: int
    merged: int


class SegmentFigures(_Figures, frozen=True, kw_only=True):
    """Members at the report's instant, and persons who were ever in."""

    name: str
    members: int
    ever: int


class MessageFigures(_Figures, frozen=True, kw_only=True):
    """Candidate messages of a journey and what became of them. ``deferred`` counts messages put off at least
    once, by reason; they are also in exactly one of the others. ``withdrawn``: the journey ended first."""

    candidates: int = 0
    sent: int = 0
    dropped: tuple[Count, ...] = ()
    withdrawn: int = 0
    waiting: int = 0
    deferred: tuple[Count, ...] = ()
    delivery: tuple[Count, ...] = ()
    reactions: tuple[Count, ...] = ()
    channels: tuple[Count, ...] = ()
    """Messages sent by channel, where a step says ``channel: best``."""


class ArmFigures(_Figures, frozen=True, kw_only=True):
    """One arm of a comparison: units whose window is over, and the sum of their metric."""

    arm: Literal["treated", "holdout"]
    n: int = 0
    total: float = 0.0
    mean: float | None = None
    incomplete: int = 0


class Comparison(_Figures, frozen=True, kw_only=True):
    """Treated against holdout on the journey's outcome metric.

    ``placebo``: the messages were replayed and reached nobody, so the difference is chance and never an effect.
    ``measured``: messages went out. ``mixed``: some did. ``sample_ratio`` is None when the declared share changed on
    the way. ``crossed``: units that a merge put in both arms (they stay in their first).
    """

    kind: Literal["placebo", "measured", "mixed"]
    holdout: str
    share_bp: int
    metric: str
    unit_label: str
    within_s: int
    treated: ArmFigures
    held_out: ArmFigures
    crossed: int
    lift: Lift
    sample_ratio: RatioCheck | None
    level: Level = "journey"
    """What is withheld: a journey, the journeys of a programme, or one step's message."""


class VersionFigures(_Figures, frozen=True, kw_only=True):
    """One version of a journey. ``began``: entered or restarted in it; ``came_over``: mapped to it; ``exits``: ends in it.
    ``mean``: of the outcome metric per person who began in it and whose window is over (``persons``; not over:
    ``incomplete``). Not a measurement: versions differ in time and people."""

    version: str
    deployed_at: datetime
    began: int
    came_over: int
    sent: int
    exits: tuple[Count, ...]
    metric: str
    persons: int
    mean: float | None
    incomplete: int


class ExperimentArm(_Figures, frozen=True, kw_only=True):
    """One arm of an experiment, as ``ArmFigures``. ``lift``: against the first arm, which has none."""

    arm: str
    share_bp: int
    n: int = 0
    total: float = 0.0
    mean: float | None = None
    incomplete: int = 0
    lift: Lift | None = None


class ExperimentFigures(_Figures, frozen=True, kw_only=True):
    """The arms of an experiment on its metric, from each person's first walk through it. ``kind`` and ``crossed`` as in
    ``Comparison``; ``sample_ratio`` is None when arms or shares changed on the way."""

    kind: Literal["placebo", "measured", "mixed"]
    name: str
    metric: str
    unit_label: str
    within_s: int
    arms: tuple[ExperimentArm, ...]
    crossed: int
    sample_ratio: ArmsCheck | None


class JourneyFigures(_Figures, frozen=True, kw_only=True):
    """One journey, all its versions. ``candidates`` is counted from triggers and from steps that enter it, not from what
    became of them; ``restarted``: passages that began again in a new version. ``versions``: where there were several."""

    name: str
    candidates: int
    entered: int
    refused: tuple[Count, ...]
    not_qualified: tuple[Count, ...]
    live: int
    exits: tuple[Count, ...]
    messages: MessageFigures
    comparisons: tuple[Comparison, ...]
    tasks: tuple[Count, ...] = ()
    """Ways on from tasks: outcomes, and ``breached``; ``calls``: ways on from calls of services."""
    calls: tuple[Count, ...] = ()
    restarted: int = 0
    versions: tuple[VersionFigures, ...] = ()
    experiments: tuple[ExperimentFigures, ...] = ()


class Check(_Figures, frozen=True, kw_only=True):
    """Two ways of counting the same thing. ``parts`` are what the right side is the sum of."""

    what: str
    left: int
    right: int
    holds: bool
    parts: tuple[Count, ...]


def check(what: str, left: int, **parts: int) -> Check:
    """The check that ``left`` is the sum of the named parts."""
    right = sum(parts.values())
    counts = tuple(Count(name.replace("_", " "), n) for name, n in parts.items())
    return Check(what=what, left=left, right=right, holds=left == right, parts=counts)


class Hint(_Figures, frozen=True, kw_only=True):
    """A next step and the fact that calls for it."""

    fact: str
    todo: str


class Report(_Figures, frozen=True, kw_only=True):
    """Everything `cadenza report` shows, cut at ``as_of`` (naive UTC)."""

    project: str
    as_of: datetime
    people: People
    events: tuple[Count, ...]
    unidentified: tuple[Count, ...]
    log: LogCounts
    segments: tuple[SegmentFigures, ...]
    journeys: tuple[JourneyFigures, ...]
    programmes: tuple[Comparison, ...]
    checks: tuple[Check, ...]
    adds_up: bool
    hints: tuple[Hint, ...] = ()
