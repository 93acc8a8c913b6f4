"""Commands that try something before it is put in force, or look ahead: backtest, forecast, simulate."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from cadenza.surfaces.on_project import HERE, Flag, OnProject, instant, using
from cadenza.surfaces.problem import EXIT_OK
from cadenza.surfaces.progress import Move, Stages
from cadenza.surfaces.simulation_text import render_simulation
from cadenza.surfaces.trials_text import render_backtest, render_forecast
from cadenza.workspace import Course, Passed, Project, Trial, Workspace

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


def simulate(
    *, days: int = 14, draws: int = 39, seed: int = 1, draft: Path | None = None, by: list[str] | None = None,
    step: int = 3, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Draw the days to come many times, with people who behave as the history says: entrants, messages, losses by rule,
    pressure and outcomes, each with the interval in which it may well lie. Changes and sends nothing. It is no measurement.

    How often people do things, who is new, and how they answer messages is fitted on up to eight weeks of history, by
    combinations of segments; what was fitted, and how sure it is, is shown with the result. Each draw runs a copy of the
    store forward by the same tick, with every rule in force. Ctrl-C ends it and leaves nothing.

    Parameters
    ----------
    days
        How many days, 1 to 366.
    draws
        How many futures, 1 to 1000: 39 are needed for intervals of 95 %, 9 for those of 80 %.
    seed
        The same seed gives the same futures.
    draft
        The folder with definitions that are put in force at the beginning; without it, those deployed.
    by
        A segment that tells people apart; may be given several times. Without it: all segments.
    step
        Hours, 1 to 24: answers to messages are drawn every so many hours, and none comes sooner. Fewer take longer.
    """
    with using(on) as (workspace, terminal, display):
        wanted = Course(
            days=days, draws=draws, seed=seed, step_h=step, draft=None if draft is None else _project(draft),
            by=None if by is None else tuple(by),
        )  # fmt: skip
        with ExitStack() as opened:
            stages = opened.enter_context(Stages(display))
            moving: list[Move] = []

            def passed(at: Passed) -> None:
                if not moving:
                    # What really ran may have to be decided first, as a stage of its own; it is over now.
                    opened.pop_all().close()
                    moving.append(opened.enter_context(display.task("Simulating", at.of_days, unit="days")))
                moving[0](at.days, f"draw {at.draw} of {draws}, {at.at:%Y-%m-%d}")

            found = workspace.trials.simulate(wanted, stages.report, passed)
        if on.json:
            terminal.answer(found)
        terminal.show(*render_simulation(found))
    return EXIT_OK


def add_to(app: App) -> None:
    """Give the command line these commands."""
    app.command(backtest)
    app.command(forecast)
    app.command(simulate)
