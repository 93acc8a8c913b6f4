"""The YAML surface of journey tests."""

from __future__ import annotations

from cadenza.definitions import kinds_testing as kinds, moments
from cadenza.definitions.shapes import Expression, Fields, ListOf, Literal_, MapOf, Named, Text, Truth, Values, Whole
from cadenza.definitions.surface_kind import COLUMN_TEXT, DESCRIPTION, NAME_TEXT, Kind, field

_MOMENT = Text(moments.MOMENT, moments.MEANING)
_CONSENT = Text("^[a-z][a-z0-9_]{0,62}/[a-z][a-z0-9_]{0,62}$", "a purpose and a channel as 'marketing/email'")
_LONG = Text(longest=10_000)

_WHAT_HAPPENS = (
    field("at", _MOMENT, "When it becomes known.", required=True, example="+2 days 3 hours"),
    field("occurred", _MOMENT, "When it happened, if it becomes known later.", example="+1 day"),
    field("event", Text(), "A track event.", example="Order Completed"),
    field("properties", Values(), "Its properties.", example="{ order_id: o1, revenue: 20 }"),
    field("traits", Values(), "Traits that become known.", example="{ plan: paid }"),
    field("consents", ListOf(_CONSENT, single=True), "Purposes and channels that are granted.",
          example="marketing/email"),
    field("withdraws", ListOf(_CONSENT, single=True), "Purposes and channels that are withdrawn.",
          example="marketing/email"),
    field("completes", NAME_TEXT, "The person's open task (the last one opened) is completed with this outcome.",
          example="won"),
    field("answers", Values(), "What the service answers to the person's open call (the last one put).",
          example="{ score: { risk: 0.7 } }"),
    field("call_fails", Text(), "That call fails, for this reason.", example="422 no such customer"),
)  # fmt: skip

_PAST = Fields(kinds.Happening, _WHAT_HAPPENS)
_EVENT = Fields(kinds.Event, (
    field("person", COLUMN_TEXT, "Whose; may be left out where there is one person.", example="anna"),
    field("account", COLUMN_TEXT, "The account in whose name; without `person`: somebody of it.", example="miller"), *_WHAT_HAPPENS,
))  # fmt: skip

_ACTOR = Fields(kinds.Actor, (
    field("traits", Values(), "What is known at the beginning. Without them the person has an e-mail address of their own "
          "and lives in the zone of the test; null takes a trait away.", example="{ first_name: Anna }"),
    field("consents", ListOf(_CONSENT, single=True), "Purposes and channels granted at the beginning.",
          example="marketing/email"),
    field("events", ListOf(_PAST), "What happens to this person alone; before the start too.",
          example="[ { at: -10 days, event: Order Completed } ]"),
    field("arms", MapOf(NAME_TEXT, NAME_TEXT), "The arm of a split; without it the first one.",
          example="{ offer: free_shipping }"),
    field("held_out", ListOf(NAME_TEXT, single=True), "Holdouts that the person is in; without it none.",
          example="win_back_2011"),
))  # fmt: skip

_ACCOUNT = Fields(kinds.TestedAccount, (
    field("traits", Values(), "What is known of it at the beginning, as a `group` call says it.", example="{ plan: trial }"),
    field("arms", MapOf(NAME_TEXT, NAME_TEXT), "The arm of a split; without it the first one.", example="{ offer: call }"),
    field("held_out", ListOf(NAME_TEXT, single=True), "Holdouts that the account is in; without it none.",
          example="accounts_2026"),
))  # fmt: skip

_EXPECTATION = Fields(kinds.Expectation, (
    field("path", ListOf(Text(), least=1), "Every step of a passage at which the person rests, in order, and its end; "
          "each may say when (`send welcome at +1 day`). Ways of branches and splits may be written between.",
          example="[ send welcome_mail, wait 3 days at +0 days, exit completed ]"),
    field("message", Text(), "This template is sent; with `at`, then.", example="welcome_mail"),
    field("messages", ListOf(Text()), "These templates are sent, from all journeys, in this order, and nothing else.",
          example="[ welcome_mail, reminder_mail ]"),
    field("nothing_sent", Truth(), "Nothing is sent to the person.", example="true"),
    field("dropped", Text(), "This template is decided not to be sent.", example="welcome_mail"),
    field("deferred", Text(), "This template is put off.", example="welcome_mail"),
    field("entered", Whole(0, 1_000), "So many passages begin.", example="1"),
    field("refused", Text(), "The journey refuses the person as a candidate, for this reason, or `not_qualified`.",
          example="re_entry"),
    field("exit", Text(), "A passage ends for this reason.", example="goal"),
    field("segment", Text(), "The person is a member (or with `member: false` is not) at an instant.", example="vip"),
    field("trait", Text(), "What the trait `is` at an instant.", example="orders"),
    field("holds", Expression(), "The condition is true at an instant.", example="orders >= 3"),
    field("person", COLUMN_TEXT, "Whom it is about; may be left out where there is one person.", example="anna"),
    field("account", COLUMN_TEXT, "In place of a person: the account it is about.", example="miller"),
    field("journey", Text(), "In which journey; without it the test's.", example="welcome"),
    field("passage", Whole(1, 1_000), "path, exit: which passage of the person through it.", example="2"),
    field("at", _MOMENT, "When; for segment, trait and holds without it at the end.", example="+3 days"),
    field("until", _MOMENT, "deferred: until when.", example="+1 day at 08:00"),
    field("channel", Text(), "message: by which channel.", example="email"),
    field("subject", Text(), "message: a part of the subject.", example="Welcome, Anna"),
    field("body", _LONG, "message: a part of the text.", example="good to have you"),
    field("reason", Text(), "dropped, deferred: why.", example="no_consent"),
    field("rule", Text(), "dropped, deferred, refused: by which rule.", example="weekly"),
    field("is", Literal_(), "trait: its value; left out, it has none.", attribute="value", example="3"),
    field("member", Truth(), "segment: whether the person is a member.", example="false"),
))  # fmt: skip

TESTS = Kind(
    plural="tests", singular="test", name=NAME_TEXT, folder="tests",
    doc="A test of journeys: persons, what happens to them and when, and what must come of it. `cadenza test` runs it. "
        "Tests are not deployed.",
    body=Fields(kinds.JourneyTest, (
        DESCRIPTION,
        field("start", Text(moments.LOCAL, "a local time as '2026-03-02 09:00'"), "When it begins, in the zone of the test.",
              required=True, example="2026-03-02 09:00"),
        field("zone", Text(), "The IANA zone of its times.", example="Europe/London"),
        field("journey", Text(), "The journey it is about.", example="welcome"),
        field("persons", Named(_ACTOR, COLUMN_TEXT), "Who is in it."),
        field("accounts", Named(_ACCOUNT, COLUMN_TEXT), "Accounts that are in it; their names are their ids.",
              example="{ miller: { traits: { plan: trial } } }"),
        field("events", ListOf(_EVENT), "What happens, and when."),
        field("until", _MOMENT, "How long it runs; without it as long as the journey may last after the last time named.",
              example="+30 days"),
        field("expect", ListOf(_EXPECTATION, least=1), "What must come of it.", required=True),
    )),
    example="""test: a_click_earns_an_early_exit
start: 2026-03-02 09:00
zone: Europe/London
journey: welcome
persons:
  anna: { consents: marketing/email }
events:
  - { at: start, event: Signed Up }
  - { at: +1 day, event: Email Link Clicked, properties: { message_id: m1 } }
expect:
  - path: [ wait 1 hour, send welcome_mail, wait_for clicked, exit interested at +1 day ]
  - { message: welcome_mail, at: +1 hour, subject: Welcome }
""",
)  # fmt: skip
