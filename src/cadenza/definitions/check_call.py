"""What is wrong with a call of a service, apart from the steps that follow it."""

from __future__ import annotations

from cadenza.definitions import kinds
from cadenza.definitions.findings import Findings
from cadenza.definitions.implied import effective
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope, properties_of
from cadenza.errors import near_miss

ANSWERING = ("webhook",)
"""The adapters that hand back what a service answers."""


def check_call(
    project: Project, journey: kinds.Journey, step: kinds.Call, scope: Scope, findings: Findings, path: str
) -> None:
    """Note what is wrong with whom the step asks, what it sends, and what it takes from the answer."""

    def problem(what: str, part: str, remedy: str | None) -> None:
        findings.problem(what, "journeys", journey.name, f"{path}.{part}", remedy)

    found = next((d for d in project.destinations if d.name == step.destination), None)
    if found is not None and found.adapter not in ANSWERING:
        what = f"The destination '{found.name}' has the adapter '{found.adapter}', which brings no answer."
        problem(what, "destination", f"Call one with the adapter '{ANSWERING[0]}'.")
    if scope.partial:
        return
    known = [destination.name for destination in project.destinations]
    if step.destination:
        findings.reference("destination", step.destination, known, "journeys", journey.name, f"{path}.destination")
    for name, source in step.body.items():
        if source.startswith("entry."):
            _entry(project, journey, source.removeprefix("entry."), findings, f"{path}.body.{name}")
        elif source:
            findings.reference("trait", source, scope.traits, "journeys", journey.name, f"{path}.body.{name}")
    for trait in step.answer:
        _set_by_answer(project, trait, findings, journey.name, f"{path}.answer.{trait}")


def _entry(project: Project, journey: kinds.Journey, name: str, findings: Findings, path: str) -> None:
    """A property of the event that starts the passage."""
    event = effective(journey).entry.on.event
    if event is None:
        what = "No event starts this journey, so there is no property to send."
        findings.problem(what, "journeys", journey.name, path, "Send a trait, or enter the journey by an event.")
        return
    known = properties_of(project, event)
    if known and name not in known:
        what = f"'{event}' has no property '{name}' in its contract."
        findings.problem(what, "journeys", journey.name, path, near_miss(name, known))


def _set_by_answer(project: Project, name: str, findings: Findings, journey: str, path: str) -> None:
    traits = {trait.name: trait for trait in project.traits}
    trait = traits.get(name)
    if trait is None:
        if name:
            findings.problem(f"Unknown trait '{name}'.", "journeys", journey, path, near_miss(name, traits))
    elif trait.from_ is None:
        what = f"The trait '{name}' is computed and cannot be set."
        findings.problem(what, "journeys", journey, path, "Only traits with 'from' can be set by an answer.")
