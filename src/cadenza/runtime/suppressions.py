"""Suppression lists: what people say about whom not to contact, each a record of the log, in force from its place there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.clock import Clock, iso
from cadenza.definitions.kinds import Identifier
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.ids import fingerprint, is_account, random_id
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, NewRecord
from cadenza.runtime.explain import find
from cadenza.sql import step
from cadenza.sql.step import column, number, text
from cadenza.stages.identity import BLOCKED

_SCRIPT = step.Script.beside(__file__, "runtime")
EVERY = "*"
"""Stands for every channel."""
LONGEST = 200


class SuppressionSaid(msgspec.Struct, frozen=True, kw_only=True):
    """What was put on record. ``person``: ``p_<number>``, or the identifier (``type:value``) of somebody not known yet;
    ``ends``: how many suppressions known by now it ends; ``duplicate``: the same ``message_id`` was there already."""

    person: str
    offset: int
    duplicate: bool
    channel: str | None = None
    reason: str | None = None
    until: datetime | None = None
    ends: int = 0


class SuppressionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One suppression: ``channel`` (``*``: every one) for ``reason``, since its record; ``until``: when it ends by itself;
    ``ended_at``: when somebody ended it. ``in_force``: now."""

    person: str
    identifiers: tuple[str, ...]
    channel: str
    reason: str
    since: datetime
    until: datetime | None
    ended_at: datetime | None
    in_force: bool
    said_by: str | None
    ended_by: str | None
    offset: int


class SuppressionWanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which suppressions. ``every``: also those that have ended. ``after``: the offset of the last one already seen."""

    person: str | None = None
    channel: str | None = None
    reason: str | None = None
    every: bool = False
    after: int = 0
    limit: int = 100


class Suppressions:
    """The suppression lists of one project. ``project``: the one in force; ``reading`` opens the store for reading."""

    def __init__(
        self, project: Callable[[], Project], log: Log, reading: Callable[[], AbstractContextManager[Engine]],
        clock: Clock,
    ) -> None:  # fmt: skip
        self._project, self._log, self._reading, self._clock = project, log, reading, clock

    def add(
        self, person: str, reason: str, *, channel: str | None = None, until: datetime | None = None, by: str = "",
        message_id: str | None = None,
    ) -> SuppressionSaid:  # fmt: skip
        """Suppress a channel (None: every one) for a person, until an instant (UTC; None: for good). ``person``: ``p_<number>``
        or an identifier; one that nobody has makes a person who has it. Raises CadenzaError for a channel that does not
        exist, a reason that is empty, an instant that is past, and an identifier that names several persons or nobody."""
        self._check(channel, reason)
        if until is not None and until <= self._clock.now():
            raise CadenzaError(f"{iso(until)} is past.", where="until", remedy="Say an instant that is still to come.")
        said = {"channel": channel or EVERY, "reason": reason} | ({"until": iso(until)} if until is not None else {})
        found, body = self._whom(person, unknown=True)
        appended = self._said("Suppressed", body, said, by, message_id)
        return SuppressionSaid(
            person=found, offset=appended.offset, duplicate=appended.status != "stored", channel=channel or EVERY,
            reason=reason, until=until,
        )  # fmt: skip

    def remove(
        self, person: str, *, reason: str | None = None, channel: str | None = None, by: str = "",
        message_id: str | None = None,
    ) -> SuppressionSaid:  # fmt: skip
        """End suppressions of a person: those of the channel (``*`` is one of its own) and the reason, where these are given.
        Messages that a suppression cancelled stay cancelled. Raises CadenzaError, also for a person who is not known."""
        self._check(None if channel == EVERY else channel, reason)
        said = {name: value for name, value in (("channel", channel), ("reason", reason)) if value is not None}
        found, body = self._whom(person, unknown=False)
        known = self.list(SuppressionWanted(person=found, channel=channel, reason=reason, limit=10_000))
        appended = self._said("Unsuppressed", body, said, by, message_id)
        return SuppressionSaid(
            person=found, offset=appended.offset, duplicate=appended.status != "stored", channel=channel, reason=reason,
            ends=len(known),
        )  # fmt: skip

    def list(self, wanted: SuppressionWanted) -> list[SuppressionRow]:
        """Suppressions that the store knows, in the order of their records. Raises CadenzaError for a person who is not known."""
        now = self._clock.now()
        with self._reading() as engine:
            parts: list[exp.Expr] = [exp.GT(this=column("offset_", "s"), expression=number(wanted.after))]
            if wanted.person is not None:
                parts.append(column("pid", "s").eq(number(_one(engine, wanted.person))))
            for name, value in (("channel", wanted.channel), ("reason", wanted.reason)):
                if value is not None:
                    parts.append(column(name, "s").eq(text(value)))
            if not wanted.every:
                parts.append(step.sql("l.lifts IS NULL").copy())
                later = exp.GT(this=column("until", "s"), expression=step.instant(now.isoformat(" ")))
                parts.append(step.any_of([step.sql("s.until IS NULL").copy(), later]))
            query = _SCRIPT.text("suppressions", wanted=step.all_of(parts), most=number(wanted.limit))
            return [_row(row, now) for row in engine.query(query)]

    # --- what all of them do ------------------------------------------------------------------------

    def _check(self, channel: str | None, reason: str | None) -> None:
        channels = [d.channel for d in self._project().destinations]
        if channel is not None and channel not in channels:
            raise CadenzaError(
                f"there is no channel '{channel}'.", where="channel", remedy=near_miss(channel, channels)
            )
        if reason is not None and (not reason.strip() or len(reason) > LONGEST):
            raise CadenzaError(f"the reason is empty or longer than {LONGEST} characters.", where="reason")

    def _whom(self, asked: str, *, unknown: bool) -> tuple[str, dict[str, Any]]:
        """(who it is, what a record says to name them)."""
        with self._reading() as engine:
            pid = find(engine, asked) if unknown else _one(engine, asked)
        if pid is not None and is_account(pid):
            raise CadenzaError(
                f"'{asked}' is an account, and messages go to persons.", remedy="Suppress its people, one by one."
            )
        if pid is not None:
            return f"p_{pid}", {"person": pid}
        identifiers = self._project().identity.identifiers
        if not identifiers:
            raise OperatingError("no project is in force.", remedy="'cadenza apply' deploys the project.")
        kind, value = _taken_as(asked.strip(), identifiers)
        if value.strip().lower() in BLOCKED or not value.strip("0-"):
            raise CadenzaError(
                f"'{value}' identifies nobody.", where=asked, remedy="Give an identifier, or p_<number>."
            )
        return f"{kind.type}:{value}", _placed(kind.source.split("."), value)

    def _said(self, event: str, who: dict[str, Any], said: dict[str, Any], by: str, message_id: str | None):  # type: ignore[no-untyped-def]
        # A record that comes from a person's number is of a kind of its own: identifiers cannot name them.
        body = {"type": "track", "event": event, "context": {}, "properties": said | ({"by": by} if by else {})} | who
        named = fingerprint([event.encode(), message_id.encode()]) if message_id else random_id()
        record = NewRecord(
            kind="person" if "person" in who else "call", source="suppression", message_id=f"suppression:{named}",
            body=msgspec.json.encode(body, order="sorted"),
        )  # fmt: skip
        return self._log.append([record], self._clock.micros())[0]


def _one(engine: Engine, asked: str) -> int:
    pid = find(engine, asked)
    if pid is None:
        raise CadenzaError(
            f"there is no person '{asked}'.", remedy="'cadenza suppress list' shows who is on the lists."
        )
    return pid


def _taken_as(asked: str, identifiers: tuple[Identifier, ...]) -> tuple[Identifier, str]:
    """What kind of identifier a value is that nobody has: what is said before its colon; an e-mail address with an @; else
    the first that is declared."""
    by_type = {i.type: i for i in identifiers}
    kind, colon, rest = asked.partition(":")
    if colon and kind in by_type:
        return by_type[kind], rest
    if asked.startswith("p_") and asked[2:].isdigit():
        raise CadenzaError(
            f"there is no person '{asked}'.", remedy=f"An identifier: say '{identifiers[0].type}:{asked}'."
        )
    return by_type["email"] if "@" in asked and "email" in by_type else identifiers[0], asked


def _placed(path: list[str], value: str) -> dict[str, Any]:
    """The value at its place in a call."""
    return {path[0]: value if len(path) == 1 else _placed(path[1:], value)}


def _row(row: tuple[Any, ...], now: datetime) -> SuppressionRow:
    pid, identifiers, channel, reason, since, until, ended, by, ended_by, offset = row
    return SuppressionRow(
        person=f"p_{pid}", identifiers=tuple(identifiers), channel=channel, reason=reason, since=since, until=until,
        ended_at=ended, in_force=ended is None and (until is None or until > now), said_by=by, ended_by=ended_by,
        offset=offset,
    )  # fmt: skip
