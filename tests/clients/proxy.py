"""A small HTTP proxy between a client and the server, that makes trouble on a schedule."""

from __future__ import annotations

import asyncio
import gzip
import json
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

Trouble = Literal["pass", "429", "500", "503", "hang", "cut", "spoil"]
"""What happens to a request that stores something. ``hang`` and ``cut``: the server takes it, the client never hears of it;
``spoil``: the server gets a body it must refuse."""


class Request(NamedTuple):
    """A request as the client sent it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(gzip.decompress(self.body) if self.body[:2] == b"\x1f\x8b" else self.body)


class Proxy:
    """Troubles are used up in order, one for each request that is not a GET or OPTIONS; afterwards all goes through."""

    def __init__(self, upstream: str, troubles: Sequence[Trouble] = ()) -> None:
        self._upstream = urlsplit(upstream)
        self._troubles = list(troubles)
        self.seen: list[Request] = []
        self.met: list[Trouble] = []
        """What each request in ``seen`` met."""
        self.preflights: list[Request] = []
        self.answered: list[Request] = []
        """Those of ``seen`` whose turn is over."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of a client."""
        with suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                request = _request(head)
                body = await reader.readexactly(int(request.headers.get("content-length", 0)))
                request = request._replace(body=body)
                goes_on = await self._meet(request, reader, writer)
                if request in self.seen:
                    self.answered.append(request)
                if not goes_on:
                    break
        writer.close()

    async def _meet(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer or not; False ends the connection."""
        trouble: Trouble = "pass"
        if request.method == "OPTIONS":
            self.preflights.append(request)
        if request.method not in ("GET", "OPTIONS", "HEAD"):
            trouble = self._troubles.pop(0) if self._troubles else "pass"
            self.seen.append(request)
            self.met.append(trouble)
        if trouble.isdigit():
            writer.write(_refusal(int(trouble), request.headers.get("origin")))
            await writer.drain()
            return True
        answer = await self._forward(request, b"{" if trouble == "spoil" else request.body)
        if trouble == "cut":
            return False
        if trouble == "hang":
            await reader.read()
            return False
        writer.write(answer)
        await writer.drain()
        return True

    async def _forward(self, request: Request, body: bytes) -> bytes:
        reader, writer = await asyncio.open_connection(self._upstream.hostname, self._upstream.port)
        kept = {name: value for name, value in request.headers.items() if name not in ("connection", "content-length")}
        kept |= {"connection": "close", "content-length": str(len(body))}
        lines = [f"{request.method} {request.path} HTTP/1.1", *(f"{name}: {value}" for name, value in kept.items())]
        writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)
        answer = await reader.read()
        writer.close()
        # The connection to the client goes on.
        return answer.replace(b"\r\nconnection: close", b"", 1)


def _request(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, path, _ = first.split(" ", 2)
    parts = (line.partition(":") for line in lines if line)
    return Request(method, path, {name.lower(): value.strip() for name, _, value in parts}, b"")


def _refusal(status: int, origin: str | None) -> bytes:
    body = b'{"code":"overloaded","message":"Come back."}'
    headers = ["content-type: application/json", f"content-length: {len(body)}"]
    headers += ["retry-after: 1"] if status == 429 else []
    if origin:
        headers += [f"access-control-allow-origin: {origin}", "access-control-allow-credentials: true"]
        headers += ["access-control-expose-headers: Retry-After"]
    return f"HTTP/1.1 {status} Trouble\r\n".encode() + "\r\n".join(headers).encode() + b"\r\n\r\n" + body


@contextmanager
def proxying(
    upstream: str, troubles: Sequence[Trouble] = (), tls: ssl.SSLContext | None = None
) -> Iterator[tuple[str, Proxy]]:
    """The address of a proxy in a thread, and the proxy."""
    proxy, ready = Proxy(upstream, troubles), threading.Event()
    running: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def run() -> None:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls, limit=2**22)
        ended = asyncio.Event()
        running.append((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), ended))
        ready.set()
        await ended.wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    ready.wait(10)
    port, loop, ended = running[0]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}", proxy
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join(10)
