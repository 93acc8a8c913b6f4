"""Pause, stop and kill: what people do about journeys that run. Each is a record of the log, obeyed by the tick; a kill
switch also closes the way out of the outbox before it is answered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Literal

import msgspec

from cadenza.clock import Clock, to_micros
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, OperatingError, near_miss
from cadenza.ids import fingerprint
from cadenza.ports.ledger import Gate, Log, NewRecord, Outbox, Stopped
from cadenza.runtime import command
from cadenza.runtime.command import CommandBody
from cadenza.sql import step

_SCRIPT = step.Script.beside(__file__, "runtime")

Clocks = Literal["freeze", "run", "drain"]
Queued = Literal["cancel", "hold"]
Engines = Callable[[], AbstractContextManager[Any]]


class Commanded(msgspec.Struct, frozen=True, kw_only=True):
    """A command in the log: its record. It is in force when the tick has decided it."""

    command: str
    offset: int
    journey: str | None = None
    channel: str | None = None


class Killed(msgspec.Struct, frozen=True, kw_only=True):
    """A kill switch that holds from now on. ``in_flight``: messages whose call had begun, which the provider may have;
    ``stopped``: messages that were claimed for a call and will not be called; ``queued``: how many others wait."""

    offset: int
    journey: str | None
    channel: str | None
    mode: Queued
    in_flight: tuple[str, ...]
    stopped: tuple[str, ...]
    queued: int


class JourneyState(msgspec.Struct, frozen=True, kw_only=True):
    """How a journey stands. ``state``: running, paused (freeze or run), draining, drained, stopped, or removed (from the
    project; those inside finish). ``inside``: passages that live, by version; ``killed``: what kill switches cover it."""

    journey: str
    state: str
    since: datetime | None
    inside: int
    standing: int
    versions: dict[str, int]
    killed: tuple[str, ...]


class Controls:
    """The controls of one project's journeys. ``reading`` opens the store for reading."""

    def __init__(
        self, log: Log, outbox: Callable[[], Outbox], reading: Engines, known: Callable[[], Project], clock: Clock
    ) -> None:
        self._log, self._outbox, self._reading, self._known, self._clock = log, outbox, reading, known, clock

    def pause(self, journey: str, clocks: Clocks, by: str = "") -> Commanded:
        """Take nobody and let nobody go on (``drain``: let those inside finish). Raises CadenzaError for an unknown journey."""
        self._checked(journey)
        return self._said(CommandBody(command="pause", journey=journey, mode=clocks, by=by))

    def resume(self, journey: str, by: str = "") -> Commanded:
        """End a pause, or let a stopped journey take people again. Raises CadenzaError."""
        self._checked(journey)
        return self._said(CommandBody(command="resume", journey=journey, by=by))

    def stop(self, journey: str, by: str = "") -> Commanded:
        """End everyone inside and take nobody until ``resume``. Raises CadenzaError."""
        self._checked(journey)
        return self._said(CommandBody(command="stop", journey=journey, by=by))

    def kill(self, queued: Queued, journey: str | None = None, channel: str | None = None, by: str = "") -> Killed:
        """Hand nothing over any more: of a journey, of a channel, or (neither) at all. When this returns no call to a
        provider begins. ``queued``: what becomes of messages that wait, and of those decided later. Raises CadenzaError."""
        self._reach(journey, channel)
        said = self._said(CommandBody(command="kill", journey=journey, channel=channel, mode=queued, by=by))
        found = self._gate(journey, channel, closed=True, offset=said.offset)
        return Killed(
            offset=said.offset, journey=journey, channel=channel, mode=queued, in_flight=found.in_flight,
            stopped=found.claimed, queued=found.ready,
        )  # fmt: skip

    def release(self, journey: str | None = None, channel: str | None = None, by: str = "") -> Commanded:
        """Take a kill switch back. What it held is handed over; what it cancelled stays cancelled. Raises CadenzaError."""
        self._reach(journey, channel)
        said = self._said(CommandBody(command="release", journey=journey, channel=channel, by=by))
        self._gate(journey, channel, closed=False, offset=said.offset)
        return said

    def list(self) -> tuple[JourneyState, ...]:
        """How every journey stands that is deployed or still holds somebody, by name."""
        with self._reading() as engine:
            controls = command.load(engine)
            since = dict(engine.query(_SCRIPT.text("controlled")))
            inside: dict[str, dict[str, int]] = {}
            standing: dict[str, int] = {}
            for journey, version, n, still in engine.query(_SCRIPT.text("inside")):
                inside.setdefault(journey, {})[version] = n
                standing[journey] = standing.get(journey, 0) + still
        known = {j.name for j in self._known().journeys}
        return tuple(
            _state(name, controls, since.get(name), inside.get(name, {}), standing.get(name, 0), name in known)
            for name in sorted({*known, *inside})
        )

    # --- what all of them do ------------------------------------------------------------------------

    def _said(self, body: CommandBody) -> Commanded:
        """The command as a record. Said twice with nothing between, it is stored once."""
        data = msgspec.json.encode(body, order="sorted")
        named = f"{body.command}:{fingerprint([data])[:16]}:{self._log.head().offset}"
        record = NewRecord(kind="command", source="cadenza", message_id=named, body=data)
        appended = self._log.append([record], to_micros(self._clock.now()))[0]
        return Commanded(command=body.command, offset=appended.offset, journey=body.journey, channel=body.channel)

    def _gate(self, journey: str | None, channel: str | None, *, closed: bool, offset: int) -> Stopped:
        return self._outbox().gate([Gate(journey=journey, channel=channel, closed=closed, offset=offset)])[0]

    def _reach(self, journey: str | None, channel: str | None) -> None:
        if journey is not None and channel is not None:
            raise CadenzaError("a kill switch covers a journey or a channel.", remedy="Name one of them, or neither.")
        if journey is not None:
            self._checked(journey)
        channels = [d.channel for d in self._known().destinations]
        if channel is not None and channel not in channels:
            raise CadenzaError(f"there is no channel '{channel}'.", remedy=near_miss(channel, channels))

    def _checked(self, journey: str) -> None:
        known = [j.name for j in self._known().journeys]
        if not known:
            raise OperatingError("no journey is in force.", remedy="'cadenza apply' deploys the project.")
        if journey in known:
            return
        with self._reading() as engine:
            known += [name for (name,) in engine.query(_SCRIPT.text("journeys_ever"))]
        if journey not in known:
            raise CadenzaError(f"there is no journey '{journey}'.", remedy=near_miss(journey, known))


def _state(
    name: str, controls: command.Controls, since: datetime | None, inside: dict[str, int], standing: int, known: bool
) -> JourneyState:
    mode = controls.paused.get(name)
    count = sum(inside.values())
    named = {"freeze": "paused (freeze)", "run": "paused (run)", "stop": "stopped", "drain": "draining"}
    state = named[mode] if mode else "running" if known else "removed"
    killed = tuple(
        kill.journey or kill.channel or "all" for kill in controls.kills if kill.journey in (None, name)
    )  # fmt: skip
    return JourneyState(
        journey=name, state="drained" if mode == "drain" and not count else state, since=since if mode else None,
        inside=count, standing=standing, versions=inside, killed=killed,
    )  # fmt: skip
