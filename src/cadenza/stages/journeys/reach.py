"""Which stops, ways, sends and events a wave may touch: what its SQL has to name."""

from __future__ import annotations

from collections.abc import Iterable

from cadenza.definitions.expression import Expr, Trait
from cadenza.definitions.graph import START, Bucket, Decide, Hop, Leaf, Tree, without_events
from cadenza.sql.program import RESUMES, Program, Version

Frontier = frozenset[tuple[int, int]]
"""(jid, step) pairs at which passages of the wave rest."""


Ways = frozenset[tuple[int, int, str]]
"""(jid, step, way) by which passages go on; step START for those that enter."""


FEW = 8
"""Up to so many stops (journeys, ways, events) a wave's SQL names those it has; beyond, all there are: a statement
that is the same for every busy wave is generated and parsed once."""


def widened(program: Program, frontier: Frontier) -> Frontier:
    """The frontier, or all stops when it is long."""
    return frontier if len(frontier) <= FEW else program.cached("journeys.stops", lambda: every_stop(program))


def every_stop(program: Program) -> Frontier:
    """The stops of every version in use."""
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
    graphs = ((jid, step, program.versions[jid].graph) for jid, step in frontier)
    return starts | {
        (jid, step, way)
        for jid, step, graph in graphs
        for way in (*graph.stops[step].ways, *graph.exits)
        if way != "verdict"
    }


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
    for version, hop in reachable_hops(program, frontier, candidates):
        if hop.to_step >= 0 and version.graph.stops[hop.to_step].every:
            yield from (without_events(c) for c in version.graph.stops[hop.to_step].conditions)
    if program.hands:
        yield from _shown_by_tasks(program, frontier, candidates)
    if program.calls:
        yield from _sent_by_calls(program, frontier, candidates)


def _sent_by_calls(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[Expr]:
    """The traits that calls send which the wave may come to."""
    known = {trait.name for trait in program.project.traits}
    for version, hop in reachable_hops(program, frontier, candidates):
        call = version.graph.stops[hop.to_step].call if hop.to_step >= 0 else None
        yield from (Trait(source) for source in (call.body.values() if call else ()) if source in known)


def _shown_by_tasks(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[Expr]:
    """The traits that tasks show which the wave may open."""
    known = {trait.name for trait in program.project.traits}
    for version, hop in reachable_hops(program, frontier, candidates):
        task = version.graph.stops[hop.to_step].task if hop.to_step >= 0 else None
        yield from (Trait(name) for name in (task.context if task else ()) if name in known)


def reachable(program: Program, frontier: Frontier, candidates: frozenset[int]) -> frozenset[int]:
    """Resume points that a wave may use: ways on from the frontier and the starts, and from the sends
    these lead to."""
    found: set[int] = {program.versions[j].resume(START, "entered") for j in candidates}
    for jid, step in frontier:
        version = program.versions[jid]
        found |= {version.resume(step, way) for way in (*version.graph.stops[step].ways, *version.graph.exits)}
    for resume in list(found):
        version = program.versions[resume // RESUMES]
        for hop in hops_of(version.graph.resumes[resume % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and version.graph.stops[to].kind == "send":
                found.add(version.resume(to, "verdict"))
    return frozenset(found)


def reachable_hops(program: Program, frontier: Frontier, candidates: frozenset[int]) -> Iterable[tuple[Version, Hop]]:
    """The hops that a wave may take."""
    for version, tree in _trees(program, reachable(program, frontier, candidates)):
        for hop in hops_of(tree):
            yield version, version.graph.hops[hop]


def _trees(program: Program, resumes: frozenset[int]) -> Iterable[tuple[Version, Tree]]:
    for resume in sorted(resumes):
        version = program.versions[resume // RESUMES]
        yield version, version.graph.resumes[resume % RESUMES]


def hops_of(tree: Tree) -> Iterable[int]:
    match tree:
        case Leaf(hop):
            yield hop
        case Decide(_, yes, unknown, no):
            for branch in (yes, unknown, no):
                yield from hops_of(branch)
        case Bucket(_, arms):
            for _, arm in arms:
                yield from hops_of(arm)


def _decisions(version: Version, tree: Tree) -> Iterable[Expr]:
    match tree:
        case Decide(when, yes, unknown, no):
            yield when
            for branch in (yes, unknown, no):
                yield from _decisions(version, branch)
        case Bucket(_, arms):
            for _, arm in arms:
                yield from _decisions(version, arm)


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


def asked(program: Program, stops: Frontier) -> frozenset[int]:
    """The journeys, in their current versions, that passages enter which are due at these stops."""
    names = {program.versions[jid].graph.stops[step].journey for jid, step in stops} - {""}
    return (
        frozenset(version.jid for version in program.current() if version.journey.name in names)
        if names
        else frozenset()
    )


def hand_offs(program: Program, taken: Ways) -> Frontier:
    """The hand-offs to which some of the ways lead."""
    return _led_to(program, taken, "hand_off")


def calls(program: Program, taken: Ways) -> Frontier:
    """The calls of services to which some of the ways lead."""
    return _led_to(program, taken, "call")


def _led_to(program: Program, taken: Ways, kind: str) -> Frontier:
    found = set()
    for jid, step, way in taken:
        version = program.versions[jid]
        for hop in hops_of(version.graph.resumes[version.resume(step, way) % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and version.graph.stops[to].kind == kind:
                found.add((jid, to))
    return frozenset(found)


def may_send(program: Program, taken: Ways) -> bool:
    """Whether some of the ways lead to a send."""
    for jid, step, way in taken:
        version = program.versions[jid]
        for hop in hops_of(version.graph.resumes[version.resume(step, way) % RESUMES]):
            to = version.graph.hops[hop].to_step
            if to >= 0 and version.graph.stops[to].kind == "send":
                return True
    return False
