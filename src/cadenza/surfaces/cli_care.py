"""Commands that care for what is kept: archive, snapshot, restore."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from cadenza.clock import SystemClock, from_micros, iso
from cadenza.runtime.care import keeping
from cadenza.runtime.snapshots import restore as restore_snapshot
from cadenza.surfaces.on_project import HERE, Flag, OnProject, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.progress import Display, on_tick
from cadenza.surfaces.terminal import Terminal


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


def snapshot(target: Path, /, *, on: OnProject = HERE) -> int:
    """Copy log, archive, outbox and, where no server holds it, the store into a new folder. May run beside the server.

    Parameters
    ----------
    target
        A new or empty folder, better on another disk.
    """
    with using(on) as (workspace, terminal, _):
        taken = workspace.care.snapshot(target)
        if on.json:
            terminal.answer(taken)
        with_store = "with the store" if taken.with_store else "without the store, which is made anew from the log"
        terminal.say(
            f"Snapshot of {taken.head:,} records, {len(taken.files)} files, {with_store}: {target}", style="green"
        )
    return EXIT_OK


def restore(source: Path, /, *, send_waiting: Flag = False, on: OnProject = HERE) -> int:
    """Put a snapshot into a project folder that has no state yet.

    Messages that waited when it was taken may have been sent since. They become ambiguous, for a person to decide.

    Parameters
    ----------
    source
        The folder that 'cadenza snapshot' wrote.
    send_waiting
        Send what waited: nothing was sent after the snapshot was taken.
    """
    terminal = Terminal(on.json)
    display = Display(terminal.err, SystemClock(), quiet=on.json)
    with display.task("Restoring", None) as move:
        done = restore_snapshot(source, on.project, send_waiting, on_tick(move))
    if on.json:
        terminal.answer(done)
    terminal.say(
        f"Restored {done.snapshot.head:,} records as of {iso(from_micros(done.snapshot.taken_at))}.", style="green"
    )
    if done.held:
        terminal.say(f"{done.held:,} messages waited then and are ambiguous now.", style="yellow")
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(archive)
    app.command(snapshot)
    app.command(restore)
