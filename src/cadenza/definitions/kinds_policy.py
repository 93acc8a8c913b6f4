"""The contact policy as frozen structs: caps, quiet hours, suppression, holdouts."""

from __future__ import annotations

from typing import Literal

import msgspec

from cadenza.definitions.definition import Definition
from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds_wait import Calendar


class Holdout(Definition, frozen=True, kw_only=True):
    """The share of candidates that is assigned to get nothing, for measurement."""

    name: str
    share_bp: int


class Cap(Definition, frozen=True, kw_only=True):
    """At most ``limit`` marketing messages per person in any ``per_s`` seconds (rolling), over all
    journeys; ``channel`` None counts every channel."""

    name: str
    limit: int
    per_s: int
    channel: str | None = None
    when_full: Literal["defer", "drop"] = "drop"


class QuietHours(Definition, frozen=True, kw_only=True):
    """Local times (``HH:MM``) between which marketing waits; may pass midnight."""

    from_: str = msgspec.field(name="from")
    to: str


class Suppress(Definition, frozen=True, kw_only=True):
    """Marketing is withheld while ``when`` is TRUE or unknown."""

    name: str
    when: Expr


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
