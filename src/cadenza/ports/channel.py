"""The channel port: what hands a rendered message to a provider."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

ANSWER_LIMIT = 16 * 1024
"""Bytes of a service's answer that are taken; a longer one has failed."""


class Rendered(msgspec.Struct, frozen=True, kw_only=True):
    """A message ready for a provider; or a ``call`` of a service, whose ``text`` is the JSON to send."""

    message_id: str
    channel: str
    address: str
    subject: str
    text: str | None
    html: str | None
    planned_at: int
    headers: dict[str, str] = {}
    call: bool = False


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider answered. ``retry`` may be tried again (after ``retry_after_s`` if given);
    ``failed`` is final; ``ambiguous``: it may or may not have been taken."""

    status: Literal["accepted", "retry", "failed", "ambiguous"]
    detail: str = ""
    provider_id: str | None = None
    retry_after_s: int | None = None
    answer: str = ""
    """What a service answered to a call, whole: at most ``ANSWER_LIMIT`` bytes."""


class Channel(Protocol):
    """An adapter. ``idempotent``: the provider takes the message id as idempotency key, so a call
    may be repeated after a crash. An adapter that takes calls of services has an attribute ``takes_calls`` that is true."""

    idempotent: bool

    async def send(self, batch: list[Rendered]) -> list[Delivery]:
        """One answer per message, in order. Raises nothing for a provider's refusal."""
        ...

    async def close(self) -> None: ...
