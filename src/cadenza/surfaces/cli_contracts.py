"""Commands for contracts: list, show, infer a draft from traffic, bring in, take out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cadenza.surfaces.on_project import HERE, Flag, OnProject, instant, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import ContractFormat, ContractText

contracts = App(name="contracts", help="The tracking plan: what records must look like.")


@contracts.command(name="list")
def list_(*, on: OnProject = HERE) -> int:
    """List the contracts of the project."""
    with using(on) as (workspace, terminal, _):
        found = workspace.contracts.list()
        if on.json:
            terminal.answer(found)
        columns = ("contract", "version", "compatibility", "fields", "required", "personal", "where broken", "owner")
        rows = [
            (c.name, c.version, c.compatibility, c.fields, c.required, c.personal, c.on_violation, c.owner)
            for c in found
        ]
        terminal.table("Contracts", columns, rows)
    return EXIT_OK


@contracts.command
def show(name: str, /, *, on: OnProject = HERE) -> int:
    """Show one contract: its fields, how sensitive each is, what for, and who reads it.

    Parameters
    ----------
    name
        The contract's name, for example "Order Completed".
    """
    with using(on) as (workspace, terminal, _):
        found = workspace.contracts.show(name)
        if on.json:
            terminal.answer(found)
        summary = found.summary
        terminal.say(f"{summary.name} {summary.version}".rstrip(), style="bold")
        if found.description:
            terminal.say(found.description)
        terminal.say(
            f"compatibility {summary.compatibility}; where broken: {summary.on_violation}; content {summary.content}"
        )
        rows = [
            (f.name, f.type, "yes" if f.required else "", f.sensitivity, ", ".join(f.purposes), f.owner,
             ", ".join(f"{r.kind} {r.name}" for r in f.readers))
            for f in found.fields
        ]  # fmt: skip
        terminal.table("Fields", ("field", "type", "required", "sensitivity", "purposes", "owner", "read by"), rows)
    return EXIT_OK


@contracts.command
def infer(
    *,
    source: str | None = None,
    since: str | None = None,
    records: int = 100_000,
    new: Flag = False,
    on: OnProject = HERE,
) -> int:
    """Print a draft of contracts made of the records in the log. Read it before you use it.

    Parameters
    ----------
    source
        Only records of this source.
    since
        Only records since this instant (UTC), for example 2026-11-01.
    records
        How many records at most, the last ones.
    new
        Only what no contract speaks of.
    """
    with using(on) as (workspace, terminal, _):
        _print(terminal, workspace.contracts.infer(source, instant(since), records, new))
    return EXIT_OK


@contracts.command(name="import")
def import_(
    file: Path, /, *, format: Annotated[ContractFormat, Parameter()], write: Flag = False, on: OnProject = HERE
) -> int:
    """Print the contracts of a file in another format as definitions.

    Parameters
    ----------
    file
        The file to read.
    format
        odcs: Open Data Contract Standard 3.x, YAML. segment: a Segment tracking plan, JSON.
    write
        Write them to contracts/, in a file of the same name; nothing is overwritten.
    """
    with using(on) as (workspace, terminal, _):
        found = workspace.contracts.read(file, format)
        if write:
            path = workspace.contracts.save(found, file.name)
            terminal.err.print(f"Wrote {found.contracts} contracts to {path}.")
        if on.json or not write:
            _print(terminal, found)
        else:
            _note(terminal, found)
    return EXIT_OK


@contracts.command
def export(*, format: Annotated[ContractFormat, Parameter()], on: OnProject = HERE) -> int:
    """Print the contracts of the project in another format.

    Parameters
    ----------
    format
        odcs: Open Data Contract Standard 3.1, YAML. segment: a Segment tracking plan, JSON.
    """
    with using(on) as (workspace, terminal, _):
        text = workspace.contracts.export(format)
        if on.json:
            terminal.answer({"format": format, "text": text})
        else:
            sys.stdout.write(text)
    return EXIT_OK


def _print(terminal: Terminal, found: ContractText) -> None:
    """The definitions on standard output, what is to be said of them on standard error."""
    if terminal.json:
        terminal.answer(found)
        return
    sys.stdout.write(found.text)
    _note(terminal, found)


def _note(terminal: Terminal, found: ContractText) -> None:
    for note in found.notes:
        terminal.err.print(f"note: {note}", markup=False)


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(contracts)
