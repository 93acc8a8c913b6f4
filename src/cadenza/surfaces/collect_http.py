"""The collection API: a bare ASGI callable. ``collect_routes`` says which dialect reads what comes to which path.

Clients decide by the status alone, and not all by the same rules: success is exactly 200; 400, 401 and 413 are final;
429 and 503 are sent again (with ``Retry-After``). Error bodies carry ``code`` and ``message``, without which two
clients retry a 400 ten times. 200 is answered when the records are durable, also for those that went to quarantine:
they are kept, and sending them again would not mend them. A single call that its contract rejects is answered 400; in a
batch it is counted, and the rest is stored.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec

from cadenza.errors import CadenzaError, TransientError
from cadenza.runtime.collect import MAX_BODY, Collector, Overloaded
from cadenza.runtime.dialects.received import Received
from cadenza.runtime.dialects.registry import look
from cadenza.runtime.receipt import Receipt, write_receipt
from cadenza.runtime.screen import Screen
from cadenza.runtime.webhooks import PREFIX as WEBHOOK_PREFIX, WebhookRefused, Webhooks, request_of
from cadenza.runtime.wire import Malformed
from cadenza.surfaces.collect_asked import Asked, Asking, NotServed, answer_of
from cadenza.surfaces.collect_routes import Found, facts, find

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Query = Mapping[str, list[str]]
WriteKeys = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Write key -> source name; a callable is asked for each request, so that keys may change while running."""

_SUCCESS = b'{"success":true}'
_RETRY_UNAVAILABLE_S = 5
_ALLOWED_HEADERS = (
    b"authorization, content-type, content-encoding, anonymousid, sentat, x-write-key, x-retry-count, "
    b"rsa-retry-attempt, rsa-retry-reason, rsa-since-last-attempt, rsa-first-attempt, x-enable-debug, x-ip-policy"
)
_KEYS_CACHED = 1_024
_RECEIPTS_CACHED = 1_024


class Answered(Exception):
    """A request that ends here with an error status."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s
        super().__init__(message)


def collect_app(
    collector: Collector, write_keys: WriteKeys, script: Path | None = None, screen: Screen | None = None,
    webhooks: Webhooks | None = None,
) -> CollectApp:  # fmt: skip
    """The ASGI application of the collection API: every path of ``collect_routes.ROUTES``, and those of webhook sources.
    ``script``: the file served as analytics.min.js (of the npm package @segment/analytics-next), None when there is none.
    ``screen``: what rejects single calls. ``webhooks``: what verifies webhooks, None when none are taken."""
    return CollectApp(collector, write_keys, script, screen, webhooks)


class CollectApp:
    """The door: who sends, and whether it can be read. Made by ``collect_app``."""

    def __init__(
        self, collector: Collector, write_keys: WriteKeys, script: Path | None = None, screen: Screen | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:  # fmt: skip
        self._collector, self._screen, self._webhooks = collector, screen, webhooks
        self._script = script
        self._write_keys = write_keys if callable(write_keys) else lambda: write_keys
        self._basic: dict[bytes, tuple[str, ...]] = {}
        self._receipts: dict[tuple[Any, ...], bytes] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        body, media, answer = _SUCCESS, _JSON, None
        try:
            asked = await self._handle(scope, headers, receive)
            if asked is not None:
                body, media = asked.body, asked.media_type
        except _Gone:
            return
        except Answered as refusal:
            answer = refusal
        except CadenzaError as error:
            # Ours, not the client's: a secret that is not set, for example. It may send again.
            answer = Answered(503, "unavailable", str(error), _RETRY_UNAVAILABLE_S)
        # A client that hung up before its answer sends again; the server's complaint about it helps nobody.
        with contextlib.suppress(OSError, RuntimeError):
            if answer is None:
                await _respond(send, 200, body, success_headers(origin), media)
            else:
                await _respond_error(send, answer, origin)

    async def _handle(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> Asked | None:
        """Store the calls of a request (None: the plain success), or answer what it asks for. Raises Answered."""
        path, method = scope["path"], scope["method"]
        if method == "OPTIONS":
            raise _Preflight(headers)
        if self._webhooks is not None and path.startswith(WEBHOOK_PREFIX):
            await self._webhook(self._webhooks, path.removeprefix(WEBHOOK_PREFIX).rstrip("/"), scope, headers, receive)
            return None
        found = find(method, path, scope.get("raw_path"))
        if isinstance(found, tuple):
            if found:
                raise Answered(405, "method_not_allowed", f"Use {' or '.join(found)}.")
            raise Answered(404, "not_found", f"There is no {path} here. Calls go to /v1/track, /v1/batch and so on.")
        if found.route.ask is None:
            await self._collect(found, scope, headers, receive)
            return None
        asking = Asking(
            found=found, script=self._script, sources=self._write_keys(), keys=self._keys_outside(headers, _query(scope)) or (),
            origin=f"{scope.get('scheme', 'http')}://{headers.get(b'host', b'localhost').decode('latin-1')}",
        )  # fmt: skip
        try:
            return answer_of(asking)
        except NotServed as error:
            raise Answered(404, error.code, str(error)) from None

    async def _collect(self, found: Found, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> None:
        """One request of calls, answered when it is durable. Raises Answered."""
        try:
            body = await _read_body(headers, receive)
        except Answered as refusal:
            self._collector.reject("", refusal.code)
            raise
        accepted = self.accept(found, headers, scope.get("query_string", b""), body)
        if accepted is not None:
            try:
                await self._collector.keep(*accepted)
            except CadenzaError as error:
                raise unavailable(error) from error

    async def _webhook(
        self, webhooks: Webhooks, name: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive
    ) -> None:
        """One webhook, answered when it is durable: verified here, mapped by the sequencer. Raises Answered."""
        source = name if webhooks.knows(name) else ""
        if source and scope["method"] == "HEAD":
            # Some systems ask so whether the address is there before they use it.
            return
        if source and scope["method"] != "POST":
            raise Answered(405, "method_not_allowed", "Use POST.")
        try:
            body = await _read_body(headers, receive)
            received_at = self._collector.received_at()
            request = request_of(scope["headers"], scope.get("query_string", b""), body)
            receipt = webhooks.verify(name, request, received_at)
        except WebhookRefused as refused:
            self._collector.reject(source, refused.code)
            raise Answered(refused.status, refused.code, str(refused)) from None
        except Answered as refusal:
            self._collector.reject(source, refusal.code)
            raise
        try:
            await self._collector.keep(received_at, write_receipt(receipt), body)
        except CadenzaError as error:
            raise unavailable(error) from error

    def accept(
        self, found: Found, headers: dict[bytes, bytes], query_string: bytes, body: bytes
    ) -> tuple[int, bytes, bytes] | None:
        """What the journal is to keep of a request: when it came, its receipt, its body; None when it holds no call.
        Raises Answered for what is refused, which is counted."""
        source: str | None = None
        route = found.route
        try:
            query = parse_qs(query_string.decode("latin-1")) if query_string else {}
            source = self._source_of_header(headers, query)
            if source is None and not route.key_in_body:
                raise _unauthorized(None)
            seen_facts = facts(found, headers, query) if route.takes_facts else {}
            received = Received(
                dialect=route.dialect, call_type=route.call_type, body=_unpacked(body, headers), facts=seen_facts
            )
            seen = look(received)
            source = source or self._source(seen.write_key)
        except Malformed as error:
            self._collector.reject(source or "", "malformed")
            raise Answered(400, "malformed", str(error)) from None
        except Answered as refusal:
            self._collector.reject(source or "", refusal.code)
            raise
        if not seen.calls:
            return None
        received_at = self._collector.received_at()
        if self._screen is not None and (rejected := self._screen.rejection(received, source, received_at)):
            self._collector.reject(source, rejected.reason)
            raise Answered(400, "contract", rejected.detail)
        return received_at, self._receipt(source, received), received.body

    def _receipt(self, source: str, received: Received) -> bytes:
        key = source, received.dialect, received.call_type, *received.facts.items()
        meta = self._receipts.get(key)
        if meta is None:
            meta = write_receipt(Receipt(source, received.dialect, received.call_type, received.facts))
            if len(self._receipts) < _RECEIPTS_CACHED:
                self._receipts[key] = meta
        return meta

    # --- write keys -------------------------------------------------------------------------------

    def _source_of_header(self, headers: dict[bytes, bytes], query: Query) -> str | None:
        """The source named outside the body; None when none is. Raises Answered."""
        keys = self._keys_outside(headers, query)
        return None if keys is None else self._source(*keys)

    def _keys_outside(self, headers: dict[bytes, bytes], query: Query) -> tuple[str, ...] | None:
        """What may be the write key in Basic auth, ``X-Write-Key`` or ``?writeKey=``; None when there is none of them."""
        authorization = headers.get(b"authorization")
        if authorization is not None:
            keys = self._basic.get(authorization)
            if keys is None:
                keys = _keys_of(_basic_credentials(authorization))
                if len(self._basic) < _KEYS_CACHED:
                    self._basic[authorization] = keys
            return keys
        named = headers.get(b"x-write-key")
        if named is not None:
            return _keys_of(named.decode("latin-1"))
        return tuple(query["writeKey"][:1]) if "writeKey" in query else None

    def _source(self, *keys: str | None) -> str:
        """The source of the first key that is known. Raises Answered."""
        known = self._write_keys()
        for key in keys:
            source = known.get(key) if key else None
            if source is not None:
                return source
        raise _unauthorized(keys[-1])


# --- requests -----------------------------------------------------------------------------------


class _Gone(Exception):
    """The client hung up before its request was complete."""


class _Preflight(Answered):
    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.asked = headers.get(b"access-control-request-headers", b"")
        super().__init__(200, "preflight", "")


def _query(scope: Scope) -> Query:
    raw = scope.get("query_string")
    return parse_qs(raw.decode("latin-1")) if raw else {}


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The request's bytes, at most MAX_BODY. Raises Answered (413) or _Gone."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise _Gone
    if not message.get("more_body"):
        if len(body) > MAX_BODY:
            raise too_large()
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise too_large()
    return b"".join(parts)


def overloaded(what: str) -> Answered:
    """The answer when there is no room for a request."""
    return Answered(429, "overloaded", f"{what} Send again in a moment.", 1)


def too_large() -> Answered:
    """The answer to a request with more bytes than may come."""
    return Answered(413, "too_large", f"A request may have {MAX_BODY} bytes, unpacked. Send smaller batches.")


def _unpacked(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    """The body, gunzipped if it is gzip, whatever the headers say: some clients do not. Raises Answered."""
    if body[:2] != b"\x1f\x8b":
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"identity", b"", b"gzip", b"x-gzip"):
            return body
        raise Answered(400, "encoding", f"Content-Encoding {encoding.decode('latin-1')} is not supported. Use gzip.")
    parts, size, rest = [], 0, body
    try:
        while rest[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(wbits=31)
            parts.append(unpacker.decompress(rest, MAX_BODY + 1 - size))
            size += len(parts[-1])
            if size > MAX_BODY:
                raise too_large()
            if not unpacker.eof:
                raise Answered(400, "malformed", "The gzip data is cut off.")
            rest = unpacker.unused_data
    except zlib.error as error:
        raise Answered(400, "malformed", f"The gzip data is damaged: {error}.") from None
    return b"".join(parts)


def _basic_credentials(authorization: bytes) -> str:
    """``user:password`` of Basic authorization, '' when it is something else."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=False).decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _keys_of(credentials: str) -> tuple[str, ...]:
    """What may be the write key: ``id:secret`` as a whole, else the part before the colon (the rest is not looked at)."""
    first, colon, secret = credentials.partition(":")
    return (credentials, first) if colon and secret else (first,)


def _unauthorized(key: str | None) -> Answered:
    if key:
        return Answered(401, "unknown_write_key", "The write key is not known.")
    return Answered(401, "no_write_key", "There is no write key: use Basic auth, 'X-Write-Key' or '?writeKey='.")


def unavailable(error: CadenzaError) -> Answered:
    """The answer to a request that could not be kept: the sender sends it again."""
    if isinstance(error, Overloaded):
        return Answered(429, "overloaded", str(error), error.retry_after_s)
    code = "stopping" if isinstance(error, TransientError) else "unavailable"
    message = "The records could not be stored; nothing of the request was kept. Send it again."
    return Answered(503, code, message, _RETRY_UNAVAILABLE_S)


# --- answers ------------------------------------------------------------------------------------


def success_headers(origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """What an answer carries beside its type and length."""
    if origin is None:
        return []
    return [
        (b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"Retry-After"), (b"vary", b"Origin"),
    ]  # fmt: skip


def error_headers(answer: Answered, origin: bytes | None) -> list[tuple[bytes, bytes]]:
    """What an error's answer carries beside its type and length."""
    headers = success_headers(origin)
    if answer.retry_after_s is not None:
        headers.append((b"retry-after", str(answer.retry_after_s).encode()))
    return headers


_JSON = b"application/json"


async def _respond(send: Send, status: int, body: bytes, more: list[tuple[bytes, bytes]], media: bytes = _JSON) -> None:
    headers = [(b"content-type", media), (b"content-length", str(len(body)).encode()), *more]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _respond_error(send: Send, answer: Answered, origin: bytes | None) -> None:
    if isinstance(answer, _Preflight):
        more = [
            (b"access-control-allow-methods", b"GET, POST, PUT, DELETE, OPTIONS"), (b"access-control-max-age", b"900"),
            (b"access-control-allow-headers", answer.asked or _ALLOWED_HEADERS), *success_headers(origin),
        ]  # fmt: skip
        await _respond(send, 200, b"", more)
        return
    body = msgspec.json.encode({"code": answer.code, "message": answer.message})
    await _respond(send, answer.status, body, error_headers(answer, origin))


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
