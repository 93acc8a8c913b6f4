"""Commands that care for what is kept: archive, snapshot, restore."""

from __future__ import annotations

from cyclopts import App

from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK


def archive(*, older_than: str = "30 days", on: OnProject = HERE) -> int:
    """Move the oldest part of the log into Parquet files, .cadenza/archive. May run beside the server.

    The log reads as before: deciding, rebuilding and explaining see one log.

    Parameters
    ----------
    older_than
        How long ago it was recorded, for example "7 days" or "1 second".
    """
    with using(on) as (workspace, terminal, _):
        done = workspace.care.archive(older_than)
        if on.json:
            terminal.answer(done)
        rows = [(f.file, f.n, f.size) for f in done.files]
        if rows:
            terminal.table("Archived", ("file", "records", "bytes"), rows)
        terminal.say(f"{done.records:,} records moved to {len(rows)} files; log.db has {done.log_bytes:,} bytes.")
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(archive)
