"""The collection API: a bare ASGI callable that speaks the Segment wire format.

Clients decide by the status alone, and not all by the same rules: success is exactly 200; 400, 401 and 413 are final;
429 and 503 are sent again (with ``Retry-After``). Error bodies carry ``code`` and ``message``, without which two
clients retry a 400 ten times. 200 is answered when the records are durable, also for those that went to quarantine:
they are kept, and sending them again would not mend them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

import msgspec

from cadenza.errors import CadenzaError, TransientError
from cadenza.runtime.collect import MAX_BODY, Answer, Collector, Overloaded
from cadenza.runtime.wire import Malformed, parse_instant

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
WriteKeys = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Write key -> source name; a callable is asked for each request, so that keys may change while running."""

_BATCH = ""
_CALLS = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a"}
ROUTES: dict[str, str] = {
    **{f"/v1/{name}": name for name in _CALLS}, **{f"/v1/{letter}": name for name, letter in _CALLS.items()},
    "/v1/batch": _BATCH, "/v1/b": _BATCH, "/v1/import": _BATCH,
}  # fmt: skip
"""Path -> type of call; '' for batches."""

_SETTINGS_PREFIX, _SETTINGS_SUFFIX = "/v1/projects/", "/settings"
_SUCCESS = b'{"success":true}'
_RETRY_UNAVAILABLE_S = 5
_ALLOWED_HEADERS = b"authorization, content-type, content-encoding, anonymousid, sentat, x-write-key, x-retry-count"
_KEYS_CACHED = 1_024


class _Answered(Exception):
    """A request that ends here with an error status."""

    def __init__(self, status: int, code: str, message: str, retry_after_s: int | None = None) -> None:
        self.status, self.code, self.message, self.retry_after_s = status, code, message, retry_after_s
        super().__init__(message)


def collect_app(collector: Collector, write_keys: WriteKeys) -> App:
    """The ASGI application of the collection API. See ``ROUTES``; also ``GET /v1/projects/{key}/settings``."""
    return _CollectApp(collector, write_keys)


class _CollectApp:
    def __init__(self, collector: Collector, write_keys: WriteKeys) -> None:
        self._collector = collector
        self._write_keys = write_keys if callable(write_keys) else lambda: write_keys
        self._basic: dict[bytes, str] = {}
        self._settlers: dict[asyncio.AbstractEventLoop, Callable[[list[tuple[Any, Answer]]], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        headers = {name: value for name, value in scope["headers"] if name in _READ_HEADERS}
        origin = headers.get(b"origin")
        try:
            body = await self._handle(scope, headers, receive)
            answer = None
        except _Gone:
            return
        except _Answered as refusal:
            body, answer = b"", refusal
        except CadenzaError as error:
            # Ours, not the client's: a secret that is not set, for example. It may send again.
            body, answer = b"", _Answered(503, "unavailable", str(error), _RETRY_UNAVAILABLE_S)
        # A client that hung up before its answer sends again; the server's complaint about it helps nobody.
        with contextlib.suppress(OSError, RuntimeError):
            if answer is None:
                await _respond(send, 200, body, origin)
            else:
                await _respond_error(send, answer, origin)

    async def _handle(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        path, method = scope["path"].rstrip("/"), scope["method"]
        call_type = ROUTES.get(path)
        if method == "POST" and call_type is not None:
            await self._collect(scope, headers, receive, call_type)
            return _SUCCESS
        if method == "OPTIONS":
            raise _Preflight(headers)
        settings = path.startswith(_SETTINGS_PREFIX) and path.endswith(_SETTINGS_SUFFIX)
        if settings and method == "GET":
            return self._settings(scope, headers, path[len(_SETTINGS_PREFIX) : -len(_SETTINGS_SUFFIX)])
        if call_type is not None or settings:
            raise _Answered(405, "method_not_allowed", f"Use {'GET' if settings else 'POST'}.")
        raise _Answered(
            404, "not_found", f"There is no {path or '/'} here. Calls go to /v1/track, /v1/batch and so on."
        )

    async def _collect(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, call_type: str) -> None:
        """One request of calls, answered when it is durable. Raises _Answered."""
        source: str | None = None
        try:
            source = self._source_of_header(headers, scope)
            body = _unpacked(await _read_body(headers, receive), headers)
            decoded = self._collector.decode(body, call_type == _BATCH)
            source = source or self._source(decoded.write_key)
        except Malformed as error:
            self._collector.reject(source or "", "malformed")
            raise _Answered(400, "malformed", str(error)) from None
        except _Answered as answer:
            self._collector.reject(source or "", answer.code)
            raise
        sent_at = headers.get(b"sentat")
        prepared = self._collector.prepare(decoded, source, call_type or None, _instant(sent_at) if sent_at else None)
        if prepared.batch.ids or prepared.refused:
            await self._durable(prepared)

    async def _durable(self, prepared: Any) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        settle = self._settlers.get(loop)
        if settle is None:
            settle = self._settlers[loop] = _settler(loop)
        try:
            self._collector.enqueue(prepared, future, settle)
            await future
        except Overloaded as error:
            raise _Answered(429, "overloaded", str(error), error.retry_after_s) from None
        except CadenzaError as error:
            code = "stopping" if isinstance(error, TransientError) else "unavailable"
            message = "The records could not be stored; nothing of the request was kept. Send it again."
            raise _Answered(503, code, message, _RETRY_UNAVAILABLE_S) from error

    # --- write keys -------------------------------------------------------------------------------

    def _source_of_header(self, headers: dict[bytes, bytes], scope: Scope) -> str | None:
        """The source named by Basic auth or by ``?writeKey=``; None when there is neither. Raises _Answered."""
        authorization = headers.get(b"authorization")
        if authorization is not None:
            key = self._basic.get(authorization)
            if key is None:
                key = _basic_user(authorization)
                if len(self._basic) < _KEYS_CACHED:
                    self._basic[authorization] = key
            return self._source(key)
        query = scope.get("query_string")
        if query:
            keys = parse_qs(query.decode("latin-1")).get("writeKey")
            if keys:
                return self._source(keys[0])
        return None

    def _source(self, key: str | None) -> str:
        source = self._write_keys().get(key) if key else None
        if source is None:
            what = "The write key is not known." if key else "There is no write key: use Basic auth or 'writeKey'."
            raise _Answered(401, "unknown_write_key" if key else "no_write_key", what)
        return source

    def _settings(self, scope: Scope, headers: dict[bytes, bytes], key: str) -> bytes:
        """What browser and mobile clients ask before they send anything."""
        if key not in self._write_keys():
            raise _Answered(404, "unknown_write_key", "The write key is not known.")
        host = headers.get(b"host", b"localhost").decode("latin-1")
        default = {"__default": {"enabled": True, "integrations": {}}}
        segment = {
            "apiKey": key, "apiHost": f"{host}/v1", "protocol": scope.get("scheme", "http"),
            "addBundledMetadata": True, "unbundledIntegrations": [], "maybeBundledConfigIds": {},
        }  # fmt: skip
        return msgspec.json.encode({
            "integrations": {"Segment.io": segment}, "plan": {"track": default, "identify": default, "group": default},
            "metrics": {"sampleRate": 0}, "edgeFunction": {}, "middlewareSettings": {}, "enabledMiddleware": {},
            "analyticsNextEnabled": True, "legacyVideoPluginsEnabled": False, "remotePlugins": [],
        })  # fmt: skip


# --- requests -----------------------------------------------------------------------------------

_READ_HEADERS = frozenset({
    b"authorization", b"origin", b"host", b"content-encoding", b"content-length", b"sentat",
    b"access-control-request-headers",
})  # fmt: skip


class _Gone(Exception):
    """The client hung up before its request was complete."""


class _Preflight(_Answered):
    def __init__(self, headers: dict[bytes, bytes]) -> None:
        self.asked = headers.get(b"access-control-request-headers", b"")
        super().__init__(200, "preflight", "")


async def _read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The request's bytes, at most MAX_BODY. Raises _Answered (413) or _Gone."""
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.disconnect":
        raise _Gone
    if not message.get("more_body"):
        if len(body) > MAX_BODY:
            raise _too_large()
        return body
    parts, size = [body], len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BODY:
            raise _too_large()
    return b"".join(parts)


def _too_large() -> _Answered:
    return _Answered(413, "too_large", f"A request may have {MAX_BODY} bytes, unpacked. Send smaller batches.")


def _unpacked(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    """The body, gunzipped if it is gzip, whatever the headers say: some clients do not. Raises _Answered."""
    if body[:2] != b"\x1f\x8b":
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding in (b"identity", b"", b"gzip", b"x-gzip"):
            return body
        raise _Answered(400, "encoding", f"Content-Encoding {encoding.decode('latin-1')} is not supported. Use gzip.")
    parts, size, rest = [], 0, body
    try:
        while rest[:2] == b"\x1f\x8b":
            unpacker = zlib.decompressobj(wbits=31)
            parts.append(unpacker.decompress(rest, MAX_BODY + 1 - size))
            size += len(parts[-1])
            if size > MAX_BODY:
                raise _too_large()
            if not unpacker.eof:
                raise _Answered(400, "malformed", "The gzip data is cut off.")
            rest = unpacker.unused_data
    except zlib.error as error:
        raise _Answered(400, "malformed", f"The gzip data is damaged: {error}.") from None
    return b"".join(parts)


def _basic_user(authorization: bytes) -> str:
    """The user name of Basic authorization, '' when it is something else."""
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=False).partition(b":")[0].decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _instant(header: bytes) -> datetime | None:
    return parse_instant(header.decode("latin-1"))


# --- answers ------------------------------------------------------------------------------------


def _settler(loop: asyncio.AbstractEventLoop) -> Callable[[list[tuple[Any, Answer]]], None]:
    """What the commit thread calls: one hop to the loop for all requests of a commit."""

    def settle(told: list[tuple[Any, Answer]]) -> None:
        # A closed loop raises: nobody waits any more, and the records are durable.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_resolve, told)

    return settle


def _resolve(told: list[tuple[Any, Answer]]) -> None:
    for future, answer in told:
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(None)


def _cors(origin: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (b"access-control-allow-origin", origin), (b"access-control-allow-credentials", b"true"),
        (b"access-control-expose-headers", b"Retry-After"), (b"vary", b"Origin"),
    ]  # fmt: skip


_SUCCESS_START = {
    "type": "http.response.start", "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_SUCCESS)).encode())],
}  # fmt: skip
_SUCCESS_BODY = {"type": "http.response.body", "body": _SUCCESS}


async def _respond(
    send: Send, status: int, body: bytes, origin: bytes | None, more: list[tuple[bytes, bytes]] | None = None
) -> None:
    if body is _SUCCESS and origin is None:
        await send(_SUCCESS_START)
        await send(_SUCCESS_BODY)
        return
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *(more or [])]
    if origin is not None:
        headers += _cors(origin)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _respond_error(send: Send, answer: _Answered, origin: bytes | None) -> None:
    if isinstance(answer, _Preflight):
        more = [
            (b"access-control-allow-methods", b"GET, POST, OPTIONS"), (b"access-control-max-age", b"900"),
            (b"access-control-allow-headers", answer.asked or _ALLOWED_HEADERS),
        ]  # fmt: skip
        await _respond(send, 200, b"", origin, more)
        return
    more = []
    if answer.retry_after_s is not None:
        more.append((b"retry-after", str(answer.retry_after_s).encode()))
    body = msgspec.json.encode({"code": answer.code, "message": answer.message})
    await _respond(send, answer.status, body, origin, more)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
