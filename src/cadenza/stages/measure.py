"""Measure: the queries that give the outcome metric of treated and held-out units.

A unit is a person at its first assignment under a holdout. Its metric counts the events with ``occurred_at``
in [assigned, assigned + within) that were recorded after the assignment (so never the record that caused it),
minus refunds. These are reads; measure owns no table.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
from sqlglot import exp, parse_one

from cadenza.definitions.contract_fields import declared
from cadenza.definitions.expression import Expr
from cadenza.definitions.kinds import Metric
from cadenza.definitions.project import Project
from cadenza.sql import step
from cadenza.sql.columns import schema_of
from cadenza.sql.expression import Compiler, Needs

_SCRIPT = step.Script.beside(__file__, "measure")
_AMOUNT = "DECIMAL(18, 4)"
_SCALARS = frozenset({"string", "integer", "decimal", "boolean", "timestamp"})


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """Which units: first assigned in [since, until), as known before ``before`` (naive UTC, exclusive)."""

    since: datetime
    until: datetime
    before: datetime


def condition(project: Project, where: Expr | None) -> exp.Expr:
    """A ``where`` over rows of the table ``event`` under the alias ``e``; TRUE when there is none."""
    if where is None:
        return exp.true()
    return Compiler(schema_of(project, {}), Needs()).over_events(where)


def sums_per_arm(project: Project, metric: Metric, holdout: str, span: Span) -> str:
    """SQL of one row per arm: units, complete ones, units seen in both arms, sum and sum of squares of the metric
    over the complete ones."""
    return sums_per_arm_of(project, metric, held(holdout), span)


def sums_per_arm_of(project: Project, metric: Metric, assigned: exp.Expr, span: Span) -> str:
    """The same of other units: ``assigned`` is a query of their (pid, arm, ts, origin_pid, bucket)."""
    return _over(_units(project, metric, assigned, span), "arms")


def held(holdout: str) -> exp.Expr:
    """The assignments under a holdout."""
    return parse_one(_SCRIPT.step("held", holdout=step.text(holdout)).sql, dialect=step.DIALECT)


def walked(ways: list[tuple[int, int, str]]) -> exp.Expr:
    """The walks by some hops (version, hop), each to the arm named with it."""
    rows = [exp.Tuple(expressions=[step.number(jid), step.number(hop), step.text(arm)]) for jid, hop, arm in ways]
    return parse_one(_SCRIPT.step("walked", ways=rows).sql, dialect=step.DIALECT)


def values(project: Project, metric: Metric, holdout: str, span: Span) -> str:
    """SQL of (pid, arm, value) of every complete unit, by pid."""
    return _over(_units(project, metric, held(holdout), span), "values")


def entrants(project: Project, metric: Metric, journey: str, span: Span) -> str:
    """SQL of one row: how many persons first entered a journey in [since, until), and the sum of their metric since then,
    as far as it is known before ``before`` (windows that are not over count as far as they go)."""
    return _SCRIPT.step(
        "entrants",
        journey=step.text(journey),
        since=step.instant(span.since.isoformat(" ")),
        until=step.instant(span.until.isoformat(" ")),
        **_counted(project, metric, span.before),
    ).sql


def sums_per_version(project: Project, metric: Metric, journey: str, before: datetime) -> str:
    """SQL of one row per version (jid) of a journey: persons who began in it, those whose window is over, the sum of the
    metric over these. Counted from the first passage that a person began in the version."""
    return _SCRIPT.step("versions", journey=step.text(journey), **_counted(project, metric, before)).sql


def _over(units: str, query: str) -> str:
    tree = parse_one(_SCRIPT.step(query).sql, dialect=step.DIALECT)
    assert isinstance(tree, exp.Select)
    return tree.with_("units", as_=parse_one(units, dialect=step.DIALECT)).sql(dialect=step.DIALECT)


def _units(project: Project, metric: Metric, assigned: exp.Expr, span: Span) -> str:
    return _SCRIPT.step(
        "units",
        assigned=assigned,
        since=step.instant(span.since.isoformat(" ")),
        until=step.instant(span.until.isoformat(" ")),
        **_counted(project, metric, span.before),
    ).sql


def _counted(project: Project, metric: Metric, before: datetime) -> dict[str, step.Part]:
    """What of the events counts, and how much."""
    refunds = [metric.minus] if metric.minus is not None and metric.kind != "conversion" else []
    once = step.sql("CASE WHEN amount > 0 THEN 1 ELSE 0 END")
    return {
        "within_s": step.number(metric.within_s),
        "before": step.instant(before.isoformat(" ")),
        "names": [step.text(name) for name in (metric.event, *refunds)],
        "amount": _signed(project, metric, refunds),
        "condition": condition(project, metric.where),
        "value": once if metric.kind == "conversion" else step.sql("amount"),
    }


def _signed(project: Project, metric: Metric, refunds: list[str]) -> exp.Expr:
    summed = metric.kind == "sum" and metric.property is not None
    size = _property(project, str(metric.property)) if summed else step.number(1)
    if not refunds:
        return size
    refunded = exp.column("name", table="e").isin(*refunds)
    return exp.Case().when(refunded, exp.Neg(this=exp.paren(size.copy()))).else_(size)


def _property(project: Project, name: str) -> exp.Expr:
    """The amount under a property: its typed column when a contract declares it, else out of the JSON."""
    if any(name in (fields := declared(c)) and fields[name].type in _SCALARS for c in project.contracts):
        return exp.TryCast(this=step.column(f"p_{name}", "e"), to=exp.DataType.build(_AMOUNT))
    stored = step.sql("(SELECT y.properties FROM event_payload AS y WHERE y.offset_ = e.offset_)").copy()
    text = exp.func("json_extract_string", stored, step.text(f'$."{name}"'), dialect=step.DIALECT)
    return exp.TryCast(this=text, to=exp.DataType.build(_AMOUNT))
