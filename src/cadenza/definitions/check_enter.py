"""What is wrong with the steps by which a journey enters another."""

from __future__ import annotations

from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds_journey import Enter, Journey
from cadenza.definitions.project import Project
from cadenza.definitions.spots import labels_of, next_paths, spots_of, steps_of


def check_enters(project: Project, findings: Findings, partial: bool) -> None:
    """Every journey that is entered is there and another one; none is come back to at one instant. ``partial``: some file
    could not be read, so unknown names are let pass."""
    known = [journey.name for journey in project.journeys]
    for journey in project.journeys:
        for step, place in steps_of(journey):
            if not isinstance(step, Enter):
                continue
            if step.journey == journey.name:
                remedy = "Use 'jump' to go back to a step."
                findings.problem("A journey cannot enter itself.", "journeys", journey.name, place, remedy)
            elif not partial:
                findings.reference("journey", step.journey, known, "journeys", journey.name, place)
    at_once = {journey.name: entered_at_once(journey) for journey in project.journeys}
    for name, ways in at_once.items():
        for target, place in ways.items():
            if target != name and _leads_back(target, name, at_once):
                what = f"'{target}' leads back to this journey at the same instant."
                findings.problem(what, "journeys", name, place, "Put a wait before one of the steps that enter.")


def entered_at_once(journey: Journey) -> dict[str, str]:
    """The journeys that may be entered at the instant of the entry -> the place of the step."""
    spots = spots_of(journey.steps)
    labels, seen, left = labels_of(spots), set[str](), list(spots)[:1]
    while left:
        path = left.pop()
        if path not in seen:
            seen.add(path)
            left += [ahead for ahead, takes_time in next_paths(spots[path], labels) if not takes_time]
    return {
        spot.step.journey: spot.place for spot in spots.values() if spot.path in seen and isinstance(spot.step, Enter)
    }


def entered(journey: Journey) -> frozenset[str]:
    """The journeys that a journey enters, sooner or later."""
    return frozenset(s.step.journey for s in spots_of(journey.steps).values() if isinstance(s.step, Enter))


def _leads_back(start: str, name: str, at_once: dict[str, dict[str, str]]) -> bool:
    seen, left = set[str](), [start]
    while left:
        journey = left.pop()
        if journey == name:
            return True
        if journey not in seen:
            seen.add(journey)
            left += at_once.get(journey, {})
    return False
