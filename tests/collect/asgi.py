"""A collector over a real log, and requests to its ASGI application without a network."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from cadenza.clock import Clock, VirtualClock, to_micros
from cadenza.definitions.project import Project
from cadenza.ledger.journal import JournalWriter
from cadenza.ledger.log import SqliteLog
from cadenza.runtime.collect import Collector
from cadenza.runtime.screen import Screen
from cadenza.runtime.sequence import Sequencer
from cadenza.surfaces.collect_http import collect_app

KEY = "WK"
NOW = datetime(2026, 11, 22, 12)
RECEIVED = to_micros(NOW)


class Response(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Settled:
    """A log that first takes in what was accepted, whatever is asked of it."""

    def __init__(self, log: SqliteLog, collector: Collector, sequencer: Sequencer) -> None:
        self.log, self.collector, self.sequencer = log, collector, sequencer

    def __getattr__(self, name: str) -> Any:
        self.collector.flush()
        self.sequencer.catch_up()
        return getattr(self.log, name)


class Site:
    """One collector, its journal, its log, and its application."""

    def __init__(self, folder: Path, project: Project | None = None, clock: Clock | None = None) -> None:
        self.clock = clock or VirtualClock(NOW)
        self.project = project or Project()
        self.journal = JournalWriter.open(folder / "journal", "test", "0" * 32)
        self.collector = Collector(self.journal, self.clock, lambda: self.full)
        self.full: str | None = None
        opened = SqliteLog.open(folder / "log.db")
        self.sequencer = Sequencer(opened, folder / "journal", self.clock, lambda: self.project)
        self.log: Any = Settled(opened, self.collector, self.sequencer)
        self.app = collect_app(self.collector, {KEY: "web", "OTHER": "app"}, screen=Screen(lambda: self.project))

    def stored(self) -> list[dict[str, Any]]:
        """The bodies in the log."""
        return [json.loads(record.body) for record in self.log.read(0, 100_000)]

    def send(
        self, path: str, body: Any = b"", *, key: str | None = KEY, method: str = "POST", query: str = "",
        headers: dict[str, str] | None = None, chunks: Sequence[bytes] | None = None,
    ) -> Response:  # fmt: skip
        """One request; ``body`` is bytes, or a value to send as JSON."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        all_headers = {"host": "collect.example"} | (headers or {})
        if key is not None:
            all_headers["authorization"] = "Basic " + base64.b64encode(f"{key}:".encode()).decode()
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
            "headers": [(name.lower().encode(), value.encode()) for name, value in all_headers.items()],
        }  # fmt: skip
        return asyncio.run(_ask(self.app, scope, list(chunks) if chunks is not None else [raw]))

    def close(self) -> None:
        self.collector.close()
        self.sequencer.close()
        self.log.log.close()


async def _ask(app: Any, scope: dict[str, Any], chunks: list[bytes]) -> Response:
    sent: list[dict[str, Any]] = []
    waiting = [{"type": "http.request", "body": c, "more_body": n < len(chunks)} for n, c in enumerate(chunks, 1)]

    async def receive() -> dict[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    if not sent:
        return Response(0, {}, b"")
    head, *parts = sent
    headers = {name.decode(): value.decode() for name, value in head["headers"]}
    body = b"".join(part["body"] for part in parts)
    assert int(headers["content-length"]) == len(body)
    return Response(head["status"], headers, body)


@contextmanager
def site(folder: Path, project: Project | None = None, clock: Clock | None = None) -> Iterator[Site]:
    """A site that is closed at the end."""
    opened = Site(folder, project, clock)
    try:
        yield opened
    finally:
        opened.close()
