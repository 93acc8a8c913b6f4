"""When a passage has to be looked at again because time alone may change what it waits for, or may exit by."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.expression import Expr
from cadenza.definitions.graph import without_events
from cadenza.sql.columns import expand
from cadenza.sql.expression import Compiler
from cadenza.sql.program import Program, Version, windowed
from cadenza.sql.step import Script, Step, case_on, column, number, sql
from cadenza.stages.journeys.compiling import compiler_of
from cadenza.stages.journeys.reach import Frontier, reachable_hops

_SCRIPT = Script.beside(__file__, "journeys")


def windowed_journeys(program: Program) -> frozenset[int]:
    """The versions whose exits or waits can change because time passes."""
    return program.cached("journeys.windowed", lambda: _windowed_journeys(program))


def _windowed_journeys(program: Program) -> frozenset[int]:
    def moving(tree: Expr) -> bool:
        return windowed(expand(without_events(tree), program.schema.live))

    return frozenset(
        jid
        for jid, version in program.versions.items()
        if any(moving(tree) for tree in _exits(version))
        or any(moving(tree) for stop in version.graph.stops for tree in stop.conditions)
    )


def rechecked(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    """The stops of such versions at which passages may rest after a wave."""
    key = ("journeys.rechecked", frontier, candidates)
    return program.cached(key, lambda: _rechecked(program, frontier, candidates))


def _rechecked(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    hops = reachable_hops(program, frontier, candidates)
    stops = frontier | {(version.jid, hop.to_step) for version, hop in hops if hop.to_step >= 0}
    return frozenset(stop for stop in stops if stop[0] in windowed_journeys(program))


def boundaries(program: Program, stops: Frontier, compiler: Compiler) -> None:
    """Note with the compiler what ``recheck`` reads."""
    _instants(program, stops, compiler)


def recheck(program: Program, stops: Frontier) -> Step:
    """The next such instant of each passage of the wave's persons."""
    return program.cached(("journeys.recheck", stops), lambda: _recheck(program, stops))


def _recheck(program: Program, stops: Frontier) -> Step:
    at = _instants(program, stops, compiler_of(program, None, "enrollment"))
    return _SCRIPT.step("recheck", at=at, jids=[number(jid) for jid in sorted({jid for jid, _ in stops})])


def _instants(program: Program, stops: Frontier, compiler: Compiler) -> exp.Expr:
    never = sql("CAST(NULL AS TIMESTAMP)")
    arms = []
    for jid in sorted({jid for jid, _ in stops}):
        version = program.versions[jid]
        at_steps = [
            (number(step), found)
            for step in sorted(step for j, step in stops if j == jid)
            if (found := _earliest(version.graph.stops[step].conditions, compiler)) is not None
        ]
        edges = [tree for tree in (_earliest(_exits(version), compiler),) if tree is not None]
        if at_steps:
            edges.append(case_on(column("step", "enrollment"), at_steps, never))
        if edges:
            arms.append((number(jid), _least(edges)))
    return case_on(column("jid", "enrollment"), arms, never)


def _earliest(conditions: tuple[Expr, ...], compiler: Compiler) -> exp.Expr | None:
    """Conditions at an instant at which nothing but time happens: every ``event(...)`` is FALSE."""
    edges = [edge for tree in conditions for edge in compiler.boundaries(without_events(tree))]
    return _least(edges) if edges else None


def _least(edges: list[exp.Expr]) -> exp.Expr:
    return exp.Least(this=edges[0], expressions=edges[1:], ignore_nulls=True) if len(edges) > 1 else edges[0]


def _exits(version: Version) -> tuple[Expr, ...]:
    return version.journey.exit.goal, version.journey.exit.disqualified
