"""Commands that try something before it is put in force, or look ahead: backtest, forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cadenza.surfaces.on_project import HERE, Flag, OnProject, instant, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.progress import Stages
from cadenza.surfaces.trials_text import render_backtest, render_forecast
from cadenza.workspace import Project, Trial, Workspace

DEPLOYED = "deployed"


def backtest(
    journey: str | None = None, /, *, from_: Annotated[str | None, Parameter(name="--from")] = None, to: str | None = None,
    draft: Path | None = None, against: str = DEPLOYED, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Run a draft over the real history, with every rule in force, beside what really ran. Changes and sends nothing.

    The draft is decided by the same tick, in a scratch store, on the records of the log. Shown are who would have entered
    and why not, volumes of every step and arm, messages by day, losses by rule, who lost to whom, the outcome metric, and
    who goes another way. May run beside the server; Ctrl-C ends it and leaves nothing.

    Parameters
    ----------
    journey
        Show only this journey. The others take part all the same.
    from_
        Put the draft in force at this instant (UTC); before it, things are as they really were. Without it: from the beginning.
    to
        Look until this instant (UTC). Without it: as far as the project is decided.
    draft
        The folder with the draft's definitions; without it, those of the project folder.
    against
        'deployed', what really ran; or a folder with another version, run over the same history.
    """
    with using(on) as (workspace, terminal, display):
        other = None if against == DEPLOYED else _project(Path(against))
        wanted = Trial(
            draft=workspace.validate().project if draft is None else _project(draft), since=instant(from_),
            until=instant(to), against=other, journey=journey,
        )  # fmt: skip
        with Stages(display) as stages:
            found = workspace.trials.backtest(wanted, stages.report)
        if on.json:
            terminal.answer(found)
        terminal.show(*render_backtest(found))
    return EXIT_OK


def _project(folder: Path) -> Project:
    with Workspace.open(folder) as other:
        return other.validate().project


def forecast(*, days: int = 14, resample: Flag = False, seed: int = 1, on: OnProject = HERE) -> int:
    """Look at the contact pressure of the days to come: messages by day, losses by rule, who will be contested by which
    journeys. Changes and sends nothing.

    A copy of the store is run forward by the same tick, from where the project stands. Nothing happens in it but what is due
    already: waits that end, messages that were put off, time limits, segments that change with time.

    Parameters
    ----------
    days
        How many days, 1 to 366.
    resample
        Let days of the last eight weeks happen again, drawn at random by weekday.
    seed
        Which days are drawn: the same seed, the same days.
    """
    with using(on) as (workspace, terminal, display):
        with Stages(display) as stages:
            found = workspace.trials.forecast(days, seed if resample else None, stages.report)
        if on.json:
            terminal.answer(found)
        terminal.show(*render_forecast(found))
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(backtest)
    app.command(forecast)
