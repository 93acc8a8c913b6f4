"""The operation of the API that asks for somebody's entry into a journey."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from cadenza.surfaces.operation import Operation, Parameter
from cadenza.workspace import EntryRequested, Workspace


class EntryCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who should enter, and what the call says: properties of the event `Entry Requested`. The same `messageId` again is a
    duplicate and does nothing."""

    user_id: str | None = None
    anonymous_id: str | None = None
    properties: dict[str, Any] = {}
    message_id: str | None = None


def _enter(workspace: Workspace, given: Mapping[str, Any]) -> EntryRequested:
    call: EntryCall = given["body"]
    return workspace.entries.enter(
        given["journey"], user_id=call.user_id, anonymous_id=call.anonymous_id, properties=call.properties,
        message_id=call.message_id,
    )  # fmt: skip


ENTRY_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/journeys/{journey}/enter", name="journey_enter", method="POST", group="journeys",
        answer=EntryRequested, run=_enter, body=EntryCall,
        summary="Ask that a person enters a journey whose trigger is `api: true`; the tick decides",
        parameters=(Parameter(name="journey", place="path", meaning="The journey's name.", example="reminder"),),
    ),
)  # fmt: skip
