"""The webhook channel: a message is a POST, signed as Standard Webhooks says.

The body is ``{"type": "message.send", "timestamp", "data": {message_id, channel, address, subject, text, html,
planned_at}}``. ``Idempotency-Key`` and ``webhook-id`` are the message id: a receiver keeps them and ignores repeats,
which is why a call may be repeated. A receiver that does not is declared with ``idempotent: false``.

A **call** of a service (the journey step) is a POST of the JSON that the step declares, with the same headers under the call's
id. Its answer is what a 2xx response holds.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime

import httpcore2
import httpx2
import msgspec

from cadenza.adapters.settings import read_settings, require_reference, resolve_secret
from cadenza.adapters.transport import Resolver, guarded_client, resolve
from cadenza.clock import Clock, SystemClock, from_micros, iso, to_micros
from cadenza.definitions.kinds import Destination
from cadenza.errors import CadenzaError, OperatingError, TerminalError
from cadenza.ports.channel import ANSWER_LIMIT, Delivery, Rendered

_READ_LIMIT = 64 * 1024
_TOGETHER = 16
_RETRY_AFTER_LIMIT_S = 86_400
_AGAIN = frozenset({408, 425, 429})
_UNSENT = (httpcore2.ConnectError, httpcore2.ConnectTimeout, httpcore2.PoolTimeout)


class WebhookSettings(msgspec.Struct, frozen=True, kw_only=True):
    """``secret``: one reference, or two separated by a blank while it is being replaced (both sign).
    ``authorization``: a reference to the whole value of the Authorization header."""

    url: str
    secret: str | None = None
    authorization: str | None = None
    timeout_s: int = 15
    allow_private: bool = False
    allow_http: bool = False
    idempotent: bool = True


class WebhookChannel:
    """Posts messages to one URL. ``clock`` stamps the signature and reads Retry-After dates."""

    def __init__(
        self, settings: WebhookSettings, *, clock: Clock | None = None, resolver: Resolver = resolve,
        verify: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self.idempotent = settings.idempotent
        self._settings, self._clock = settings, clock or SystemClock()
        self._client = guarded_client(
            allow_private=settings.allow_private, timeout_s=settings.timeout_s, resolver=resolver, verify=verify
        )
        self._gate = asyncio.Semaphore(_TOGETHER)

    @classmethod
    def open(cls, destination: Destination, clock: Clock | None = None) -> WebhookChannel:
        """The channel of a destination. Raises TerminalError for settings that cannot work."""
        settings = read_settings(destination, WebhookSettings)
        require_reference(settings.secret, "secret", destination)
        require_reference(settings.authorization, "authorization", destination)
        _check_url(settings, destination)
        if not 1 <= settings.timeout_s <= 60:
            raise TerminalError("timeout_s must lie between 1 and 60.", where=f"destination '{destination.name}'")
        return cls(settings, clock=clock)

    takes_calls = True

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        """One POST per message, up to 16 at a time."""
        return list(await asyncio.gather(*map(self._send_one, batch)))

    async def close(self) -> None:
        await self._client.aclose()

    async def _send_one(self, message: Rendered) -> Delivery:
        async with self._gate:
            try:
                body = _body(message)
                headers = self._headers(message.message_id, body)
                headers |= {"accept-encoding": "identity"} if message.call else {}
            except CadenzaError as error:
                return Delivery(status="retry", detail=str(error))
            try:
                async with self._client.stream("POST", self._settings.url, content=body, headers=headers) as response:
                    if message.call and response.is_success:
                        return await _answered(response)
                    return self._answer(response, await _beginning(response))
            except TerminalError as error:
                return Delivery(status="failed", detail=str(error))
            except (OperatingError, *_UNSENT) as error:
                return Delivery(status="retry", detail=f"not sent: {_named(error)}")
            except (
                httpcore2.NetworkError,
                httpcore2.TimeoutException,
                httpcore2.ProtocolError,
                httpx2.HTTPError,
            ) as error:
                status = "retry" if self.idempotent else "ambiguous"
                return Delivery(status=status, detail=f"no answer: {_named(error)}")

    def _headers(self, message_id: str, body: bytes) -> dict[str, str]:
        now = to_micros(self._clock.now()) // 1_000_000
        headers = {
            "content-type": "application/json", "idempotency-key": message_id,
            "webhook-id": message_id, "webhook-timestamp": str(now),
        }  # fmt: skip
        if self._settings.secret:
            secrets = [resolve_secret(reference) for reference in self._settings.secret.split()]
            headers["webhook-signature"] = " ".join(sign(secret, message_id, now, body) for secret in secrets)
        if self._settings.authorization:
            headers["authorization"] = resolve_secret(self._settings.authorization)
        return headers

    def _answer(self, response: httpx2.Response, text: str) -> Delivery:
        code = response.status_code
        detail = f"{code} {text[:200]}".strip()
        if 200 <= code < 300:
            return Delivery(status="accepted", detail=detail)
        if code in _AGAIN or code >= 500:
            return Delivery(status="retry", detail=detail, retry_after_s=self._retry_after(response))
        if 300 <= code < 400:
            return Delivery(
                status="failed", detail=f"{code}: redirects are not followed; write the final address as url."
            )
        return Delivery(status="failed", detail=detail)

    def _retry_after(self, response: httpx2.Response) -> int | None:
        value = response.headers.get("retry-after", "").strip()
        if value.isascii() and value.isdigit():
            return min(int(value[:9]), _RETRY_AFTER_LIMIT_S)
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        at = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
        return max(0, min(int((at - self._clock.now()).total_seconds()) + 1, _RETRY_AFTER_LIMIT_S))


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The v1 signature of Standard Webhooks. A secret ``whsec_...`` is base64; any other is taken as it is.

    >>> sign('whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw', 'msg_p5jXN8AQM9LWM0D4loKWxJek', 1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    try:
        key = base64.b64decode(secret[6:], validate=True) if secret.startswith("whsec_") else secret.encode()
    except (binascii.Error, ValueError) as error:
        raise OperatingError("The webhook secret after 'whsec_' is not base64.", remedy="Copy it again.") from error
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def _body(message: Rendered) -> bytes:
    if message.call:
        return (message.text or "{}").encode()
    planned = iso(from_micros(message.planned_at))
    data = {
        "message_id": message.message_id, "channel": message.channel, "address": message.address,
        "subject": message.subject, "text": message.text, "html": message.html, "planned_at": planned,
    }  # fmt: skip
    return msgspec.json.encode({"type": "message.send", "timestamp": planned, "data": data})


async def _beginning(response: httpx2.Response) -> str:
    """The first 64 KiB of the answer: an endless answer must not fill the memory."""
    parts, size = [], 0
    async for part in response.aiter_raw():
        parts.append(part)
        size += len(part)
        if size >= _READ_LIMIT:
            break
    text = b"".join(parts)[:_READ_LIMIT].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else " " for c in text[:400])


async def _answered(response: httpx2.Response) -> Delivery:
    """The answer to a call. One that is too long, packed, or no text, has failed: it is read no further than it is taken."""
    packed = response.headers.get("content-encoding", "identity")
    if packed != "identity":
        return Delivery(status="failed", detail=f"{response.status_code}, but the answer is packed ({packed[:20]}).")
    content = b""
    async for part in response.aiter_raw():
        content += part
        if len(content) > ANSWER_LIMIT:
            what = f"{response.status_code}, but the answer is longer than {ANSWER_LIMIT} bytes: "
            return Delivery(status="failed", detail=what + _printable(content[:300]))
    try:
        return Delivery(status="accepted", detail=str(response.status_code), answer=content.decode())
    except UnicodeDecodeError:
        what = f"{response.status_code}, but the answer is no text: "
        return Delivery(status="failed", detail=what + _printable(content[:300]))


def _printable(content: bytes) -> str:
    return "".join(c if c.isprintable() else " " for c in content.decode("utf-8", "replace"))


def _named(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()


def _check_url(settings: WebhookSettings, destination: Destination) -> None:
    where = f"destination '{destination.name}'"
    try:
        url = httpx2.URL(settings.url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise TerminalError(f"The url is not an address: {error}.", where=where) from error
    if url.scheme not in ("http", "https") or not url.host:
        raise TerminalError("The url must begin with https:// and name a host.", where=where)
    if url.userinfo:
        raise TerminalError("The url holds a name and password.", where=where, remedy="Use the setting authorization.")
    if url.scheme == "http" and not (settings.allow_http or settings.allow_private):
        raise TerminalError(
            "The url is not encrypted.", where=where, remedy="Use https, or write allow_http: true if it must be."
        )
