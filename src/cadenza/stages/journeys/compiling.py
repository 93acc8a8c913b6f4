"""Expressions of many journeys in one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlglot import exp

from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program, Version
from cadenza.sql.step import case_on, number


def per_journey(program: Program, jids: Iterable[int], subject: exp.Expr, of: Callable[[Version], exp.Expr],
                 otherwise: exp.Expr) -> exp.Expr:  # fmt: skip
    """CASE subject WHEN jid THEN ... for the journeys whose SQL differs from ``otherwise``."""
    arms = []
    for jid in sorted(jids):
        tree = of(program.versions[jid])
        if tree != otherwise:
            arms.append((number(jid), tree))
    return case_on(subject, arms, otherwise)


def compiler_of(program: Program, events: frozenset[str]) -> Compiler:
    return Compiler(program.schema, Needs(), events)
