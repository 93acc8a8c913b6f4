"""Which places of a journey the tests reach: steps, ways, ends, refusals. What cannot happen is not asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cadenza.definitions.expression import Prop
from cadenza.definitions.graph import END, Graph, flatten
from cadenza.definitions.kinds import Journey
from cadenza.definitions.lint import has_value, never_null
from cadenza.definitions.project import Location, Project
from cadenza.definitions.step_names import step_at, step_names, way_names, written_at
from cadenza.definitions.typecheck import properties_of
from cadenza.runtime.testing.observed import Observed
from cadenza.runtime.testing.views import Covered, Point, place

Key = tuple[str, str]
"""Kind of a point, and what it is: a path of the graph, a path and a choice, a reason."""
Places = dict[tuple[str, str, str], Location]
_TIMED = ("wait", "wait_for", "send", "update")


def reached(observed: Observed) -> dict[str, set[Key]]:
    """Journey -> what somebody reached in it."""
    found: dict[str, set[Key]] = {journey: {("refusal", "not_qualified")} for journey in observed.unqualified}
    for passages in observed.passages.values():
        for passage in passages:
            keys = found.setdefault(passage.journey, set())
            keys.add(("exit", passage.reason or ""))
            for move in passage.moves:
                keys |= {("way", said) for said in move.taken}
                keys |= {("step", said.partition(": ")[0]) for said in move.taken if said.endswith(": already matched")}
                keys |= {("step", move.to_path or ""), ("way", f"{move.from_path}: {move.cause}")}
    for refusals in observed.refusals.values():
        for refused in refusals:
            found.setdefault(refused.journey, set()).add(("refusal", refused.reason))
    return found


def covered(project: Project, names: Iterable[str], found: dict[str, set[Key]], places: Places) -> tuple[Covered, ...]:
    """The coverage of journeys by what was reached, in the order of the project."""
    wanted = frozenset(names)
    return tuple(
        Covered(journey=journey.name, points=tuple(_points(project, journey, found.get(journey.name, set()), places)))
        for journey in project.journeys
        if journey.name in wanted
    )


def _points(project: Project, journey: Journey, found: set[Key], places: Places) -> Iterator[Point]:
    seen: set[Key] = set()
    for key, words, path in _possible(project, journey):
        if key not in seen:
            seen.add(key)
            file, line = place(_place(places, journey.name, path))
            yield Point(kind=key[0], words=words, file=file, line=line, reached=key in found)


def _place(places: Places, journey: str, path: str) -> Location | None:
    """Where a part of a journey is written; the nearest part around it where it is not written itself."""
    while path:
        if found := places.get(("journeys", journey, path)):
            return found
        path = path.rpartition(".")[0]
    return places.get(("journeys", journey, "owner"))


def _possible(project: Project, journey: Journey) -> Iterator[tuple[Key, str, str]]:
    """(key, words, path of the definition) of everything that can be reached."""
    graph = flatten(journey)
    for stop in graph.stops:
        yield ("step", stop.path), step_names(journey, stop.kind, stop.path)[0], written_at(stop.path)
        if len(stop.ways) > 1:
            for way in stop.ways:
                words = f"{step_names(journey, stop.kind, stop.path)[0]}: {way}"
                yield ("way", f"{stop.path}: {way}"), words, written_at(stop.path)
    for hop in graph.hops:
        for said in hop.taken:
            path, _, choice = said.partition(": ")
            if choice != "already matched" and (
                choice != "unknown" or not _always_known(project, step_at(journey, path))
            ):
                yield ("way", said), way_names(journey, said)[0], _way_path(path, choice)
        if hop.to_step == END:
            reason = hop.reason or "completed"
            yield ("exit", reason), reason, "steps"
    yield ("exit", "goal"), "goal", "exit.goal"
    yield ("exit", "disqualified"), "disqualified", "exit.disqualified"
    rivals = [
        j for j in project.journeys if j.name != journey.name and j.arena is not None and j.arena == journey.arena
    ]
    if journey.exit.superseded and any(r.priority > journey.priority for r in rivals):
        yield ("exit", "superseded"), "superseded", "exit.superseded"
    if _may_last(project, graph, journey):
        yield ("exit", "time_limit"), "time_limit", "exit.time_limit"
    yield from _refusals(project, journey, any(r.priority >= journey.priority for r in rivals))


def _way_path(path: str, choice: str) -> str:
    arm = choice.replace("].steps", "").replace("arms[", "arms.")
    at = written_at(path)
    return f"{at}.{arm}" if arm.startswith("arms.") or choice in ("unknown", "otherwise") else f"{at}.arms.{choice}"


def _refusals(project: Project, journey: Journey, rivals: bool) -> Iterator[tuple[Key, str, str]]:
    entry = journey.entry
    possible = [
        ("not_qualified", entry.when is not None, "entry.when"), ("suppressed", entry.unless is not None, "entry.unless"),
        ("no_key", _may_lack(project, journey), "entry.key"), ("re_entry", True, "entry.again"),
        ("holdout", journey.holdout is not None, "holdout"), ("priority", rivals, "priority"),
    ]  # fmt: skip
    for reason, can, path in possible:
        if can:
            yield ("refusal", reason), reason, path


def _may_lack(project: Project, journey: Journey) -> bool:
    """Whether the entry key can be null: not if it is a property that the event's contract requires."""
    key, event = journey.entry.key, journey.entry.on.event
    if isinstance(key, Prop) and event is not None:
        declared = properties_of(project, event).get(key.name)
        return declared is None or not declared.required
    return key is not None


def _always_known(project: Project, branch: object) -> bool:
    """Whether no condition of a branch can be null."""
    known = never_null(project)
    return all(has_value(arm.when, known) for arm in getattr(branch, "arms", ()))


def _may_last(project: Project, graph: Graph, journey: Journey) -> bool:
    """Whether a passage can come to its time limit: its longest way, with every message put off as long as may be."""
    put_off = project.policy.deadline_s if project.policy.quiet_hours or project.policy.caps else 0
    longest: dict[int, float] = {}

    def after(step: int) -> float:
        if step == END:
            return 0
        if step not in longest:
            longest[step] = float("inf")  # a way that comes back may last for ever
            stop = graph.stops[step]
            stay = put_off if stop.kind == "send" else stop.seconds
            if stop.kind not in _TIMED or stop.local is not None:
                stay = float("inf")  # how long is not known beforehand
            ends = [hop for way in stop.ways.values() for hop in _hops(graph.resumes[way])]
            longest[step] = stay + max((after(graph.hops[hop].to_step) for hop in ends), default=0)
        return longest[step]

    return any(after(graph.hops[hop].to_step) >= journey.exit.time_limit_s for hop in _hops(graph.resumes[0]))


def _hops(tree: object) -> Iterator[int]:
    """The hops at the leaves of a decision tree."""
    if (hop := getattr(tree, "hop", None)) is not None:
        yield hop
        return
    below = [getattr(tree, name) for name in ("yes", "unknown", "no") if hasattr(tree, name)]
    below += [arm for _, arm in getattr(tree, "arms", ())]
    for inner in below:
        yield from _hops(inner)
