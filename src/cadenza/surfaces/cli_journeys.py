"""``cadenza journeys``: how journeys stand; pause, resume, stop, kill."""

from __future__ import annotations

import getpass
from typing import Annotated, Literal

from cyclopts import App, Parameter

from cadenza.errors import CadenzaError
from cadenza.surfaces.control_operations import Pause, Said
from cadenza.surfaces.on_project import HERE, Flag, OnProject, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.reading import ask
from cadenza.workspace import Commanded, JourneyState, Killed, find_server

journeys_app = App(name="journeys", help_format="plaintext")


@journeys_app.default
def list_(*, on: OnProject = HERE) -> int:
    """List the journeys: state, people inside by version, kill switches.

    ``journeys pause``, ``resume``, ``stop``, ``kill`` and ``release`` change how they stand.
    """
    with using(on) as (workspace, terminal, _):
        found: list[JourneyState] = ask(workspace, "journey_states")
        if on.json:
            terminal.answer(found)
        if not found:
            terminal.say("No journey is in force.")
            return EXIT_OK
        rows = [
            (j.journey, j.state, j.inside, f"{j.since:%Y-%m-%d %H:%M}" if j.since else "", ", ".join(j.killed), _by_version(j))
            for j in found
        ]  # fmt: skip
        terminal.table("Journeys", ("journey", "state", "inside", "since", "killed", "by version"), rows)
    return EXIT_OK


def _by_version(journey: JourneyState) -> str:
    return ", ".join(f"{version[:8]}: {n:,}" for version, n in journey.versions.items())


@journeys_app.command
def pause(
    journey: str, /, *, clocks: Literal["freeze", "run"] | None = None, drain: Flag = False, on: OnProject = HERE
) -> int:
    """Take nobody into a journey, and let those inside rest until 'resume'.

    Parameters
    ----------
    journey
        The journey.
    clocks
        freeze: waits and time limits stand still, and are shifted at the resume. run: they run on, and what comes due
        waits for the resume.
    drain
        Let those inside go on and finish.
    """
    if (clocks is not None) == drain:
        raise CadenzaError(
            "a pause says what happens to those inside.", remedy="Give --clocks freeze, --clocks run or --drain."
        )
    return _command(on, "journey_pause", journey, Pause(clocks=clocks or "drain", by=getpass.getuser()), "takes nobody")


@journeys_app.command
def resume(journey: str, /, *, on: OnProject = HERE) -> int:
    """Let a paused or stopped journey run again.

    Parameters
    ----------
    journey
        The journey.
    """
    return _command(on, "journey_resume", journey, Said(by=getpass.getuser()), "runs")


@journeys_app.command
def stop(journey: str, /, *, on: OnProject = HERE) -> int:
    """End everyone inside a journey, withdraw what was not handed over, and take nobody until 'resume'.

    Parameters
    ----------
    journey
        The journey.
    """
    return _command(on, "journey_stop", journey, Said(by=getpass.getuser()), "is stopped")


@journeys_app.command
def kill(
    journey: str | None = None, /, *, queued: Annotated[Literal["cancel", "hold"], Parameter()],
    channel: str | None = None, all_: Annotated[bool, Parameter(name="--all", negative=())] = False,
    on: OnProject = HERE,
) -> int:  # fmt: skip
    """Hand nothing over to a provider any more. Holds when this ends; it works beside a server and without one.

    Parameters
    ----------
    journey
        Messages of this journey.
    queued
        cancel: messages that wait are cancelled, and further ones dropped. hold: they wait for 'release'.
    channel
        Messages of this channel.
    all_
        All messages.
    """
    with using(on) as (workspace, terminal, _):
        _one_of(journey, channel, all_)
        said: Killed = workspace.controls.kill(queued, journey, channel, getpass.getuser())
        if on.json:
            terminal.answer(said)
        terminal.say(
            f"Killed (record {said.offset}): {said.queued:,} queued, {len(said.stopped):,} claimed messages are not handed over."
        )
        for message_id in said.in_flight:
            terminal.say(f"  in flight, the provider may have it: {message_id}")
    return EXIT_OK


@journeys_app.command
def release(
    journey: str | None = None, /, *, channel: str | None = None,
    all_: Annotated[bool, Parameter(name="--all", negative=())] = False, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Take a kill switch back: what was held is handed over; what was cancelled stays so.

    Parameters
    ----------
    journey
        The switch of this journey.
    channel
        The switch of this channel.
    all_
        The switch of all messages.
    """
    with using(on) as (workspace, terminal, _):
        _one_of(journey, channel, all_)
        said = workspace.controls.release(journey, channel, getpass.getuser())
        if on.json:
            terminal.answer(said)
        terminal.say(f"Released (record {said.offset}).")
    return EXIT_OK


def _one_of(journey: str | None, channel: str | None, everything: bool) -> None:
    if sum([journey is not None, channel is not None, everything]) != 1:
        raise CadenzaError("what does it cover?", remedy="Name a journey, --channel or --all.")


def _command(on: OnProject, operation: str, journey: str, body: Pause | Said, becomes: str) -> int:
    """Give a command and say what becomes of the journey. Without a server nobody ticks: it is decided here, so that it is
    in force when this ends."""
    with using(on) as (workspace, terminal, _):
        said: Commanded = ask(workspace, operation, journey=journey, body=body)
        if find_server(workspace.folder) is None:
            workspace.run()
        if on.json:
            terminal.answer(said)
        terminal.say(f"'{journey}' {becomes} (record {said.offset}).")
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(journeys_app)
