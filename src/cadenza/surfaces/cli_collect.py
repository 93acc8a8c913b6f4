"""The command that runs collectors as processes of their own."""

from __future__ import annotations

import os

from cyclopts import App

from cadenza.errors import CadenzaError, OperatingError
from cadenza.surfaces.collect_worker import Fleet, supervise
from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK

PORT = 8401


def collect(
    *, workers: int = 0, host: str = "127.0.0.1", port: int = PORT, name: str = "c", on: OnProject = HERE
) -> int:
    """Collect only, in one or more processes beside 'cadenza run'. Ends with Ctrl-C.

    What is accepted is kept in journals, .cadenza/journal; 'cadenza run' takes it into the log, at once or when it
    runs again. There is no read API here, so it may listen anywhere.

    Parameters
    ----------
    workers
        How many processes; 0: one for each processor.
    host
        The address to listen on.
    port
        The port to listen on; 0 takes any free one.
    name
        The beginning of the workers' names; different for each 'cadenza collect' of a project.
    """
    if workers < 0 or workers > 64:
        raise CadenzaError(f"{workers} workers cannot be started.", remedy="Name 1 to 64.")
    with using(on) as (workspace, terminal, _):
        if not workspace.write_keys() and not list(workspace.webhooks.endpoints()):
            raise OperatingError(
                "no source with a write key and no webhook source is in force.", where=str(on.project),
                remedy="Declare one and 'cadenza apply'.",
            )  # fmt: skip
        count = workers or os.cpu_count() or 1
        fleet = Fleet(workers=count, host=host, port=port, name=name)
        plural = "es" if count > 1 else ""
        supervise(
            on.project, fleet, workspace.clock,
            lambda url: terminal.say(f"Collecting at {url} in {count} process{plural} (Ctrl-C stops it)."),
        )  # fmt: skip
        terminal.say("Stopped; everything accepted is in the journals or the log.")
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line this command."""
    app.command(collect)
