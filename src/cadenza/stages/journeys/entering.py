"""Who may enter, and who is refused: the candidates of a wave in their total order."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from cadenza.definitions.expression import Expr
from cadenza.definitions.holdouts import programme_of
from cadenza.definitions.implied import former_of
from cadenza.sql.columns import of_subject
from cadenza.sql.expression import Compiler, bucket, shifted
from cadenza.sql.program import Program, Version
from cadenza.sql.step import Script, Step, any_of, column, number, query, sql, text
from cadenza.stages.journeys import control
from cadenza.stages.journeys.compiling import compiler_of, per_journey

_SCRIPT = Script.beside(__file__, "journeys")


def candidates(program: Program, jids: frozenset[int], changed: frozenset[tuple[str, bool]],
               events: frozenset[str]) -> Step:  # fmt: skip
    """Candidates of the journeys whose trigger fired in the wave."""
    return program.cached(
        ("journeys.candidates", jids, changed, events), lambda: _candidates(program, jids, changed, events)
    )


def _candidates(program: Program, jids: frozenset[int], changed: frozenset[tuple[str, bool]],
                events: frozenset[str]) -> Step:  # fmt: skip
    compiler = compiler_of(program, events)
    subject = column("jid", "t")

    def given(tree: Expr | None, otherwise: exp.Expr) -> exp.Expr:
        return compiler.condition(tree) if tree is not None else otherwise

    parts = {
        "fires": per_journey(program, jids, subject, lambda v: _of_subject(program, v, _fires(v, compiler)), exp.true()),
        "late": per_journey(program, jids, subject, lambda v: _late(v, events), exp.false()),
        "key": per_journey(program, jids, subject, lambda v: _key(program, v, compiler), sql("CAST(NULL AS VARCHAR)")),
        "qualifies": per_journey(program, jids, subject, lambda v: given(v.journey.entry.when, exp.true()), exp.true()),
        "withheld": per_journey(program, jids, subject, lambda v: given(v.journey.entry.unless, exp.false()), exp.false()),
    }  # fmt: skip
    triggered = [(s, e) for s, e in sorted(changed) if _triggers(program, s, e)]
    if not triggered:
        return _SCRIPT.step("w_cand_events", **parts)
    tests = [
        exp.and_(
            exp.EQ(this=column("segment", "t"), expression=text(s)),
            exp.EQ(this=column("change", "t"), expression=text("entered" if e else "left")),
            column(f"n_{s}", "x") if e else column(f"s_{s}", "x"),
            exp.not_(column(f"s_{s}", "x") if e else column(f"n_{s}", "x")),
        )
        for s, e in triggered
    ]  # fmt: skip
    return _SCRIPT.step("w_cand", changed=any_of(tests), **parts)


def asking(program: Program, jids: frozenset[int], events: frozenset[str]) -> Step:
    """Candidates of the journeys that passages are about to enter."""
    return program.cached(("journeys.asking", jids, events), lambda: _asking(program, jids, events))


def _asking(program: Program, jids: frozenset[int], events: frozenset[str]) -> Step:
    compiler, subject = compiler_of(program, events), column("jid", "t")

    def of(part: str, otherwise: exp.Expr) -> exp.Expr:
        def given(version: Version) -> exp.Expr:
            tree = getattr(version.journey.entry, part)
            return compiler.condition(tree) if tree is not None else otherwise

        return per_journey(program, jids, subject, given, otherwise)

    return _SCRIPT.step("w_cand_asked", qualifies=of("when", exp.true()), withheld=of("unless", exp.false()))


def _fires(version: Version, compiler: Compiler) -> exp.Expr:
    """What a trigger asks besides its event or its segment."""
    on = version.journey.entry.on
    if on.date is not None and on.past == "skip":
        return sql("c.offset_ IS NULL").copy()
    if on.trait is not None and on.from_ is not None and on.to is not None:
        former = former_of(version.journey.name)
        return exp.and_(column(f"s_{former}", "c"), exp.not_(column(f"n_{former}", "c")))
    return _true(compiler.condition(on.where) if on.where is not None else exp.true())


def _of_subject(program: Program, version: Version, fires: exp.Expr) -> exp.Expr:
    """A trigger asks for the journey's subject, where there are accounts."""
    if program.project.identity.accounts is None:
        return fires
    return exp.and_(of_subject(version.journey.subject, "c"), fires)


def _late(version: Version, events: frozenset[str]) -> exp.Expr:
    """Whether the triggering event occurred too long before it was recorded."""
    entry = version.journey.entry
    if entry.late_s is None or not events:
        return exp.false()
    occurred = query("SELECT w.occurred_at FROM w_rec AS w WHERE w.offset_ = c.offset_").subquery()
    return exp.Coalesce(
        this=exp.LT(this=shifted(occurred, entry.late_s), expression=column("now", "c")), expressions=[exp.false()]
    )


def _true(tree: exp.Expr) -> exp.Expr:
    return tree if isinstance(tree, exp.Boolean) else exp.Coalesce(this=tree, expressions=[exp.false()])


def _key(program: Program, version: Version, compiler: Compiler) -> exp.Expr:
    key = version.journey.entry.key
    if key is None:
        return sql("CAST(NULL AS VARCHAR)")
    tree = compiler.condition(key)
    if getattr(key, "name", None) and program.schema.properties.get(key.name) == "timestamp":  # type: ignore[union-attr]
        return exp.func("strftime", tree, text("%Y-%m-%dT%H:%M:%S.%fZ"))
    return exp.cast(tree, "varchar", dialect="duckdb")


def _triggers(program: Program, segment: str, entered: bool) -> bool:
    change = "entered" if entered else "left"
    return any(v.journey.entry.on.segment == segment and v.journey.entry.on.change == change for v in program.current())


@lru_cache(maxsize=16)
def judge(
    paused: tuple[tuple[str, str], ...] = (), goals: bool = False, grouped: tuple[tuple[str, str, int], ...] = ()
) -> list[Step]:
    """Judge the candidates in their total order. ``paused``: (journey, mode) of those that take nobody; ``goals``: for some,
    re-entry asks whether the goal was reached; ``grouped``: those of a programme (see ``programmes``)."""
    refused = [control.refuse(paused)] if paused else []
    ended = "EXISTS (SELECT 1 FROM enrollment_end AS z WHERE z.eid = e.eid AND z.reason = 'goal')"
    reached = sql(ended) if goals else exp.false()
    held = []
    if grouped:
        rows = [exp.Tuple(expressions=[text(j), text(name), number(share)]) for j, name, share in grouped]
        share = bucket(column("holdout", "p"), column("pid", "k"))
        held = [_SCRIPT.step("w_programme", programmes=rows, bucket=share), _SCRIPT.step("programme_held")]
    return [_SCRIPT.step("w_judged", bucket=_share(), reached=reached), *refused, *held, _SCRIPT.step("w_entry")]


def programmes(program: Program, jids: frozenset[int]) -> tuple[tuple[str, str, int], ...]:
    """(journey, holdout of its programme, share in basis points) of the journeys that belong to one."""
    found = [(version.journey.name, of) for jid in sorted(jids)
             if (version := program.versions[jid]) and (of := programme_of(program.project, version.journey))]  # fmt: skip
    return tuple((journey, of.holdout.name, of.holdout.share_bp) for journey, of in found)


def asks_for_goals(program: Program, jids: frozenset[int]) -> bool:
    """Whether re-entry of some of the journeys asks whether the goal was reached."""
    return any(program.versions[jid].journey.entry.again == "unless_goal" for jid in jids)


def count_unqualified() -> Step:
    """Plain non-qualification, counted by journey, hour and rule."""
    return _SCRIPT.step("nonqualified")


@lru_cache(maxsize=16)
def record_entries(verdicts: frozenset[str], held: bool, grouped: bool = False) -> list[Step]:
    """Rows for the verdicts that occurred: refusals, and assignments where a journey holds out (``held``) or its programme
    does (``grouped``)."""
    steps = []
    if verdicts - {"enter"}:
        steps.append(_SCRIPT.step("refusal"))
    if (held or grouped) and verdicts & {"enter", "holdout"}:
        steps.append(_SCRIPT.step("assignment", bucket=_share()))
    if grouped and verdicts & {"enter", "holdout"}:
        steps.append(_SCRIPT.step("programme_assignment", bucket=bucket(column("holdout", "p"), column("pid", "e"))))
    return steps


def _share() -> exp.Expr:
    return bucket(column("holdout", "k"), column("pid", "k"))
