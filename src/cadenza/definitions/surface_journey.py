"""The YAML surface of journeys and their steps."""

from __future__ import annotations

from cadenza.definitions import kinds_journey as kinds
from cadenza.definitions.shapes import (
    ANSWER_PATH,
    CALL_MEMBER,
    LOCAL_TIME,
    NAME,
    Again,
    Awaited,
    Choice,
    Duration,
    Expression,
    Fields,
    Leaving,
    ListOf,
    Literal_,
    MapOf,
    Named,
    Share,
    Steps,
    Text,
    Truth,
    Whole,
)
from cadenza.definitions.surface_alerts import ALERTS
from cadenza.definitions.surface_kind import COLUMN_TEXT, DESCRIPTION, NAME_TEXT, Kind, field
from cadenza.definitions.surface_policy import HOLDOUT
from cadenza.definitions.surface_wait import LOCAL_WAIT as LOCAL_WAIT, LOCAL_WAIT_DOC as LOCAL_WAIT_DOC

_ABSENCE = Fields(kinds.Absence, (
    field("event", Text(), "The event that does not come.", required=True, example="Order Completed"),
    field("for", Duration(), "For so long since the last one; or since the last event `after`.", attribute="for_s",
       required=True, example="14 days"),
    field("after", Text(), "The event that it is missed after.", example="Cart Created"),
))  # fmt: skip

TRIGGER = Fields(kinds.Trigger, (
    field("event", Text(), "A track event.", example="Order Completed"),
    field("where", Expression(properties=True), "Only events for which this is true.", example="revenue > 100"),
    field("segment", Text(), "A segment whose membership changes; with `schedule` the segment whose members are looked at.", example="lapsing"),
    field("change", Choice(("entered", "left")), "Which change of the segment.", example="entered"),
    field("becomes", Expression(), "A condition that becomes true, also because time passed.", example="score > 80"),
    field("absence", _ABSENCE, "An event that does not come.", example="{ event: Order Completed, for: 14 days }"),
    field("trait", Text(), "A trait that changes: `from` a value, `to` a value, or both.", example="plan"),
    field("from", Literal_(), "With `trait`: the value it had.", attribute="from_", example="trial"),
    field("to", Literal_(), "With `trait`: the value it has now.", example="gold"),
    field("date", Text(), "A trait that holds a date (a timestamp): when the date comes.", example="contract_end"),
    field("before", Duration(), "With `date`: so long before it. With `at`, whole calendar days.", attribute="before_s",
       example="30 days"),
    field("after", Duration(), "With `date`: so long after it.", attribute="after_s", example="7 days"),
    field("at", Text(LOCAL_TIME, "a local time as '09:00'"), "With `date`: the local time of that day.",
       example="'09:00'"),
    field("past", Choice(("skip", "enter")), "With `date`: what of those whose date has come when it becomes known.",
       example="skip"),
    field("zone", Text(), "With `date` or `schedule`: an IANA zone in place of the person's.", example="Europe/Berlin"),
    field("schedule", Text(), "Times of a clock, as cron writes them: minute, hour, day of the month, month, day of the week. "
       "With `segment`: its members are candidates.", example="'0 9 * * MON'"),
    field("api", Truth(), "A call of the API: `POST /api/journeys/NAME/enter`, `cadenza enter`.", example="true"),
))  # fmt: skip

_ENTRY = Fields(kinds.Entry, (
    field("on", TRIGGER, "What makes a person a candidate.", required=True,
       example="{ segment: lapsing, change: entered }"),
    field("when", Expression(), "Only candidates for whom this is true qualify.", example="orders >= 2"),
    field("unless", Expression(), "Candidates for whom this is true or unknown are refused.",
       example="in_segment('open_complaint')"),
    field("again", Again(), "Re-entry: `once`, `after_exit`, `{ after: 60 days }` since the last entry, `unless_goal` (after "
       "exit, until the goal was reached once), or `replace` (at any time; the one that runs ends, `replaced`).",
       attribute="*", example="{ after: 60 days }"),
    field("key", Expression(properties=True), "One passage per value, from the triggering event.", example="order_id"),
    field("late", Duration(), "An event that occurred longer than this before it was recorded triggers nothing; it is "
       "counted.", attribute="late_s", example="2 days"),
))  # fmt: skip

_EXIT = Fields(kinds.Exit, (
    field("goal", Leaving(Expression(), "when", "goal", "goal_then"),
       "The journey has reached what it is for. Here and below, `{ ..., then: [...] }` gives last steps: see `then`.",
       attribute="*", required=True, example="event('Order Completed')"),
    field("disqualified", Leaving(Expression(), "when", "disqualified", "disqualified_then"),
       "The person may not go on.", attribute="*", required=True, example="not consented('marketing', 'email')"),
    field("superseded", Leaving(Truth(), None, "superseded", "superseded_then"),
       "Whether a journey of higher priority in the arena ends it; `{ then: [...] }` means that it does.", attribute="*",
       required=True, example="true"),
    field("time_limit", Leaving(Duration(), "after", "time_limit_s", "time_limit_then"), "The longest stay.",
       attribute="*", required=True, example="30 days"),
))  # fmt: skip

_OUTCOME = Fields(kinds.Outcome, (
    field("metric", Text(), "The metric that says what the journey is worth.", required=True, example="revenue_28d"),
    field("unit", Choice(("person",)), "Whose outcome is measured.", example="person"),
))  # fmt: skip

JOURNEYS = Kind(
    plural="journeys", singular="journey", name=COLUMN_TEXT, folder="journeys",
    doc="A passage of a person through steps, with its entry, its four exits and its outcome.",
    body=Fields(kinds.Journey, (
        field("owner", Text(), "Team or person that answers for it.", required=True, example="growth@shop.example"),
        field("outcome", _OUTCOME, "What it is measured by.", required=True, example="{ metric: revenue_28d }"),
        field("priority", Whole(0, 1_000), "Higher goes first, within the arena and for caps.", example="40"),
        field("value", Expression(), "What a message is worth for a person now: of one priority, more goes first under caps.",
           example="coalesce(lifetime_revenue, 0) * 0.02"),
        field("arena", Text(NAME, "a name, or null", nullable=True),
           "Journeys of one arena compete for a person; null competes with nobody.", example="lifecycle"),
        field("entry", _ENTRY, "Trigger, qualification, suppression, re-entry and key.", required=True),
        field("subject", Choice(("person", "account")), "Whose passages they are: persons', or accounts' (see `accounts` in "
           "identity.yaml).", example="account"),
        field("holdout", HOLDOUT, "The share of candidates that gets nothing, for measurement.",
           example="{ name: win_back, share: 20% }"),
        field("programme", NAME_TEXT, "The programme of the policy that it belongs to: one holdout for all of its journeys.",
           example="retention"),
        field("exit", _EXIT, "The four exits, checked at every item in this order.", required=True),
        field("in_flight", Choice(("pin", "exit", "restart", "map")),
           "What a new version does with those inside an older one.", example="pin"),
        field("step_map", MapOf(Text(), Text()), "With `in_flight: map`: step in their version -> step in this one.",
           example='{ "steps[1]": "steps[2]" }'),
        field("unmapped", Choice(("pin", "exit", "restart")), "With `in_flight: map`: what those at other steps do.",
           example="pin"),
        field("on_merge", Choice(("earliest", "latest", "furthest", "both")),
           "When two persons turn out to be one, and both are inside with one key: which passage stays.",
           example="latest"),
        field("alerts", ALERTS, "When it is worth a look although nothing fails.", example="{ no_entries: 1 day }"),
        field("steps", Steps(1), "The steps, from the top down.", required=True),
        DESCRIPTION,
    )),
    example="""journey: welcome
owner: growth@shop.example
outcome: { metric: first_order }
entry:
  on: { event: Signed Up }
exit:
  goal: event('Order Completed')
  disqualified: not consented('marketing', 'email')
  superseded: true
  time_limit: 14 days
steps:
  - wait: 1 hour
  - send: welcome_mail
  - wait_for: { any: ["event('Email Link Clicked')"], until: 3 days, as: clicked }
  - branch:
      - when: clicked
        steps: [ { exit: interested } ]
      - unknown: [ { exit: completed } ]
      - otherwise: [ { send: welcome_mail } ]
""",
)  # fmt: skip

SEND = Fields(None, (
    field("template", Text(), "The message; not with `channel: best`.", example="welcome_mail"),
    field("channel", Choice(("best",)), "`best`: the channel is chosen for each person when the message is decided.",
       example="best"),
    field("templates", ListOf(Text(), least=1), "With `channel: best`: the message by each channel, at least two. The order written decides last.",
       example="[welcome_mail, welcome_text]"),
    field("holdout", HOLDOUT, "The share of persons from whom this message is withheld, for measurement; they go on.",
       example="{ name: welcome_mail_worth, share: 10% }"),
))  # fmt: skip

WAIT_FOR = Fields(kinds.WaitFor, (
    field("any", Awaited(), "Goes on as soon as one of these is true: conditions, or `{ when, steps }` with what those "
       "get for whom it is the first in order that is true.", attribute="*", example="[event('Order Completed')]"),
    field("all", ListOf(Expression(), least=1), "Goes on when each of these has been true since arrival, not "
       "necessarily together.", example="[event('Order Shipped'), event('Invoice Paid')]"),
    field("until", Duration(), "Goes on after this, if it did not come true.", attribute="until_s", required=True,
       example="5 days"),
    field("as", COLUMN_TEXT, "A name for whether it came true, for later branches.", attribute="as_",
       example="ordered"),
    field("matched", Steps(), "What those get for whom `all` came true.", example="[{ send: thanks }]"),
    field("timeout", Steps(), "What those get whose time is up.", example="[{ send: reminder }]"),
))  # fmt: skip

SPLIT_ARM = Fields(kinds.SplitArm, (
    field("share", Share(1, 10_000), "How many take this arm.", attribute="share_bp", required=True, example="50%"),
    field("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

SPLIT = Fields(kinds.Split, (
    field("name", NAME_TEXT, "The salt of the split.", required=True, example="offer"),
    field("arms", Named(SPLIT_ARM, NAME_TEXT, 2), "Two or more arms by name; shares add up to 100 %.", required=True),
))  # fmt: skip

EXPERIMENT = Fields(kinds.Experiment, (
    field("name", NAME_TEXT, "The name of the experiment, and the salt of its split; no other split has it.", required=True,
       example="subject_line"),
    field("metric", Text(), "The metric that says how an arm did.", required=True, example="revenue_28d"),
    field("arms", Named(SPLIT_ARM, NAME_TEXT, 2), "Two or more arms by name; shares add up to 100 %. Each is compared with the first.",
       required=True),
))  # fmt: skip

OUTCOME_ARM = Fields(kinds.OutcomeArm, (
    field("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

BREACHED_ARM = Fields(kinds.BreachedArm, (
    field("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

ESCALATION = Fields(kinds.Escalation, (
    field("to", NAME_TEXT, "The team that takes over.", required=True, example="sales_leads"),
    field("after", Duration(), "How long after the task was due; without it, at once.", attribute="after_s",
       example="1 day"),
    field("due", Duration(), "The new time to completion, from then on.", attribute="due_s", example="1 day"),
))  # fmt: skip

HAND_OFF = Fields(kinds.HandOff, (
    field("team", NAME_TEXT, "Who works on it.", required=True, example="account_managers"),
    field("title", Text(longest=200), "What is to be done.", required=True, example="Call about the renewal"),
    field("due", Duration(), "When it must be completed, from when it was opened.", attribute="due_s", required=True,
       example="2 days"),
    field("outcomes", Named(OUTCOME_ARM, NAME_TEXT), "How it can end, each with the steps that follow.", required=True,
       example="{ won: { steps: [] }, lost: { steps: [] } }"),
    field("assignee", Text(longest=200), "A member of the team to whom it is given.", example="ann@shop.example"),
    field("priority", Whole(0, 1_000), "Higher is listed first.", example="80"),
    field("context", ListOf(COLUMN_TEXT, single=True), "Traits that it shows, as they were when it was opened.",
       example="[lifetime_revenue, last_order_at]"),
    field("recent_events", Whole(0, 50), "How many of the person's last events it shows.", example="10"),
    field("breached", BREACHED_ARM, "Where the person goes on when it was not completed in time; without it, it stays "
       "open.", example="{ steps: [ { send: apology_mail } ] }"),
    field("escalate", ESCALATION, "Another team that takes over when it was not completed in time.",
       example="{ to: sales_leads, after: 1 day }"),
    field("hold_marketing", Truth(), "Whether marketing to the person waits while it is open.", example="true"),
))  # fmt: skip

CALL = Fields(kinds.Call, (
    field("destination", NAME_TEXT, "The service that is asked: a destination with the adapter `webhook`.", required=True,
       example="scoring_api"),
    field("body", MapOf(Text(CALL_MEMBER, "a trait, or 'entry.NAME'"), NAME_TEXT), "What is sent, as a JSON object: a name, and "
       "the trait (or `entry.NAME`, a property of the event that started the passage) that it takes its value from.",
       example="{ spent: lifetime_revenue, order: entry.order_id }"),
    field("answer", MapOf(Text(ANSWER_PATH, "a place in the answer as 'score.risk' or 'items[0].id'"), COLUMN_TEXT),
       "Traits of kind `from` that the answer sets, each with where its value stands in the JSON of the answer.",
       example="{ churn_risk: score.risk }"),
    field("timeout", Duration(), "How long the answer is waited for.", attribute="timeout_s", required=True,
       example="2 hours"),
    field("purpose", COLUMN_TEXT, "A purpose to which the person must have consented, for the channel of the destination.",
       example="profiling"),
    field("as", COLUMN_TEXT, "A name for whether it was answered, for later branches.", attribute="as_",
       example="scored"),
    field("answered", Steps(), "What those get whose answer came and held what `answer` asks for."),
    field("failed", Steps(), "What those get whose call was refused, or whose answer did not hold it.", required=True,
       example="[{ update: { churn_risk: 0 } }]"),
    field("unanswered", Steps(), "What those get whose time is up.", required=True, example="[]"),
))  # fmt: skip

ARM = Fields(kinds.Arm, (
    field("when", Expression(), "The first arm whose condition is true is taken.", required=True, example="orders > 3"),
    field("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

JUMP = Fields(kinds.Jump, (
    field("to", NAME_TEXT, "The label of the step to go on at.", required=True, example="remind"),
    field("at_most", Whole(1, 20), "How many times in one enrollment; after that it goes on here.", required=True,
       example="3"),
))  # fmt: skip

LABEL = field("label", NAME_TEXT, "A name by which `jump` finds the step.", example="remind")

STEP_DOCS: dict[str, str] = {
    "send": "`send: TEMPLATE`, or `send: { template, holdout: { name, share } }`. Sends a message; governance decides whether and "
            "when. Of a holdout's share it is withheld. `send: { channel: best, templates: [MAIL, TEXT] }` sends one of them: "
            "the channel is chosen for each person.",
    "wait": "`wait: 3 days`. Rests for a duration (a day is 24 hours); or by a local clock: see `wait` below.",
    "wait_for": "`wait_for: { any: [...], until: 5 days, as: NAME }`. Rests until a condition is true (or `all` have "
                "been), or the time is up; each way may have steps of its own.",
    "branch": "A list of `{ when, steps }`, then `unknown: [...]` (a condition is null) and `otherwise: [...]`; both "
              "are required.",
    "split": "`split: { name, arms: { a: { share: 50%, steps: [...] }, ... } }`. A sticky random split.",
    "experiment": "`experiment: { name, metric, arms: { a: { share: 50%, steps: [...] }, ... } }`. A split whose arms the "
                  "report compares on a metric.",
    "update": "`update: { TRAIT: value }`. Sets traits of kind `from`.",
    "hand_off": "`hand_off: { team, title, due, outcomes: { won: { steps: [...] }, ... } }`. A task for people; rests until "
                "it is completed, or its time is up.",
    "call": "`call: { destination, timeout, failed: [...], unanswered: [...] }`. Asks a service; rests until it answers, "
            "the call fails, or the time is up. The answer sets traits.",
    "jump": "`jump: { to: LABEL, at_most: 3 }`. Goes on at the step that has `label: LABEL` beside it, so often; then on.",
    "enter": "`enter: JOURNEY`. Makes the person a candidate of another journey, by its rules of entry, and goes on.",
    "exit": "`exit: REASON`. Ends the passage; the reason defaults to `completed`.",
}  # fmt: skip
"""Steps: name -> what it does."""

LAST_STEPS = field(
    "then", Steps(1), "What those get who leave so, at most five of `send`, `update` and `enter`. What was queued is "
    "cancelled first.", required=True, example="[{ send: thank_you }, { enter: onboarding }]",
)  # fmt: skip
"""The key beside an exit that has last steps."""

LATER_STEPS = ("decide", "sync")
"""Steps of the language that this release does not run yet."""
