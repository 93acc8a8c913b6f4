"""A deployed project, ready to generate SQL: schema, journey versions flattened, dimension tables."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import msgspec

from cadenza.definitions.expression import Agg, Coalesce, Expr, InSegment, Lit, Scheduled, walk
from cadenza.definitions.graph import END, START, Bucket, Decide, Graph, Leaf, Stop, Tree, flatten
from cadenza.definitions.implied import effective, implied, momentary
from cadenza.definitions.kinds import Call, HandOff, Journey, Template
from cadenza.definitions.liquid import template_variables
from cadenza.definitions.open_hours import closed_hours
from cadenza.definitions.project import Project, version_of
from cadenza.definitions.typecheck import property_types
from cadenza.ids import message_id
from cadenza.sql.columns import Schema, expand, reactive_events, schema_of
from cadenza.sql.local_wait import CALENDAR_DIMENSIONS, calendar_rows, local_row
from cadenza.sql.schedules import SCHEDULE_DIMENSIONS, schedule_rows

RESUMES = 4096
"""Resume points are numbered jid * RESUMES + index over all versions."""

T = TypeVar("T")


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A deployed version of a journey. ``current`` ones take entrants; others only keep theirs."""

    jid: int
    journey: Journey
    graph: Graph
    current: bool

    def resume(self, step: int, way: str) -> int:
        """The resume point by which a passage leaves a stop; by an exit it is the same for all of them."""
        if way in self.graph.exits:
            return self.jid * RESUMES + self.graph.exits[way]
        return self.jid * RESUMES + (0 if step == START else self.graph.stops[step].ways[way])


class Program:
    """What the stages generate SQL from. Generated steps are cached by what they depend on."""

    def __init__(self, project: Project, versions: list[Version]) -> None:
        self.project = project = implied(project)
        versions = [msgspec.structs.replace(v, journey=effective(v.journey)) for v in versions]
        self.schema: Schema = schema_of(project, property_types(project))
        self.versions = {v.jid: v for v in versions}
        self.reactive = reactive_events(project)
        for version in versions:
            self.reactive |= _events_of(version.journey)
        self.segments = {s.name: self._inline(s.when, ()) for s in project.segments}
        self.scheduled = {s.name: _batch(s.when) for s in project.segments if momentary(s)}
        """Segments in which one is for an instant, each with the one whose members are looked at."""
        self.templates: dict[str, Template] = {t.name: t for t in project.templates}
        self.variables = {t.name: template_variables(t.subject) | template_variables(t.body) for t in project.templates}
        stops = [stop for version in versions for stop in version.graph.stops]
        self.hands = any(stop.task is not None for stop in stops)
        """Whether any version hands people to people; ``holds``: and holds marketing meanwhile."""
        self.holds = any(stop.task is not None and stop.task.hold_marketing for stop in stops)
        self.calls = any(stop.call is not None for stop in stops)
        """Whether any version asks a service; ``consented_calls``: and asks for consent before it does."""
        self.consented_calls = any(stop.call is not None and stop.call.purpose is not None for stop in stops)
        self.chooses = any(stop.templates for stop in stops)
        """Whether any version has sends that choose their channel."""
        self.leaves = any(version.graph.exits for version in versions)
        """Whether any version has exits with last steps."""
        self.on_merge = {v.journey.name: v.journey.on_merge for v in versions if v.current}
        self.closed = closed_hours(project.policy, (t.channel for t in project.templates))
        self._cache: dict[Hashable, Any] = {}

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """``make()``, once per key."""
        if key not in self._cache:
            self._cache[key] = make()
        return self._cache[key]

    def current(self) -> list[Version]:
        """Versions that take entrants, by jid."""
        return [v for _, v in sorted(self.versions.items()) if v.current]

    def _inline(self, tree: Expr, seen: tuple[str, ...]) -> Expr:
        """A segment's condition with other segments in place of ``in_segment`` (membership is TRUE, else no)."""
        tree = expand(tree, self.schema.live)
        return _replace_segments(tree, lambda name: self._inline(self.project.segment(name).when, (*seen, name)))

    # --- dimension tables, rows as dictionaries -------------------------------------------------

    def dimensions(self) -> dict[str, tuple[dict[str, str], list[dict[str, Any]]]]:
        """Table -> (columns, rows) of everything a wave joins to."""
        rows: dict[str, list[dict[str, Any]]] = {name: [] for name in (*DIMENSIONS, *CHOICE_DIMENSIONS)}
        for version in self.versions.values():
            _version_rows(self, version, rows)
        calendar_rows(self.project.policy.calendars, rows)
        rows["t_closed"] = [msgspec.structs.asdict(closed) for closed in self.closed]
        tables = DIMENSIONS
        if self.scheduled:
            rows |= schedule_rows(s.when.cron for s in self.project.segments if isinstance(s.when, Scheduled))
            tables = {**DIMENSIONS, **SCHEDULE_DIMENSIONS}
        if self.chooses:
            tables = {**tables, **CHOICE_DIMENSIONS}
        return {name: (columns, rows[name]) for name, columns in tables.items()}


DIMENSIONS: dict[str, dict[str, str]] = {
    "t_version": {"jid": "INTEGER", "journey": "VARCHAR", "priority": "INTEGER", "arena": "VARCHAR",
                  "superseded": "BOOLEAN", "on_merge": "VARCHAR"},
    "t_trigger": {"jid": "INTEGER", "journey": "VARCHAR", "event": "VARCHAR", "segment": "VARCHAR", "change": "VARCHAR",
                  "priority": "INTEGER", "arena": "VARCHAR", "again": "VARCHAR", "again_s": "BIGINT", "keyed": "BOOLEAN",
                  "holdout": "VARCHAR", "share_bp": "INTEGER", "limit_s": "BIGINT"},
    "t_stop": {"jid": "INTEGER", "step": "INTEGER", "kind": "VARCHAR"},
    "t_way": {"jid": "INTEGER", "step": "INTEGER", "way": "VARCHAR", "resume": "BIGINT", "hop": "INTEGER",
              "split": "VARCHAR"},
    "t_hop": {"jid": "INTEGER", "hop": "INTEGER", "to_step": "INTEGER", "reason": "VARCHAR", "kind": "VARCHAR",
              "seconds": "BIGINT"},
    "t_send": {"jid": "INTEGER", "step": "INTEGER", "path": "VARCHAR", "suffix": "VARCHAR", "template": "VARCHAR", "template_version": "VARCHAR",
               "channel": "VARCHAR", "purpose": "VARCHAR", "message_class": "VARCHAR", "destination": "VARCHAR"},
    "t_enter": {"jid": "INTEGER", "step": "INTEGER", "journey": "VARCHAR", "leaving": "BOOLEAN"},
    "t_leaving": {"jid": "INTEGER", "step": "INTEGER", "exit": "VARCHAR"},
    "t_task": {"jid": "INTEGER", "step": "INTEGER", "path": "VARCHAR", "team": "VARCHAR", "assignee": "VARCHAR",
               "title": "VARCHAR", "priority": "INTEGER", "due_s": "BIGINT", "recent": "INTEGER", "hold": "BOOLEAN",
               "escalates": "BOOLEAN", "after_s": "BIGINT", "to_team": "VARCHAR", "again_s": "BIGINT", "ends": "BOOLEAN"},
    "t_call": {"jid": "INTEGER", "step": "INTEGER", "suffix": "VARCHAR", "destination": "VARCHAR", "channel": "VARCHAR",
               "purpose": "VARCHAR"},
    "t_answer": {"jid": "INTEGER", "step": "INTEGER", "number": "INTEGER", "trait": "VARCHAR", "path": "VARCHAR",
                 "kind": "VARCHAR"},
    "t_closed": {"channel": "VARCHAR", "jurisdiction": "VARCHAR", "from_s": "INTEGER", "to_s": "INTEGER",
                 "opens_s": "INTEGER", "reason": "VARCHAR"},
    "t_update": {"jid": "INTEGER", "step": "INTEGER", "trait": "VARCHAR", "value": "VARCHAR"},
    **CALENDAR_DIMENSIONS,
}  # fmt: skip


CHOICE_DIMENSIONS: dict[str, dict[str, str]] = {
    "t_choice": {"jid": "INTEGER", "step": "INTEGER", "place": "INTEGER", **DIMENSIONS["t_send"]},
}  # fmt: skip
"""Every send with each of its templates, in the order written (``place``); only where some send chooses its channel."""


def _version_rows(program: Program, version: Version, rows: dict[str, list[dict[str, Any]]]) -> None:
    journey, jid = version.journey, version.jid
    rows["t_version"].append(
        {"jid": jid, "journey": journey.name, "priority": journey.priority, "arena": journey.arena,
         "superseded": journey.exit.superseded, "on_merge": program.on_merge.get(journey.name, "earliest")}
    )  # fmt: skip
    if version.current:
        rows["t_trigger"].append(_trigger_row(version))
    for stop in version.graph.stops:
        rows["t_stop"].append({"jid": jid, "step": stop.step, "kind": stop.kind})
        for way in (*stop.ways, *version.graph.exits):
            rows["t_way"].append(_way_row(version, stop.step, way))
        if stop.kind == "enter":
            entering = {"jid": jid, "step": stop.step, "journey": stop.journey, "leaving": bool(stop.leaving)}
            rows["t_enter"].append(entering)
        if stop.leaving:
            rows["t_leaving"].append({"jid": jid, "step": stop.step, "exit": stop.leaving})
        if stop.kind == "send":
            rows["t_send"].append(_send_row(program, version, stop, stop.template))
            if program.chooses:
                rows["t_choice"] += [
                    _send_row(program, version, stop, name) | {"place": place}
                    for place, name in enumerate(stop.candidates)
                ]
        if stop.local is not None:
            row = local_row(stop.local, program.project.policy.calendars)
            rows["t_local"].append({"jid": jid, "step": stop.step, **row})
        if stop.task is not None:
            rows["t_task"].append(_task_row(jid, stop.step, stop.path, stop.task))
        if stop.call is not None:
            _call_rows(program, jid, stop, stop.call, rows)
        for trait, value in stop.set.items():
            rows["t_update"].append({"jid": jid, "step": stop.step, "trait": trait, "value": value_text(value)})
    rows["t_way"].append(_way_row(version, START, "entered"))
    kinds = {stop.step: stop for stop in version.graph.stops}
    for hop in version.graph.hops:
        ended = hop.to_step == END
        rows["t_hop"].append(
            {"jid": jid, "hop": hop.hop, "to_step": hop.to_step, "reason": hop.reason,
             "kind": "end" if ended else kinds[hop.to_step].kind,
             "seconds": 0 if ended else kinds[hop.to_step].seconds}
        )  # fmt: skip


def value_text(value: str | int | float | bool) -> str:
    """The text of a literal as it is kept in ``trait_value``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _batch(tree: Expr) -> str:
    return tree.arg.name if isinstance(tree, Scheduled) and isinstance(tree.arg, InSegment) else ""


def _trigger_row(version: Version) -> dict[str, Any]:
    journey = version.journey
    entry, on = journey.entry, journey.entry.on
    return {
        "jid": version.jid, "journey": journey.name, "event": on.event, "segment": on.segment,
        "change": on.change if on.segment else None, "priority": journey.priority, "arena": journey.arena,
        "again": entry.again, "again_s": entry.again_after_s, "keyed": entry.key is not None,
        "holdout": journey.holdout.name if journey.holdout else None,
        "share_bp": journey.holdout.share_bp if journey.holdout else 0, "limit_s": journey.exit.time_limit_s,
    }  # fmt: skip


def _way_row(version: Version, step: int, way: str) -> dict[str, Any]:
    resume = version.resume(step, way)
    tree = version.graph.resumes[resume % RESUMES]
    return {"jid": version.jid, "step": step, "way": way, "resume": resume,
            "hop": tree.hop if isinstance(tree, Leaf) else None, "split": only_split(tree)}  # fmt: skip


def only_split(tree: Tree) -> str | None:
    """The split of a walk that draws once, for everybody who takes it; None when it draws never or several times."""
    names = _splits(tree)
    return names.pop() if len(names) == 1 else None


def _splits(tree: Tree) -> set[str]:
    match tree:
        case Bucket(name, arms):
            return {name}.union(*(_splits(arm) for _, arm in arms))
        case Decide(_, yes, unknown, no):
            return _splits(yes) | _splits(unknown) | _splits(no)
    return set()


def _send_row(program: Program, version: Version, stop: Stop, name: str) -> dict[str, Any]:
    template, path = program.templates[name], stop.path
    # Who was mapped may come by a path again at which the older version has sent already.
    said = f"{version_of(version.journey)}:{path}" if version.journey.in_flight == "map" else path
    suffix = message_id(0, said, stop.round)[16:]
    return {
        "jid": version.jid, "step": stop.step, "path": path, "suffix": suffix,
        "template": name, "template_version": version_of(template),
        "channel": template.channel, "purpose": template.purpose, "message_class": template.message_class,
        "destination": program.project.destination_of(template.channel).name,
    }  # fmt: skip


def _task_row(jid: int, step: int, path: str, task: HandOff) -> dict[str, Any]:
    """``again_s``: the time of the team it passes to; ``ends``: it ends when that is up."""
    escalate = task.escalate
    return {
        "jid": jid, "step": step, "path": path, "team": task.team, "assignee": task.assignee, "title": task.title,
        "priority": task.priority, "due_s": task.due_s, "recent": task.recent_events, "hold": task.hold_marketing,
        "escalates": escalate is not None, "after_s": escalate.after_s if escalate else 0,
        "to_team": escalate.to if escalate else None, "again_s": escalate.due_s if escalate else 0,
        "ends": task.breached is not None,
    }  # fmt: skip


def _call_rows(program: Program, jid: int, stop: Stop, call: Call, rows: dict[str, list[dict[str, Any]]]) -> None:
    """A destination that is gone by now has no channel; delivery will say that it is gone."""
    channels = {destination.name: destination.channel for destination in program.project.destinations}
    types = {trait.name: trait.type for trait in program.project.traits}
    where = {"jid": jid, "step": stop.step}
    rows["t_call"].append(
        where | {"suffix": message_id(0, stop.path, stop.round)[16:], "destination": call.destination,
                 "channel": channels.get(call.destination, ""), "purpose": call.purpose}
    )  # fmt: skip
    known = [(trait, path) for trait, path in call.answer.items() if trait in types]
    for number, (trait, path) in enumerate(known):
        rows["t_answer"].append(
            where | {"number": number, "trait": trait, "path": json_path(path), "kind": types[trait]}
        )


def json_path(path: str) -> str:
    """The path of an answer as the engine takes it.

    >>> json_path("items[0].risk-score")
    '$."items"[0]."risk-score"'
    """
    names = ((name, index) for name, _, index in (part.partition("[") for part in path.split(".")))
    return "$." + ".".join(f'"{name}"' + (f"[{index}" if index else "") for name, index in names)


def _events_of(journey: Journey) -> frozenset[str]:
    return reactive_events(Project(journeys=(journey,)))


def _replace_segments(tree: Expr, condition: Callable[[str], Expr]) -> Expr:
    if isinstance(tree, InSegment):
        return Coalesce((condition(tree.name), Lit("false", "boolean")))
    if isinstance(tree, Coalesce):
        return Coalesce(tuple(_replace_segments(a, condition) for a in tree.args))
    if isinstance(tree, Agg):
        return tree
    changes = {
        f: _replace_segments(getattr(tree, f), condition)
        for f in ("arg", "left", "right") if f in tree.__struct_fields__
    }  # fmt: skip
    return msgspec.structs.replace(tree, **changes) if changes else tree


def versions_of(project: Project, first_jid: int = 1) -> list[Version]:
    """All journeys of a project as new current versions."""
    return [
        Version(jid=first_jid + i, journey=journey, graph=flatten(journey), current=True)
        for i, journey in enumerate(project.journeys)
    ]


def windowed(tree: Expr) -> bool:
    """Whether the passage of time alone can change the expression."""
    return any(
        (isinstance(n, Agg) and n.within_s is not None) or n.__class__.__name__ in ("OlderThan", "DateReached")
        for n in walk(tree)
    )
