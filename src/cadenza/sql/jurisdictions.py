"""Jurisdictions in SQL: whose rules hold for a person, and what consent means there."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.kinds_policy import Policy
from cadenza.sql.step import column, query, text


def of_person(policy: Policy) -> exp.Expr:
    """The jurisdiction of a person whose row is ``c``: one that is declared, else the one to assume; NULL where that
    is ``drop``, and empty in a policy without any."""
    if policy.jurisdiction_trait is None:
        return text("")
    own = column(f"t_{policy.jurisdiction_trait}", "c")
    names = [text(j.name) for j in policy.jurisdictions]
    assumed = None if policy.unknown_jurisdiction == "drop" else policy.unknown_jurisdiction
    default = exp.cast(text(assumed), "varchar", dialect="duckdb")
    return exp.Case(ifs=[exp.If(this=exp.In(this=own.copy(), expressions=names), true=own)], default=default)


def opts_out(policy: Policy) -> bool:
    """Whether some jurisdiction lets silence be consent."""
    return any(j.consent == "opt_out" for j in policy.jurisdictions)


def consented(policy: Policy, granted: exp.Expr, person: str, message: str) -> exp.Expr:
    """Whether consent allows a message: it is ``granted``, or nothing was said where only a denial forbids. ``person``,
    ``message``: the rows that have the person, and purpose and channel."""
    if not opts_out(policy):
        return granted
    names = [text(j.name) for j in policy.jurisdictions if j.consent == "opt_out"]
    said = query(
        f"SELECT 1 FROM consent AS k WHERE k.pid = {person}.pid AND k.purpose = {message}.purpose AND k.channel = {message}.channel"
    )
    silent = exp.and_(exp.In(this=of_person(policy), expressions=names), exp.not_(exp.Exists(this=said)))
    return exp.func("coalesce", exp.or_(exp.func("coalesce", granted, exp.false()), silent), exp.false())
