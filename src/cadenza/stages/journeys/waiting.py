"""Waits in local time: until when those rest who come to one, and what their date says to those who wait for it."""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from cadenza.definitions.expression import Expr, Trait
from cadenza.definitions.kinds_wait import LocalWait
from cadenza.sql.expression import Compiler
from cadenza.sql.local_wait import person_zone
from cadenza.sql.program import RESUMES, Program
from cadenza.sql.step import Script, Step, case_on, column, text
from cadenza.stages.journeys.compiling import compiler_of
from cadenza.stages.journeys.reach import Frontier, Ways, hops_of, reachable_hops

_SCRIPT = Script.beside(__file__, "journeys")
_AFTER = {"w_move": "w_move_after"}


def local_traits(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[Expr]:
    """The traits that waits in local time read in a wave: of those at the frontier their dates, and the zone."""
    dated = [wait for wait in _local(program, frontier) if wait.until_date]
    arrived = [
        wait for version, hop in reachable_hops(program, frontier, candidates)
        if hop.to_step >= 0 and (wait := version.graph.stops[hop.to_step].local) is not None and not wait.until_date
    ]  # fmt: skip
    yield from (Trait(name) for name in sorted({wait.until_date for wait in dated if wait.until_date}))
    if dated or arrived:
        yield from _own_zone(program)


def _local(program: Program, frontier: Frontier) -> list[LocalWait]:
    stops = (program.versions[jid].graph.stops[step] for jid, step in sorted(frontier))
    return [stop.local for stop in stops if stop.local is not None]


def _own_zone(program: Program) -> list[Expr]:
    name = program.project.policy.time_zone_trait
    return [Trait(name)] if any(trait.name == name for trait in program.project.traits) else []


def _zone(program: Program, compiler: Compiler) -> exp.Expr:
    own = [compiler.condition(tree) for tree in _own_zone(program)]
    return person_zone(program.project.policy, own[0] if own else exp.Null())


def rests(program: Program, taken: Ways, events: frozenset[str], after: bool = False) -> list[Step]:
    """Until when those rest who come by these ways to a wait by the clock or for business hours; ``after``: from a send."""
    forms = {_form(wait) for wait in _arrivals(program, taken)} - {"date"}
    key = ("journeys.rests", frozenset(forms), events, after)
    return program.cached(key, lambda: _rests(program, forms, events, after)) if forms else []


def _form(wait: LocalWait) -> str:
    return "date" if wait.until_date else "business" if wait.business_s is not None else "clock"


def _arrivals(program: Program, taken: Ways) -> Iterable[LocalWait]:
    for jid, step, way in taken:
        version = program.versions[jid]
        for hop in hops_of(version.graph.resumes[version.resume(step, way) % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and (wait := version.graph.stops[to].local) is not None:
                yield wait


def _rests(program: Program, forms: set[str], events: frozenset[str], after: bool) -> list[Step]:
    zone, tables = _zone(program, compiler_of(program, events)), _AFTER if after else None
    steps = []
    for form in sorted(forms):
        steps += [_SCRIPT.step(f"w_{form}", tables, zone=zone), _SCRIPT.step("w_move_local", tables)]
    return steps


def dated(program: Program, frontier: Frontier, events: frozenset[str]) -> list[Step]:
    """What the dates of those at the frontier who wait for one say by now."""
    names = sorted({wait.until_date for wait in _local(program, frontier) if wait.until_date})
    key = ("journeys.dated", tuple(names), events)
    return program.cached(key, lambda: _dated(program, names, events)) if names else []


def _dated(program: Program, names: list[str], events: frozenset[str]) -> list[Step]:
    compiler = compiler_of(program, events)
    value = case_on(
        column("trait", "t"), [(text(n), compiler.condition(Trait(n))) for n in names],
        exp.cast(exp.Null(), "timestamp", dialect="duckdb"),
    )  # fmt: skip
    return [_SCRIPT.step("w_dated", zone=_zone(program, compiler), value=value), _SCRIPT.step("enrollment_dated")]
