"""Calls of the API that ask for somebody's entry into a journey: a record of the log like any other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from cadenza.clock import Clock
from cadenza.definitions.implied import REQUESTED
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, near_miss
from cadenza.ids import fingerprint, random_id
from cadenza.ports.ledger import Log, NewRecord

SOURCE = "api"


class EntryRequested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a call: the log offset of its record, and whether it was there already (the same ``message_id``)."""

    journey: str
    offset: int
    duplicate: bool


class EntryCalls:
    """Asks for entries into the journeys of the project in force; the tick decides about them."""

    def __init__(self, project: Callable[[], Project], log: Log, clock: Clock) -> None:
        self._project, self._log, self._clock = project, log, clock

    def enter(
        self, journey: str, *, user_id: str | None = None, anonymous_id: str | None = None,
        properties: Mapping[str, Any] | None = None, message_id: str | None = None,
    ) -> EntryRequested:  # fmt: skip
        """Record that somebody should enter a journey. ``properties`` are those of the event ``Entry Requested``, which the
        journey's ``where`` and ``key`` read; the same ``message_id`` again is a duplicate. Raises CadenzaError when no
        journey of that name is entered by the API, or nobody is named."""
        called = [j.name for j in self._project().journeys if j.entry.on.api]
        if journey not in called:
            what = f"no journey '{journey}' in force is entered by a call of the API."
            hint = near_miss(journey, called) if called else None
            raise CadenzaError(what, remedy=hint or "Give it the trigger 'on: { api: true }' and apply it.")
        if not user_id and not anonymous_id:
            raise CadenzaError("the call names nobody.", remedy="Give a user id or an anonymous id.")
        # It occurs when it is recorded: the same call made again has the same body, and is known as a duplicate.
        body: dict[str, Any] = {
            "type": "track", "event": REQUESTED, "context": {}, "properties": {**(properties or {}), "journey": journey},
        }  # fmt: skip
        body |= {key: value for key, value in (("userId", user_id), ("anonymousId", anonymous_id)) if value}
        known = (
            f"entry:{fingerprint([journey.encode(), message_id.encode()])}" if message_id else f"entry:{random_id()}"
        )
        record = NewRecord(kind="call", source=SOURCE, message_id=known, body=msgspec.json.encode(body, order="sorted"))
        appended = self._log.append([record], self._clock.micros())[0]
        return EntryRequested(journey=journey, offset=appended.offset, duplicate=appended.status != "stored")
