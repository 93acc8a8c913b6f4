"""Journeys: exits, entries and moves of every passage of a wave, at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache

from sqlglot import exp

from cadenza.definitions.expression import Expr
from cadenza.definitions.graph import START, Bucket, Decide, Hop, Leaf, Stop, Tree
from cadenza.sql.expression import ROW, Compiler, Needs, bucket
from cadenza.sql.program import RESUMES, Program, Version, only_split
from cadenza.sql.step import Script, Step, any_of, case_on, column, number, sql, text

_SCRIPT = Script.beside(__file__, "journeys")

Frontier = frozenset[tuple[int, int]]
"""(jid, step) pairs at which passages of the wave rest."""
Ways = frozenset[tuple[int, int, str]]
"""(jid, step, way) by which passages go on; step START for those that enter."""


def passages() -> Step:
    """Live passages of the wave's persons."""
    return _SCRIPT.step("w_enr")


FEW = 8
"""Up to so many stops (journeys, ways, events) a wave's SQL names those it has; beyond, all there are: a statement
that is the same for every busy wave is generated and parsed once."""


def widened(program: Program, frontier: Frontier) -> Frontier:
    """The frontier, or all stops when it is long."""
    return frontier if len(frontier) <= FEW else program.cached("journeys.stops", lambda: _every_stop(program))


def _every_stop(program: Program) -> Frontier:
    return frozenset((v.jid, stop.step) for v in program.versions.values() for stop in v.graph.stops)


def widened_candidates(program: Program, jids: frozenset[int]) -> frozenset[int]:
    """The journeys, or all that take entrants when they are many."""
    return jids if len(jids) <= FEW else frozenset(v.jid for v in program.current())


def widened_ways(program: Program, taken: Ways, frontier: Frontier, candidates: frozenset[int]) -> Ways:
    """The ways, or all that lead on from the frontier and from the entries when they are many."""
    if len(taken) <= FEW:
        return taken
    key = ("journeys.every_way", frontier, candidates)
    return taken | program.cached(key, lambda: _every_way(program, frontier, candidates))


def _every_way(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Ways:
    starts = frozenset((jid, START, "entered") for jid in candidates)
    stops = ((jid, step, program.versions[jid].graph.stops[step]) for jid, step in frontier)
    return starts | {(jid, step, way) for jid, step, stop in stops for way in stop.ways if way != "verdict"}


def widened_sends(program: Program, sends: Frontier, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    """The sends, or all that the wave may reach when they are many."""
    return sends if len(sends) <= FEW else reachable_sends(program, frontier, candidates)


def reachable_sends(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    """Sends that passages at the frontier and entrants of these journeys may reach."""
    key = ("journeys.sends", frontier, candidates)
    return program.cached(key, lambda: _reachable_sends(program, frontier, candidates))


def _reachable_sends(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    found = {(j, s) for j, s in frontier if program.versions[j].graph.stops[s].kind == "send"}
    for version, hop in reachable_hops(program, frontier, candidates):
        if hop.to_step >= 0 and version.graph.stops[hop.to_step].kind == "send":
            found.add((version.jid, hop.to_step))
    return frozenset(found)


def widened_events(program: Program, events: frozenset[str]) -> frozenset[str]:
    """The events, or all that something reacts to when they are many. Nothing but those is compiled into SQL."""
    return events if len(events) <= FEW // 2 else program.reactive


def expressions(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[Expr]:
    """What the wave's journeys may evaluate: exits and waits of the frontier, ways on from it, and
    the entries (and starts) of the journeys that may get candidates."""
    for jid in sorted({j for j, _ in frontier}):
        yield program.versions[jid].journey.exit.goal
        yield program.versions[jid].journey.exit.disqualified
    for jid in sorted(candidates):
        entry = program.versions[jid].journey.entry
        yield from (e for e in (entry.on.where, entry.key, entry.when, entry.unless) if e is not None)
    for jid, step in sorted(frontier):
        yield from program.versions[jid].graph.stops[step].conditions
    for version, tree in _trees(program, reachable(program, frontier, candidates)):
        yield from _decisions(version, tree)


def reachable(program: Program, frontier: Frontier, candidates: frozenset[int]) -> frozenset[int]:
    """Resume points that a wave may use: ways on from the frontier and the starts, and from the sends
    these lead to."""
    found: set[int] = {program.versions[j].resume(START, "entered") for j in candidates}
    for jid, step in frontier:
        version = program.versions[jid]
        found |= {version.resume(step, way) for way in version.graph.stops[step].ways}
    for resume in list(found):
        version = program.versions[resume // RESUMES]
        for hop in _hops(version.graph.resumes[resume % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and version.graph.stops[to].kind == "send":
                found.add(version.resume(to, "verdict"))
    return frozenset(found)


def reachable_hops(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[tuple[Version, Hop]]:
    """The hops that a wave may take."""
    for version, tree in _trees(program, reachable(program, frontier, candidates)):
        for hop in _hops(tree):
            yield version, version.graph.hops[hop]


def _trees(program: Program, resumes: frozenset[int]) -> Iterable[tuple[Version, Tree]]:
    for resume in sorted(resumes):
        version = program.versions[resume // RESUMES]
        yield version, version.graph.resumes[resume % RESUMES]


def _hops(tree: Tree) -> Iterable[int]:
    match tree:
        case Leaf(hop):
            yield hop
        case Decide(_, yes, unknown, no):
            for branch in (yes, unknown, no):
                yield from _hops(branch)
        case Bucket(_, arms):
            for _, arm in arms:
                yield from _hops(arm)


def _decisions(version: Version, tree: Tree) -> Iterable[Expr]:
    match tree:
        case Decide(when, yes, unknown, no):
            yield when
            for branch in (yes, unknown, no):
                yield from _decisions(version, branch)
        case Bucket(_, arms):
            for _, arm in arms:
                yield from _decisions(version, arm)


def _per_journey(program: Program, jids: Iterable[int], subject: exp.Expr, of: Callable[[Version], exp.Expr],
                 otherwise: exp.Expr) -> exp.Expr:  # fmt: skip
    """CASE subject WHEN jid THEN ... for the journeys whose SQL differs from ``otherwise``."""
    arms = []
    for jid in sorted(jids):
        tree = of(program.versions[jid])
        if tree != otherwise:
            arms.append((number(jid), tree))
    return case_on(subject, arms, otherwise)


def _compiler(program: Program, events: frozenset[str]) -> Compiler:
    return Compiler(program.schema, Needs(), events)


def exits(program: Program, frontier: Frontier, events: frozenset[str]) -> Step:
    """Goal, disqualified and overdue of each live passage."""
    return program.cached(("journeys.exits", frontier, events), lambda: _exits(program, frontier, events))


def _exits(program: Program, frontier: Frontier, events: frozenset[str]) -> Step:
    compiler = _compiler(program, events)
    jids = {jid for jid, _ in frontier}
    subject = column("jid", "e")
    goal = _per_journey(program, jids, subject, lambda v: compiler.condition(v.journey.exit.goal), exp.false())
    disqualified = _per_journey(
        program, jids, subject, lambda v: compiler.condition(v.journey.exit.disqualified), exp.false()
    )
    return _SCRIPT.step("w_state", goal=goal, disqualified=disqualified)


def candidates(program: Program, jids: frozenset[int], changed: frozenset[tuple[str, bool]],
               events: frozenset[str]) -> Step:  # fmt: skip
    """Candidates of the journeys whose trigger fired in the wave."""
    return program.cached(
        ("journeys.candidates", jids, changed, events), lambda: _candidates(program, jids, changed, events)
    )


def _candidates(program: Program, jids: frozenset[int], changed: frozenset[tuple[str, bool]],
                events: frozenset[str]) -> Step:  # fmt: skip
    compiler = _compiler(program, events)
    subject = column("jid", "t")

    def given(tree: Expr | None, otherwise: exp.Expr) -> exp.Expr:
        return compiler.condition(tree) if tree is not None else otherwise

    parts = {
        "fires": _per_journey(program, jids, subject, lambda v: _true(given(v.journey.entry.on.where, exp.true())), exp.true()),
        "key": _per_journey(program, jids, subject, lambda v: _key(program, v, compiler), sql("CAST(NULL AS VARCHAR)")),
        "qualifies": _per_journey(program, jids, subject, lambda v: given(v.journey.entry.when, exp.true()), exp.true()),
        "withheld": _per_journey(program, jids, subject, lambda v: given(v.journey.entry.unless, exp.false()), exp.false()),
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


def triggered(program: Program, events: frozenset[str], changed: frozenset[tuple[str, bool]]) -> frozenset[int]:
    """The journeys that may get candidates from these events and segment changes."""
    found = set()
    for version in program.current():
        on = version.journey.entry.on
        if on.event is not None and on.event in events:
            found.add(version.jid)
        if on.segment is not None and (on.segment, on.change == "entered") in changed:
            found.add(version.jid)
    return frozenset(found)


@lru_cache(maxsize=1)
def judge() -> list[Step]:
    """Judge the candidates in their total order."""
    return [_SCRIPT.step("w_judged", bucket=_share()), _SCRIPT.step("w_entry")]


def count_unqualified() -> Step:
    """Plain non-qualification, counted by journey, hour and rule."""
    return _SCRIPT.step("nonqualified")


@lru_cache(maxsize=16)
def record_entries(verdicts: frozenset[str], held: bool) -> list[Step]:
    """Rows for the verdicts that occurred: refusals, and assignments where a journey holds out (``held``)."""
    steps = []
    if verdicts - {"enter"}:
        steps.append(_SCRIPT.step("refusal"))
    if held and verdicts & {"enter", "holdout"}:
        steps.append(_SCRIPT.step("assignment", bucket=_share()))
    return steps


def _share() -> exp.Expr:
    return bucket(column("holdout", "k"), column("pid", "k"))


def nothing_live() -> list[Step]:
    """Empty tables where no passage of the wave's persons is live."""
    return [_SCRIPT.step("w_state_none"), _SCRIPT.step("w_end_none")]


def replace(jids: frozenset[int]) -> list[Step]:
    """End the passages inside replaced versions."""
    parts = [number(j) for j in sorted(jids)]
    return [_SCRIPT.step("replace_end", jids=parts), _SCRIPT.step("replace_rest", jids=parts)]


def ends(entrants: bool, live: bool) -> list[Step]:
    """Who ends in this wave, and why."""
    if not live:
        return []
    return [_SCRIPT.step("w_end" if entrants else "w_end_alone")]


def goers(program: Program, frontier: Frontier, entrants: bool, events: frozenset[str]) -> list[Step]:
    """Who goes on, and by which way."""
    key = ("journeys.goers", frontier, entrants, events)
    return program.cached(key, lambda: _goers(program, frontier, entrants, events))


def _goers(program: Program, frontier: Frontier, entrants: bool, events: frozenset[str]) -> list[Step]:
    if not frontier:
        return [_SCRIPT.step("w_go_none")]
    steps = [_SCRIPT.step("w_go", matched=_matched(program, frontier, _compiler(program, events)))]
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
    return _SCRIPT.step("w_move", hop=_hop_case(program, resumes, _compiler(program, events)), bucket=_drawn())


def may_send(program: Program, taken: Ways) -> bool:
    """Whether some of the ways lead to a send."""
    for jid, step, way in taken:
        version = program.versions[jid]
        for hop in _hops(version.graph.resumes[version.resume(step, way) % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and version.graph.stops[to].kind == "send":
                return True
    return False


def _matched(program: Program, frontier: Frontier, compiler: Compiler) -> exp.Expr:
    arms = []
    for jid, step in sorted(frontier):
        stop: Stop = program.versions[jid].graph.stops[step]
        tree = any_of(compiler.condition(c) for c in stop.conditions)
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
    compiler = _compiler(program, events)
    resumes = frozenset(program.versions[j].resume(s, "verdict") for j, s in sends)
    renamed = {"w_move": "w_move_after", "w_go": "w_go_after"}
    return [
        _SCRIPT.step("w_go_verdict"),
        _SCRIPT.step("w_move", renamed, hop=_hop_case(program, resumes, compiler), bucket=_drawn()),
    ]


@lru_cache(maxsize=32)
def settle(*, live: bool, entrants: bool, sends: bool, ended: bool, moved: bool) -> list[Step]:
    """Where every passage rests now, its moves and its end. ``live``: some rested somewhere before; ``ended``: some
    ended by an exit; ``moved``: some go on."""
    parts = []
    if ended:
        parts.append(sql("SELECT eid, pid, jid, now, reason FROM w_end"))
    if moved:
        parts.append(sql("SELECT eid, pid, jid, now, reason FROM w_move WHERE kind = 'end'"))
    if sends:
        parts.append(sql("SELECT eid, pid, jid, now, reason FROM w_move_after WHERE kind = 'end'"))
    ends = parts[0].copy()
    for part in parts[1:]:
        ends = exp.union(ends, part.copy(), distinct=False)
    steps = [_SCRIPT.step("w_rest"), *([_SCRIPT.step("w_rest_sends")] if sends else [])]
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
