"""Did this request come from who it says? Signatures over the raw bytes, compared in constant time.

The recipes are those that the providers publish; ``definitions/signing.py`` holds their parameters. Of several signatures
and several secrets any pair may match, which is how both sides rotate secrets without a gap. A signature that is timed
is good only within the window around our clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions.kinds import Webhook
from cadenza.definitions.signing import PLACEHOLDERS, is_timed, signature_of
from cadenza.errors import OperatingError
from cadenza.runtime.webhooks.conversions import Unmappable, epoch_millis, epoch_seconds, to_timestamp
from cadenza.runtime.webhooks.refusals import BadSignature, OutsideWindow, Unsigned

MOST_SIGNATURES = 16
"""Signatures of one request that are looked at; the rest is ignored."""
_LONGEST_TIMESTAMP = 40
_HMAC_PREFIX, _PUBLIC_PREFIX = "whsec_", "whpk_"

Ed25519 = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether it is good."""


class Request(msgspec.Struct, frozen=True):
    """A webhook as it came. Header names are in lower case, values are latin-1; ``body`` is byte for byte."""

    headers: Mapping[str, str]
    body: bytes
    query: bytes = b""
    method: str = "POST"


class Verifier:
    """The signature check of one webhook source."""

    def __init__(self, source: str, webhook: Webhook, ed25519: Ed25519) -> None:
        signature = signature_of(webhook.scheme, webhook.hmac)
        assert signature is not None, "the validator lets no webhook without a scheme through"
        self._where = f"webhook '{source}'"
        self._webhook, self._signature, self._ed25519 = webhook, signature, ed25519
        self._header = signature.header.lower()
        self._digest = getattr(hashlib, signature.algorithm)
        self._parts = _parts(signature.content)

    def verify(self, request: Request, secrets: Iterable[str], now_us: int) -> None:
        """Return when one of the secrets signed the request. Raises Unsigned, BadSignature or OutsideWindow, and
        OperatingError when none of the secrets could be read."""
        value = self._needed(request, self._header)
        if self._webhook.scheme == "token":
            self._compare_token(value, secrets)
            return
        timestamp, candidates = self._candidates(request, value)
        if is_timed(self._signature):
            self._check_window(timestamp, now_us)
        message = self._message(request, timestamp)
        if not any(self._signed(secret, message, candidates) for secret in secrets):
            raise BadSignature(
                "The signature does not fit.", where=self._where, remedy="Compare the secrets of both sides."
            )

    # --- what is signed ---------------------------------------------------------------------------

    def _needed(self, request: Request, header: str) -> str:
        value = request.headers.get(header)
        if not value:
            raise Unsigned(f"The header {header} is missing.", where=self._where)
        return value

    def _candidates(self, request: Request, value: str) -> tuple[str, list[tuple[str, bytes]]]:
        """The timestamp as text, and the signatures as (version, bytes)."""
        signature = self._signature
        if self._webhook.scheme == "standard":
            timestamp = self._needed(request, (signature.timestamp_header or "").lower())
            pairs = [part.partition(",") for part in value.split(" ")[:MOST_SIGNATURES]]
            return timestamp, [(version, _decoded(text, "base64")) for version, _, text in pairs]
        if signature.layout == "pairs":
            pairs = [part.strip().partition("=") for part in value.split(",")[: MOST_SIGNATURES + 1]]
            timestamp = next((text for key, _, text in pairs if key == "t"), "")
            if not timestamp and is_timed(signature):
                raise Unsigned(f"The header {self._header} has no 't='.", where=self._where)
            return timestamp, [("v1", _decoded(text, signature.encoding)) for key, _, text in pairs if key == "v1"]
        if not value.startswith(signature.prefix):
            raise Unsigned(f"The header {self._header} does not begin with '{signature.prefix}'.", where=self._where)
        timed = signature.timestamp_header
        timestamp = self._needed(request, timed.lower()) if timed else ""
        return timestamp, [("v1", _decoded(value.removeprefix(signature.prefix).strip(), signature.encoding))]

    def _message(self, request: Request, timestamp: str) -> bytes:
        values: dict[str, bytes] = {"body": request.body, "timestamp": timestamp.encode("latin-1")}
        if "id" in self._parts:
            values["id"] = self._needed(request, (self._signature.id_header or "").lower()).encode("latin-1")
        values["method"] = request.method.encode()
        query = b"?" + request.query if request.query else b""
        values["url"] = (self._webhook.url or "").encode() + query
        return b"".join(values[part] if isinstance(part, str) else part for part in self._parts)

    def _check_window(self, text: str, now_us: int) -> None:
        """Raise unless the signed timestamp is near: Unsigned when it is none, OutsideWindow when it is far."""
        read = {"seconds": epoch_seconds, "milliseconds": epoch_millis, "iso": to_timestamp}[
            "seconds" if self._signature.layout == "pairs" else self._signature.timestamp_format
        ]
        try:
            instant = read(text) if len(text) <= _LONGEST_TIMESTAMP else None
        except Unmappable:
            instant = None
        if instant is None:
            raise Unsigned("The signed timestamp cannot be read.", where=self._where)
        window = timedelta(seconds=self._webhook.window_s)
        away = timedelta(microseconds=abs(to_micros(instant) - now_us))
        if away > window:
            raise OutsideWindow(
                f"The signed timestamp is {int(away.total_seconds())} s away; {self._webhook.window_s} s are allowed.",
                where=self._where, remedy="Compare the clocks of both machines.",
            )  # fmt: skip

    # --- comparing ----------------------------------------------------------------------------------

    def _signed(self, secret: str, message: bytes, candidates: Sequence[tuple[str, bytes]]) -> bool:
        if self._webhook.scheme == "standard" and secret.startswith(_PUBLIC_PREFIX):
            key = _decoded(secret.removeprefix(_PUBLIC_PREFIX), "base64")
            return any(self._ed25519(key, message, found) for version, found in candidates if version == "v1a")
        key = self._key(secret)
        wanted = hmac.new(key, message, self._digest).digest()
        matches = [hmac.compare_digest(wanted, found) for version, found in candidates if version == "v1"]
        return any(matches)

    def _key(self, secret: str) -> bytes:
        if self._webhook.scheme != "standard":
            return secret.encode()
        key = _decoded(secret.removeprefix(_HMAC_PREFIX), "base64")
        if not key:
            raise OperatingError(
                "A secret is not base64, as Standard Webhooks wants it.", where=self._where,
                remedy="Copy it whole, as 'whsec_...'.",
            )  # fmt: skip
        return key

    def _compare_token(self, value: str, secrets: Iterable[str]) -> None:
        given = value.encode("latin-1")
        wanted = [f"{self._signature.prefix}{secret}".encode() for secret in secrets]
        if not any([hmac.compare_digest(given, one) for one in wanted]):
            raise BadSignature(
                "The token does not fit.", where=self._where, remedy="Compare the secrets of both sides."
            )


def _parts(content: str) -> list[str | bytes]:
    """What is signed, cut at its placeholders: their names as text, what stands between as bytes.

    >>> _parts('v0:{timestamp}:{body}')
    [b'v0:', 'timestamp', b':', 'body']
    """
    cut = re.split(r"\{(" + "|".join(PLACEHOLDERS) + r")\}", content)
    named: list[str | bytes] = [part if index % 2 else part.encode() for index, part in enumerate(cut)]
    return [part for part in named if part]


def _decoded(text: str, encoding: str) -> bytes:
    """The bytes of a signature; none, which matches nothing, when it is not written as it should be."""
    try:
        return bytes.fromhex(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        return b""
