"""Real receivers on this machine: a mail server with rules and an HTTP server with answers to give."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
from aiosmtpd.smtp import SMTP, Envelope, Session
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from cadenza.ports.channel import Rendered


def a_message(message_id: str = "m-1", address: str = "anna@shop.example", **changes: Any) -> Rendered:
    """A message to try a channel with."""
    plain = Rendered(
        message_id=message_id, channel="email", address=address, subject="Grüße, Anna", text="Hello Anna",
        html="<p>Hello <b>Anna</b></p>", planned_at=1_767_323_045_000_000,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class Postmaster:
    """Rules by the recipient's local part: ``refuse`` 550, ``later`` 451, ``drop`` closes the connection after DATA,
    ``dropearly`` closes it at RCPT, ``spam`` is refused after DATA."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.connections = 0

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        self.connections += 1
        session.host_name = hostname
        return responses

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        rule = address.partition("@")[0]
        if rule == "dropearly":
            server.transport.abort()
            return "421 gone"
        if rule in ("refuse", "later"):
            return "550 5.1.1 no such mailbox" if rule == "refuse" else "451 4.3.0 try later"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        rule = envelope.rcpt_tos[0].partition("@")[0]
        if rule == "spam":
            return "554 5.7.1 not wanted"
        self.received.append((envelope.rcpt_tos[0], bytes(envelope.content or b"")))
        if rule == "drop":
            server.transport.abort()
        return "250 2.0.0 taken"


@contextmanager
def mail_server(ssl_context: ssl.SSLContext | None = None, **options: Any) -> Iterator[tuple[Postmaster, int]]:
    """A running mail server and its port. ``ssl_context``: TLS from the first byte; ``tls_context``: STARTTLS."""
    postmaster = Postmaster()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    def factory() -> SMTP:
        return SMTP(postmaster, hostname="mail.example", enable_SMTPUTF8=False, loop=loop, **options)

    starting = loop.create_server(factory, "127.0.0.1", 0, ssl=ssl_context)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result()
    try:
        yield postmaster, server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(_ended(server), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _ended(server: asyncio.Server) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class Answer(msgspec.Struct, frozen=True):
    """What the HTTP server says next. ``action``: ``drop`` closes without an answer, ``hang`` waits for the end."""

    status: int = 200
    headers: dict[str, str] = {}
    body: bytes = b"ok"
    action: str = "answer"


class Posts:
    """What the HTTP server received, and what it is to answer (the last answer is repeated)."""

    def __init__(self) -> None:
        self.received: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[Answer] = [Answer()]
        self.over = threading.Event()
        self._lock = threading.Lock()

    def take(self, headers: dict[str, str], body: bytes) -> Answer:
        with self._lock:
            self.received.append((headers, body))
            return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def ids(self) -> list[str]:
        return [headers["idempotency-key"] for headers, _ in self.received]


def told_spans(posts: Posts) -> list[tuple[str, Span]]:
    """(service, span) of every span that was sent to the HTTP server by OTLP."""
    told = [ExportTraceServiceRequest.FromString(body) for _, body in posts.received]
    return [
        (next(a.value.string_value for a in of.resource.attributes if a.key == "service.name"), span)
        for request in told for of in request.resource_spans for scope in of.scope_spans for span in scope.spans
    ]  # fmt: skip


@contextmanager
def http_server() -> Iterator[tuple[Posts, int]]:
    """A running HTTP server and its port."""
    posts = Posts()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            answer = posts.take({name.lower(): value for name, value in self.headers.items()}, body)
            if answer.action == "hang":
                posts.over.wait()
            if answer.action != "answer":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield posts, server.server_address[1]
    finally:
        posts.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def closed_port() -> int:
    """A port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def sent(channel: Any, *messages: Rendered) -> list[Any]:
    """The channel's answers, the channel closed."""

    async def go() -> list[Any]:
        try:
            return await channel.send(list(messages))
        finally:
            await channel.close()

    return asyncio.run(go())
