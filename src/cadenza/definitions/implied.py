"""What a trigger implies: a condition that becomes true is a segment that is entered, a call of the API is an event.

So membership, the instants at which time alone changes it, order and explanation are those of segments and events. (A
schedule implies a segment in which one is for an instant: who is looked at then enters it, and nobody ever leaves it.) The
implied segments are made when a project is compiled; they are part of no definition. Their names hold a colon, which no
name that is written may.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cadenza.definitions.expression import (
    Agg,
    Binary,
    Coalesce,
    DateReached,
    Expr,
    InSegment,
    Lit,
    OlderThan,
    Prop,
    Scheduled,
    Trait,
)
from cadenza.definitions.kinds import Segment
from cadenza.definitions.kinds_journey import Absence, Journey, Trigger
from cadenza.definitions.kinds_policy import Policy
from cadenza.definitions.project import Project

REQUESTED = "Entry Requested"
"""The event by which the API asks that somebody enters."""


def segment_of(journey: str) -> str:
    """The name of the segment that a journey's trigger implies."""
    return f"entry:{journey}"


def momentary(segment: Segment) -> bool:
    """Whether one is in the segment for an instant only: it is entered, and kept nowhere."""
    return isinstance(segment.when, Scheduled)


def former_of(journey: str) -> str:
    """The name of the segment of those whose trait has the value that a trigger says it changes from."""
    return f"entry:{journey}:from"


def is_implied(segment: str) -> bool:
    """Whether a segment is no definition but made of a trigger."""
    return ":" in segment


def effective(journey: Journey) -> Journey:
    """The journey with its trigger as an event or the change of a segment."""
    on = journey.entry.on
    changes: dict[str, Any] = {}
    if on.api:
        named = Binary("=", Prop("journey"), Lit(journey.name, "string"))
        changes = {"event": REQUESTED, "where": named if on.where is None else Binary("and", named, on.where)}
    elif on.trait is not None and on.to is None:
        changes = {"segment": former_of(journey.name), "change": "left"}
    elif _condition(on, Policy()) is not None:
        changes = {"segment": segment_of(journey.name), "change": "entered"}
    if not changes:
        return journey
    entry = msgspec.structs.replace(journey.entry, on=msgspec.structs.replace(on, **changes))
    return msgspec.structs.replace(journey, entry=entry)


def implied(project: Project) -> Project:
    """The project with effective journeys and the segments they imply; the same one where nothing is implied."""
    journeys = tuple(effective(journey) for journey in project.journeys)
    segments = [segment for journey in project.journeys for segment in _segments(project, journey)]
    if not segments and journeys == project.journeys:
        return project
    return msgspec.structs.replace(project, journeys=journeys, segments=(*project.segments, *segments))


def _segments(project: Project, journey: Journey) -> list[Segment]:
    on = journey.entry.on
    found = []
    condition = _condition(on, project.policy, {trait.name: trait.type for trait in project.traits})
    if condition is not None:
        found.append(Segment(name=segment_of(journey.name), when=condition, subject=journey.subject))
    if on.trait is not None and on.from_ is not None:
        types = {trait.name: trait.type for trait in project.traits}
        when = _equals(on.trait, on.from_, types)
        found.append(Segment(name=former_of(journey.name), when=when, subject=journey.subject))
    return found


def _condition(on: Trigger, policy: Policy, types: dict[str, Any] | None = None) -> Expr | None:
    """The condition whose becoming true is the trigger; None where the trigger is none of that kind."""
    if on.becomes is not None:
        return on.becomes
    if on.absence is not None:
        return _absent(on.absence)
    if on.date is not None:
        minus = on.before_s - on.after_s
        zone, fallback = _clock(on, policy, types or {})
        return DateReached(Trait(on.date), zone, minus, on.at, fallback)
    if on.schedule is not None:
        zone, fallback = _clock(on, policy, types or {})
        return Scheduled(InSegment(on.segment or ""), zone, on.schedule, fallback)
    if on.trait is not None and on.to is not None:
        return _equals(on.trait, on.to, types or {})
    return None


def _clock(on: Trigger, policy: Policy, types: dict[str, Any]) -> tuple[Expr, str | None]:
    """The zone whose clock counts, and the one of those whose own is not known (None: they have none)."""
    fallback = None if policy.missing_time_zone == "drop" else policy.missing_time_zone
    if on.zone:
        return Lit(on.zone, "string"), fallback
    return (Trait(policy.time_zone_trait) if policy.time_zone_trait in types else Lit(None, "string")), fallback


def _absent(absence: Absence) -> Expr:
    last = Agg("last_at", absence.event)
    if absence.after is None:
        return OlderThan(last, absence.for_s)
    began = Agg("last_at", absence.after)
    return Binary("and", OlderThan(began, absence.for_s), Coalesce((Binary("<", last, began), Lit("true", "boolean"))))


def _equals(trait: str, value: str | int | float | bool, types: dict[str, Any]) -> Expr:
    kind = types.get(trait, "string")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return Binary("=", Trait(trait), Lit(text, "integer" if kind == "decimal" and text.lstrip("-").isdigit() else kind))
