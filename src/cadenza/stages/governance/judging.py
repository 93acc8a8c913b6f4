"""The candidates of a wave, the rules that need no counting, and the verdicts."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.expression import Expr, InJourney, walk
from cadenza.definitions.kinds import Policy
from cadenza.sql import jurisdictions
from cadenza.sql.columns import consent_column
from cadenza.sql.expression import Compiler, Needs, bucket
from cadenza.sql.local_wait import person_zone
from cadenza.sql.program import Program
from cadenza.sql.step import Script, Step, alias, case_on, column, number, query, sql, text
from cadenza.stages.governance import caps, choosing, hours

_SCRIPT = Script.beside(__file__, "governance")
_COUNTED = {"same_hours": "q", "same_caps": "k"}
_EVIDENCE = (
    "'channel': d.channel, 'class': d.message_class, 'template': d.template, 'priority': d.priority, "
    "'due_since': d.due_since, 'zone': d.zone, 'jurisdiction': nullif(d.jurisdiction, ''), 'value': d.value"
)

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
    templates = frozenset(_templates(program, sends))
    steps = (
        [program.cached("governance.live", lambda: _SCRIPT.step("w_live_after", journeys=journeys))] if journeys else []
    )
    after = columns if journeys else ()
    valued = frozenset(jid for jid, _ in sends if program.versions[jid].journey.value is not None)
    chosen = choosing.chooses(program, sends)
    key = ("governance.gate", templates, events, after, valued, chosen)
    steps.append(program.cached(key, lambda: _gate(program, templates, events, after, valued, chosen)))
    if kills:
        steps.append(_killed(kills))
    steps += program.cached(("governance.holdouts", sends), lambda: _holdouts(program, sends))
    weighed = choosing.channels(program, sends)
    key = ("governance.counted", weighed, events if weighed else None)
    return [*steps, *program.cached(key, lambda: _counted(program, weighed, events))]


def _holdouts(program: Program, sends: Sends) -> list[Step]:
    """The global holdout, and those of the steps that are there."""
    policy, steps = program.project.policy, []
    if policy.holdout:
        steps.append(_SCRIPT.step("holdout_assignment", holdout=text(policy.holdout.name),
                                  bucket=bucket(text(policy.holdout.name), column("pid", "g"))))  # fmt: skip
    stops = [(jid, step, program.versions[jid].graph.stops[step].holdout) for jid, step in sorted(sends)]
    rows = [
        exp.Tuple(expressions=[number(jid), number(step), text(held.name), number(held.share_bp)])
        for jid, step, held in stops
        if held is not None
    ]
    if rows:
        of = {row: bucket(column("holdout", row), column("pid", unit)) for row, unit in (("p", "g"), ("s", "s"))}
        steps += [_SCRIPT.step("w_step_holdout", steps=rows, bucket=of["p"]), _SCRIPT.step("step_holdout"),
                  _SCRIPT.step("step_assignment", bucket=of["s"])]  # fmt: skip
    return steps


def _counted(program: Program, weighed: frozenset[str], events: frozenset[str]) -> list[Step]:
    """Quiet hours, caps and the verdict: the same for every wave. ``weighed``: the channels of sends that choose."""
    policy, chosen = program.project.policy, bool(weighed)
    deadline = number(policy.deadline_s)
    full = caps.full(program)
    steps = [hours.quiet(program, chosen), *caps.contact(program, chosen)]
    same = {name: sql(f"{row}.template = g.template") if chosen else exp.true() for name, row in _COUNTED.items()}
    if chosen:
        steps.append(choosing.choice(program, weighed, events, deadline, full, same))
    steps.append(_SCRIPT.step(
        "w_verdict", deadline=deadline, cap_drop=full.drops, cap_until=full.until, cap_rule=full.rule,
        local=[*full.joins, *(choosing.of_verdict() if chosen else [])], **same,
    ))  # fmt: skip
    holdout = text(policy.holdout.name if policy.holdout else None)
    evidence = sql("to_json({" + _EVIDENCE + (", 'choice': b.choice" if chosen else "") + "})")
    joins = choosing.of_decision() if chosen else []
    return [*steps, _SCRIPT.step("decision", holdout=holdout, evidence=evidence, choice=joins)]


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
    return sorted({name for j, s in sends for name in program.versions[j].graph.stops[s].candidates})


def values(program: Program, sends: Sends) -> list[Expr]:
    """What the messages of these sends are worth."""
    journeys = (program.versions[jid].journey for jid in sorted({jid for jid, _ in sends}))
    return [journey.value for journey in journeys if journey.value is not None]


def _worth(program: Program, valued: frozenset[int], events: frozenset[str]) -> exp.Expr:
    """A candidate's value; NULL where its journey declares none."""
    compiler = Compiler(program.schema, Needs(), events)
    arms = [(number(jid), compiler.condition(tree)) for jid in sorted(valued)
            if (tree := program.versions[jid].journey.value) is not None]  # fmt: skip
    return exp.cast(case_on(column("jid", "d"), arms, exp.Null()), "double", dialect="duckdb")


def _gate(program: Program, templates: frozenset[str], events: frozenset[str], journeys: tuple[str, ...],
          valued: frozenset[int], chosen: bool) -> Step:  # fmt: skip
    project, policy = program.project, program.project.policy
    used = [program.templates[name] for name in sorted(templates)]
    channels = sorted({t.channel for t in used})
    by_channel = column("channel", "s")
    address = case_on(by_channel, [
        (text(c), exp.cast(column(f"t_{project.destination_of(c).address_trait}", "c"), "varchar", dialect="duckdb")) for c in channels
    ], exp.Null())  # fmt: skip
    suppressed = case_on(by_channel, [(text(c), column(f"x_{c}", "c")) for c in channels], exp.Null())
    by_template = column("template", "s")
    granted = [(text(t.name), column(consent_column(t.purpose, t.channel), "c")) for t in used]
    consented = jurisdictions.consented(policy, case_on(by_template, granted, exp.false()), "d", "s")
    arm: exp.Expr = text("treated")
    if policy.holdout:
        drawn = exp.LT(
            this=bucket(text(policy.holdout.name), column("pid", "d")), expression=number(policy.holdout.share_bp)
        )
        fresh = exp.Case(ifs=[exp.If(this=drawn, true=text("holdout"))], default=text("treated"))
        arm = exp.Coalesce(this=column("arm", "h"), expressions=[fresh])
    return _SCRIPT.step(
        "w_gate", {"t_send": "t_choice"} if chosen else None, place=[column("place", "s")] if chosen else [],
        of=[column("template", "s")] if chosen else [], same=sql("c.template = s.template") if chosen else exp.true(),
        arm=arm, address=address, suppressed=suppressed, consented=consented,
        policy=_suppress_rule(program, events), zone=_zone(program), row=_row(journeys), jurisdiction=jurisdictions.of_person(program.project.policy),
        value=_worth(program, valued, events),
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
