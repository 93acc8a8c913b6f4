"""What is wrong with holdouts: names with two shares, programmes that nobody belongs to, messages that must not be withheld."""

from __future__ import annotations

from collections.abc import Iterator

from cadenza.definitions.findings import Findings
from cadenza.definitions.holdouts import Held, step_holdouts
from cadenza.definitions.kinds_journey import Journey, Send
from cadenza.definitions.kinds_policy import Holdout
from cadenza.definitions.project import Project
from cadenza.definitions.spots import steps_of
from cadenza.definitions.typecheck import Scope
from cadenza.errors import near_miss

_POLICY = ("policy", "policy")


def check_holdouts(project: Project, scope: Scope, findings: Findings) -> None:
    """Check the holdouts of the policy, its programmes, the journeys and their steps."""
    said: dict[str, tuple[Held, str]] = {}

    def note(held: Held, where: str, kind: str, name: str, path: str) -> None:
        first, place = said.setdefault(held.holdout.name, (held, where)) if held.holdout.name else (held, where)
        if first.holdout.share_bp != held.holdout.share_bp:
            what = f"The holdout '{held.holdout.name}' has another share in {place}."
            findings.problem(
                what, kind, name, path, "A name is one group of people: use the same share, or another name."
            )
        elif "programme" in {first.level, held.level} and first is not held:
            what = f"The holdout '{held.holdout.name}' is that of {place} too."
            findings.problem(what, kind, name, path, "A programme's holdout has a name of its own.")

    def held(holdout: Holdout, level: str, name: str = "") -> Held:
        return Held(holdout=holdout, level=level, name=name)  # type: ignore[arg-type]

    policy = project.policy
    if policy.holdout is not None:
        said[policy.holdout.name] = (held(policy.holdout, "global"), "the policy")
    for programme in policy.programmes:
        note(held(programme.holdout, "programme", programme.name), f"the programme '{programme.name}'", *_POLICY,
             f"programmes.{programme.name}.holdout")  # fmt: skip
    for journey in project.journeys:
        where = f"the journey '{journey.name}'"
        if journey.holdout is not None:
            note(held(journey.holdout, "journey", journey.name), where, "journeys", journey.name, "holdout")
        for step, place in _withholding(journey):
            if step.holdout is not None:
                note(held(step.holdout, "step", journey.name), where, "journeys", journey.name, f"{place}.holdout")
    _check_programmes(project, scope, findings)
    _check_steps(project, findings)


def _withholding(journey: Journey) -> Iterator[tuple[Send, str]]:
    """The sends of a journey with a holdout, also those among an exit's last steps, and where each stands."""
    for step, place in steps_of(journey) if any(step_holdouts(journey)) else ():
        if isinstance(step, Send) and step.holdout is not None:
            yield step, place


def _check_programmes(project: Project, scope: Scope, findings: Findings) -> None:
    """Journeys belong to programmes that there are, and programmes have journeys and metrics that there are."""
    if scope.partial:
        return
    names = {programme.name for programme in project.policy.programmes}
    for journey in project.journeys:
        if journey.programme and journey.programme not in names:
            remedy = near_miss(journey.programme, names) or "Declare it under 'programmes' in the policy."
            findings.problem(f"Unknown programme '{journey.programme}'.", "journeys", journey.name, "programme", remedy)
    taken = {journey.programme for journey in project.journeys}
    metrics = [metric.name for metric in project.metrics]
    for programme in project.policy.programmes:
        path = f"programmes.{programme.name}"
        if programme.name and programme.name not in taken:
            findings.problem(f"No journey belongs to the programme '{programme.name}'.", *_POLICY, path,
                             f"Say 'programme: {programme.name}' in its journeys, or remove it.")  # fmt: skip
        if programme.metric:
            findings.reference("metric", programme.metric, metrics, *_POLICY, f"{path}.metric")


def _check_steps(project: Project, findings: Findings) -> None:
    """Only marketing may be withheld from people to see what it is worth."""
    classes = {template.name: template.message_class for template in project.templates}
    for journey in project.journeys:
        for step, place in _withholding(journey):
            if classes.get(step.template) == "transactional":
                what = f"The template '{step.template}' is transactional, so it cannot be held out."
                remedy = "Transactional messages go to everybody. Remove the holdout."
                findings.problem(what, "journeys", journey.name, f"{place}.holdout", remedy)
