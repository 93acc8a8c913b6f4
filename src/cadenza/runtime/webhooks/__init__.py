"""Webhooks in: requests of other systems, verified at the door and mapped to calls when they are taken into the log.

``Webhooks.verify`` is for the door: it needs secrets and the time, and gives the receipt with which the raw request is
kept. ``Rules.map`` is for the sequencer: it needs the project in force, and gives the calls. Both are pure: given the same
request, secrets, instant and project they say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.kinds import Source
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.runtime.receipt import Receipt
from cadenza.runtime.webhooks.mapping import Mapped, Mapper, unknown_source
from cadenza.runtime.webhooks.refusals import BadSignature, OutsideWindow, UnknownWebhook, Unsigned, WebhookRefused
from cadenza.runtime.webhooks.signatures import Ed25519, Request, Verifier

__all__ = [
    "BadSignature", "Endpoint", "Mapped", "OutsideWindow", "Request", "Rules", "UnknownWebhook", "Unsigned",
    "WebhookRefused", "Webhooks", "request_of",
]  # fmt: skip

PREFIX = "/v1/webhooks/"
"""The path of a source's endpoint, before its name."""
DIALECT = "webhook"
"""The dialect that receipts of webhooks name. It is read with the rules of the project in force, not by itself."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What there is to know of one webhook source. ``missing``: its secrets that cannot be read now, by reference."""

    source: str
    path: str
    scheme: str
    preset: str | None
    topics: tuple[str, ...]
    ignored: tuple[str, ...]
    missing: tuple[str, ...]


class Rules:
    """The mappings of the webhook sources in force. A new project compiles its rules when they are first asked for."""

    def __init__(self, project: Callable[[], Project]) -> None:
        self._project = project
        self._compiled: tuple[Project, dict[str, tuple[Source, Mapper]]] | None = None

    def map(self, source: str, body: bytes, headers: Mapping[str, str]) -> Mapped:
        """The calls of a verified webhook. Raises nothing: what cannot be mapped is among the bad."""
        found = self.sources().get(source)
        return unknown_source(source, body, dict(headers)) if found is None else found[1].map(body, headers)

    def sources(self) -> dict[str, tuple[Source, Mapper]]:
        """The webhook sources by name."""
        project = self._project()
        compiled = self._compiled
        if compiled is None or compiled[0] is not project:
            found = {
                source.name: (source, Mapper(source))
                for source in project.sources
                if source.kind == "webhook" and source.webhook is not None
            }
            compiled = self._compiled = (project, found)
        return compiled[1]


class Webhooks:
    """The door for webhooks. Thread-safe."""

    def __init__(
        self, project: Callable[[], Project], clock: Clock, secret_of: Callable[[str], str], ed25519: Ed25519
    ) -> None:
        """``secret_of`` gives the secret behind ``env:NAME`` or ``file:PATH``, or raises OperatingError."""
        self._rules = Rules(project)
        self._clock, self._secret_of, self._ed25519 = clock, secret_of, ed25519
        self._verifiers: dict[str, tuple[Source, Verifier]] = {}

    def knows(self, source: str) -> bool:
        """Whether a webhook source of this name is in force."""
        return source in self._rules.sources()

    def verify(self, source: str, request: Request, received_at: int) -> Receipt:
        """The receipt of a request that is signed as its source demands, received at ``received_at`` (µs): with it and the
        body the calls can be made later. Raises WebhookRefused (with its HTTP status), and OperatingError when no secret
        can be read that would tell."""
        known = self._rules.sources()
        if source not in known:
            # No near miss here: the names of the others are nobody's business.
            raise UnknownWebhook(f"There is no webhook source '{source[:100]}'.", remedy="Deploy one of this name.")
        definition, mapper = known[source]
        secrets, missing = self._secrets(definition)
        try:
            self._verifier(definition).verify(request, secrets, received_at)
        except BadSignature:
            # The right secret may be one that cannot be read: the sender must come again.
            if missing:
                raise missing[0] from None
            raise
        return Receipt(source, DIALECT, "", mapper.read_of(request.headers))

    def receive(self, source: str, request: Request) -> Mapped:
        """What a request that came now means, without keeping it: verified and mapped. Raises what ``verify`` raises."""
        receipt = self.verify(source, request, to_micros(self._clock.now()))
        return self._rules.map(source, request.body, receipt.facts)

    def map(self, source: str, body: bytes, headers: Mapping[str, str]) -> Mapped:
        """What a payload would mean, whoever sent it; header names in lower case. Raises CadenzaError for an unknown source."""
        known = self._rules.sources()
        if source not in known:
            raise CadenzaError(f"there is no webhook source '{source}'.", remedy=near_miss(source, known))
        return self._rules.map(source, body, headers)

    def over(self, project: Project) -> Webhooks:
        """The same for another project than the one in force."""
        return Webhooks(lambda: project, self._clock, self._secret_of, self._ed25519)

    def endpoints(self) -> Iterator[Endpoint]:
        """Every webhook source in force, by name."""
        for name, (definition, _) in sorted(self._rules.sources().items()):
            webhook = definition.webhook
            assert webhook is not None
            yield Endpoint(
                source=name, path=PREFIX + name, scheme=webhook.scheme or "", preset=webhook.preset,
                topics=tuple(dict.fromkeys(topic for record in webhook.records for topic in record.topics)),
                ignored=webhook.ignore,
                missing=tuple(reference for reference in webhook.secrets if not self._readable(reference)),
            )  # fmt: skip

    def _verifier(self, source: Source) -> Verifier:
        kept = self._verifiers.get(source.name)
        if kept is None or kept[0] is not source:
            assert source.webhook is not None
            kept = self._verifiers[source.name] = (source, Verifier(source.name, source.webhook, self._ed25519))
        return kept[1]

    def _secrets(self, source: Source) -> tuple[list[str], list[OperatingError]]:
        """The secrets as they are now, and what keeps the others from being read."""
        found: list[str] = []
        missing: list[OperatingError] = []
        for reference in source.webhook.secrets if source.webhook is not None else ():
            try:
                secret = self._secret_of(reference)
            except OperatingError as error:
                missing.append(error)
                continue
            if secret:
                found.append(secret)
            else:
                # An empty key would be a signature that anybody can make.
                missing.append(OperatingError(f"The secret {reference} is empty.", remedy="Write the secret there."))
        return found, missing

    def _readable(self, reference: str) -> bool:
        try:
            return bool(self._secret_of(reference))
        except OperatingError:
            return False


def request_of(headers: Iterable[tuple[bytes, bytes]], query: bytes, body: bytes, method: str = "POST") -> Request:
    """A request as ASGI hands it over."""
    read = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}
    return Request(read, body, query, method)
