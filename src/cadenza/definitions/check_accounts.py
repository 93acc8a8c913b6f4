"""What is wrong with accounts: journeys and segments of theirs where there are none, and what crosses from one subject to the other."""

from __future__ import annotations

from collections.abc import Iterator

from cadenza.definitions.expression import Consented, Expr, InJourney, InSegment, walk
from cadenza.definitions.findings import Findings
from cadenza.definitions.kinds import ACCOUNT, Call, Enter, HandOff, Journey, Send, Subject
from cadenza.definitions.kinds_journey import Branch, WaitFor
from cadenza.definitions.project import Project
from cadenza.definitions.spots import steps_of

_OTHER: dict[Subject, Subject] = {"person": "account", "account": "person"}
_DECLARE = "Say 'accounts: { from: context.groupId }' in identity.yaml."


def check_accounts(project: Project, findings: Findings) -> None:
    """Check everything that is about accounts, and that nobody asks of one subject what only the other has."""
    declared = project.identity.accounts is not None
    if not declared and not any(d.subject == "account" for d in (*project.segments, *project.journeys)):
        return
    for number, identifier in enumerate(project.identity.identifiers if declared else ()):
        if identifier.type == ACCOUNT:
            what = f"The identifier '{ACCOUNT}' is that of accounts."
            findings.problem(what, "identity", "identity", f"identifiers.{number}", "Give it another name.")
    for kind, definitions in (("segments", project.segments), ("journeys", project.journeys)):
        for definition in definitions:
            if definition.subject == "account" and not declared:
                findings.problem(
                    "It is about accounts, but there are none.", kind, definition.name, "subject", _DECLARE
                )
    crossing = _Crossing(project, findings)
    for segment in project.segments:
        crossing.tree(segment.when, segment.subject, "segments", segment.name, "when")
    for number, rule in enumerate(project.policy.suppress):
        crossing.tree(rule.when, "person", "policy", "policy", f"suppress.{number}.when")
    for journey in project.journeys:
        crossing.journey(journey)
        if journey.subject == "account":
            _check_account_journey(journey, findings)


class _Crossing:
    """What one subject's conditions, triggers and steps ask of the other."""

    def __init__(self, project: Project, findings: Findings) -> None:
        self._findings = findings
        self._segments = {segment.name: segment.subject for segment in project.segments}
        self._journeys = {journey.name: journey.subject for journey in project.journeys}

    def tree(self, tree: Expr, subject: Subject, kind: str, name: str, path: str) -> None:
        """A condition about a subject."""
        for node in walk(tree):
            if isinstance(node, InSegment) and self._segments.get(node.name, subject) != subject:
                self._report("segment", node.name, subject, kind, name, path)
            elif isinstance(node, InJourney) and self._journeys.get(node.name, subject) != subject:
                self._report("journey", node.name, subject, kind, name, path)
            elif isinstance(node, Consented) and subject == "account":
                what = "An account has no consents; this is never true."
                self._findings.problem(
                    what, kind, name, path, "Consent is asked of persons, when they are sent something."
                )

    def journey(self, journey: Journey) -> None:
        """A journey's trigger, conditions and steps."""
        on = journey.entry.on
        if on.segment is not None and self._segments.get(on.segment, journey.subject) != journey.subject:
            self._report("segment", on.segment, journey.subject, "journeys", journey.name, "entry.on.segment")
        for tree, path in _conditions(journey):
            self.tree(tree, journey.subject, "journeys", journey.name, path)
        for step, path in steps_of(journey):
            if isinstance(step, Enter) and self._journeys.get(step.journey, journey.subject) != journey.subject:
                self._report("journey", step.journey, journey.subject, "journeys", journey.name, path)

    def _report(self, noun: str, wanted: str, subject: Subject, kind: str, name: str, path: str) -> None:
        what = f"The {noun} '{wanted}' is about {_OTHER[subject]}s, and this about {subject}s."
        self._findings.problem(what, kind, name, path, f"Ask of a {noun} with 'subject: {subject}'.")


def _conditions(journey: Journey) -> Iterator[tuple[Expr, str]]:
    entry, ends = journey.entry, journey.exit
    found = ((entry.on.becomes, "entry.on.becomes"), (entry.when, "entry.when"), (entry.unless, "entry.unless"),
             (ends.goal, "exit.goal"), (ends.disqualified, "exit.disqualified"))  # fmt: skip
    yield from ((tree, path) for tree, path in found if tree is not None)
    for step, path in steps_of(journey):
        if isinstance(step, WaitFor):
            yield from ((tree, path) for tree in step.conditions)
        elif isinstance(step, Branch):
            yield from ((arm.when, f"{path}.arms.{number}") for number, arm in enumerate(step.arms))


def _check_account_journey(journey: Journey, findings: Findings) -> None:
    """What an account cannot have or do."""

    def problem(what: str, path: str, remedy: str) -> None:
        findings.problem(what, "journeys", journey.name, path, remedy)

    if journey.entry.on.api:
        problem(
            "The API names persons, and not accounts.",
            "entry.on.api",
            "Send an event of the account, and enter by that.",
        )
    if journey.programme is not None:
        problem("A programme holds out persons.", "programme", "Give the journey a holdout of its own: of accounts.")
    if journey.value is not None:
        problem("'value' ranks messages, and this journey sends none.", "value", "Leave it out.")
    for step, path in steps_of(journey):
        if isinstance(step, Send):
            problem("A message goes to a person, and not to an account.", path,
                    "Hand it to people ('hand_off'), call a service, or let a journey of persons send.")  # fmt: skip
        elif isinstance(step, HandOff) and step.hold_marketing:
            problem("'hold_marketing' holds the marketing of a person.", f"{path}.hold_marketing", "Leave it out.")
        elif isinstance(step, Call) and step.purpose is not None:
            problem(
                "A purpose asks for a person's consent.", f"{path}.purpose", "Leave it out: an account has no consents."
            )
