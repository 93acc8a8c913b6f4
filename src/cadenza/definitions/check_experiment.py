"""What is wrong with an experiment: a step that compares the outcome of arms."""

from __future__ import annotations

from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds import Experiment, Journey, Split
from cadenza.definitions.project import Project
from cadenza.definitions.spots import spots_of
from cadenza.definitions.typecheck import Scope


def check_experiment(
    project: Project, scope: Scope, findings: Findings, journey: Journey, step: Split, path: str
) -> None:
    """Its metric is one of the project's, and its salt its own: with that of another split its arms would be the arms of
    that one too, so a difference would be of both."""
    if not isinstance(step, Experiment) or scope.partial:
        return
    metrics = [metric.name for metric in project.metrics]
    findings.reference("metric", step.metric, metrics, "journeys", journey.name, f"{path}.metric")
    others = [
        (other.name, spot.place) for other in project.journeys for spot in spots_of(other.steps).values()
        if isinstance(spot.step, Split) and spot.step.name == step.name
    ]  # fmt: skip
    elsewhere = next((name for name, place in others if (name, place) != (journey.name, path)), None)
    if elsewhere is not None:
        what = (
            f"Another split is called '{step.name}', in the journey '{elsewhere}': people take the same arms in both."
        )
        findings.problem(what, "journeys", journey.name, f"{path}.name", "Give the experiment a name of its own.")
