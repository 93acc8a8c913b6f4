"""Frequency caps: how much contact a person has had, rolling and by the local calendar, and whether there is room."""

from __future__ import annotations

from typing import NamedTuple

from sqlglot import exp

from cadenza.definitions.kinds import Cap, topic_of
from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, all_of, any_of, case_on, column, number, sql, text

_SCRIPT = Script.beside(__file__, "governance")
_PERIOD_S = {"day": 2 * 86400, "week": 9 * 86400, "month": 33 * 86400}
"""No local day, week or month is as long, whatever the clock does."""


class Full(NamedTuple):
    """What the verdict asks of the caps: whether one that is full drops the message, until when those that are full
    defer it, the name of a full one, and the joins that this needs."""

    drops: exp.Expr
    until: exp.Expr
    rule: exp.Expr
    joins: list[exp.Join]


def contact(program: Program, chosen: bool = False) -> list[Step]:
    """What counts, per candidate (``chosen``: and each of its templates) and cap."""
    caps = program.project.policy.caps
    of = [column("template", "g")] if chosen else []
    if not caps:
        return [_SCRIPT.step("w_contact_none", of=of)]
    periods = sorted({cap.calendar for cap in caps if cap.calendar})
    counts: list[exp.Expr] = []
    for i, cap in enumerate(caps):
        within = sql(
            f"m.planned_at >= l.{cap.calendar}_from"
            if cap.calendar
            else f"m.planned_at > g.now - to_seconds({cap.per_s})"
        )
        counted = all_of([within, *_same(program, cap)])
        counts.append(alias(_filtered(sql("count(*)"), counted), f"n_{i}"))
        if not cap.calendar and cap.limit:
            latest = _filtered(sql(f"max(m.planned_at, {cap.limit})"), counted)
            counts.append(alias(exp.func("list_extract", latest, number(cap.limit)), f"k_{i}"))
    joins = []
    if any("journey" in (cap.each, cap.journey and "journey") for cap in caps):
        joins.append(_join("journey_version", "v", "v.jid = m.jid"))
    if periods:
        joins.append(_join("w_local", "l", "l.eid = g.eid"))
    longest = max(_PERIOD_S[cap.calendar] if cap.calendar else cap.per_s for cap in caps)
    steps = [_SCRIPT.step("w_local", periods=[part for p in periods for part in _period(p)])] if periods else []
    return [*steps, _SCRIPT.step("w_contact", of=of, counts=counts, longest=number(longest), joins=joins)]


def full(program: Program) -> Full:
    """Where there is no room."""
    drops, untils, rules = [], [], []
    caps = program.project.policy.caps
    for i, cap in enumerate(caps):
        is_full = all_of([sql(f"coalesce(k.n_{i}, 0) >= {cap.limit}"), *_concerned(program, cap)])
        rules.append(exp.If(this=is_full.copy(), true=text(cap.name)))
        if cap.when_full == "drop" or not cap.limit:
            drops.append(is_full)
            continue
        until = sql(f"d.{cap.calendar}_to" if cap.calendar else f"k.k_{i} + to_seconds({cap.per_s})")
        untils.append(exp.Case(ifs=[exp.If(this=is_full, true=until.copy())]))
    # The rule that is named is one that drops, where one does.
    first = sorted(range(len(rules)), key=lambda i: caps[i].when_full != "drop")
    until = exp.Greatest(this=untils[0], expressions=untils[1:], ignore_nulls=True) if untils else None
    return Full(
        drops=any_of(drops), until=until or sql("CAST(NULL AS TIMESTAMP)"),
        rule=exp.Case(ifs=[rules[i] for i in first]) if rules else sql("CAST(NULL AS VARCHAR)"),
        joins=[_join("w_local", "d", "d.eid = g.eid")] if any(cap.calendar for cap in caps) else [],
    )  # fmt: skip


def calendar_concerns(program: Program) -> list[exp.Expr]:
    """For each calendar cap: whether it concerns a candidate."""
    return [all_of(_concerned(program, cap)) for cap in program.project.policy.caps if cap.calendar]


def _filtered(aggregate: exp.Expr, where: exp.Expr) -> exp.Expr:
    return exp.Filter(this=aggregate.copy(), expression=exp.Where(this=where))


def _join(table: str, name: str, on: str) -> exp.Join:
    return exp.Join(this=exp.alias_(exp.to_table(table), name, table=True), side="LEFT", on=sql(on).copy())


def _topic(program: Program, row: str) -> exp.Expr:
    """The topic of a candidate or message: what its template declares now, else its purpose."""
    declared = [(text(t.name), text(t.topic)) for t in program.project.templates if t.topic]
    return case_on(column("template", row), declared, column("purpose", row))


def _concerned(program: Program, cap: Cap) -> list[exp.Expr]:
    """What must hold of a candidate that a cap concerns."""
    found = []
    if cap.channel:
        found.append(exp.EQ(this=column("channel", "g"), expression=text(cap.channel)))
    if cap.topic:
        names = sorted(t.name for t in program.project.templates if topic_of(t) == cap.topic)
        found.append(exp.In(this=column("template", "g"), expressions=[text(n) for n in names]))
    if cap.journey:
        found.append(exp.EQ(this=column("journey", "g"), expression=text(cap.journey)))
    return found


def _same(program: Program, cap: Cap) -> list[exp.Expr]:
    """What must hold of a message that counts for a candidate."""
    found = []
    if cap.channel or cap.each == "channel":
        other = text(cap.channel) if cap.channel else column("channel", "g")
        found.append(exp.EQ(this=column("channel", "m"), expression=other))
    if cap.topic or cap.each == "topic":
        other = text(cap.topic) if cap.topic else _topic(program, "g")
        found.append(exp.EQ(this=_topic(program, "m"), expression=other))
    if cap.journey or cap.each == "journey":
        other = text(cap.journey) if cap.journey else column("journey", "g")
        found.append(exp.EQ(this=column("journey", "v"), expression=other))
    return found


def _period(period: str) -> list[exp.Expr]:
    """When the local period of a candidate's instant begins, and the next one."""
    begin = f"date_trunc('{period}', l.local_)"
    following = {
        "day": f"{begin} + to_seconds(86400)", "week": f"{begin} + to_seconds(604800)",
        "month": f"date_trunc('month', {begin} + to_seconds(2764800))",
    }[period]  # fmt: skip

    def shown(local: str, where: str) -> exp.Expr:
        """The first instant at which the local clock shows ``local`` or later."""
        instant = f"greatest(z.utc_from, {local} - to_seconds(z.off_s))"
        return sql(f"min(CASE WHEN {instant} < z.utc_to AND {where} THEN {instant} END)")

    return [alias(shown(begin, "TRUE"), f"{period}_from"), alias(shown(following, "z.utc_to > l.now"), f"{period}_to")]
