"""The YAML surface of the contact policy."""

from __future__ import annotations

from cadenza.definitions import kinds_policy as kinds
from cadenza.definitions.shapes import (
    LOCAL_TIME,
    Choice,
    Duration,
    Expression,
    Fields,
    ListOf,
    Share,
    Text,
    Whole,
)
from cadenza.definitions.surface_kind import NAME_TEXT, Kind, field
from cadenza.definitions.surface_wait import CALENDAR

HOLDOUT = Fields(kinds.Holdout, (
    field("name", NAME_TEXT, "The salt of the assignment: the same name holds out the same people.", required=True,
       example="win_back_2011"),
    field("share", Share(0, 9_900), "How many are held out.", attribute="share_bp", required=True, example="20%"),
))  # fmt: skip

_CAP = Fields(kinds.Cap, (
    field("name", NAME_TEXT, "Shown where a message was held back.", required=True, example="weekly"),
    field("limit", Whole(0, 10_000), "At most so many marketing messages per person.", required=True, example="3"),
    field("per", Duration(), "The length of the rolling window.", attribute="per_s", required=True, example="7 days"),
    field("channel", Text(), "Only this channel; without it every channel counts.", example="email"),
    field("when_full", Choice(("defer", "drop")), "Wait for room, or drop the message.", example="defer"),
))  # fmt: skip

_QUIET = Fields(kinds.QuietHours, (
    field("from", Text(LOCAL_TIME, "a local time as '21:00'"), "Local time at which they begin.", attribute="from_",
       required=True, example="'21:00'"),
    field("to", Text(LOCAL_TIME, "a local time as '08:00'"), "Local time at which they end; may be past midnight.",
       required=True, example="'08:00'"),
))  # fmt: skip

_SUPPRESS = Fields(kinds.Suppress, (
    field("name", NAME_TEXT, "Shown where a message was held back.", required=True, example="open_complaint"),
    field("when", Expression(), "Marketing is withheld while this is true or unknown.", required=True,
       example="in_segment('open_complaint')"),
))  # fmt: skip

POLICY = Kind(
    plural="policy", singular=None, name=NAME_TEXT, folder="policies",
    doc="The contact policy of the project. There is one.",
    body=Fields(kinds.Policy, (
        field("caps", ListOf(_CAP), "Frequency caps over all journeys."),
        field("quiet_hours", _QUIET, "Local hours in which marketing waits.", example="{ from: '21:00', to: '08:00' }"),
        field("time_zone_trait", Text(), "The trait that holds a person's IANA zone.", example="time_zone"),
        field("missing_time_zone", Text(), "For persons without a zone: `drop`, or the zone to assume.",
           example="Europe/London"),
        field("suppress", ListOf(_SUPPRESS), "Conditions under which marketing is withheld."),
        field("deadline", Duration(), "A message that would have to wait longer is dropped.", attribute="deadline_s",
           example="3 days"),
        field("holdout", HOLDOUT, "A global holdout: its members get no marketing from any journey.",
           example="{ name: global_2026, share: 5% }"),
        field("calendars", ListOf(CALENDAR), "Business hours that waits count in."),
    )),
    example="""caps:
  - { name: weekly, limit: 3, per: 7 days, when_full: defer }
quiet_hours: { from: '21:00', to: '08:00' }
missing_time_zone: Europe/London
""",
)  # fmt: skip
