"""Every error Cadenza raises on purpose, under one root.

An error says what happened, where, and what to do about it. ``Terminal`` and ``Transient``
are part of the type, so a caller never has to read a message to decide whether to try again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import msgspec


class CadenzaError(Exception):
    """Root of all errors raised by Cadenza.

    ``what`` is one sentence; ``where`` names the definition (``file:line``) or record;
    ``remedy`` is the next thing to do.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head} {self.remedy}" if self.remedy else head


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong with a project, found by validation."""

    what: str
    file: str
    line: int
    remedy: str | None = None
    code: str | None = None
    """The documented name of a warning."""

    def __str__(self) -> str:
        tail = f" {self.remedy}" if self.remedy else ""
        code = f" [{self.code}]" if self.code else ""
        return f"{self.file}:{self.line}: {self.what}{tail}{code}"


class DefinitionError(CadenzaError):
    """The project's definitions cannot be used. Mend every listed problem, then validate again."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(str(p) for p in self.problems)
        super().__init__(f"{len(self.problems)} problem(s) in the project:\n{lines}")


class ExpressionError(CadenzaError):
    """An expression does not parse or does not type-check; ``what`` quotes the part at fault."""


class StateError(CadenzaError):
    """What is asked for is there, but in a state in which this cannot be done to it."""


class OperatingError(CadenzaError):
    """The surroundings refused: disk, network, lock, missing file."""


class TransientError(OperatingError):
    """Trying the same thing again later may succeed."""


class TerminalError(OperatingError):
    """Trying the same thing again will fail in the same way."""


class LedgerError(OperatingError):
    """The log or the outbox cannot be read or written as it must be."""


class StoreError(OperatingError):
    """The analytical store cannot be opened or written; it can be rebuilt from the log."""


class StoreInUse(StoreError):
    """Another process holds the store; ask that one, or stop it."""


def near_miss(name: str, known: Iterable[str]) -> str | None:
    """The remedy for an unknown name: the closest known one, or what there is.

    >>> near_miss('ordes', ['orders', 'email'])
    "Did you mean 'orders'?"
    """
    options = sorted(known)
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    return f"Known: {', '.join(options[:12])}." if options else None
