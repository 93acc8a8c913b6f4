"""The YAML surface of a webhook source's ``webhook`` key."""

from __future__ import annotations

from typing import Any

from cadenza.definitions import kinds
from cadenza.definitions.shapes import COLUMN, Choice, Duration, Field, Fields, ListOf, MapOf, Named, Text
from cadenza.definitions.signing import SCHEMES

COLUMN_TEXT = Text(COLUMN, "made of lower-case letters, digits and _, a letter first")
_PAYLOAD = Text(meaning="an expression over the payload")
_HEADER = Text("^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$", "the name of a header")
_SECRET = Text(meaning="`env:NAME` or `file:PATH`")
_TYPES = Choice(("string", "integer", "decimal", "boolean", "timestamp"))


def _f(key: str, shape: Any, doc: str, **more: Any) -> Field:
    return Field(key=key, shape=shape, doc=doc, **more)


HMAC = Fields(kinds.Hmac, (
    _f("header", _HEADER, "The header that holds the signature.", required=True, example="X-Signature"),
    _f("algorithm", Choice(("sha256", "sha512", "sha1")), "The hash.", example="sha256"),
    _f("encoding", Choice(("hex", "base64")), "How the signature is written.", example="hex"),
    _f("prefix", Text(longest=100), "What stands before the signature in the header.", example="sha256="),
    _f("layout", Choice(("plain", "pairs")),
          "`plain`: the header is the signature. `pairs`: it is `t=TIMESTAMP,v1=SIGNATURE`.", example="pairs"),
    _f("content", Text(longest=200),
          "What is signed: text with `{body}`, `{timestamp}`, `{id}`, `{method}`, `{url}`.",
          example="'{timestamp}.{body}'"),
    _f("timestamp_header", _HEADER, "The header that holds the signed timestamp.", example="X-Timestamp"),
    _f("timestamp_format", Choice(("seconds", "milliseconds", "iso")), "How the timestamp is written.",
          example="iso"),
    _f("id_header", _HEADER, "The header that holds `{id}`.", example="X-Request-Id"),
))  # fmt: skip

_RECORD = Fields(kinds.WebhookRecord, (
    _f("call", Choice(("track", "identify", "group")), "The kind of call to make; required unless the preset says it.",
          example="track"),
    _f("topics", ListOf(Text(), single=True), "Only webhooks of these topics; without it all of them.",
          example="[orders/paid]"),
    _f("each", _PAYLOAD, "An array: one call for each element, which expressions see as `item`.",
          example="line_items"),
    _f("when", _PAYLOAD, "Only when this is true.", example="total_price > 0"),
    _f("event", Text(), "The name of the track event, as plain text.", example="Order Completed"),
    _f("message_id", _PAYLOAD, "An id that is the same whenever the sender repeats itself; `id` of the webhook "
          "when it is left out. The names of the source and the record are added.", example="item.id"),
    _f("timestamp", _PAYLOAD, "When it happened; `timestamp` of the webhook when it is left out.",
          example="timestamp(created_at)"),
    _f("user_id", _PAYLOAD, "The user id.", example="customer.id"),
    _f("anonymous_id", _PAYLOAD, "The anonymous id.", example="'order-' || id"),
    _f("group_id", _PAYLOAD, "group: the account.", example="company.id"),
    _f("properties", MapOf(_PAYLOAD), "Properties: name to expression.",
          example="{ revenue: decimal(total_price) }"),
    _f("traits", MapOf(_PAYLOAD), "Traits: name to expression.", example="{ email: customer.email }"),
))  # fmt: skip

WEBHOOK = Fields(kinds.Webhook, (
    _f("preset", Text(), "A ready mapping to start from; every other key overrides it.", example="shopify_orders"),
    _f("scheme", Choice(tuple(SCHEMES)), "How the sender proves itself.", example="stripe"),
    _f("hmac", HMAC, "scheme `hmac`: where the signature stands. scheme `token`: `header` and `prefix`."),
    _f("secrets", ListOf(_SECRET, least=1, single=True),
          "Where the secrets are, `env:NAME` or `file:PATH`; any of them is taken, so that they can be rotated.",
          example="[env:SHOP_SECRET, env:SHOP_SECRET_OLD]"),
    _f("window", Duration(), "How far the signed timestamp may lie from our clock.", attribute="window_s",
          example="5 minutes"),
    _f("url", Text("^https?://[^\\s?#]+$", "an address without query, as the sender knows it"),
          "The address the sender calls, where it is signed.",
          example="https://collect.example/v1/webhooks/crm"),
    _f("fields", MapOf(_TYPES), "Types of payload fields, by dotted path; all others are JSON of any type.",
          example="{ total_price: decimal }"),
    _f("each", _PAYLOAD, "An array of which every element is a change of its own, seen as `item`.",
          example="payload"),
    _f("id", _PAYLOAD, "The sender's id of this webhook: a repetition has the same.",
          example="header('X-Shopify-Event-Id')"),
    _f("topic", _PAYLOAD, "What it is about; `topics` and `ignore` compare with it.", example="type"),
    _f("timestamp", _PAYLOAD, "When it happened.", example="epoch_seconds(created)"),
    _f("ignore", ListOf(Text(), single=True), "Topics that are not wanted: counted, not kept; `*` at the end is any "
          "rest.", example="[ping, customer.*]"),
    _f("without", ListOf(Text(), single=True), "Records of the preset that are not wanted.", example="[refund]"),
    _f("records", Named(_RECORD, COLUMN_TEXT, 1),
          "The calls to make, by name; one with a name of the preset overrides it key by key."),
))  # fmt: skip
