"""What is wrong with a hand-off to people, apart from the steps that follow it."""

from __future__ import annotations

from collections.abc import Callable

from cadenza.definitions import kinds
from cadenza.definitions.findings import Findings
from cadenza.definitions.graph import BREACHED
from cadenza.definitions.typecheck import Scope


def check_hand_off(journey: kinds.Journey, step: kinds.HandOff, scope: Scope, findings: Findings, path: str) -> None:
    """Note what is wrong with the task that the step opens."""

    def problem(what: str, part: str, remedy: str) -> None:
        findings.problem(what, "journeys", journey.name, f"{path}.{part}", remedy)

    for number, trait in enumerate(step.context):
        if not scope.partial:
            findings.reference("trait", trait, scope.traits, "journeys", journey.name, f"{path}.context.{number}")
        if trait and trait in step.context[:number]:
            problem(f"The trait '{trait}' is shown twice.", f"context.{number}", "Remove one of them.")
    for arm in step.outcomes:
        if arm.name == BREACHED:
            what = "An outcome cannot be called 'breached': that is what happens when there is none in time."
            problem(what, f"outcomes.{arm.name}", "Rename it, or write 'breached' beside 'outcomes'.")
    if step.escalate:
        _escalation(step, step.escalate, problem)


def _escalation(step: kinds.HandOff, escalate: kinds.Escalation, problem: Callable[[str, str, str], None]) -> None:
    if escalate.to and escalate.to == step.team:
        problem(f"The task passes to its own team '{step.team}'.", "escalate.to", "Name another team.")
    if step.breached and not escalate.due_s:
        what = "The new team has no time of its own, so 'breached' is never reached."
        problem(what, "escalate", "Give it one with 'due', or leave 'breached' or 'escalate' out.")
