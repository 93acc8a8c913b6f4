"""What the journeys in use keep with each passage, besides where it rests: columns of ``enrollment`` that only
projects have which need them."""

from __future__ import annotations

from sqlglot import exp

from cadenza.definitions.expression import Trait
from cadenza.definitions.graph import Stop, without_events
from cadenza.sql import columns
from cadenza.sql.columns import SQL_TYPE, entry_column
from cadenza.sql.expression import Compiler, Needs
from cadenza.sql.program import RESUMES, Program
from cadenza.sql.step import Script, Step, case_on, number, sql
from cadenza.stages.journeys.compiling import compiler_of
from cadenza.stages.journeys.reach import Frontier, every_stop, reachable_hops
from cadenza.stages.journeys.rechecking import windowed_journeys

_SCRIPT = Script.beside(__file__, "journeys")


def kept_columns(program: Program) -> dict[str, str]:
    """Column -> engine type of ``enrollment`` beyond the fixed ones."""
    return program.cached("journeys.kept_columns", lambda: _kept_columns(program))


def _kept_columns(program: Program) -> dict[str, str]:
    """``check_at``: see ``rechecking``. ``seen``: the conditions of a wait for all that have been TRUE, one bit each."""
    found = {"check_at": "TIMESTAMP"} if windowed_journeys(program) else {}
    if every_awaited(program, every_stop(program)):
        found["seen"] = "INTEGER"
    kinds = program.schema.traits
    read = sorted(name for names in read_at_entry(program).values() for name in names)
    return found | {entry_column(name, kinds[name]): SQL_TYPE[kinds[name]] for name in read}


def read_at_entry(program: Program) -> dict[int, tuple[str, ...]]:
    """The versions whose conditions read values at entry, each with the traits."""
    return program.cached("journeys.read_at_entry", lambda: _read_at_entry(program))


def _read_at_entry(program: Program) -> dict[int, tuple[str, ...]]:
    found = {}
    for jid, version in sorted(program.versions.items()):
        names = columns.read_at_entry(version.journey) & program.schema.traits.keys()
        if names:
            found[jid] = tuple(sorted(names))
    return found


def keep_at_entry(program: Program, jids: frozenset[int]) -> list[Step]:
    """Keep, with the passages that begin in these journeys, the values that their conditions read later."""
    jids = frozenset(jid for jid in jids if jid in read_at_entry(program))
    key = ("journeys.keep_at_entry", jids)
    return program.cached(key, lambda: [_keep_at_entry(program, jids)]) if jids else []


def _keep_at_entry(program: Program, jids: frozenset[int]) -> Step:
    compiler, kinds = Compiler(program.schema, Needs()), program.schema.traits
    names = sorted({name for jid in jids for name in read_at_entry(program)[jid]})
    values = [
        exp.EQ(
            this=exp.column(exp.to_identifier(entry_column(name, kinds[name]), quoted=True)),
            expression=compiler.condition(Trait(name)),
        )
        for name in names
    ]
    return _SCRIPT.step("keep_at_entry", kept=values, jids=[number(jid) for jid in sorted(jids)])


def every_awaited(program: Program, stops: Frontier) -> Frontier:
    """Of these stops those that wait for several conditions, each of which must have been TRUE."""
    return frozenset((jid, step) for jid, step in stops if program.versions[jid].graph.stops[step].every)


def arriving(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Frontier:
    """Those of these stops at which passages may arrive in a wave."""
    key = ("journeys.arriving", frontier, candidates)
    hops = (hop for hop in reachable_hops(program, frontier, candidates) if hop[1].to_step >= 0)
    return program.cached(key, lambda: every_awaited(program, frozenset((v.jid, hop.to_step) for v, hop in hops)))


def all_seen(stop: Stop, compiler: Compiler) -> exp.Expr:
    """Whether each condition of a stop is TRUE now or was since arrival (passages ``s``)."""
    return exp.EQ(
        this=_with(exp.column("seen", "s"), _bits(stop, compiler)), expression=number(2 ** len(stop.conditions) - 1)
    )


def remembering(program: Program, frontier: Frontier, candidates: frozenset[int], events: frozenset[str], *,
                settled: bool) -> list[Step]:  # fmt: skip
    """What has come true for passages that wait for several things. ``settled``: some may have arrived there."""
    resting = every_awaited(program, frontier)
    reached = arriving(program, frontier, candidates) if settled else frozenset()
    steps = [_remember(program, resting, events)] if resting else []
    return [*steps, _begin(program, reached)] if reached else steps


def _remember(program: Program, stops: Frontier, events: frozenset[str]) -> Step:
    """Note what has come true for passages that rest at these stops."""
    key = ("journeys.remember", stops, events)
    return program.cached(
        key, lambda: _SCRIPT.step("remember", bits=_at_stops(program, stops, events), stops=_ids(stops))
    )


def _begin(program: Program, stops: Frontier) -> Step:
    """Note what is true already for passages that arrive at these stops, every ``event(...)`` taken as FALSE."""
    key = ("journeys.begin_remembering", stops)
    return program.cached(
        key, lambda: _SCRIPT.step("begin_remembering", bits=_at_stops(program, stops, None), stops=_ids(stops))
    )


def _ids(stops: Frontier) -> list[exp.Expr]:
    return [number(jid * RESUMES + step) for jid, step in sorted(stops)]


def _at_stops(program: Program, stops: Frontier, events: frozenset[str] | None) -> exp.Expr:
    compiler = compiler_of(program, events or frozenset(), "enrollment")
    arms = []
    for jid, step in sorted(stops):
        stop = program.versions[jid].graph.stops[step]
        arms.append((number(jid * RESUMES + step), _bits(stop, compiler, arrived=events is None)))
    return case_on(sql(f"enrollment.jid * {RESUMES} + enrollment.step"), arms, number(0))


def _bits(stop: Stop, compiler: Compiler, arrived: bool = False) -> exp.Expr:
    found: exp.Expr = number(0)
    for i, condition in enumerate(stop.conditions):
        tree = compiler.condition(without_events(condition) if arrived else condition)
        if tree != exp.false():
            bit = exp.Case(ifs=[exp.If(this=tree, true=number(2**i))], default=number(0))
            found = exp.Add(this=found, expression=bit)
    return exp.paren(found)


def _with(before: exp.Expr, bits: exp.Expr) -> exp.Expr:
    return exp.paren(exp.BitwiseOr(this=exp.Coalesce(this=before, expressions=[number(0)]), expression=bits))
