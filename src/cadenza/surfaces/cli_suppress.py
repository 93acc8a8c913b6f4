"""``cadenza suppress``: who is not contacted, why, and until when."""

from __future__ import annotations

import getpass

from cyclopts import App

from cadenza.clock import iso
from cadenza.surfaces.on_project import HERE, Flag, OnProject, instant, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.reading import ask
from cadenza.surfaces.suppression_operations import Suppress, Unsuppress
from cadenza.workspace import SuppressionRow, SuppressionSaid, Workspace, find_server

suppress_app = App(name="suppress", help_format="plaintext")


@suppress_app.command
def add(
    person: str, /, *, reason: str, until: str | None = None, channel: str | None = None, on: OnProject = HERE
) -> int:
    """Do not contact a person. It is a record of the log, and holds for messages that wait to be handed over as well.

    Parameters
    ----------
    person
        A person id, or an identifier: also of somebody not known yet. TYPE:VALUE says which kind of identifier.
    reason
        Why, in a word. For legal, complaint and hard_bounce nothing is sent at all, for others no marketing.
    until
        The instant (UTC) at which it ends by itself, for example 2026-12-31; without it, it holds for good.
    channel
        Only by this channel; without it, by none.
    """
    with using(on) as (workspace, terminal, _):
        ends = instant(until)
        body = Suppress(person=person, reason=reason, channel=channel, until=ends and iso(ends), by=getpass.getuser())
        said = _say(workspace, "suppress", body)
        if on.json:
            terminal.answer(said)
        how = f"by {channel}" if channel else "by any channel"
        end = f"until {ends:%Y-%m-%d %H:%M:%S} UTC" if ends else "for good"
        terminal.say(f"{said.person} is not contacted {how} {end} ({reason}): record {said.offset} of the log.")
    return EXIT_OK


@suppress_app.command
def remove(person: str, /, *, reason: str | None = None, channel: str | None = None, on: OnProject = HERE) -> int:
    """End suppressions of a person. What was cancelled meanwhile stays cancelled.

    Parameters
    ----------
    person
        A person id, or any identifier of the person.
    reason
        Only those for this reason.
    channel
        Only those of this channel; * are those said of every channel at once.
    """
    with using(on) as (workspace, terminal, _):
        body = Unsuppress(person=person, reason=reason, channel=channel, by=getpass.getuser())
        said = _say(workspace, "unsuppress", body)
        if on.json:
            terminal.answer(said)
        terminal.say(f"Record {said.offset} of the log ends {said.ends} known suppression(s) of {said.person}.")
    return EXIT_OK


@suppress_app.command(name="list")
def list_(
    *, person: str | None = None, channel: str | None = None, reason: str | None = None, all: Flag = False,
    limit: int = 100, after: int = 0, on: OnProject = HERE,
) -> int:  # fmt: skip
    """List who is not contacted, in the order in which it was said.

    Parameters
    ----------
    person
        Only this person: an id, or any identifier.
    channel
        Only this channel; * are those said of every channel at once.
    reason
        Only this reason.
    all
        Also those that have ended.
    limit
        How many at most.
    after
        Only those of later records than this offset.
    """
    with using(on) as (workspace, terminal, _):
        given = {"person": person, "channel": channel, "reason": reason, "every": "true" if all else None}
        found: list[SuppressionRow] = ask(workspace, "suppressions", limit=limit, after=after, **given)
        if on.json:
            terminal.answer(found)
        if not found:
            terminal.say("Nobody is on the lists.")
            return EXIT_OK
        rows = [
            (f.person, ", ".join(f.identifiers), f.channel, f.reason, f"{f.since:%Y-%m-%d %H:%M}", _end(f), f.said_by or "", f.offset)
            for f in found
        ]  # fmt: skip
        terminal.table(
            "Suppressions", ("person", "identifiers", "channel", "reason", "since", "until", "by", "record"), rows
        )
    return EXIT_OK


def _say(workspace: Workspace, operation: str, body: Suppress | Unsuppress) -> SuppressionSaid:
    """Without a server nobody ticks: it is decided here, so that it is in force when this ends."""
    said: SuppressionSaid = ask(workspace, operation, body=body)
    if find_server(workspace.folder) is None:
        workspace.run()
    return said


def _end(row: SuppressionRow) -> str:
    if row.ended_at is not None and (row.until is None or row.ended_at < row.until):
        return f"{row.ended_at:%Y-%m-%d %H:%M}, ended"
    return f"{row.until:%Y-%m-%d %H:%M}" if row.until is not None else "for good"


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(suppress_app)
