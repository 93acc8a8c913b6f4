"""Commands that care for what is kept: archive, snapshot, restore."""

from __future__ import annotations

from cyclopts import App

from cadenza.clock import from_micros, iso
from cadenza.runtime.care import keeping
from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_OK


def archive(*, older_than: str | None = None, keep: str | None = None, on: OnProject = HERE) -> int:
    """Move the oldest part of the log into Parquet files, .cadenza/archive. May run beside the server.

    The log reads as before: deciding, rebuilding and explaining see one log. What is not said here is as cadenza.yaml
    declares it under log: a running server does the same once a day.

    Parameters
    ----------
    older_than
        How long ago it was recorded, for example "7 days" or "1 second"; 30 days where nothing is declared.
    keep
        Delete archive files that hold nothing younger than this, for example "400 days". What is deleted is written down.
    """
    with using(on) as (workspace, terminal, _):
        done = workspace.care.maintain(keeping(workspace.validate().project.log, older_than, keep))
        if on.json:
            terminal.answer(done)
        rows = [(f.file, f.n, f.size) for f in done.archived]
        if rows:
            terminal.table("Archived", ("file", "records", "bytes"), rows)
        gone = [(f.first_offset, f.last_offset, f.n, f.kept, iso(from_micros(f.last_at))) for f in done.deleted]
        if gone:
            terminal.table("Deleted", ("from offset", "to offset", "records", "kept", "recorded until"), gone)
        terminal.say(
            f"{sum(f.n for f in done.archived):,} records moved to {len(rows)} files; log.db has {done.log_bytes:,} bytes."
        )
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(archive)
