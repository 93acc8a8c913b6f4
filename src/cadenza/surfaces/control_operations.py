"""The operations of the API on journeys that run: how they stand; pause, resume, stop, kill, release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from cadenza.surfaces.operation import BadParameter, Operation, Parameter
from cadenza.workspace import Commanded, JourneyState, Killed, Workspace

Arguments = Mapping[str, Any]


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """``freeze``: clocks of those inside stand still and are shifted at the resume; ``run``: clocks run, and what comes
    due waits for the resume; ``drain``: those inside finish."""

    clocks: Literal["freeze", "run", "drain"]
    by: str = "api"


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """Who said it."""

    by: str = "api"


class Kill(msgspec.Struct, frozen=True, kw_only=True):
    """What nothing is handed over of: a journey, a channel, or with ``all`` everything. ``queued``: what becomes of
    messages that wait and of those that would be decided."""

    queued: Literal["cancel", "hold"]
    journey: str | None = None
    channel: str | None = None
    all: bool = False
    by: str = "api"


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Which kill switch is taken back."""

    journey: str | None = None
    channel: str | None = None
    all: bool = False
    by: str = "api"


def _pause(workspace: Workspace, given: Arguments) -> Commanded:
    return workspace.controls.pause(given["journey"], given["body"].clocks, given["body"].by)


def _resume(workspace: Workspace, given: Arguments) -> Commanded:
    return workspace.controls.resume(given["journey"], given["body"].by)


def _stop(workspace: Workspace, given: Arguments) -> Commanded:
    return workspace.controls.stop(given["journey"], given["body"].by)


def _kill(workspace: Workspace, given: Arguments) -> Killed:
    said: Kill = _named(given["body"])
    return workspace.controls.kill(said.queued, said.journey, said.channel, said.by)


def _release(workspace: Workspace, given: Arguments) -> Commanded:
    said: Release = _named(given["body"])
    return workspace.controls.release(said.journey, said.channel, said.by)


def _named(said: Any) -> Any:
    """Everything is killed only when that was said."""
    if sum([said.journey is not None, said.channel is not None, said.all]) != 1:
        raise BadParameter("what does it cover?", where="body", remedy="Give one of journey, channel and all.")
    return said


_JOURNEY = Parameter(name="journey", place="path", meaning="The name of a journey.")

CONTROL_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        path="/api/controls", name="journey_states", answer=list[JourneyState],
        run=lambda workspace, _: list(workspace.controls.list()),
        summary="How every journey stands: running, paused, draining, stopped; who is inside which version",
    ),
    Operation(
        path="/api/controls/kill", name="kill", method="POST", group="controls", answer=Killed, run=_kill, body=Kill,
        summary="Hand nothing over any more; in force when this is answered, which names what a provider may have",
    ),
    Operation(
        path="/api/controls/release", name="release", method="POST", group="controls", answer=Commanded, run=_release,
        body=Release, summary="Take a kill switch back",
    ),
    Operation(
        path="/api/journeys/{journey}/pause", name="journey_pause", method="POST", group="controls", answer=Commanded,
        run=_pause, parameters=(_JOURNEY,), body=Pause,
        summary="Take nobody, and let those inside rest or finish",
    ),
    Operation(
        path="/api/journeys/{journey}/resume", name="journey_resume", method="POST", group="controls", answer=Commanded,
        run=_resume, parameters=(_JOURNEY,), body=Said, summary="End a pause, or the stop, of a journey",
    ),
    Operation(
        path="/api/journeys/{journey}/stop", name="journey_stop", method="POST", group="controls", answer=Commanded,
        run=_stop, parameters=(_JOURNEY,), body=Said,
        summary="End everyone inside a journey, and take nobody until it is resumed",
    ),
)  # fmt: skip
