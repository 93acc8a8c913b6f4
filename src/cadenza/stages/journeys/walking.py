"""Exits, moves and ends of every passage of a wave, at once."""

from __future__ import annotations

from functools import lru_cache

from sqlglot import exp

from cadenza.definitions.graph import Bucket, Decide, Leaf, Stop, Tree
from cadenza.sql.expression import ROW, Compiler, bucket
from cadenza.sql.program import RESUMES, Program, only_split
from cadenza.sql.step import Script, Step, any_of, case_on, column, number, query, sql, text
from cadenza.stages.journeys import leaving
from cadenza.stages.journeys.compiling import compiler_of, compiler_of_moves, per_journey
from cadenza.stages.journeys.keeping import all_seen
from cadenza.stages.journeys.reach import Frontier, Ways

_SCRIPT = Script.beside(__file__, "journeys")


def passages(kept: tuple[str, ...] = ()) -> Step:
    """Live passages of the wave's persons, with those of the ``kept`` columns that are asked for."""
    return _SCRIPT.step("w_enr", kept=[column(name, "e") for name in kept])


def exits(program: Program, frontier: Frontier, events: frozenset[str]) -> list[Step]:
    """Goal, disqualified and overdue of each live passage."""
    asked = program.cached(("journeys.exits", frontier, events), lambda: _exits(program, frontier, events))
    return [asked, *leaving.told_apart(program, frontier)]


def _exits(program: Program, frontier: Frontier, events: frozenset[str]) -> Step:
    compiler = compiler_of(program, events)
    jids = {jid for jid, _ in frontier}
    subject = column("jid", "e")
    goal = per_journey(program, jids, subject, lambda v: compiler.condition(v.journey.exit.goal), exp.false())
    disqualified = per_journey(
        program, jids, subject, lambda v: compiler.condition(v.journey.exit.disqualified), exp.false()
    )
    return _SCRIPT.step("w_state", goal=goal, disqualified=disqualified)


def nothing_live() -> list[Step]:
    """Empty tables where no passage of the wave's persons is live."""
    return [_SCRIPT.step("w_state_none"), _SCRIPT.step("w_end_none")]


def ends(entrants: bool, live: bool, leavers: bool = False) -> list[Step]:
    """Who ends in this wave, and why. ``leavers``: some have left before, and are at their last steps."""
    if not live:
        return []
    return [_SCRIPT.step("w_end" if entrants else "w_end_alone"), *(leaving.once() if leavers else [])]


def goers(program: Program, frontier: Frontier, entrants: bool, events: frozenset[str]) -> list[Step]:
    """Who goes on, and by which way."""
    key = ("journeys.goers", frontier, entrants, events)
    return program.cached(key, lambda: _goers(program, frontier, entrants, events))


def _goers(program: Program, frontier: Frontier, entrants: bool, events: frozenset[str]) -> list[Step]:
    if not frontier:
        return [_SCRIPT.step("w_go_none")]
    dated = any(program.versions[jid].graph.stops[step].kind == "wait_date" for jid, step in frontier)
    way = query("SELECT d.way FROM w_dated AS d WHERE d.eid = s.eid").subquery() if dated else exp.Null()
    steps = [_SCRIPT.step("w_go", matched=_matched(program, frontier, compiler_of(program, events, "s")), dated=way)]
    return [*steps, _SCRIPT.step("w_go_entrants")] if entrants else steps


def ways() -> str:
    """A query of the ways by which passages go on (jid, step, way); the way is NULL where passages end by an exit."""
    return _SCRIPT.text("ways")


def moves(program: Program, taken: Ways, events: frozenset[str]) -> Step:
    """The walk to the next stop of those who go on by the ways ``taken``."""
    key = ("journeys.moves", taken, events)
    return program.cached(key, lambda: _moves(program, taken, events))


def _moves(program: Program, taken: Ways, events: frozenset[str]) -> Step:
    resumes = frozenset(program.versions[jid].resume(step, way) for jid, step, way in taken)
    return _SCRIPT.step("w_move", hop=_hop_case(program, resumes, compiler_of_moves(program, events)), bucket=_drawn())


def _matched(program: Program, frontier: Frontier, compiler: Compiler) -> exp.Expr:
    arms = []
    for jid, step in sorted(frontier):
        stop: Stop = program.versions[jid].graph.stops[step]
        tree = all_seen(stop, compiler) if stop.every else any_of(compiler.condition(c) for c in stop.conditions)
        if stop.kind == "wait_for" and tree != exp.false():
            arms.append((number(jid * RESUMES + step), tree))
    return case_on(sql(f"s.jid * {RESUMES} + s.step"), arms, exp.false())


def _hop_case(program: Program, resumes: frozenset[int], compiler: Compiler) -> exp.Expr:
    arms = []
    for resume in sorted(resumes):
        version = program.versions[resume // RESUMES]
        tree = version.graph.resumes[resume % RESUMES]
        if not isinstance(tree, Leaf):
            arms.append((number(resume), _hop(tree, compiler, only_split(tree))))
    return case_on(column("resume", "b"), arms, sql("CAST(NULL AS INTEGER)"))


def _drawn() -> exp.Expr:
    return bucket(column("split", "y"), column("pid", "g"))


def _hop(tree: Tree, compiler: Compiler, split: str | None) -> exp.Expr:
    """``split``: the one of this walk, which is drawn already."""
    match tree:
        case Leaf(hop):
            return number(hop)
        case Bucket(name, arms):
            drawn = column("drawn", "b") if name == split else bucket(text(name), column("pid", ROW))
            ifs = [exp.If(this=exp.LT(this=drawn.copy(), expression=number(upper)), true=_hop(arm, compiler, split))
                   for upper, arm in arms[:-1]]  # fmt: skip
            last = _hop(arms[-1][1], compiler, split)
            return exp.Case(ifs=ifs, default=last) if ifs else last
        case Decide(when, yes, unknown, no):
            condition = compiler.condition(when)
            ifs = [exp.If(this=condition, true=_hop(yes, compiler, split))]
            if unknown != no:
                ifs.append(
                    exp.If(
                        this=exp.Is(this=exp.paren(condition), expression=exp.Null()),
                        true=_hop(unknown, compiler, split),
                    )
                )
            return exp.Case(ifs=ifs, default=_hop(no, compiler, split))
    raise AssertionError(tree)


def after_sends(program: Program, sends: Frontier, events: frozenset[str]) -> list[Step]:
    """The moves on from sends whose verdict is known."""
    key = ("journeys.after_sends", sends, events)
    return program.cached(key, lambda: _after_sends(program, sends, events))


def _after_sends(program: Program, sends: Frontier, events: frozenset[str]) -> list[Step]:
    compiler = compiler_of_moves(program, events)
    resumes = frozenset(program.versions[j].resume(s, "verdict") for j, s in sends)
    renamed = {"w_move": "w_move_after", "w_go": "w_go_after"}
    return [
        _SCRIPT.step("w_go_verdict"),
        _SCRIPT.step("w_move", renamed, hop=_hop_case(program, resumes, compiler), bucket=_drawn()),
    ]


@lru_cache(maxsize=32)
def settle(*, live: bool, entrants: bool, sends: bool, ended: bool, moved: bool, left: bool = False) -> list[Step]:
    """Where every passage rests now, its moves and its end. ``live``: some rested somewhere before; ``ended``: some
    ended by an exit; ``moved``: some go on; ``left``: some of those who ended, to last steps (``w_gone``: the others)."""
    parts = []
    by_exit = "w_gone" if left else "w_end"
    if ended:
        parts.append(sql(f"SELECT eid, pid, jid, now, reason FROM {by_exit}"))
    if moved:
        parts.append(sql("SELECT eid, pid, jid, now, reason FROM w_move WHERE kind = 'end'"))
    if sends:
        parts.append(sql("SELECT eid, pid, jid, now, reason FROM w_move_after WHERE kind = 'end'"))
    ends = parts[0].copy()
    for part in parts[1:]:
        ends = exp.union(ends, part.copy(), distinct=False)
    steps = [*leaving.gone(), _SCRIPT.step("w_rest", {"w_end": by_exit})] if left else [_SCRIPT.step("w_rest")]
    if sends:
        steps.append(_SCRIPT.step("w_rest_sends"))
    if entrants:
        steps.append(_SCRIPT.step("enrollment_new"))
    if live:
        steps.append(_SCRIPT.step("enrollment_rest"))
    steps.append(_SCRIPT.step("enrollment_end", ends=ends))
    if moved:
        steps.append(_SCRIPT.step("transition"))
    if sends:
        steps.append(_SCRIPT.step("transition", {"w_move": "w_move_after"}))
    return steps
