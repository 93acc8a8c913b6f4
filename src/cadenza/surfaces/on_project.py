"""What the commands of the command line share: the project they work on and how they answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from cadenza.errors import CadenzaError, OperatingError
from cadenza.surfaces.operation import parse_instant
from cadenza.surfaces.progress import Display
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import Workspace, find_server

Flag = Annotated[bool, Parameter(negative=())]
"""A truth value that is true when it is named."""


@Parameter(name="*")
@dataclass
class OnProject:
    """What every command takes."""

    project: Annotated[Path, Parameter(name=["--project", "-p"])] = Path()
    """The project folder."""

    json: Annotated[bool, Parameter(negative=())] = False
    """Answer with one JSON value on standard output."""


HERE = OnProject()


@contextmanager
def using(on: OnProject) -> Iterator[tuple[Workspace, Terminal, Display]]:
    """The project, where to answer, and where to show progress. Raises OperatingError when there is no folder."""
    terminal = Terminal(on.json)
    with Workspace.open(on.project) as workspace:
        yield workspace, terminal, Display(terminal.err, workspace.clock, quiet=on.json)


def instant(text: str | None) -> datetime | None:
    """The instant that an option names. Raises CadenzaError."""
    if text is None:
        return None
    try:
        return parse_instant(text)
    except ValueError:
        raise CadenzaError(
            f"'{text}' is not an instant.", remedy="Write for example 2011-12-09 or 2011-12-09T12:00:00Z (UTC)."
        ) from None


def alone(workspace: Workspace) -> None:
    """Raise OperatingError when a server holds the store: this command needs it for itself."""
    server = find_server(workspace.folder)
    if server is not None:
        raise OperatingError(
            f"a server at {server.info.url} holds this project's store.", where=str(workspace.folder),
            remedy=f"It ticks by itself; stop it first (process {server.info.pid}) if you want to do this.",
        )  # fmt: skip
