"""The operations of the API on suppression lists: who is not contacted, why, and until when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from cadenza.surfaces.operation import BadParameter, Operation, Parameter, limit_of, parse_instant
from cadenza.workspace import SuppressionRow, SuppressionSaid, SuppressionWanted, Workspace

Arguments = Mapping[str, Any]


class Suppress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whom not to contact: `person` is `p_` and a number or an identifier, also of somebody not known yet. Without `channel`
    by no channel; `until` is an instant (RFC 3339, or a date: its midnight UTC), and without it is for good. The same
    `messageId` again is a duplicate and does nothing."""

    person: str
    reason: str
    channel: str | None = None
    until: str | None = None
    by: str = "api"
    message_id: str | None = None


class Unsuppress(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose suppressions end: those of the `channel` (`*`: those of every channel) and the `reason`; what is not said is any."""

    person: str
    reason: str | None = None
    channel: str | None = None
    by: str = "api"
    message_id: str | None = None


def _add(workspace: Workspace, given: Arguments) -> SuppressionSaid:
    said: Suppress = given["body"]
    return workspace.suppressions.add(
        said.person, said.reason, channel=said.channel, until=_instant(said.until), by=said.by, message_id=said.message_id
    )  # fmt: skip


def _end(workspace: Workspace, given: Arguments) -> SuppressionSaid:
    said: Unsuppress = given["body"]
    return workspace.suppressions.remove(
        said.person, reason=said.reason, channel=said.channel, by=said.by, message_id=said.message_id
    )


def _list(workspace: Workspace, given: Arguments) -> list[SuppressionRow]:
    wanted = SuppressionWanted(
        person=given["person"], channel=given["channel"], reason=given["reason"], every=given["every"] == "true",
        after=given["after"], limit=given["limit"],
    )  # fmt: skip
    return workspace.suppressions.list(wanted)


def _instant(text: str | None) -> datetime | None:
    try:
        return parse_instant(text) if text else None
    except ValueError:
        raise BadParameter(
            f"'{text}' is not an instant.", where="until", remedy="Write for example 2026-12-31 or 2026-12-31T12:00:00Z (UTC)."
        ) from None  # fmt: skip


SUPPRESSION_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/suppressions", name="suppressions", answer=list[SuppressionRow], run=_list,
        summary="Who is not contacted by which channel, why, and until when; go on with the last offset as 'after'",
        parameters=(
            Parameter(name="person", place="query", meaning="Only those of this person: an id or an identifier."),
            Parameter(name="channel", place="query", meaning="Only those of this channel; * are those of every channel."),
            Parameter(name="reason", place="query", meaning="Only those for this reason.", example="legal"),
            Parameter(name="every", place="query", enum=("true", "false"), meaning="Also those that have ended."),
            Parameter(name="after", place="query", kind="integer", default=0, meaning="Only those of later records."),
            limit_of(100, 10_000),
        ),
    ),
    Operation(
        path="/api/suppressions", name="suppress", method="POST", group="suppressions", answer=SuppressionSaid, run=_add,
        body=Suppress, summary="Do not contact a person by a channel, or by any; until an instant, or for good",
    ),
    Operation(
        path="/api/suppressions/end", name="unsuppress", method="POST", group="suppressions", answer=SuppressionSaid,
        run=_end, body=Unsuppress, summary="End suppressions of a person",
    ),
)  # fmt: skip
