"""A world whose project changes on the way: what a second deployment does to people, segments and passages."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from cadenza.definitions.expression import parse
from cadenza.definitions.kinds import Journey, Wait
from cadenza.definitions.project import Project
from cadenza.ports.ledger import Record
from cadenza.simulate.worlds import World, deploy_record

HOUR = 3600_000_000


def changed(project: Project, in_flight: str) -> Project:
    """Another condition for the first segment, and another version of every journey."""
    first, *rest = project.segments
    segments = (replace(first, when=parse("events('Order Completed') >= 1")), *rest)
    return replace(project, segments=segments, journeys=tuple(_longer(j, in_flight) for j in project.journeys))


def _longer(journey: Journey, in_flight: str) -> Journey:
    return replace(journey, steps=(Wait(duration_s=60), *journey.steps), in_flight=in_flight)


def deployment(project: Project, after: Record) -> Record:
    """The record that deploys a project, right after another record."""
    offset = after.offset + 1
    return replace(deploy_record(project, after.recorded_at + 1, offset), message_id=f"deploy{offset}")


def again(records: tuple[Record, ...], after: Record) -> list[Record]:
    """What people said before, said once more, ten minutes apart, after a record."""
    calls = [record for record in records if record.kind == "call"]
    found = []
    for n, record in enumerate(calls, start=1):
        offset, at = after.offset + n, after.recorded_at + n * HOUR // 6
        body = msgspec.json.encode(msgspec.json.decode(record.body) | {"occurred_at": at}, order="sorted")
        found.append(replace(record, offset=offset, recorded_at=at, message_id=f"m{offset}", body=body))
    return found


def redeployed(world: World, *in_flight: str) -> World:
    """The world, and for each of ``in_flight`` a changed project is deployed (then the first one again) and part of
    what happened happens again."""
    records, project = list(world.records), world.project
    for n, kind in enumerate(in_flight):
        project = changed(world.project, kind) if n % 2 == 0 else _kept(world.project, kind)
        records.append(deployment(project, records[-1]))
        records += again(world.records[: 1 + len(world.records) // 2], records[-1])
    return World(project=project, records=tuple(records), horizon=records[-1].recorded_at + 24 * HOUR)


def _kept(project: Project, in_flight: str) -> Project:
    return replace(project, journeys=tuple(replace(j, in_flight=in_flight) for j in project.journeys))
