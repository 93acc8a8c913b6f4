"""Commands of people to journeys that run, obeyed by the tick: pause, resume, stop, kill, release."""

from __future__ import annotations

import msgspec

from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Gate
from cadenza.runtime.deploy import run
from cadenza.sql.step import Step
from cadenza.stages import calls
from cadenza.stages.journeys import Command, Controls, Kill, control

COMMANDS = ("pause", "resume", "stop", "kill", "release")


class CommandBody(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of a ``command`` record of this kind. ``mode``: freeze, run or drain of a pause; cancel or hold of a kill.
    ``by``: who said it."""

    command: str
    journey: str | None = None
    channel: str | None = None
    mode: str | None = None
    by: str = ""


def load(engine: Engine) -> Controls:
    """What is in force in the store."""
    return control.in_force(engine.query(control.commands()), engine.query(control.taken_up())[0][0] > 0)


def obey(engine: Engine, controls: Controls, offset: int, body: CommandBody) -> Controls:
    """Carry a command out at the variable ``horizon``, inside the tick's transaction; what is in force then.

    A pause of a journey that is paused takes the place of the first; it goes on with the clocks as they are.
    """
    mode = "stop" if body.command == "stop" else body.mode
    said: Command = (body.command, body.journey, body.channel, mode)
    run(engine, [control.record(offset, said)])
    journey = body.journey
    if body.command in ("pause", "resume", "stop") and journey is not None:
        before = controls.paused.get(journey)
        if before in control.STANDSTILL:
            run(engine, control.resume(journey, before))
        if body.command == "stop":
            run(engine, control.stop(journey))
        elif body.command == "pause" and mode in control.STANDSTILL:
            run(engine, control.pause(journey, mode))
    elif body.command == "kill" and mode == "cancel":
        run(engine, [control.withdraw(Kill(journey, body.channel, "cancel"))])
    return load(engine)


def call_off(body: CommandBody) -> list[Step]:
    """What a command means for calls of services that are not handed over, behind ``obey``."""
    if body.command == "stop" and body.journey is not None:
        return [calls.stopped()]
    if body.command == "kill" and body.mode == "cancel":
        return [calls.killed(body.journey, body.channel)]
    return []


def gates(engine: Engine) -> list[Gate]:
    """The last word of every kill switch, for the outbox."""
    last: dict[tuple[str | None, str | None], Gate] = {}
    for command, journey, channel, offset in engine.query(
        "SELECT command, journey, channel, offset_ FROM control WHERE command IN ('kill', 'release') ORDER BY offset_"
    ):
        last[journey, channel] = Gate(
            journey=journey, channel=channel, closed=command == "kill", offset=offset
        )  # fmt: skip
    return list(last.values())
