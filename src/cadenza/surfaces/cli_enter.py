"""The command that asks for somebody's entry into a journey."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from cyclopts import App, Parameter

from cadenza.errors import CadenzaError
from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK


def enter(
    journey: str, /, *, user: str | None = None, anonymous: str | None = None,
    property: Annotated[tuple[str, ...], Parameter(name="--property", negative=())] = (),
    message_id: str | None = None, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Ask that a person enters a journey whose trigger is `api: true`. The call becomes a record of the log; the tick decides.

    Parameters
    ----------
    journey
        The journey's name.
    user
        The person's user id.
    anonymous
        The person's anonymous id.
    property
        A property of the call, as name=value; the value is JSON, or else text. May be given several times.
    message_id
        The same id again is a duplicate and does nothing.
    """
    with using(on) as (workspace, terminal, _):
        said = dict(_property(text) for text in property)
        found = workspace.entries.enter(
            journey, user_id=user, anonymous_id=anonymous, properties=said, message_id=message_id
        )
        if on.json:
            terminal.answer(found)
        which = "was there already as" if found.duplicate else "is"
        terminal.say(f"The call for '{journey}' {which} record {found.offset} of the log.")
    return EXIT_OK


def _property(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise CadenzaError(f"'{text}' is not a property.", remedy="Write --property name=value.")
    try:
        return name, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return name, value


def add_to(app: App) -> None:
    """Give the command line this command."""
    app.command(enter)
