"""Pause, stop and kill: what people command of journeys that run, and what a wave makes of it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Literal

import msgspec
from sqlglot import exp

from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, number, text
from cadenza.stages.journeys.reach import Frontier

_SCRIPT = Script.beside(__file__, "journeys")

Mode = Literal["freeze", "run", "drain", "stop"]
"""What a journey that takes nobody does with those inside: their clocks stand (``freeze``) or run (``run``) while they
rest, they finish (``drain``), or they have ended (``stop``)."""
STANDSTILL: tuple[str, ...] = ("freeze", "run")

Command = tuple[str, str | None, str | None, str | None]
"""(command, journey, channel, mode) as table ``control`` keeps them."""


class Kill(msgspec.Struct, frozen=True):
    """What a kill switch covers: a journey, a channel, or (neither) everything; what it does with what is queued."""

    journey: str | None
    channel: str | None
    queued: Literal["cancel", "hold"] = "hold"


class Controls(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force: journeys that take nobody, with their mode; kill switches; whether passages are still to be
    taken up that a pause had held back."""

    paused: dict[str, str] = {}
    kills: tuple[Kill, ...] = ()
    taken_up: bool = False

    def standing(self, program: Program, frontier: Frontier) -> bool:
        """Whether passages of a wave may stand still."""
        still = {name for name, mode in self.paused.items() if mode in STANDSTILL}
        return bool(still) and any(program.versions[jid].journey.name in still for jid, _ in frontier)

    def refusing(self, program: Program, jids: Iterable[int]) -> tuple[tuple[str, str], ...]:
        """(journey, mode) of those of the journeys that take nobody."""
        names = {program.versions[jid].journey.name for jid in jids}
        return tuple((name, mode) for name, mode in sorted(self.paused.items()) if name in names)

    def dropping(self) -> tuple[Kill, ...]:
        """The kill switches that drop what would be sent."""
        return tuple(kill for kill in self.kills if kill.queued == "cancel")


def in_force(commands: Iterable[Command], taken_up: bool) -> Controls:
    """What holds after all these commands, in their order."""
    paused: dict[str, str] = {}
    kills: dict[tuple[str | None, str | None], Kill] = {}
    for command, journey, channel, mode in commands:
        if command == "kill":
            kills[journey, channel] = Kill(journey, channel, "cancel" if mode == "cancel" else "hold")
        elif command == "release":
            kills.pop((journey, channel), None)
        elif command == "resume":
            paused.pop(journey or "", None)
        elif command in ("pause", "stop"):
            paused[journey or ""] = mode or "freeze"
    return Controls(paused=paused, kills=tuple(kills.values()), taken_up=taken_up)


def record(offset: int, command: Command) -> Step:
    """The command as a row."""
    said, journey, channel, mode = (text(part) for part in command)
    return _SCRIPT.step("control", offset=number(offset), command=said, journey=journey, channel=channel, mode=mode)


def commands() -> str:
    """A query of all commands, in order."""
    return _SCRIPT.text("controls")


def taken_up() -> str:
    """A query of how many passages are still to be taken up."""
    return _SCRIPT.text("taken_up")


def pause(journey: str, mode: str) -> list[Step]:
    """Those inside stand still from the variable ``horizon`` on."""
    named = text(journey)
    return [_SCRIPT.step("w_paused", journey=named), _SCRIPT.step("paused_before"), _SCRIPT.step("paused"),
            _SCRIPT.step("freeze" if mode == "freeze" else "hold")]  # fmt: skip


def resume(journey: str, mode: str) -> list[Step]:
    """Those inside go on from the variable ``horizon`` on; ``mode``: how they paused."""
    named = text(journey)
    clocks = "resume_frozen" if mode == "freeze" else "resume_held"
    return [_SCRIPT.step(name, journey=named) for name in (clocks, "resumed", "resumed_ways")]


def stop(journey: str) -> list[Step]:
    """Those inside end at the variable ``horizon``."""
    steps = [_SCRIPT.step("w_stopped", journey=text(journey))]
    return [*steps, *(_SCRIPT.step(name) for name in ("stop_end", "stop_rest", "cancel_stopped"))]


def withdraw(kill: Kill) -> Step:
    """Messages in the reach of a kill switch are cancelled."""
    return _SCRIPT.step("cancel_killed", journey=text(kill.journey), channel=text(kill.channel))


def hold_back(standing: bool, taken_up: bool) -> list[Step]:
    """Who stands still does not go on (``standing``); whose pause is over goes on as remembered (``taken_up``)."""
    names = ("hold_back", "hold_back_clock", "hold_back_go") if standing else ()
    return [_SCRIPT.step(name) for name in (*names, *(("take_up", "take_up_go", "take_up_done") if taken_up else ()))]


@lru_cache(maxsize=16)
def refuse(paused: tuple[tuple[str, str], ...]) -> Step:
    """Candidates of journeys that take nobody, given as (journey, mode), are refused."""
    rows = [exp.Tuple(expressions=[text(journey), text(mode)]) for journey, mode in paused]
    return _SCRIPT.step("refuse_paused", paused=rows)
