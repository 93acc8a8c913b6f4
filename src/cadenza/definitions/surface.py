"""The YAML surface of every kind of definition, written once.

``load.py`` decodes by it, ``schema.py`` turns it into JSON Schema, ``reference.py`` into documentation.
A field says its YAML key, its shape, the attribute(s) of the struct in ``kinds.py`` it fills, and what it means.
"""

from __future__ import annotations

from cadenza.definitions import kinds
from cadenza.definitions.shapes import (
    Body,
    Choice,
    Duration,
    Expression,
    Fields,
    JsonSchema,
    ListOf,
    Literal_,
    MapOf,
    Number,
    Text,
    Truth,
    Whole,
)
from cadenza.definitions.surface_journey import JOURNEYS
from cadenza.definitions.surface_kind import COLUMN_TEXT, DESCRIPTION, NAME_TEXT, OWNER, Kind, field
from cadenza.definitions.surface_policy import POLICY
from cadenza.definitions.surface_testing import TESTS
from cadenza.definitions.surface_webhook import WEBHOOK

_SQL = Text(meaning="SQL expression over the file's columns")

_RECORD = Fields(kinds.RecordMapping, (
    field("call", Choice(("track", "identify", "page", "screen", "group", "alias")), "The kind of call to make.",
       required=True, example="track"),
    field("message_id", _SQL, "An id that is the same whenever the file is read again; duplicates are dropped by it.",
       required=True, example="'order-' || invoice"),
    field("timestamp", _SQL, "When it happened.", required=True, example="min(invoice_date)"),
    field("event", Text(), "The name of the track event, as plain text.", example="Order Completed"),
    field("when", _SQL, "Only rows (or groups) for which this is true make a record.", example="quantity > 0"),
    field("once_per", _SQL, "Only the first record, by timestamp, for each value of this.", example="customer_id"),
    field("user_id", _SQL, "The user id.", example="customer_id"),
    field("anonymous_id", _SQL, "The anonymous id.", example="'invoice-' || invoice"),
    field("group_id", _SQL, "group: the account.", example="account"),
    field("previous_id", _SQL, "alias: the earlier id of the same person.", example="old_id"),
    field("properties", MapOf(_SQL), "Properties of the event: name to SQL.", example="{ revenue: sum(amount) }"),
    field("traits", MapOf(_SQL), "Traits of the person: name to SQL.", example="{ country: max(country) }"),
))  # fmt: skip

_LOOKUP = Fields(kinds.Lookup, (
    field("path", Text(), "A CSV file, relative to the project.", required=True, example="data/zones.csv"),
    field("key", Text(), "Its key column.", required=True, example="country"),
    field("on", _SQL, "The value of the row that is looked up.", required=True, example="country"),
))  # fmt: skip

_CONTROL = Fields(kinds.Control, (
    field("sql", _SQL, "An aggregate over the file as it is.", required=True, example="count(*)"),
    field("expect", Text(), "What it must come to; without it the figure is only shown.", example="541909"),
))  # fmt: skip

SOURCES = Kind(
    plural="sources", singular="source", name=NAME_TEXT, folder="sources",
    doc="Where records come from: the HTTP collection API with a write key, the webhooks of another system, or a file "
        "that is imported.",
    body=Fields(kinds.Source, (
        field("kind", Choice(("http", "file", "webhook")),
           "`http`: clients send to the collection API. `webhook`: another system sends to `/v1/webhooks/NAME`. `file`: "
           "imported.", required=True, example="http"),
        OWNER, DESCRIPTION,
        field("write_key", Text(), "http: the key clients send, as text or `env:NAME`.", example="env:SHOP_WRITE_KEY"),
        field("webhook", WEBHOOK, "webhook: how its requests are verified and read.",
           example="{ preset: shopify_orders, secrets: env:SHOPIFY_SECRET }"),
        field("path", Text(), "file: the file, relative to the project.", example="data/orders.parquet"),
        field("format", Choice(("parquet", "csv", "jsonl")), "file: its format.", example="parquet"),
        field("time_zone", Text(), "file: the IANA zone of timestamps that carry none.", example="Europe/London"),
        field("duplicates", Choice(("keep", "drop")),
           "file: what to do with rows that are equal in every column. Either way they are counted.", example="drop"),
        field("group_by", ListOf(_SQL, single=True), "file: rows with equal values make one record.",
           example="[invoice]"),
        field("lookups", MapOf(_LOOKUP, COLUMN_TEXT), "file: CSV files joined to the rows; columns as `name.column`."),
        field("columns", MapOf(_SQL, COLUMN_TEXT), "file: derived columns, name to SQL.",
           example="{ amount: quantity * price }"),
        field("controls", MapOf(_CONTROL, COLUMN_TEXT), "file: control totals, checked at every import.",
           example="{ lines: { sql: count(*), expect: 541909 } }"),
        field("records", ListOf(_RECORD), "file: the records to make of each row or group."),
    )),
    example="""source: website
kind: http
write_key: env:WEBSITE_WRITE_KEY
""",
)  # fmt: skip

_TYPES = ("string", "integer", "decimal", "boolean", "timestamp")

_ACTION = Choice(("flag", "drop_field", "quarantine", "reject"))

PROPERTY = Fields(kinds.Property, (
    field("type", Choice((*_TYPES, "object", "array")), "The type of the value.", required=True, example="decimal"),
    field("required", Truth(), "Whether a record without it violates the contract.", example="true"),
    field("minimum", Number(), "Smallest number allowed.", example="0"),
    field("maximum", Number(), "Largest number allowed."),
    field("enum", ListOf(Text(), least=1), "The only texts allowed.", example="[GBP, EUR]"),
    field("pattern", Text(longest=1_000), "A regular expression that must be found in the text; no look-around, no "
       "back-references.", example="'^[A-Z]{2}[0-9]+$'"),
    field("format", Choice(("email", "uuid", "uri", "date", "time", "ipv4", "ipv6")), "The form of the text.",
       example="email"),
    field("max_length", Whole(1), "Longest text allowed, in characters.", example="200"),
    field("personal", Truth(), "Whether it is personal data; short for `sensitivity: personal`.", example="true"),
    field("sensitivity", Choice(("public", "internal", "personal", "sensitive", "secret")),
       "How much harm it does in wrong hands; without it `internal`, or `personal` where that is true.",
       example="sensitive"),
    field("purposes", ListOf(COLUMN_TEXT, single=True), "What it may be used for.", example="[marketing, service]"),
    OWNER, DESCRIPTION,
    field("on_violation", _ACTION, "What to do where this field breaks a rule, whatever the contract says.",
       example="drop_field"),
))  # fmt: skip

_ACTIONS = Fields(kinds.RuleActions, (
    field("missing", _ACTION, "A required field is missing.", example="reject"),
    field("type", _ACTION, "A value is of another type.", example="drop_field"),
    field("value", _ACTION, "A value is not in the enum, pattern, format, length or range, or breaks another rule of "
       "`schema`.", example="flag"),
    field("undeclared_field", _ACTION, "A field is neither in `properties` nor in `schema`. Without it such fields are "
       "kept.", example="drop_field"),
))  # fmt: skip

CONTRACTS = Kind(
    plural="contracts", singular="contract", folder="contracts",
    name=Text(meaning="the name of an event, identify, group or context"),
    doc="What an event must look like. `identify` and `group` are judged by their traits, `context` is the context of "
        "every call. Undeclared fields are kept, declared ones are checked, and those of events become columns.",
    body=Fields(kinds.Contract, (
        field("version", Text("^[0-9]{1,9}\\.[0-9]{1,9}\\.[0-9]{1,9}$", "a version as '1.2.0'"),
           "For people; when it is said, a changed contract needs a new one.", example="1.2.0"),
        field("compatibility", Choice(("none", "backward", "forward", "full")),
           "What a new version promises. `backward`: whatever kept the old one keeps the new one; `forward`: the other "
           "way round; `full`: both. `apply` refuses a version that breaks it.", example="backward"),
        OWNER, DESCRIPTION,
        field("properties", MapOf(PROPERTY), "Fields by name.",
           example="{ order_id: { type: string, required: true } }"),
        field("schema", JsonSchema(), "JSON Schema 2020-12 over the fields of a record, besides `properties`.",
           example="{ properties: { sku: { type: string } } }"),
        field("on_violation", _ACTION,
           "`flag`: keep the record, marked. `drop_field`: keep it without the field, marked. `quarantine`: set it "
           "aside with its reason. `reject`: refuse it; it is counted, not kept.", example="flag"),
        field("actions", _ACTIONS, "What to do per kind of rule, where not as `on_violation`.",
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
    field("type", COLUMN_TEXT, "The kind of identifier.", required=True, example="email"),
    field("from", Text("^(userId|anonymousId|(traits|properties)\\..+)$",
                    "`userId`, `anonymousId`, `traits.X` or `properties.X`"),
       "Where it is found.", attribute="source", required=True, example="traits.email"),
    field("blocked", ListOf(Text()), "Values that never identify anyone, besides the built-in ones; `/.../` is a "
       "pattern.", example="[guest@shop.example, /^test-/]"),
))  # fmt: skip

_ACCOUNTS = Fields(kinds.Accounts, (
    field("from", Text("^(context|properties)\\..+$", "`context.X` or `properties.X`"),
       "Where the calls of persons name the account; `context.groupId` if nothing is said. A `group` call names it in its "
       "`groupId`.", attribute="source", example="context.groupId"),
    field("blocked", ListOf(Text()), "Values that never name an account, besides the built-in ones; `/.../` is a pattern.",
       example="[internal, /^test-/]"),
))  # fmt: skip

IDENTITY = Kind(
    plural="identity", singular=None, name=NAME_TEXT, folder="identity.yaml",
    doc="How records become persons: the identifiers, highest priority first. There is one.",
    body=Fields(kinds.Identity, (
        field("identifiers", ListOf(_IDENTIFIER, least=1), "Kinds of identifier in order of priority.", required=True),
        field("accounts", _ACCOUNTS, "Accounts are subjects of their own, with traits, segments and journeys.",
              example="{ from: context.groupId }"),
    )),
    example="""identifiers:
  - { type: user_id, from: userId }
  - { type: email, from: traits.email, blocked: [guest@shop.example] }
  - { type: anonymous_id, from: anonymousId }
""",
)  # fmt: skip

TRAITS = Kind(
    plural="traits", singular="trait", name=COLUMN_TEXT, folder="traits",
    doc="A trait of a person: the last value sent (`from`), or computed (`value`).",
    body=Fields(kinds.TraitDefinition, (
        field("type", Choice(_TYPES), "The type of the value.", required=True, example="integer"),
        field("from", Text("^traits\\..+$", "`traits.X`"), "The trait that clients send.", attribute="from_",
           example="traits.email"),
        field("value", Expression(), "The expression that computes it.", example="events('Order Completed')"),
        OWNER, DESCRIPTION,
        field("personal", Truth(), "Whether it is personal data.", example="true"),
    )),
    example="""traits:
  email: { type: string, from: traits.email, personal: true }
  orders: { type: integer, value: "events('Order Completed')" }
""",
)  # fmt: skip

SEGMENTS = Kind(
    plural="segments", singular="segment", name=COLUMN_TEXT, folder="segments",
    doc="Persons for whom a condition is true; membership is kept as intervals.",
    body=Fields(kinds.Segment, (
        field("when", Expression(), "Who is in it.", required=True, example="orders >= 3"),
        field("subject", Choice(("person", "account")), "Whether it is of persons or of accounts.", example="account"),
        OWNER, DESCRIPTION,
    )),
    example="""segment: regulars
when: events('Order Completed', within => '90 days') >= 3
""",
)  # fmt: skip

TEMPLATES = Kind(
    plural="templates", singular="template", name=NAME_TEXT, folder="templates",
    doc="The content of one message. `subject` and `body` are Liquid with strict variables: traits of the person, "
        "`entry.X` (properties of the event that triggered the journey), `person.id`, `message.id`.",
    body=Fields(kinds.Template, (
        field("channel", COLUMN_TEXT, "The channel it is made for.", required=True, example="email"),
        field("purpose", COLUMN_TEXT, "The purpose that needs consent.",
           required=True, example="marketing"),
        field("class", Choice(("marketing", "transactional")),
           "`transactional` skips consent, caps and quiet hours; never legal suppression.",
           attribute="message_class", example="marketing"),
        field("topic", NAME_TEXT, "What it is about, for caps of a topic; without it, the purpose.", example="sale"),
        field("subject", Text(longest=1_000), "The subject line.", example="Welcome, {{ first_name }}"),
        field("body", Body(), "Liquid text, or the name of a `.liquid` file beside this one.", required=True,
           example="welcome.liquid"),
        field("format", Choice(("text", "html")), "What the body is.", example="html"),
        OWNER,
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
    field("attempts", Whole(1, 100), "How often delivery is tried before it fails.", example="8"),
    field("backoff", Duration(), "The first pause; it doubles each time.", attribute="backoff_s", example="2 seconds"),
))  # fmt: skip

DESTINATIONS = Kind(
    plural="destinations", singular="destination", name=NAME_TEXT, folder="destinations",
    doc="Where the messages of a channel go.",
    body=Fields(kinds.Destination, (
        field("channel", COLUMN_TEXT, "The channel it serves.", required=True, example="email"),
        field("adapter", Text(), "The adapter: `mailbox`, `smtp` or `webhook`.", required=True, example="mailbox"),
        field("address", Text(), "The trait that holds the address.", attribute="address_trait", example="email"),
        field("settings", MapOf(Literal_()), "The adapter's settings; secrets as `env:NAME` or `file:PATH`.",
           example="{ host: localhost, port: 25 }"),
        field("retry", _RETRY, "How failed attempts are repeated.", attribute="*",
           example="{ attempts: 8, backoff: 2 seconds }"),
    )),
    example="""destination: mail
channel: email
adapter: mailbox
address: email
""",
)  # fmt: skip

METRICS = Kind(
    plural="metrics", singular="metric", name=NAME_TEXT, folder="metrics",
    doc="What is counted for a unit after its assignment.",
    body=Fields(kinds.Metric, (
        field("kind", Choice(("sum", "count", "conversion")),
           "`sum` of a property, `count` of events, or `conversion`: 1 when there is at least one.", required=True,
           example="sum"),
        field("event", Text(), "The event that counts.", required=True, example="Order Completed"),
        field("property", Text(), "sum: the property that is added up.", example="revenue"),
        field("minus", Text(), "sum: events of this name count negatively.", example="Order Refunded"),
        field("where", Expression(properties=True), "Only events for which this is true.", example="revenue > 0"),
        field("within", Duration(), "How long after the assignment.", attribute="within_s", required=True,
           example="28 days"),
        field("unit_label", Text(), "The unit, for reports.", example="GBP"),
        DESCRIPTION,
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
    field("archive_after", Duration(), "Records older than this move to Parquet files, once a day while the server runs.",
       attribute="archive_after_s", example="30 days"),
    field("keep", Duration(), "Archived records older than this are deleted; definitions and commands stay.",
       attribute="keep_s", example="400 days"),
    field("duplicates", Duration(), "A message id is known at least this long; 30 days if not said.",
       attribute="duplicates_s", example="30 days"),
))  # fmt: skip

PROJECT = Fields(None, (
    field("project", NAME_TEXT, "The project's name.", required=True, example="my_shop"),
    field("undeclared_events", Choice(("allow", "flag", "quarantine", "reject")),
       "What becomes of a track event that no contract speaks of: kept, kept and marked, set aside, or refused.",
       example="flag"),
    field("log", _LOG, "How long the log keeps what, and where.", example="{ archive_after: 30 days, keep: 400 days }"),
))  # fmt: skip

SURFACE: tuple[Kind, ...] = (
    SOURCES, CONTRACTS, IDENTITY, TRAITS, SEGMENTS, JOURNEYS, POLICY, TEMPLATES, DESTINATIONS, METRICS,
    TESTS,
)  # fmt: skip
"""Every kind, in the order in which a person would write them."""
