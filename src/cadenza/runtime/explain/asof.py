"""Expressions evaluated for one person as of an instant, by the same compiler the stages use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.definitions.check import property_types
from cadenza.definitions.expression import Expr, InSegment, walk
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.sql import step
from cadenza.sql.columns import SQL_TYPE, consent_column, expand, schema_of
from cadenza.sql.expression import Compiler, Needs, aggregate
from cadenza.sql.step import alias, column, number, text

_SCRIPT = step.Script.beside(__file__, "explain")


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a person: the record at ``item``, or a timer (None), at ``now`` (naive UTC)."""

    pid: int
    family: tuple[int, ...]
    now: datetime
    item: int | None


def evaluate(engine: Engine, project: Project, moment: Moment, trees: Sequence[Expr]) -> list[Any]:
    """The values of expressions for one person at an item, in order; NULL is None. ``project`` is the one that was
    in force then. Exact where the person had not been merged since; a merged person's history counts as one."""
    if not trees:
        return []
    schema = schema_of(project, property_types(project))
    needs = Needs()
    compiler = Compiler(schema, needs)
    full = [expand(tree, {**schema.values, **schema.live}) for tree in trees]
    answers = [alias(compiler.condition(tree), f"answer_{n}") for n, tree in enumerate(full)]
    row = _Row(moment, _through(engine, moment))
    columns = [alias(tree, name) for name, tree in row.columns(project, needs, full, compiler)]
    query = _SCRIPT.step("answers", answers=answers, columns=columns, now=step.instant(moment.now.isoformat(" ")))
    return list(engine.query(query.sql)[0][1:])


def _through(engine: Engine, moment: Moment) -> int:
    """A timer at T sees the records before T; a record sees itself and those before it."""
    if moment.item is not None:
        return moment.item
    seen = exp.LT(this=column("recorded_at"), expression=step.instant(moment.now.isoformat(" ")))
    return engine.query(_SCRIPT.step("through", pid=number(moment.pid), seen=seen).sql)[0][0]


class _Row:
    """The columns of the row ``c``, each a scalar subquery."""

    def __init__(self, moment: Moment, through: int) -> None:
        self._moment = moment
        self._now = step.instant(moment.now.isoformat(" "))
        self._through = number(through)
        self._pid = number(moment.pid)

    def columns(
        self, project: Project, needs: Needs, trees: Sequence[Expr], compiler: Compiler
    ) -> list[tuple[str, exp.Expr]]:
        """(name, tree) of everything the compiled expressions read."""
        terms = {name: aggregate(agg, compiler)[0] for name, agg in sorted(needs.terms.items())}
        segments = sorted({n.name for tree in trees for n in walk(tree) if isinstance(n, InSegment)})
        family = [number(pid) for pid in self._moment.family]
        found = [("name", self._item("item"))]
        found += [(f"t_{name}", self._trait(project, name)) for name in sorted(needs.traits)]
        found += [
            (name, self._part("term", value=tree, pid=self._pid, now=self._now, through=self._through))
            for name, tree in terms.items()
        ]
        found += [
            (f"n_{name}", self._part("member", family=family, called=text(name), now=self._now)) for name in segments
        ]
        found += [
            (f"j_{name}", self._part("inside", pid=self._pid, called=text(name), now=self._now))
            for name in sorted(needs.journeys)
        ]
        found += [
            (consent_column(purpose, channel), self._part(
                "consent", pid=self._pid, purpose=text(purpose), channel=text(channel), through=self._through))
            for purpose, channel in sorted(needs.consents)
        ]  # fmt: skip
        return found + [
            (f"e_{name}", self._item("property", value=column(f"p_{name}", "e"))) for name in sorted(needs.properties)
        ]

    def _trait(self, project: Project, name: str) -> exp.Expr:
        sent = self._part("trait", pid=self._pid, called=text(name), now=self._now, through=self._through)
        return exp.TryCast(this=sent, to=exp.DataType.build(SQL_TYPE[project.trait(name).type], dialect=step.DIALECT))

    def _item(self, query: str, **parts: step.Part) -> exp.Expr:
        if self._moment.item is None:
            return exp.Null()
        return self._part(query, item=number(self._moment.item), **parts)

    def _part(self, query: str, **parts: step.Part) -> exp.Expr:
        return step.sql(_SCRIPT.step(query, **parts).sql).copy()
