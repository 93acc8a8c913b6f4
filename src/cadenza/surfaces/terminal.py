"""What commands print: tables, key figures, errors. Plain without a terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cadenza.errors import CadenzaError, DefinitionError
from cadenza.surfaces.encoding import to_json
from cadenza.surfaces.problem import problem_of

PLAIN_WIDTH = 120
"""Columns without a terminal."""


class Terminal:
    """Standard output and standard error of one command. ``json``: the answer is one JSON value and nothing else."""

    def __init__(self, json: bool = False) -> None:
        self.json = json
        self.out = _console(sys.stdout)
        self.err = _console(sys.stderr)

    def answer(self, value: object) -> None:
        """The answer as JSON."""
        sys.stdout.write(to_json(value, indent=True).decode() + "\n")
        sys.stdout.flush()

    def say(self, text: str = "", style: str = "") -> None:
        """A line for a person; nothing when the answer is JSON."""
        if not self.json:
            self.out.print(Text(text, style=style), soft_wrap=True)
            self.out.file.flush()

    def show(self, *renderables: Any) -> None:
        """Renderables for a person; nothing when the answer is JSON."""
        if not self.json:
            self.out.print(*renderables, sep="\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; whole numbers are set to the right with thousands separators."""
        listed = [list(row) for row in rows]
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for index, column in enumerate(columns):
            numeric = bool(listed) and all(_is_number(row[index]) for row in listed)
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in listed:
            table.add_row(*(escape(_cell(value)) for value in row))
        self.show(Text(title, style="bold"), table, "")

    def error(self, error: CadenzaError) -> None:
        """An error on standard error: what, where, remedy."""
        if self.json:
            sys.stderr.write(to_json(problem_of(error), indent=True).decode() + "\n")
            return
        if isinstance(error, DefinitionError):
            self._problems(error)
            return
        self.err.print(Text.assemble(("error: ", "bold red"), error.what), soft_wrap=True)
        for label, text in (("where", error.where), ("remedy", error.remedy)):
            if text:
                self.err.print(Text(f"  {label}: {text}"), soft_wrap=True)

    def _problems(self, error: DefinitionError) -> None:
        for found in error.problems:
            self.err.print(Text.assemble((f"{found.file}:{found.line}: ", "bold"), found.what), soft_wrap=True)
            if found.remedy:
                self.err.print(Text(f"  remedy: {found.remedy}"), soft_wrap=True)
        count = len(error.problems)
        self.err.print(Text(f"{count} problem{'s' if count != 1 else ''}.", style="bold red"))


def _console(stream: Any) -> Console:
    terminal = stream.isatty() and "NO_TERMINAL" not in os.environ
    return Console(file=stream, highlight=False, width=None if terminal else PLAIN_WIDTH, force_terminal=terminal)


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
