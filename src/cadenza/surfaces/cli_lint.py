"""The command ``lint``: what is valid and yet probably not meant."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from cadenza.surfaces.on_project import HERE, OnProject, using
from cadenza.surfaces.problem import EXIT_INPUT, EXIT_OK
from cadenza.surfaces.reading import ask
from cadenza.workspace import LintReport


def lint(*, days: int = 7, strict: Annotated[bool, Parameter(negative=())] = False, on: OnProject = HERE) -> int:
    """Show what is valid and yet probably not meant, and how many people two journeys wanted at the same time.

    Parameters
    ----------
    days
        How near in time two journeys must have wanted a person.
    strict
        End with 1 when there are warnings. Overlaps are figures, not warnings.
    """
    with using(on) as (workspace, terminal, _):
        report: LintReport = ask(workspace, "lint", days=days)
        if on.json:
            terminal.answer(report)
        for warning in report.warnings:
            terminal.say(f"warning: {warning}", style="yellow")
        if not report.warnings:
            terminal.say("No warnings.")
        rows = [
            (o.first, o.second, o.arena or "-", o.persons, o.of_first, o.of_second, o.beaten_first, o.beaten_second)
            for o in report.overlaps
        ]
        if rows:
            title = f"Journeys that wanted the same people within {days} days"
            columns = ("first", "second", "arena", "both", "of first", "of second", "first beaten", "second beaten")
            terminal.table(title, columns, rows)
        return EXIT_INPUT if strict and report.warnings else EXIT_OK


def add_to(app: App) -> None:
    """Give the command line this command."""
    app.command(lint)
