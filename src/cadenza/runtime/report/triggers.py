"""Candidates counted from what triggers a journey, independently of what the journeys stage wrote."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

import msgspec

from cadenza.definitions.implied import effective, former_of
from cadenza.definitions.kinds import Enter, Journey, Trigger
from cadenza.definitions.project import Project
from cadenza.definitions.step_names import step_at
from cadenza.ids import ACCOUNTS
from cadenza.ports.engine import Engine
from cadenza.runtime.history import Deployed
from cadenza.sql import step
from cadenza.stages import measure

_SCRIPT = step.Script.beside(__file__, "measure")


def asked(engine: Engine, versions: tuple[Deployed, ...], before: datetime) -> Counter[str]:
    """Candidates per journey that passages of others made at a step that enters it, while it was deployed."""
    rows = engine.query(_SCRIPT.step("asked", before=step.instant(before.isoformat(" "))).sql)
    found: Counter[str] = Counter()
    in_force = {version.first: {j.name for j in version.project.journeys} for version in versions}
    for definition, path, deployment, n in rows:
        entering = step_at(msgspec.json.decode(definition, type=Journey), path)
        name = entering.journey if isinstance(entering, Enter) else ""
        if name in in_force.get(deployment, ()):
            found[name] += n
    return found


def triggered(engine: Engine, versions: tuple[Deployed, ...], before: datetime) -> Counter[str]:
    """Candidates per journey: matching records, or changes of its segment, while it was deployed."""
    found: Counter[str] = Counter()
    for version in _joined(versions):
        for journey in map(effective, version.project.journeys):
            found[journey.name] += engine.query(_candidates(version, journey, before))[0][0]
    return found


def _joined(versions: tuple[Deployed, ...]) -> list[Deployed]:
    """Neighbours whose journeys have the same triggers, as one."""
    joined: list[Deployed] = []
    for version in versions:
        if joined and _triggers(joined[-1].project) == _triggers(version.project):
            joined[-1] = msgspec.structs.replace(joined[-1], next_first=version.next_first, until=version.until)
        else:
            joined.append(version)
    return joined


def _triggers(project: Project) -> list[tuple[str, str, Trigger]]:
    return [(journey.name, journey.subject, journey.entry.on) for journey in project.journeys]


def _candidates(version: Deployed, journey: Journey, before: datetime) -> str:
    trigger = journey.entry.on
    cut = step.instant(before.isoformat(" "))
    if trigger.segment is not None:
        causes = ["time"] if trigger.date is not None and trigger.past == "skip" else ["record", "time"]
        both = trigger.from_ is not None and trigger.to is not None
        until = min(version.until or before, before)
        return _SCRIPT.step(
            "triggered_by_segment", before=cut, segment=step.text(trigger.segment),
            entered=step.sql("TRUE" if trigger.change == "entered" else "FALSE"),
            since=step.instant(version.since.isoformat(" ")), until=step.instant(until.isoformat(" ")),
            causes=[step.text(cause) for cause in causes], former=step.text(former_of(journey.name) if both else None),
        ).sql  # fmt: skip
    # The records of accounts are numbered like the log's, from ACCOUNTS on.
    above = ACCOUNTS if journey.subject == "account" else 0
    following = version.next_first if version.next_first is not None else ACCOUNTS - 1
    return _SCRIPT.step(
        "triggered_by_event", before=cut, called=step.text(trigger.event),
        first=step.number(version.first + above), next=step.number(following + above),
        condition=measure.condition(version.project, trigger.where),
    ).sql  # fmt: skip
