"""The YAML surface of the contact policy."""

from __future__ import annotations

from cadenza.definitions import kinds_policy as kinds
from cadenza.definitions.kinds_wait import WEEKDAYS
from cadenza.definitions.shapes import (
    CLOSING_TIME,
    LOCAL_TIME,
    Choice,
    Duration,
    Expression,
    Fields,
    ListOf,
    Named,
    Number,
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
    field("per", Duration(), "The length of the rolling window.", attribute="per_s", example="7 days"),
    field("calendar", Choice(("day", "week", "month")),
       "In place of `per`: a calendar day, week (from Monday) or month in the person's zone.", example="week"),
    field("channel", Text(), "Only this channel; without it every channel counts.", example="email"),
    field("topic", NAME_TEXT, "Only messages of this topic.", example="sale"),
    field("journey", NAME_TEXT, "Only messages of this journey.", example="win_back"),
    field("each", Choice(("channel", "topic", "journey")), "Every channel, topic or journey has room of its own.",
       example="journey"),
    field("when_full", Choice(("defer", "drop")), "Wait for room, or drop the message.", example="defer"),
))  # fmt: skip

_QUIET = Fields(kinds.QuietHours, (
    field("from", Text(LOCAL_TIME, "a local time as '21:00'"), "Local time at which they begin.", attribute="from_",
       required=True, example="'21:00'"),
    field("to", Text(LOCAL_TIME, "a local time as '08:00'"), "Local time at which they end; may be past midnight.",
       required=True, example="'08:00'"),
))  # fmt: skip

_CHANNEL_QUIET = Fields(kinds.ChannelQuietHours, (
    field("channel", Text(), "The channel.", required=True, example="sms"), *_QUIET.fields,
))  # fmt: skip

_WINDOW = Fields(kinds.SendWindow, (
    field("channel", Text(), "Only this channel; without it every channel.", example="sms"),
    field("days", ListOf(Choice(WEEKDAYS), least=1, single=True), "Days of the week; without it every day.",
       example="[mon, tue, wed, thu, fri]"),
    field("from", Text(LOCAL_TIME, "a local time as '09:00'"), "Local time at which it opens.", attribute="from_",
       required=True, example="'09:00'"),
    field("to", Text(CLOSING_TIME, "a local time as '18:00', or '24:00'"),
       "Local time at which it closes, on the same day.", required=True, example="'18:00'"),
))  # fmt: skip

_HOURS = (
    field("quiet_hours", _QUIET, "Local hours in which marketing waits.", example="{ from: '21:00', to: '08:00' }"),
    field(
        "channel_quiet_hours",
        ListOf(_CHANNEL_QUIET),
        "More quiet hours, of one channel.",
        example="[{ channel: sms, from: '19:00', to: '10:00' }]",
    ),
    field(
        "send_windows",
        ListOf(_WINDOW),
        "Local hours outside of which marketing waits; a channel that has several goes out in any of them.",
        example="[{ channel: sms, days: [mon, tue, wed, thu, fri], from: '09:00', to: '18:00' }]",
    ),
)

_JURISDICTION = Fields(kinds.Jurisdiction, (
    *_HOURS,
    field("consent", Choice(("opt_in", "opt_out")),
       "`opt_in`: only who granted is written to; `opt_out`: all but those who denied.", example="opt_in"),
))  # fmt: skip

_SUPPRESS = Fields(kinds.Suppress, (
    field("name", NAME_TEXT, "Shown where a message was held back.", required=True, example="open_complaint"),
    field("when", Expression(), "Marketing is withheld while this is true or unknown.", required=True,
       example="in_segment('open_complaint')"),
))  # fmt: skip

_PROGRAMME = Fields(kinds.Programme, (
    field("holdout", HOLDOUT, "Its members enter none of the programme's journeys.", required=True,
       example="{ name: retention_2026, share: 10% }"),
    field("metric", Text(), "What the programme is measured by.", example="revenue_28d"),
))  # fmt: skip

_CHANNEL_WORTH = Fields(kinds.ChannelWorth, (
    field("cost", Number(), "What one message costs.", example="0.045"),
    field("usual", Share(0, 10_000), "Of how many messages one is usually responded to.", attribute="usual_bp",
       example="3%"),
    field("response", Expression(), "How often the person responded: a whole number; at most every message counts.",
       example="events('Email Link Clicked', within => '90 days')"),
))  # fmt: skip

_BEST_CHANNEL = Fields(kinds.BestChannel, (
    field("channels", Named(_CHANNEL_WORTH, Text()), "Costs and responses by channel.", required=True,
       example="{ email: { cost: 0.001, usual: 3% }, sms: { cost: 0.045, usual: 8% } }"),
    field("worth", Number(), "What one response is worth, in the money of the costs.", example="1.50"),
    field("within", Duration(), "How far back a person's messages count.", attribute="within_s", example="90 days"),
    field("weight", Whole(1, 10_000), "The usual rate counts as much as so many messages of the person.", example="20"),
))  # fmt: skip

POLICY = Kind(
    plural="policy", singular=None, name=NAME_TEXT, folder="policies",
    doc="The contact policy of the project. There is one.",
    body=Fields(kinds.Policy, (
        field("caps", ListOf(_CAP), "Frequency caps over all journeys."),
        *_HOURS,
        field("time_zone_trait", Text(), "The trait that holds a person's IANA zone.", example="time_zone"),
        field("missing_time_zone", Text(), "For persons without a zone: `drop`, or the zone to assume.",
           example="Europe/London"),
        field("suppress", ListOf(_SUPPRESS), "Conditions under which marketing is withheld."),
        field("deadline", Duration(), "A message that would have to wait longer is dropped.", attribute="deadline_s",
           example="3 days"),
        field("holdout", HOLDOUT, "A global holdout: its members get no marketing from any journey.",
           example="{ name: global_2026, share: 5% }"),
        field("programmes", Named(_PROGRAMME, NAME_TEXT),
           "Groups of journeys (those that say `programme`), each with one holdout for all of them.",
           example="{ retention: { holdout: { name: retention_2026, share: 10% }, metric: revenue_28d } }"),
        field("jurisdiction_trait", Text(), "The trait that says whose rules hold for a person.", example="country"),
        field("jurisdictions", Named(_JURISDICTION, NAME_TEXT),
           "Rules by jurisdiction (values of that trait), besides the policy's own.",
           example="{ DE: { send_windows: [{ from: '08:00', to: '20:00' }] }, US: { consent: opt_out } }"),
        field("unknown_jurisdiction", NAME_TEXT,
           "For persons of none of them: `drop`, or the jurisdiction to assume.", example="DE"),
        field("calendars", ListOf(CALENDAR), "Business hours that waits count in."),
        field("best_channel", _BEST_CHANNEL, "How `channel: best` weighs channels that are open alike.",
           example="{ channels: { sms: { cost: 0.045 } } }"),
    )),
    example="""caps:
  - { name: weekly, limit: 3, per: 7 days, when_full: defer }
quiet_hours: { from: '21:00', to: '08:00' }
missing_time_zone: Europe/London
""",
)  # fmt: skip
