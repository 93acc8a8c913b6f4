"""A ledger, a project and channels that do as they are told, for the tests of delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from cadenza.clock import VirtualClock, from_micros, to_micros
from cadenza.definitions.kinds import Destination, Template
from cadenza.definitions.project import Project, version_of
from cadenza.ledger.log import SqliteLog
from cadenza.ledger.outbox import SqliteOutbox
from cadenza.ports.channel import Delivery, Rendered
from cadenza.ports.ledger import Cancellation, NewRecord, OutboxMessage
from cadenza.runtime.deliver import Deliverer

START = 1_767_323_045_000_000
TEMPLATE = Template(
    name="hello", channel="email", purpose="news", subject="Hi {{ first_name }}", body="Hello {{ first_name }}"
)
PROJECT = Project(
    templates=(TEMPLATE,),
    destinations=(
        Destination(name="box", channel="email", adapter="mailbox", attempts=3, backoff_s=2),
        Destination(name="mail", channel="email", adapter="smtp", attempts=3, backoff_s=2),
    ),
)


def an_outbox_message(message_id: str = "m-1", **changes: Any) -> OutboxMessage:
    plain = OutboxMessage(
        message_id=message_id, person=7, journey="welcome", step="1", channel="email", destination="box",
        address="anna@shop.example", template="hello", template_version=version_of(TEMPLATE), message_class="marketing",
        purpose="news", context='{"first_name": "Anna"}', planned_at=START, deliverable=True,
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class Told:
    """A channel that answers what it is told, in turn; the last answer is repeated. An exception is raised;
    ``held`` keeps every call waiting until it is set."""

    def __init__(
        self, *answers: Delivery | BaseException, idempotent: bool = True, held: asyncio.Event | None = None
    ) -> None:
        self.idempotent = idempotent
        self.answers = list(answers) or [Delivery(status="accepted")]
        self.calls: list[list[str]] = []
        self.messages: list[Rendered] = []
        self.held = held
        self.before: Callable[[], None] | None = None

    @property
    def ids(self) -> list[str]:
        return [message_id for call in self.calls for message_id in call]

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        if self.before:
            self.before()
        self.calls.append([message.message_id for message in batch])
        self.messages.extend(batch)
        if self.held is not None:
            await self.held.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return [answer] * len(batch)

    async def close(self) -> None:
        return


class Kit:
    """A real outbox and log in a folder, on a clock that stands still."""

    def __init__(self, folder: Path, **channels: Any) -> None:
        self.outbox = SqliteOutbox.open(folder / "outbox.db")
        self.log = SqliteLog.open(folder / "log.db")
        self.clock = VirtualClock(from_micros(START))
        self.channels = channels
        self.project = PROJECT
        self.jitter = 0.5
        self.deliverer = self.another("w1")

    def another(self, worker: str, **options: Any) -> Deliverer:
        return Deliverer(
            self.outbox, self.log, self.channels, lambda: self.project, self.clock, worker,
            jitter=lambda: self.jitter, **options,
        )  # fmt: skip

    def publish(self, *messages: OutboxMessage, cancel: tuple[str, ...] = (), through: int | None = None) -> None:
        head = self.log.head().offset if through is None else through
        self.outbox.publish(messages, [Cancellation(message_id, "goal") for message_id in cancel], head)

    def accept(self) -> int:
        """A record comes in; its offset."""
        number = self.log.head().offset
        record = NewRecord(kind="call", source="web", message_id=f"r{number}", body=b"{}")
        return self.log.append([record], to_micros(self.clock.now()))[0].offset

    def tick(self) -> None:
        """The store has consumed everything and publishes nothing new."""
        self.publish()

    def drain(self) -> int:
        return asyncio.run(self._drained(self.deliverer))

    async def _drained(self, deliverer: Deliverer) -> int:
        return await deliverer.drain()

    def advance(self, seconds: float) -> None:
        self.clock.advance_to(self.clock.now() + timedelta(seconds=seconds))

    def state(self, message_id: str = "m-1") -> str:
        row = self.outbox.get(message_id)
        assert row is not None
        return row.state

    def detail(self, message_id: str = "m-1") -> str:
        row = self.outbox.get(message_id)
        assert row is not None
        return row.detail

    def outcomes(self) -> list[dict[str, Any]]:
        records = [record for record in self.log.read(0, 10_000) if record.kind == "outcome"]
        return [{**msgspec.json.decode(record.body), "id": record.message_id} for record in records]

    def close(self) -> None:
        asyncio.run(self.deliverer.close())
        self.outbox.close()
        self.log.close()


Made = Callable[..., Kit]
"""Makes a kit with these channels."""
