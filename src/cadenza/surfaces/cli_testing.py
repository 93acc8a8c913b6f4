"""The command that runs the project's journey tests."""

from __future__ import annotations

from pathlib import Path

from cyclopts import App

from cadenza.errors import OperatingError
from cadenza.surfaces.junit import junit_xml
from cadenza.surfaces.on_project import HERE, Flag, OnProject, using
from cadenza.surfaces.problem import EXIT_INPUT, EXIT_OK
from cadenza.surfaces.terminal import Terminal
from cadenza.workspace import CaseResult, Covered, SuiteResult


def test(
    *names: str, journey: str | None = None, min_coverage: float | None = None, junit: Path | None = None,
    uncovered: Flag = False, on: OnProject = HERE,
) -> int:  # fmt: skip
    """Run the journey tests of the project (its folder tests/) and say how much of each journey they reach.

    The engine itself decides, on a store in memory and a clock that moves as the tests say. Nothing is sent, and the
    project's own state is neither read nor changed. Exit code 1 when a test fails or a journey is covered too little.

    Parameters
    ----------
    names
        Only tests of these names; patterns such as "win_back*" are taken.
    journey
        Only tests of this journey.
    min_coverage
        Every journey must be reached to this percentage, for example 80.
    junit
        Write the results as JUnit XML to this file too.
    uncovered
        List what no test reaches, each with its place.
    """
    with using(on) as (workspace, terminal, _):
        run = workspace.testing.run(names, journey)
    if junit is not None:
        _write(junit, junit_xml(run))
    least = min_coverage or 0.0
    short = [c for c in run.coverage if c.share < least]
    if on.json:
        terminal.answer({
            "passed": not run.failed and not short, "tests": run.tests, "seconds": run.seconds, "engines": run.engines,
            "coverage": [{"journey": c.journey, "reached": c.reached, "of": len(c.points), "percent": round(c.share, 1),
                          "points": c.points} for c in run.coverage],
        })  # fmt: skip
    else:
        _show(terminal, run, least, uncovered)
    return EXIT_INPUT if run.failed or short else EXIT_OK


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    except OSError as error:
        raise OperatingError(f"the file cannot be written: {error.strerror}.", where=str(file)) from error


def _show(terminal: Terminal, run: SuiteResult, least: float, uncovered: bool) -> None:
    for one in run.tests:
        terminal.say(f"{'passed' if one.passed else 'FAILED'}  {one.name}", style="green" if one.passed else "bold red")
        _failures(terminal, one)
    terminal.say()
    terminal.table("Coverage", ("journey", "reached", "of", "percent"), [_row(c) for c in run.coverage])
    for covered in run.coverage:
        if uncovered or covered.share < least:
            missed = [point for point in covered.points if not point.reached]
            if covered.share < least:
                terminal.say(
                    f"{covered.journey} is reached to {covered.share:.1f} %, less than {least:g} %:", style="red"
                )
            for point in missed:
                terminal.say(f"  {point.file}:{point.line}: {point.kind} {point.words}")
    passed = len(run.tests) - run.failed
    style = "bold red" if run.failed else "green"
    terminal.say(f"{passed} passed, {run.failed} failed, in {run.seconds:.1f} s.", style=style)


def _row(covered: Covered) -> tuple[str, int, int, str]:
    return covered.journey, covered.reached, len(covered.points), f"{covered.share:.1f}"


def _failures(terminal: Terminal, test: CaseResult) -> None:
    for failure in test.failures:
        terminal.say(f"  {failure.file}:{failure.line}: expected {failure.expected}")
        for head, lines in (("happened", failure.happened), ("why", failure.why)):
            for number, line in enumerate(lines):
                label = f"{head}:" if not number else ""
                terminal.say(f"    {label:<10}{line}".replace("\n", "\n" + " " * 14))


def add_to(app: App) -> None:
    """Give the command line this command."""
    app.command(test)
