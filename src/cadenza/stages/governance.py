"""Governance: whether, when, and why not. Once per wave over all its candidate messages."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.expression import InJourney, walk
from cadenza.definitions.kinds import Policy
from cadenza.sql.columns import consent_column
from cadenza.sql.expression import Compiler, Needs, bucket
from cadenza.sql.local_wait import clock_seconds, person_zone
from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, all_of, any_of, case_on, column, number, query, sql, text

_SCRIPT = Script.beside(__file__, "governance")

Sends = frozenset[tuple[int, int]]


def due(moves: bool, live: bool) -> list[Step]:
    """Candidate messages: arrivals at a send (``moves``) and those deferred until now (``live``)."""
    if moves and live:
        return [_SCRIPT.step("w_due"), _SCRIPT.step("w_due_waiting")]
    return [_SCRIPT.step("w_due" if moves else "w_due_only")]


def suppress_journeys(policy: Policy) -> frozenset[str]:
    """Journeys that the policy's suppress rules ask about."""
    return frozenset(node.name for rule in policy.suppress for node in walk(rule.when) if isinstance(node, InJourney))


def verdicts(program: Program, sends: Sends, events: frozenset[str], journeys: list[exp.Expr],
             columns: tuple[str, ...], kills: tuple[tuple[str | None, str | None], ...] = ()) -> list[Step]:  # fmt: skip
    """Gate, quiet hours, caps, and the verdict of each candidate.

    ``sends``: the (jid, step) of the candidates; ``journeys``: columns of ``w_live_after`` (empty: the policy does
    not ask); ``columns``: the columns of ``w_ctx`` that say which journeys a person is in. ``kills``: (journey, channel) that kill switches cover, None for all.
    """
    policy, templates = program.project.policy, frozenset(_templates(program, sends))
    steps = (
        [program.cached("governance.live", lambda: _SCRIPT.step("w_live_after", journeys=journeys))] if journeys else []
    )
    after = columns if journeys else ()
    key = ("governance.gate", templates, events, after)
    steps.append(program.cached(key, lambda: _gate(program, templates, events, after)))
    if kills:
        steps.append(_killed(kills))
    return [*steps, *program.cached("governance.counted", lambda: _counted(policy))]


def _counted(policy: Policy) -> list[Step]:
    """Holdout, quiet hours, caps and the verdict: the same for every wave."""
    steps = []
    if policy.holdout:
        steps.append(_SCRIPT.step("holdout_assignment", holdout=text(policy.holdout.name),
                                  bucket=bucket(text(policy.holdout.name), column("pid", "g"))))  # fmt: skip
    steps.append(_quiet(policy))
    steps += _caps(policy)
    holdout = text(policy.holdout.name if policy.holdout else None)
    return [*steps, _SCRIPT.step("decision", holdout=holdout)]


def _killed(kills: tuple[tuple[str | None, str | None], ...]) -> Step:
    unnamed = sql("CAST(NULL AS VARCHAR)")
    rows = [
        exp.Tuple(expressions=[
            *(text(name) if name else unnamed.copy() for name in (journey, channel)), text(journey or channel or "all"),
        ])
        for journey, channel in kills
    ]  # fmt: skip
    return _SCRIPT.step("killed", kills=rows)


def _templates(program: Program, sends: Sends) -> list[str]:
    return sorted({program.versions[j].graph.stops[s].template for j, s in sends})


def _gate(program: Program, templates: frozenset[str], events: frozenset[str], journeys: tuple[str, ...]) -> Step:
    project, policy = program.project, program.project.policy
    used = [program.templates[name] for name in sorted(templates)]
    channels = sorted({t.channel for t in used})
    by_channel = column("channel", "s")
    address = case_on(by_channel, [
        (text(c), exp.cast(column(f"t_{project.destination_of(c).address_trait}", "c"), "varchar", dialect="duckdb")) for c in channels
    ], exp.Null())  # fmt: skip
    suppressed = case_on(by_channel, [(text(c), column(f"x_{c}", "c")) for c in channels], exp.Null())
    by_template = column("template", "s")
    consented = case_on(
        by_template, [(text(t.name), column(consent_column(t.purpose, t.channel), "c")) for t in used], exp.false()
    )
    arm: exp.Expr = text("treated")
    if policy.holdout:
        drawn = exp.LT(
            this=bucket(text(policy.holdout.name), column("pid", "d")), expression=number(policy.holdout.share_bp)
        )
        fresh = exp.Case(ifs=[exp.If(this=drawn, true=text("holdout"))], default=text("treated"))
        arm = exp.Coalesce(this=column("arm", "h"), expressions=[fresh])
    return _SCRIPT.step(
        "w_gate", arm=arm, address=address, suppressed=suppressed, consented=consented,
        policy=_suppress_rule(program, events), zone=_zone(program), row=_row(journeys),
        holdout=text(policy.holdout.name if policy.holdout else None),
    )  # fmt: skip


def _suppress_rule(program: Program, events: frozenset[str]) -> exp.Expr:
    """The name of the first suppress rule that is TRUE or unknown."""
    compiler = Compiler(program.schema, Needs(), events)
    ifs = [
        exp.If(this=exp.Coalesce(this=compiler.condition(rule.when), expressions=[exp.true()]), true=text(rule.name))
        for rule in program.project.policy.suppress
    ]
    return exp.Case(ifs=ifs) if ifs else sql("CAST(NULL AS VARCHAR)")


def _row(journeys: tuple[str, ...]) -> exp.Expr:
    """The wave's row, with journeys as they are after this item."""
    if not journeys:
        return sql("SELECT * FROM w_ctx")
    after = [alias(sql(f'coalesce(a."{name}", FALSE)'), name) for name in journeys]
    excluded = ", ".join(f'"{name}"' for name in journeys)
    tree = query(f"SELECT c.* EXCLUDE ({excluded}) FROM w_ctx AS c LEFT JOIN w_live_after AS a ON a.pid = c.pid")
    return tree.select(*after, dialect="duckdb")


def _zone(program: Program) -> exp.Expr:
    policy = program.project.policy
    traits = {t.name for t in program.project.traits}
    own = column(f"t_{policy.time_zone_trait}", "c") if policy.time_zone_trait in traits else exp.Null()
    return person_zone(policy, own)


def _quiet(policy: Policy) -> Step:
    hours = policy.quiet_hours
    if hours is None or hours.from_ == hours.to:
        return _SCRIPT.step("w_quiet_none")
    start, end = clock_seconds(hours.from_), clock_seconds(hours.to)
    inside = [sql(f"l.clock_s >= {start}"), sql(f"l.clock_s < {end}")]
    quiet = all_of(inside) if start < end else any_of(inside)
    return _SCRIPT.step(
        "w_quiet", quiet=exp.Coalesce(this=exp.paren(quiet), expressions=[exp.false()]), to_s=number(end)
    )


def _caps(policy: Policy) -> list[Step]:
    deadline = number(policy.deadline_s)
    if not policy.caps:
        return [
            _SCRIPT.step("w_contact_none"),
            _SCRIPT.step("w_verdict", deadline=deadline, cap_drop=exp.false(),
                         cap_until=sql("CAST(NULL AS TIMESTAMP)"), cap_rule=sql("CAST(NULL AS VARCHAR)")),
        ]  # fmt: skip
    counts, drops, untils, rules = [], [], [], []
    for i, cap in enumerate(policy.caps):
        same_channel = f" AND m.channel = '{cap.channel}'" if cap.channel else ""
        within = f"FILTER (WHERE m.planned_at > g.now - to_seconds({cap.per_s}){same_channel})"
        counts.append(alias(sql(f"count(*) {within}"), f"n_{i}"))
        counts.append(alias(sql(f"list_extract(max(m.planned_at, {cap.limit}) {within}, {cap.limit})"), f"k_{i}"))
        applies = f" AND g.channel = '{cap.channel}'" if cap.channel else ""
        full = f"coalesce(k.n_{i}, 0) >= {cap.limit}{applies}"
        rules.append(exp.If(this=sql(full).copy(), true=text(cap.name)))
        if cap.when_full == "drop":
            drops.append(sql(full).copy())
        else:
            untils.append(sql(f"CASE WHEN {full} THEN k.k_{i} + to_seconds({cap.per_s}) END").copy())
    longest = number(max(cap.per_s for cap in policy.caps))
    until = (
        sql("CAST(NULL AS TIMESTAMP)")
        if not untils
        else exp.Greatest(this=untils[0], expressions=untils[1:], ignore_nulls=True)
    )
    # The rule that is named is one that drops, where one does.
    first = sorted(range(len(rules)), key=lambda i: policy.caps[i].when_full != "drop")
    return [
        _SCRIPT.step("w_contact", counts=counts, longest=longest),
        _SCRIPT.step("w_verdict", deadline=deadline, cap_drop=any_of(drops), cap_until=until,
                     cap_rule=exp.Case(ifs=[rules[i] for i in first])),
    ]  # fmt: skip
