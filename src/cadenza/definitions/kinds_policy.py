"""The contact policy as frozen structs: caps, quiet hours, suppression, holdouts."""

from __future__ import annotations

from typing import Literal

import msgspec

from cadenza.definitions.definition import Definition
from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds_wait import Calendar, Weekday


class Holdout(Definition, frozen=True, kw_only=True):
    """The share of candidates that is assigned to get nothing, for measurement."""

    name: str
    share_bp: int


class Programme(Definition, frozen=True, kw_only=True):
    """A group of journeys with one holdout: its units enter none of them. ``metric``: what the group is measured by."""

    name: str
    holdout: Holdout
    metric: str | None = None


class Cap(Definition, frozen=True, kw_only=True):
    """At most ``limit`` marketing messages per person: in any ``per_s`` seconds (rolling; 0 in a calendar cap), or in a
    ``calendar`` day, week (from Monday) or month of the person's zone.

    ``channel``, ``topic``, ``journey``: it concerns and counts only messages of that; None is all. ``each``: every
    channel, topic or journey has room of its own.
    """

    name: str
    limit: int
    per_s: int = 0
    channel: str | None = None
    when_full: Literal["defer", "drop"] = "drop"
    calendar: Literal["day", "week", "month"] | None = None
    topic: str | None = None
    journey: str | None = None
    each: Literal["channel", "topic", "journey"] | None = None


class QuietHours(Definition, frozen=True, kw_only=True):
    """Local times (``HH:MM``) between which marketing waits; may pass midnight."""

    from_: str = msgspec.field(name="from")
    to: str


class ChannelQuietHours(QuietHours, frozen=True, kw_only=True):
    """Quiet hours of one channel."""

    channel: str


class SendWindow(Definition, frozen=True, kw_only=True):
    """Marketing of ``channel`` (None: of every channel) goes out on the weekdays ``days`` (none: every day) from ``from_``
    to ``to`` (``HH:MM``, at most ``24:00``) only. Of several windows one is enough."""

    channel: str | None = None
    days: tuple[Weekday, ...] = ()
    from_: str = msgspec.field(name="from")
    to: str


class Jurisdiction(Definition, frozen=True, kw_only=True):
    """Rules for persons of one jurisdiction, besides the policy's.

    ``consent``: ``opt_in`` asks for a statement that grants; under ``opt_out`` only one that denies forbids.
    """

    name: str
    quiet_hours: QuietHours | None = None
    channel_quiet_hours: tuple[ChannelQuietHours, ...] = ()
    send_windows: tuple[SendWindow, ...] = ()
    consent: Literal["opt_in", "opt_out"] = "opt_in"


class Suppress(Definition, frozen=True, kw_only=True):
    """Marketing is withheld while ``when`` is TRUE or unknown."""

    name: str
    when: Expr


class ChannelWorth(Definition, frozen=True, kw_only=True):
    """What a message of the channel ``name`` costs, and how it is responded to. ``response``: how often the person
    responded, a whole number; None: nothing of the person is asked, and ``usual_bp`` is the rate."""

    name: str
    cost: float = 0
    usual_bp: int = 0
    response: Expr | None = None


class BestChannel(Definition, frozen=True, kw_only=True):
    """How ``channel: best`` weighs channels: ``worth`` is what one response is worth, in the money of the costs;
    ``within_s``: how far back messages count; ``weight``: the usual rate counts as much as so many messages."""

    channels: tuple[ChannelWorth, ...]
    worth: float = 0
    within_s: int = 90 * 86400
    weight: int = 20

    def of(self, channel: str) -> ChannelWorth:
        """What is said of a channel; one of which nothing is said costs nothing, and nobody responds."""
        return next((said for said in self.channels if said.name == channel), ChannelWorth(name=channel))


MILLIONTHS = 1_000_000
"""Worth and cost are compared in millionths of the money they are said in, as whole numbers."""


def millionths(money: float) -> int:
    """An amount of money in millionths."""
    return round(money * MILLIONTHS)


class Policy(Definition, frozen=True, kw_only=True):
    """The contact policy of the project; there is one."""

    caps: tuple[Cap, ...] = ()
    quiet_hours: QuietHours | None = None
    time_zone_trait: str = "time_zone"
    missing_time_zone: str = "drop"
    """``drop``, or the IANA zone to assume."""
    suppress: tuple[Suppress, ...] = ()
    deadline_s: int = 3 * 86400
    """A message that would have to wait longer than this is dropped."""
    holdout: Holdout | None = None
    """A global holdout: its units get no marketing from any journey."""
    calendars: tuple[Calendar, ...] = ()
    """Business hours that waits count in."""
    channel_quiet_hours: tuple[ChannelQuietHours, ...] = ()
    send_windows: tuple[SendWindow, ...] = ()
    jurisdiction_trait: str | None = None
    """The trait that says whose rules hold for a person."""
    jurisdictions: tuple[Jurisdiction, ...] = ()
    unknown_jurisdiction: str = "drop"
    """For persons of no declared jurisdiction: ``drop``, or the one to assume."""
    programmes: tuple[Programme, ...] = ()
    best_channel: BestChannel | None = None
    """How a send with ``channel: best`` weighs channels that are open alike; None: the order written decides."""

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """Every expression of the policy."""
        said = self.best_channel.channels if self.best_channel else ()
        return (*(rule.when for rule in self.suppress), *(c.response for c in said if c.response is not None))
