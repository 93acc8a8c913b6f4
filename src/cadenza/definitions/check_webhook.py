"""What is wrong with the webhook of a source: its preset, its signature, its records and their expressions."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds import Hmac, Identity, Source, Webhook, WebhookRecord
from cadenza.definitions.payload_types import PayloadScope, Want, read_payload
from cadenza.definitions.presets import preset, preset_names
from cadenza.definitions.signing import PLACEHOLDERS, SCHEMES, is_timed, signature_of
from cadenza.definitions.typecheck import Scope
from cadenza.errors import ExpressionError, near_miss

_SCHEMES = ", ".join(SCHEMES)
REFERENCE = re.compile("env:[A-Za-z_][A-Za-z0-9_]*|file:.+")
"""Where a secret is."""


def check_webhook(source: Source, identity: Identity, scope: Scope, findings: Findings) -> None:
    """Note every problem of a source of kind webhook."""
    webhook = source.webhook
    if webhook is None:
        findings.problem("A webhook source needs 'webhook'.", "sources", source.name, "kind",
                         "Write for example 'webhook: { preset: shopify_orders, secrets: env:SHOPIFY_SECRET }'.")  # fmt: skip
        return
    checking = _Check(source.name, webhook, findings)
    checking.preset()
    checking.signature()
    checking.shared()
    for record in webhook.records:
        checking.record(record, identity)
        event = record.event
        if record.call == "track" and event and event not in scope.events:
            what = f"No contract speaks of the event '{event}'; its properties are kept, but not checked or typed."
            findings.warning(what, "sources", source.name, f"webhook.records.{record.name}.event",
                             near_miss(event, scope.events))  # fmt: skip


class _Check:
    """The checks of one webhook."""

    def __init__(self, source: str, webhook: Webhook, findings: Findings) -> None:
        self._source, self._webhook, self._findings = source, webhook, findings
        self._scope = PayloadScope(webhook.fields, item=webhook.each is not None)

    def problem(self, what: str, path: str, remedy: str | None = None) -> None:
        self._findings.problem(what, "sources", self._source, f"webhook.{path}" if path else "webhook", remedy)

    def preset(self) -> None:
        """The preset exists, and so do the records taken out of it."""
        webhook, names = self._webhook, preset_names()
        if webhook.preset is None:
            if webhook.without:
                self.problem("'without' takes records out of a preset; there is none.", "without")
            return
        if webhook.preset not in names:
            if webhook.preset:
                self.problem(f"Unknown preset '{webhook.preset}'.", "preset", near_miss(webhook.preset, names))
            return
        known = [record.name for record in preset(webhook.preset).records]
        for name in webhook.without:
            if name not in known:
                self.problem(
                    f"The preset '{webhook.preset}' has no record '{name}'.", "without", near_miss(name, known)
                )

    @property
    def _unknown_preset(self) -> bool:
        return self._webhook.preset is not None and self._webhook.preset not in preset_names()

    # --- signature ----------------------------------------------------------------------------------

    def signature(self) -> None:
        """A scheme, its secrets, and everything that it signs."""
        webhook = self._webhook
        if not webhook.secrets:
            self.problem("A webhook needs 'secrets'.", "", "Write for example 'secrets: env:SHOP_WEBHOOK_SECRET'.")
        for number, reference in enumerate(webhook.secrets):
            if reference and not REFERENCE.fullmatch(reference):
                # Not quoted: it may be the secret itself, and problems end up in the logs of builds.
                self.problem("A secret must be named, not written down: definitions live in git.", f"secrets.{number}",
                             "Write env:NAME or file:PATH.")  # fmt: skip
        if webhook.scheme is None:
            if not self._unknown_preset and not self._findings.said("sources", self._source, "webhook.scheme"):
                self.problem("A webhook needs a 'scheme', or a 'preset' that says it.", "", f"Schemes: {_SCHEMES}.")
            return
        signature = signature_of(webhook.scheme, webhook.hmac)
        if signature is None:
            self.problem("The scheme hmac needs 'hmac': where the signature stands.", "scheme",
                         "Write for example 'hmac: { header: X-Signature }'.")  # fmt: skip
            return
        if webhook.hmac is not None and webhook.scheme not in ("hmac", "token"):
            what = f"'hmac' is for the schemes hmac and token; {webhook.scheme} says itself where its signature stands."
            self.problem(what, "hmac", "Leave one of them out.")
        elif webhook.scheme == "hmac":
            self._content(signature)
        if self._findings.said("sources", self._source, "webhook.window") and not is_timed(signature):
            self.problem(f"'window' is never checked: the scheme {webhook.scheme} signs no timestamp.", "window")
        if "{url}" in signature.content and not webhook.url:
            self.problem(f"The scheme {webhook.scheme} signs the address that is called; 'url' is missing.", "scheme",
                         "Write the address as the sender knows it.")  # fmt: skip

    def _content(self, signature: Hmac) -> None:
        content = signature.content
        if "{body}" not in content:
            self.problem("'content' leaves out {body}, so that anybody could change it.", "hmac.content",
                         f"Placeholders: {', '.join('{' + name + '}' for name in PLACEHOLDERS)}.")  # fmt: skip
        named = signature.timestamp_header or signature.layout == "pairs"
        if is_timed(signature) and not named:
            self.problem("'content' has {timestamp}, but no 'timestamp_header' says where it is.", "hmac")
        if signature.timestamp_header and not is_timed(signature):
            self.problem("'timestamp_header' is not part of 'content', so that anybody could change it.",
                         "hmac.timestamp_header", "Add {timestamp} to 'content' if the sender signs it, or leave it out.")  # fmt: skip
        if "{id}" in content and not signature.id_header:
            self.problem("'content' has {id}, but no 'id_header' says where it is.", "hmac")

    # --- records --------------------------------------------------------------------------------------

    def shared(self) -> None:
        """What all records share."""
        webhook = self._webhook
        self._expression(webhook.each, "array", "each", PayloadScope(webhook.fields))
        self._expression(webhook.id, "text", "id", self._scope)
        self._expression(webhook.topic, "text", "topic", self._scope)
        self._expression(webhook.timestamp, "instant", "timestamp", self._scope)
        if not webhook.records and not self._unknown_preset:
            self.problem("A webhook needs 'records', or a 'preset' that has them.", "")
        if webhook.ignore and webhook.topic is None:
            self.problem("'ignore' names topics, but no 'topic' says where a topic stands.", "ignore")

    def record(self, record: WebhookRecord, identity: Identity) -> None:
        """One record and its expressions."""
        path = f"records.{record.name}"
        scope = PayloadScope(self._scope.fields, item=True) if record.each is not None else self._scope
        self._expression(record.each, "array", f"{path}.each", self._scope)
        for name, want, text in _expressions(record):
            self._expression(text, want, f"{path}.{name}", scope)
        for what, at, remedy in self._incomplete(record, identity):
            self.problem(what, f"{path}.{at}" if at else path, remedy)

    def _incomplete(self, record: WebhookRecord, identity: Identity) -> Iterator[tuple[str, str, str | None]]:
        name, call, webhook = record.name, record.call, self._webhook
        if call is None:
            said = self._findings.said("sources", self._source, f"webhook.records.{name}.call")
            if not said and not self._unknown_preset:
                yield f"The record '{name}' needs a 'call'.", "", "Calls: track, identify, group."
            return
        if call == "track" and not record.event:
            yield f"The track record '{name}' needs an 'event'.", "", None
        if call != "track" and record.event:
            yield f"'event' is for track records; this one is {call}.", "event", None
        if call == "group" and not record.group_id:
            yield f"The group record '{name}' needs a 'group_id'.", "", None
        if call != "group" and record.group_id:
            yield f"'group_id' is for group records; this one is {call}.", "group_id", None
        if not record.message_id and not webhook.id:
            remedy = "Give it a 'message_id', or the webhook an 'id': a sender repeats itself."
            yield f"The record '{name}' has no id.", "", remedy
        if not record.timestamp and not webhook.timestamp:
            yield f"The record '{name}' has no timestamp.", "", "Give it a 'timestamp', or the webhook one for all."
        if record.topics and webhook.topic is None:
            yield "'topics' is compared with 'topic', which the webhook does not say.", "topics", None
        if not _names_somebody(record, identity):
            yield (
                f"The record '{name}' names nobody.",
                "",
                "Give it a 'user_id', an 'anonymous_id' or an identifying trait.",
            )

    def _expression(self, text: str | None, want: Want, path: str, scope: PayloadScope) -> None:
        if not text:
            return
        try:
            read_payload(text, want, scope)
        except ExpressionError as error:
            self.problem(f"'{path.rpartition('.')[2]}': {error.what}", path, error.remedy)


def _expressions(record: WebhookRecord) -> Iterator[tuple[str, Want, str | None]]:
    """The expressions of a record: where each stands, what it must be, its text."""
    yield "when", "condition", record.when
    yield "timestamp", "instant", record.timestamp
    for name in ("message_id", "user_id", "anonymous_id", "group_id"):
        yield name, "text", getattr(record, name)
    for holder in ("properties", "traits"):
        for name, text in getattr(record, holder).items():
            yield f"{holder}.{name}", "value", text


def _names_somebody(record: WebhookRecord, identity: Identity) -> bool:
    if record.user_id or record.anonymous_id:
        return True
    held = {f"{holder}.{name}" for holder in ("properties", "traits") for name in getattr(record, holder)}
    return any(identifier.source in held for identifier in identity.identifiers)
