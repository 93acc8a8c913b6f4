"""The YAML surface of every kind of definition, written once.

``load.py`` decodes by it, ``schema.py`` turns it into JSON Schema, ``reference.py`` into documentation.
A field says its YAML key, its shape, the attribute(s) of the struct in ``kinds.py`` it fills, and what it means.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cadenza.definitions import kinds
from cadenza.definitions.shapes import (
    COLUMN,
    LOCAL_TIME,
    NAME,
    Again,
    Body,
    Choice,
    Duration,
    Expression,
    Field,
    Fields,
    JsonSchema,
    ListOf,
    Literal_,
    MapOf,
    Named,
    Number,
    Share,
    Steps,
    Text,
    Truth,
    Whole,
)
from cadenza.definitions.surface_webhook import WEBHOOK


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of definition: ``plural`` is its field of Project and its folder, ``singular`` its heading key
    (None: there is one per project, without a name)."""

    plural: str
    singular: str | None
    name: Text
    body: Fields
    folder: str
    doc: str
    example: str


def _f(key: str, shape: Any, doc: str, **more: Any) -> Field:
    return Field(key=key, shape=shape, doc=doc, **more)


_OWNER = _f("owner", Text(), "Team or person that answers for it.", example="growth@shop.example")
_DESCRIPTION = _f("description", Text(), "What it is for, for people.")
_SQL = Text(meaning="SQL expression over the file's columns")
_NAME_TEXT = Text(NAME, "made of letters, digits, _ and -, a letter first")
_COLUMN_TEXT = Text(COLUMN, "made of lower-case letters, digits and _, a letter first")

HOLDOUT = Fields(kinds.Holdout, (
    _f("name", _NAME_TEXT, "The salt of the assignment: the same name holds out the same people.", required=True,
       example="win_back_2011"),
    _f("share", Share(0, 9_900), "How many are held out.", attribute="share_bp", required=True, example="20%"),
))  # fmt: skip

_RECORD = Fields(kinds.RecordMapping, (
    _f("call", Choice(("track", "identify", "page", "screen", "group", "alias")), "The kind of call to make.",
       required=True, example="track"),
    _f("message_id", _SQL, "An id that is the same whenever the file is read again; duplicates are dropped by it.",
       required=True, example="'order-' || invoice"),
    _f("timestamp", _SQL, "When it happened.", required=True, example="min(invoice_date)"),
    _f("event", Text(), "The name of the track event, as plain text.", example="Order Completed"),
    _f("when", _SQL, "Only rows (or groups) for which this is true make a record.", example="quantity > 0"),
    _f("once_per", _SQL, "Only the first record, by timestamp, for each value of this.", example="customer_id"),
    _f("user_id", _SQL, "The user id.", example="customer_id"),
    _f("anonymous_id", _SQL, "The anonymous id.", example="'invoice-' || invoice"),
    _f("group_id", _SQL, "group: the account.", example="account"),
    _f("previous_id", _SQL, "alias: the earlier id of the same person.", example="old_id"),
    _f("properties", MapOf(_SQL), "Properties of the event: name to SQL.", example="{ revenue: sum(amount) }"),
    _f("traits", MapOf(_SQL), "Traits of the person: name to SQL.", example="{ country: max(country) }"),
))  # fmt: skip

_LOOKUP = Fields(kinds.Lookup, (
    _f("path", Text(), "A CSV file, relative to the project.", required=True, example="data/zones.csv"),
    _f("key", Text(), "Its key column.", required=True, example="country"),
    _f("on", _SQL, "The value of the row that is looked up.", required=True, example="country"),
))  # fmt: skip

_CONTROL = Fields(kinds.Control, (
    _f("sql", _SQL, "An aggregate over the file as it is.", required=True, example="count(*)"),
    _f("expect", Text(), "What it must come to; without it the figure is only shown.", example="541909"),
))  # fmt: skip

SOURCES = Kind(
    plural="sources", singular="source", name=_NAME_TEXT, folder="sources",
    doc="Where records come from: the HTTP collection API with a write key, the webhooks of another system, or a file "
        "that is imported.",
    body=Fields(kinds.Source, (
        _f("kind", Choice(("http", "file", "webhook")),
           "`http`: clients send to the collection API. `webhook`: another system sends to `/v1/webhooks/NAME`. `file`: "
           "imported.", required=True, example="http"),
        _OWNER, _DESCRIPTION,
        _f("write_key", Text(), "http: the key clients send, as text or `env:NAME`.", example="env:SHOP_WRITE_KEY"),
        _f("webhook", WEBHOOK, "webhook: how its requests are verified and read.",
           example="{ preset: shopify_orders, secrets: env:SHOPIFY_SECRET }"),
        _f("path", Text(), "file: the file, relative to the project.", example="data/orders.parquet"),
        _f("format", Choice(("parquet", "csv", "jsonl")), "file: its format.", example="parquet"),
        _f("time_zone", Text(), "file: the IANA zone of timestamps that carry none.", example="Europe/London"),
        _f("duplicates", Choice(("keep", "drop")),
           "file: what to do with rows that are equal in every column. Either way they are counted.", example="drop"),
        _f("group_by", ListOf(_SQL, single=True), "file: rows with equal values make one record.",
           example="[invoice]"),
        _f("lookups", MapOf(_LOOKUP, _COLUMN_TEXT), "file: CSV files joined to the rows; columns as `name.column`."),
        _f("columns", MapOf(_SQL, _COLUMN_TEXT), "file: derived columns, name to SQL.",
           example="{ amount: quantity * price }"),
        _f("controls", MapOf(_CONTROL, _COLUMN_TEXT), "file: control totals, checked at every import.",
           example="{ lines: { sql: count(*), expect: 541909 } }"),
        _f("records", ListOf(_RECORD), "file: the records to make of each row or group."),
    )),
    example="""source: website
kind: http
write_key: env:WEBSITE_WRITE_KEY
""",
)  # fmt: skip

_TYPES = ("string", "integer", "decimal", "boolean", "timestamp")

_ACTION = Choice(("flag", "drop_field", "quarantine", "reject"))

PROPERTY = Fields(kinds.Property, (
    _f("type", Choice((*_TYPES, "object", "array")), "The type of the value.", required=True, example="decimal"),
    _f("required", Truth(), "Whether a record without it violates the contract.", example="true"),
    _f("minimum", Number(), "Smallest number allowed.", example="0"),
    _f("maximum", Number(), "Largest number allowed."),
    _f("enum", ListOf(Text(), least=1), "The only texts allowed.", example="[GBP, EUR]"),
    _f("pattern", Text(longest=1_000), "A regular expression that must be found in the text; no look-around, no "
       "back-references.", example="'^[A-Z]{2}[0-9]+$'"),
    _f("format", Choice(("email", "uuid", "uri", "date", "time", "ipv4", "ipv6")), "The form of the text.",
       example="email"),
    _f("max_length", Whole(1), "Longest text allowed, in characters.", example="200"),
    _f("personal", Truth(), "Whether it is personal data; short for `sensitivity: personal`.", example="true"),
    _f("sensitivity", Choice(("public", "internal", "personal", "sensitive", "secret")),
       "How much harm it does in wrong hands; without it `internal`, or `personal` where that is true.",
       example="sensitive"),
    _f("purposes", ListOf(_COLUMN_TEXT, single=True), "What it may be used for.", example="[marketing, service]"),
    _OWNER, _DESCRIPTION,
    _f("on_violation", _ACTION, "What to do where this field breaks a rule, whatever the contract says.",
       example="drop_field"),
))  # fmt: skip

_ACTIONS = Fields(kinds.RuleActions, (
    _f("missing", _ACTION, "A required field is missing.", example="reject"),
    _f("type", _ACTION, "A value is of another type.", example="drop_field"),
    _f("value", _ACTION, "A value is not in the enum, pattern, format, length or range, or breaks another rule of "
       "`schema`.", example="flag"),
    _f("undeclared_field", _ACTION, "A field is neither in `properties` nor in `schema`. Without it such fields are "
       "kept.", example="drop_field"),
))  # fmt: skip

CONTRACTS = Kind(
    plural="contracts", singular="contract", folder="contracts",
    name=Text(meaning="the name of an event, identify, group or context"),
    doc="What an event must look like. `identify` and `group` are judged by their traits, `context` is the context of "
        "every call. Undeclared fields are kept, declared ones are checked, and those of events become columns.",
    body=Fields(kinds.Contract, (
        _f("version", Text("^[0-9]{1,9}\\.[0-9]{1,9}\\.[0-9]{1,9}$", "a version as '1.2.0'"),
           "For people; when it is said, a changed contract needs a new one.", example="1.2.0"),
        _f("compatibility", Choice(("none", "backward", "forward", "full")),
           "What a new version promises. `backward`: whatever kept the old one keeps the new one; `forward`: the other "
           "way round; `full`: both. `apply` refuses a version that breaks it.", example="backward"),
        _OWNER, _DESCRIPTION,
        _f("properties", MapOf(PROPERTY), "Fields by name.",
           example="{ order_id: { type: string, required: true } }"),
        _f("schema", JsonSchema(), "JSON Schema 2020-12 over the fields of a record, besides `properties`.",
           example="{ properties: { sku: { type: string } } }"),
        _f("on_violation", _ACTION,
           "`flag`: keep the record, marked. `drop_field`: keep it without the field, marked. `quarantine`: set it "
           "aside with its reason. `reject`: refuse it; it is counted, not kept.", example="flag"),
        _f("actions", _ACTIONS, "What to do per kind of rule, where not as `on_violation`.",
           example="{ missing: reject, value: flag }"),
    )),
    example="""contract: Order Completed
version: 1.0.0
properties:
  order_id: { type: string, required: true }
  revenue: { type: decimal, minimum: 0 }
""",
)  # fmt: skip

_IDENTIFIER = Fields(kinds.Identifier, (
    _f("type", _COLUMN_TEXT, "The kind of identifier.", required=True, example="email"),
    _f("from", Text("^(userId|anonymousId|(traits|properties)\\..+)$",
                    "`userId`, `anonymousId`, `traits.X` or `properties.X`"),
       "Where it is found.", attribute="source", required=True, example="traits.email"),
    _f("blocked", ListOf(Text()), "Values that never identify anyone, besides the built-in ones; `/.../` is a "
       "pattern.", example="[guest@shop.example, /^test-/]"),
))  # fmt: skip

IDENTITY = Kind(
    plural="identity", singular=None, name=_NAME_TEXT, folder="identity.yaml",
    doc="How records become persons: the identifiers, highest priority first. There is one.",
    body=Fields(kinds.Identity, (
        _f("identifiers", ListOf(_IDENTIFIER, least=1), "Kinds of identifier in order of priority.", required=True),
    )),
    example="""identifiers:
  - { type: user_id, from: userId }
  - { type: email, from: traits.email, blocked: [guest@shop.example] }
  - { type: anonymous_id, from: anonymousId }
""",
)  # fmt: skip

TRAITS = Kind(
    plural="traits", singular="trait", name=_COLUMN_TEXT, folder="traits",
    doc="A trait of a person: the last value sent (`from`), or computed (`value`).",
    body=Fields(kinds.TraitDefinition, (
        _f("type", Choice(_TYPES), "The type of the value.", required=True, example="integer"),
        _f("from", Text("^traits\\..+$", "`traits.X`"), "The trait that clients send.", attribute="from_",
           example="traits.email"),
        _f("value", Expression(), "The expression that computes it.", example="events('Order Completed')"),
        _OWNER, _DESCRIPTION,
        _f("personal", Truth(), "Whether it is personal data.", example="true"),
    )),
    example="""traits:
  email: { type: string, from: traits.email, personal: true }
  orders: { type: integer, value: "events('Order Completed')" }
""",
)  # fmt: skip

SEGMENTS = Kind(
    plural="segments", singular="segment", name=_COLUMN_TEXT, folder="segments",
    doc="Persons for whom a condition is true; membership is kept as intervals.",
    body=Fields(kinds.Segment, (
        _f("when", Expression(), "Who is in it.", required=True, example="orders >= 3"),
        _OWNER, _DESCRIPTION,
    )),
    example="""segment: regulars
when: events('Order Completed', within => '90 days') >= 3
""",
)  # fmt: skip

TRIGGER = Fields(kinds.Trigger, (
    _f("event", Text(), "A track event.", example="Order Completed"),
    _f("where", Expression(properties=True), "Only events for which this is true.", example="revenue > 100"),
    _f("segment", Text(), "A segment whose membership changes.", example="lapsing"),
    _f("change", Choice(("entered", "left")), "Which change of the segment.", example="entered"),
))  # fmt: skip

_ENTRY = Fields(kinds.Entry, (
    _f("on", TRIGGER, "What makes a person a candidate.", required=True,
       example="{ segment: lapsing, change: entered }"),
    _f("when", Expression(), "Only candidates for whom this is true qualify.", example="orders >= 2"),
    _f("unless", Expression(), "Candidates for whom this is true or unknown are refused.",
       example="in_segment('open_complaint')"),
    _f("again", Again(), "Re-entry: `once`, `after_exit`, or `{ after: 60 days }` since the last entry.",
       attribute="*", example="{ after: 60 days }"),
    _f("key", Expression(properties=True), "One passage per value, from the triggering event.", example="order_id"),
))  # fmt: skip

_EXIT = Fields(kinds.Exit, (
    _f("goal", Expression(), "The journey has reached what it is for.", required=True,
       example="event('Order Completed')"),
    _f("disqualified", Expression(), "The person may not go on.", required=True,
       example="not consented('marketing', 'email')"),
    _f("superseded", Truth(), "Whether a journey of higher priority in the arena ends it.", required=True,
       example="true"),
    _f("time_limit", Duration(), "The longest stay.", attribute="time_limit_s", required=True, example="30 days"),
))  # fmt: skip

_OUTCOME = Fields(kinds.Outcome, (
    _f("metric", Text(), "The metric that says what the journey is worth.", required=True, example="revenue_28d"),
    _f("unit", Choice(("person",)), "Whose outcome is measured.", example="person"),
))  # fmt: skip

JOURNEYS = Kind(
    plural="journeys", singular="journey", name=_COLUMN_TEXT, folder="journeys",
    doc="A passage of a person through steps, with its entry, its four exits and its outcome.",
    body=Fields(kinds.Journey, (
        _f("owner", Text(), "Team or person that answers for it.", required=True, example="growth@shop.example"),
        _f("outcome", _OUTCOME, "What it is measured by.", required=True, example="{ metric: revenue_28d }"),
        _f("priority", Whole(0, 1_000), "Higher goes first, within the arena and for caps.", example="40"),
        _f("arena", Text(NAME, "a name, or null", nullable=True),
           "Journeys of one arena compete for a person; null competes with nobody.", example="lifecycle"),
        _f("entry", _ENTRY, "Trigger, qualification, suppression, re-entry and key.", required=True),
        _f("holdout", HOLDOUT, "The share of candidates that gets nothing, for measurement.",
           example="{ name: win_back, share: 20% }"),
        _f("exit", _EXIT, "The four exits, checked at every item in this order.", required=True),
        _f("in_flight", Choice(("pin", "exit")), "What a new version does with those inside an older one.",
           example="pin"),
        _f("steps", Steps(1), "The steps, from the top down.", required=True),
        _DESCRIPTION,
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

_CAP = Fields(kinds.Cap, (
    _f("name", _NAME_TEXT, "Shown where a message was held back.", required=True, example="weekly"),
    _f("limit", Whole(0, 10_000), "At most so many marketing messages per person.", required=True, example="3"),
    _f("per", Duration(), "The length of the rolling window.", attribute="per_s", required=True, example="7 days"),
    _f("channel", Text(), "Only this channel; without it every channel counts.", example="email"),
    _f("when_full", Choice(("defer", "drop")), "Wait for room, or drop the message.", example="defer"),
))  # fmt: skip

_QUIET = Fields(kinds.QuietHours, (
    _f("from", Text(LOCAL_TIME, "a local time as '21:00'"), "Local time at which they begin.", attribute="from_",
       required=True, example="'21:00'"),
    _f("to", Text(LOCAL_TIME, "a local time as '08:00'"), "Local time at which they end; may be past midnight.",
       required=True, example="'08:00'"),
))  # fmt: skip

_SUPPRESS = Fields(kinds.Suppress, (
    _f("name", _NAME_TEXT, "Shown where a message was held back.", required=True, example="open_complaint"),
    _f("when", Expression(), "Marketing is withheld while this is true or unknown.", required=True,
       example="in_segment('open_complaint')"),
))  # fmt: skip

POLICY = Kind(
    plural="policy", singular=None, name=_NAME_TEXT, folder="policies",
    doc="The contact policy of the project. There is one.",
    body=Fields(kinds.Policy, (
        _f("caps", ListOf(_CAP), "Frequency caps over all journeys."),
        _f("quiet_hours", _QUIET, "Local hours in which marketing waits.", example="{ from: '21:00', to: '08:00' }"),
        _f("time_zone_trait", Text(), "The trait that holds a person's IANA zone.", example="time_zone"),
        _f("missing_time_zone", Text(), "For persons without a zone: `drop`, or the zone to assume.",
           example="Europe/London"),
        _f("suppress", ListOf(_SUPPRESS), "Conditions under which marketing is withheld."),
        _f("deadline", Duration(), "A message that would have to wait longer is dropped.", attribute="deadline_s",
           example="3 days"),
        _f("holdout", HOLDOUT, "A global holdout: its members get no marketing from any journey.",
           example="{ name: global_2026, share: 5% }"),
    )),
    example="""caps:
  - { name: weekly, limit: 3, per: 7 days, when_full: defer }
quiet_hours: { from: '21:00', to: '08:00' }
missing_time_zone: Europe/London
""",
)  # fmt: skip

TEMPLATES = Kind(
    plural="templates", singular="template", name=_NAME_TEXT, folder="templates",
    doc="The content of one message. `subject` and `body` are Liquid with strict variables: traits of the person, "
        "`entry.X` (properties of the event that triggered the journey), `person.id`, `message.id`.",
    body=Fields(kinds.Template, (
        _f("channel", _COLUMN_TEXT, "The channel it is made for.", required=True, example="email"),
        _f("purpose", _COLUMN_TEXT, "The purpose that needs consent.",
           required=True, example="marketing"),
        _f("class", Choice(("marketing", "transactional")),
           "`transactional` skips consent, caps and quiet hours; never legal suppression.",
           attribute="message_class", example="marketing"),
        _f("subject", Text(longest=1_000), "The subject line.", example="Welcome, {{ first_name }}"),
        _f("body", Body(), "Liquid text, or the name of a `.liquid` file beside this one.", required=True,
           example="welcome.liquid"),
        _f("format", Choice(("text", "html")), "What the body is.", example="html"),
        _OWNER,
    )),
    example="""template: welcome_mail
channel: email
purpose: marketing
subject: Welcome to the shop
body: |
  Hello {{ first_name | default: 'there' }}!
""",
)  # fmt: skip

_RETRY = Fields(None, (
    _f("attempts", Whole(1, 100), "How often delivery is tried before it fails.", example="8"),
    _f("backoff", Duration(), "The first pause; it doubles each time.", attribute="backoff_s", example="2 seconds"),
))  # fmt: skip

DESTINATIONS = Kind(
    plural="destinations", singular="destination", name=_NAME_TEXT, folder="destinations",
    doc="Where the messages of a channel go.",
    body=Fields(kinds.Destination, (
        _f("channel", _COLUMN_TEXT, "The channel it serves.", required=True, example="email"),
        _f("adapter", Text(), "The adapter: `mailbox`, `smtp` or `webhook`.", required=True, example="mailbox"),
        _f("address", Text(), "The trait that holds the address.", attribute="address_trait", example="email"),
        _f("settings", MapOf(Literal_()), "The adapter's settings; secrets as `env:NAME` or `file:PATH`.",
           example="{ host: localhost, port: 25 }"),
        _f("retry", _RETRY, "How failed attempts are repeated.", attribute="*",
           example="{ attempts: 8, backoff: 2 seconds }"),
    )),
    example="""destination: mail
channel: email
adapter: mailbox
address: email
""",
)  # fmt: skip

METRICS = Kind(
    plural="metrics", singular="metric", name=_NAME_TEXT, folder="metrics",
    doc="What is counted for a unit after its assignment.",
    body=Fields(kinds.Metric, (
        _f("kind", Choice(("sum", "count", "conversion")),
           "`sum` of a property, `count` of events, or `conversion`: 1 when there is at least one.", required=True,
           example="sum"),
        _f("event", Text(), "The event that counts.", required=True, example="Order Completed"),
        _f("property", Text(), "sum: the property that is added up.", example="revenue"),
        _f("minus", Text(), "sum: events of this name count negatively.", example="Order Refunded"),
        _f("where", Expression(properties=True), "Only events for which this is true.", example="revenue > 0"),
        _f("within", Duration(), "How long after the assignment.", attribute="within_s", required=True,
           example="28 days"),
        _f("unit_label", Text(), "The unit, for reports.", example="GBP"),
        _DESCRIPTION,
    )),
    example="""metric: revenue_28d
kind: sum
event: Order Completed
property: revenue
minus: Order Refunded
within: 28 days
""",
)  # fmt: skip

_LOG = Fields(kinds.LogKeeping, (
    _f("archive_after", Duration(), "Records older than this move to Parquet files, once a day while the server runs.",
       attribute="archive_after_s", example="30 days"),
    _f("keep", Duration(), "Archived records older than this are deleted; definitions and commands stay.",
       attribute="keep_s", example="400 days"),
    _f("duplicates", Duration(), "A message id is known at least this long; 30 days if not said.",
       attribute="duplicates_s", example="30 days"),
))  # fmt: skip

PROJECT = Fields(None, (
    _f("project", _NAME_TEXT, "The project's name.", required=True, example="my_shop"),
    _f("undeclared_events", Choice(("allow", "flag", "quarantine", "reject")),
       "What becomes of a track event that no contract speaks of: kept, kept and marked, set aside, or refused.",
       example="flag"),
    _f("log", _LOG, "How long the log keeps what, and where.", example="{ archive_after: 30 days, keep: 400 days }"),
))  # fmt: skip

SURFACE: tuple[Kind, ...] = (
    SOURCES, CONTRACTS, IDENTITY, TRAITS, SEGMENTS, JOURNEYS, POLICY, TEMPLATES, DESTINATIONS, METRICS,
)  # fmt: skip
"""Every kind, in the order in which a person would write them."""

WAIT_FOR = Fields(kinds.WaitFor, (
    _f("any", ListOf(Expression(), least=1, single=True), "Goes on as soon as one of these is true.", required=True,
       example="[event('Order Completed')]"),
    _f("until", Duration(), "Goes on after this, if none became true.", attribute="until_s", required=True,
       example="5 days"),
    _f("as", _COLUMN_TEXT, "A name for whether one became true, for later branches.", attribute="as_",
       example="ordered"),
))  # fmt: skip

SPLIT_ARM = Fields(kinds.SplitArm, (
    _f("share", Share(1, 10_000), "How many take this arm.", attribute="share_bp", required=True, example="50%"),
    _f("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

SPLIT = Fields(kinds.Split, (
    _f("name", _NAME_TEXT, "The salt of the split.", required=True, example="offer"),
    _f("arms", Named(SPLIT_ARM, _NAME_TEXT, 2), "Two or more arms by name; shares add up to 100 %.", required=True),
))  # fmt: skip

ARM = Fields(kinds.Arm, (
    _f("when", Expression(), "The first arm whose condition is true is taken.", required=True, example="orders > 3"),
    _f("steps", Steps(), "What they get.", required=True),
))  # fmt: skip

STEP_DOCS: dict[str, str] = {
    "send": "`send: TEMPLATE`. Sends a message; governance decides whether and when.",
    "wait": "`wait: 3 days`. Rests for a duration.",
    "wait_for": "`wait_for: { any: [...], until: 5 days, as: NAME }`. Rests until a condition is true, or the time is up.",
    "branch": "A list of `{ when, steps }`, then `unknown: [...]` (a condition is null) and `otherwise: [...]`; both "
              "are required.",
    "split": "`split: { name, arms: { a: { share: 50%, steps: [...] }, ... } }`. A sticky random split.",
    "update": "`update: { TRAIT: value }`. Sets traits of kind `from`.",
    "exit": "`exit: REASON`. Ends the passage; the reason defaults to `completed`.",
}  # fmt: skip
"""Steps: name -> what it does."""

LATER_STEPS = ("experiment", "decide", "hand_off", "call", "sync", "enter", "jump")
"""Steps of the language that this release does not run yet."""
