"""What a fit knows, as the simulation uses it: beliefs by cell, not yet drawn."""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlglot import exp

from cadenza.definitions.project import Project
from cadenza.sql import step
from cadenza.statistics.rates import Shrunk

DAY_US = 86_400_000_000
NANO = 1_000_000_000
"""Rates and shares are whole thousand millionths in the store, where sums must not depend on their order."""
UNSEEN = -1
"""The cell that stands for every cell nobody was in, and the donors of all cells."""
WITHIN_S = 7 * 86_400
"""An answer, and an effect of a message, is looked for within so many seconds (a week)."""
MARK = "<cadenza:again>"
"""Stands in a donor's properties where a new event needs a value of its own."""
ANSWERS: dict[str, str] = {
    "failed": "Message Failed", "sent": "Message Sent", "bounced": "Email Bounced", "delivered": "Email Delivered",
    "opened": "Email Opened", "clicked": "Email Link Clicked", "blind": "Email Link Clicked",
    "unsubscribed": "Unsubscribed", "complained": "Email Marked as Spam",
}  # fmt: skip
"""Kinds of answers to a message and their events; ``blind``: a click although no opening was seen."""


class Cells(msgspec.Struct, frozen=True):
    """The segments that tell people apart; a cell is a number whose bits say which of them hold."""

    segments: tuple[str, ...]

    def label(self, cell: int) -> str:
        """The cell's segments, for people."""
        held = [name for bit, name in enumerate(self.segments) if cell >> bit & 1]
        return " + ".join(held) if held else ("no segment" if self.segments else "everybody")

    def of_profile(self) -> exp.Expr:
        """The cell of a row of ``profile``, as it stands."""
        parts = [
            exp.Case().when(step.column(f"s_{name}"), step.number(1 << bit)).else_(step.number(0))
            for bit, name in enumerate(self.segments)
        ]
        total: exp.Expr = step.number(0)
        for part in parts:
            total = exp.Add(this=total, expression=part)
        return total

    def bits(self) -> list[exp.Expr]:
        """(segment, bit) of each; a row that is nobody's keeps the list from being empty."""
        pairs = [(name, 1 << bit) for bit, name in enumerate(self.segments)] or [("", 0)]
        return [exp.Tuple(expressions=[step.text(name), step.number(bit)]) for name, bit in pairs]


class Lift(msgspec.Struct, frozen=True, kw_only=True):
    """What a message in the last week does to a rate, where a holdout shows it: the rate is 1 + ``ratio`` times what it is
    without. ``recent``: the share of the history's person-days within a week after a message."""

    ratio: float
    error: float
    recent: float


class Arriving(msgspec.Struct, frozen=True, kw_only=True):
    """An event that people do by themselves. ``weekdays``: factors for the first to seventh day of the history."""

    number: int
    name: str
    cells: tuple[int, ...]
    counts: tuple[tuple[int, int], ...]
    per_day: Shrunk
    dispersion: float
    weekdays: tuple[float, ...]
    lift: Lift | None = None


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """What people do with messages of a channel: for each kind that was ever seen, (how many, of how many) by cell."""

    channel: str
    cells: tuple[int, ...]
    counts: dict[str, tuple[tuple[int, int], ...]]
    shares: dict[str, Shrunk]


class Donor(msgspec.Struct, frozen=True):
    """A record of somebody's first day: its time of day (µs) and its body."""

    within_us: int
    body: bytes


class Newcomers(msgspec.Struct, frozen=True, kw_only=True):
    """How many come a day, and the first days of some who came."""

    count: int
    per_day: Shrunk
    dispersion: float
    weekdays: tuple[float, ...]
    donors: tuple[tuple[Donor, ...], ...]


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What holdouts say of a message's effect on an event. ``used``: with it the simulation is run; otherwise ``reason``
    says why no effect is assumed. ``ratio``: the relative change for people who got a message, with its 95 % interval."""

    name: str
    used: bool
    reason: str
    treated: int
    held_out: int
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    error: float | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was fitted on the ``days`` days before ``since``."""

    since: datetime
    days: int
    cells: Cells
    arriving: tuple[Arriving, ...]
    answering: tuple[Answering, ...]
    newcomers: Newcomers
    effects: tuple[Estimate, ...]
    notes: tuple[str, ...]
    identifiers: tuple[tuple[str, ...], ...]
    """Where the records name people: paths into a body."""

    def weekday(self, factors: tuple[float, ...], day: int) -> float:
        """The factor of a day to come, counted from 0."""
        return factors[(self.days + day) % 7]


def identifier_paths(project: Project) -> tuple[tuple[str, ...], ...]:
    """Where the records of a project name people."""
    return (*(tuple(i.source.split(".")) for i in project.identity.identifiers), ("previousId",))
