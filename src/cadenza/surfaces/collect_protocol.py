"""Collection without the middle: uvicorn's HTTP connection, which hands requests of calls straight to the door.

An ASGI request costs a task, two queues and several dictionaries, more than everything else that is done for one
event. So requests that only bring calls are answered here, from the parser's own callbacks; every other request, and
whatever comes out of the ordinary (an upgrade, ``Expect``, a request sent before the last one was answered), goes the
ASGI way and is answered alike.

What one sender can hold is bounded: a request must be complete within ``REQUEST_S``, bodies being received may take
``RECEIVING_BYTES`` together, and there may be ``CONNECTIONS`` at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from cadenza.errors import CadenzaError
from cadenza.runtime.collect import MAX_BODY, Collector
from cadenza.surfaces.collect_http import (
    Answered,
    CollectApp,
    error_headers,
    overloaded,
    success_headers,
    too_large,
    unavailable,
)
from cadenza.surfaces.collect_routes import Found, of_calls

REQUEST_S = 30.0
"""A request that is not complete after so long is given up: who sends a byte a second holds a connection, not us."""
RECEIVING_BYTES = 256 * 1024 * 1024
CONNECTIONS = 4_096

_SUCCESS = b'{"success":true}'


class _Request:
    """A request of calls under way. Has what uvicorn asks of a request that runs (its ``RequestResponseCycle``)."""

    __slots__ = ("body", "disconnected", "found", "keep_alive", "message_event", "more_body", "response_complete", "waiting_for_100_continue")  # fmt: skip

    def __init__(self, found: Found, keep_alive: bool) -> None:
        self.found, self.keep_alive = found, keep_alive
        self.body = bytearray()
        self.more_body, self.response_complete, self.disconnected = True, False, False
        self.waiting_for_100_continue = False
        self.message_event = _NOTHING


class _Nothing:
    """An event nobody waits for."""

    def set(self) -> None:
        """Nothing."""


_NOTHING = _Nothing()


class Front:
    """What the connections of one server share: the door, the collector, and what is being received."""

    def __init__(self, app: CollectApp, collector: Collector) -> None:
        self.app, self.collector = app, collector
        self.receiving = 0

    def protocol(self) -> Callable[..., HttpToolsProtocol]:
        """For uvicorn's ``http=``: the class of the connections behind this front."""
        return type("CollectConnection", (CollectProtocol,), {"front": self})


class CollectProtocol(HttpToolsProtocol):
    """One connection."""

    front: Front

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._complete = False
        self._watch: asyncio.TimerHandle | None = self.loop.call_later(REQUEST_S, self._too_slow)
        if len(self.connections) > CONNECTIONS:
            self._write_refusal(overloaded("There are too many connections."), None)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        request = self.cycle
        if isinstance(request, _Request) and not request.response_complete:
            self.front.receiving -= len(request.body)
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        # Nearly every request comes in one piece: only the others are timed.
        if not self._complete and self._watch is None and not self.transport.is_closing():
            self._watch = self.loop.call_later(REQUEST_S, self._too_slow)

    # --- the parser's callbacks -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._complete = False

    def on_headers_complete(self) -> None:
        parser = self.parser
        assert parser is not None
        found = of_calls(self.url) if parser.get_method() == b"POST" else None
        if found is None or self._answering() or self.expect_100_continue or parser.should_upgrade():
            headers, url, expects = self.headers, self.url, self.expect_100_continue
            super().on_message_begin()
            self.headers.extend(headers)
            self.url, self.expect_100_continue = url, expects
            super().on_headers_complete()
            return
        keep_alive = parser.get_http_version() != "1.0" and parser.should_keep_alive()
        request = self.cycle = _Request(found, keep_alive)  # type: ignore[assignment]
        declared = next((value for name, value in self.headers if name == b"content-length"), b"")
        if declared.isdigit() and int(declared) > MAX_BODY:
            self._refuse(request, too_large())

    def on_body(self, body: bytes) -> None:
        request = self.cycle
        if not isinstance(request, _Request):
            super().on_body(body)
            return
        if request.response_complete:
            return
        request.body += body
        self.front.receiving += len(body)
        if len(request.body) > MAX_BODY:
            self._refuse(request, too_large())
        elif self.front.receiving > RECEIVING_BYTES:
            self._refuse(request, overloaded("Too many bytes are being received."))

    def on_message_complete(self) -> None:
        self._complete = True
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
        request = self.cycle
        if not isinstance(request, _Request):
            super().on_message_complete()
            return
        if request.response_complete:
            return
        request.more_body = False
        body = bytes(request.body)
        self.front.receiving -= len(body)
        headers = dict(self.headers)
        origin, front = headers.get(b"origin"), self.front
        _, _, query = self.url.partition(b"?")
        try:
            accepted = front.app.accept(request.found, headers, query, body)
            if accepted is None:
                self._succeed(request, origin)
            else:
                front.collector.add(*accepted, partial(self.settled, request, origin))
        except Answered as answer:
            self._fail(request, answer, origin)
        except CadenzaError as error:
            self._fail(request, unavailable(error), origin)

    # --- answers ------------------------------------------------------------------------------------

    def settled(self, request: _Request, origin: bytes | None, error: CadenzaError | None) -> None:
        """Answer a request whose write is done."""
        if self.transport.is_closing():
            return
        if error is None:
            self._succeed(request, origin)
        else:
            self._fail(request, unavailable(error), origin)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _succeed(self, request: _Request, origin: bytes | None) -> None:
        self._write(request, 200, _SUCCESS, success_headers(origin))

    def _fail(self, request: _Request, answer: Answered, origin: bytes | None) -> None:
        body = msgspec.json.encode({"code": answer.code, "message": answer.message})
        self._write(request, answer.status, body, error_headers(answer, origin))

    def _refuse(self, request: _Request, answer: Answered) -> None:
        """Answer before the body is here; what follows of it is not worth reading."""
        self.front.collector.reject("", answer.code)
        self.front.receiving -= len(request.body)
        request.keep_alive = False
        origin = next((value for name, value in self.headers if name == b"origin"), None)
        self._fail(request, answer, origin)

    def _write_refusal(self, answer: Answered, origin: bytes | None) -> None:
        body = msgspec.json.encode({"code": answer.code, "message": answer.message})
        self.transport.write(_response(answer.status, body, error_headers(answer, origin), False))

    def _write(self, request: _Request, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        request.response_complete = True
        if status == 200 and not headers and request.keep_alive:
            self.transport.write(_PLAIN_SUCCESS)
        else:
            self.transport.write(_response(status, body, headers, request.keep_alive))
        if not request.keep_alive:
            self.transport.close()
        self.on_response_complete()

    def _too_slow(self) -> None:
        self._watch = None
        if not self.transport.is_closing():
            self.front.collector.reject("", "too_slow")
            self.transport.close()


def _response(status: int, body: bytes, headers: list[tuple[bytes, bytes]], keep_alive: bool) -> bytes:
    lines = [STATUS_LINE[status], b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)]
    lines += [b"%s: %s\r\n" % header for header in headers]
    lines.append(b"\r\n" if keep_alive else b"connection: close\r\n\r\n")
    lines.append(body)
    return b"".join(lines)


_PLAIN_SUCCESS = _response(200, _SUCCESS, [], True)
