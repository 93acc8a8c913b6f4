"""Hypothesis strategies for generated worlds, and what to do with a world: play it, measure it, make it smaller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from hypothesis import strategies as st

from cadenza.clock import from_micros
from cadenza.definitions.project import Project
from cadenza.simulate.model import Model
from cadenza.simulate.worlds import World, deploy_record, make_project, world

Rows = dict[str, list[tuple[Any, ...]]]


class _Drawn:
    """Choices made by hypothesis, so that a failing world can be shrunk."""

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw

    def below(self, n: int) -> int:
        return self._draw(st.integers(0, n - 1)) if n > 1 else 0


@st.composite
def projects(draw: st.DrawFn) -> Project:
    """A small valid project."""
    return make_project(_Drawn(draw))


@st.composite
def worlds(draw: st.DrawFn, most_records: int = 40, towns: int = 1, additions: tuple[str, ...] = ()) -> World:
    """A small valid project with a log."""
    return world(_Drawn(draw), most_records, towns, additions)


@st.composite
def batches(draw: st.DrawFn) -> tuple[int, ...]:
    """Sizes of the slices in which the engine reads the log, over and over."""
    return tuple(draw(st.lists(st.sampled_from([1000, 21, 8, 3, 1]), min_size=1, max_size=5)))


def play(world: World) -> Rows:
    """What the reference model makes of a world."""
    model = Model(world.project)
    for record in world.records:
        model.apply(record)
    model.run_timers(from_micros(world.horizon))
    return model.observations()


def facts(world: World) -> Counter[str]:
    """How often each interesting thing happens in a world, by name."""
    rows = play(world)
    found: Counter[str] = Counter()
    found.update(f"end {row[2]}" for row in rows["ends"])
    found.update(f"refused {row[4]} {row[5] if row[4] == 're_entry' else ''}".strip() for row in rows["refusals"])
    found.update(f"{row[3]} {row[4] or ''}".strip() for row in rows["decisions"])
    found.update(f"move {row[2]}" for row in rows["transitions"])
    found.update(f"member {row[4]} {'entered' if row[3] else 'left'}" for row in rows["memberships"])
    found.update(f"message {'deliverable' if row[5] else 'replayed'}" for row in rows["messages"])
    found.update(f"nonqualified {row[2]}" for row in rows["nonqualified"])
    found.update(f"assigned {row[2]}" for row in rows["assignments"])
    found["cancelled"] = len(rows["cancellations"])
    at_once = Counter((row[0], row[1]) for row in rows["transitions"])
    found["several moves at one instant"] = sum(1 for n in at_once.values() if n > 1)
    recorded = {from_micros(r.recorded_at) for r in world.records}
    found["timer at a record's instant"] = sum(row[2] == "timer" and row[1] in recorded for row in rows["transitions"])
    found.update(_of_records(world))
    return +found


def _of_records(world: World) -> Counter[str]:
    model, found = Model(world.project), Counter[str]()
    for record in world.records:
        before = len(model.owner)
        model.apply(record)
        body = msgspec.json.decode(record.body)
        name = str(body.get("event") or body.get("type") or record.kind)
        found[f"record {record.kind if record.kind != 'call' else name}"] += 1
        found["late event"] += body.get("occurred_at", record.recorded_at) < record.recorded_at
        found["new identifier"] += len(model.owner) > before
    found["merge"] = model.merges
    return found


def smaller(world: World, fails: Callable[[World], bool], most_tries: int = 400) -> World:
    """A world that still fails, with as few records and journeys as can be had by leaving out."""
    tries = 0

    def failing(candidate: World) -> bool:
        nonlocal tries
        tries += 1
        return tries <= most_tries and fails(candidate)

    for journey in world.project.journeys:
        rest = tuple(j for j in world.project.journeys if j is not journey)
        candidate = with_project(world, msgspec.structs.replace(world.project, journeys=rest))
        world = candidate if failing(candidate) else world
    size = len(world.records) // 2
    while size >= 1:
        start = 1
        while start < len(world.records):
            candidate = msgspec.structs.replace(world, records=world.records[:start] + world.records[start + size :])
            if failing(candidate):
                world = candidate
            else:
                start += size
        size //= 2
    return world


def with_project(world: World, project: Project) -> World:
    """The same log under another project."""
    first = deploy_record(project, world.records[0].recorded_at)
    return msgspec.structs.replace(world, project=project, records=(first, *world.records[1:]))


def story(world: World) -> str:
    """A world to read: definitions as JSON, one record a line."""

    def part(name: str) -> str:
        return "\n".join(f"{name}: {msgspec.json.encode(d).decode()}" for d in getattr(world.project, name))

    lines = [
        f"{r.offset:3} {from_micros(r.recorded_at).isoformat()} {r.recorded_at} {r.kind} {r.body.decode()}"
        for r in world.records if r.kind != "deploy"
    ]  # fmt: skip
    policy = msgspec.json.encode(world.project.policy).decode()
    text = [part("segments"), part("journeys"), f"policy: {policy}", *lines, f"horizon {world.horizon}"]
    return "\n".join(text)
