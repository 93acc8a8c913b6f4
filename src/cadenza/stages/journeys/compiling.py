"""Expressions of many journeys in one statement."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sqlglot import exp

from cadenza.definitions.expression import Trait
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import Program, Version
from cadenza.sql.step import case_on, column, number, query


def per_journey(program: Program, jids: Iterable[int], subject: exp.Expr, of: Callable[[Version], exp.Expr],
                 otherwise: exp.Expr) -> exp.Expr:  # fmt: skip
    """CASE subject WHEN jid THEN ... for the journeys whose SQL differs from ``otherwise``."""
    arms = []
    for jid in sorted(jids):
        tree = of(program.versions[jid])
        if tree != otherwise:
            arms.append((number(jid), tree))
    return case_on(subject, arms, otherwise)


def compiler_of(program: Program, events: frozenset[str] | None, passage: str = "e") -> Compiler:
    """A compiler of a wave's conditions; ``passage``: the row that holds a passage's values at entry."""
    return Compiler(program.schema, Needs(), events, lambda _, kept: column(kept, passage))


def compiler_of_moves(program: Program, events: frozenset[str]) -> Compiler:
    """The same for those who go on (rows ``b``), of whom some begin: for them the value is that of now."""

    def at_entry(name: str, kept: str) -> exp.Expr:
        before = query("SELECT w.kept_ FROM w_enr AS w WHERE w.eid = b.eid")
        for found in before.find_all(exp.Column):
            if found.name == "kept_":
                found.replace(column(kept, "w"))
        begins = exp.Is(this=column("rid", "b"), expression=exp.Null())
        now = compiler.condition(Trait(name))
        return exp.paren(exp.Case(ifs=[exp.If(this=begins, true=now)], default=before.subquery()), copy=False)

    compiler = Compiler(program.schema, Needs(), events, at_entry)
    return compiler
