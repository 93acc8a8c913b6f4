"""What is wrong with ``channel: best``: templates that are no choice, and amounts that weigh nothing."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.findings import Findings
from cadenza.definitions.flags import chooses
from cadenza.definitions.kinds import Journey, Send
from cadenza.definitions.kinds_policy import BestChannel, ChannelWorth
from cadenza.definitions.project import Project
from cadenza.definitions.typecheck import Scope
from cadenza.errors import near_miss

MOST_MONEY = 1_000_000
"""No cost and no worth is more."""
_POLICY = ("policy", "policy")


def check_choice(project: Project, journey: Journey, step: Send, scope: Scope, findings: Findings, path: str) -> None:
    """Check the templates of a send with ``channel: best``: one message, by several channels."""
    if scope.partial:
        return
    templates = {template.name: template for template in project.templates}
    taken: dict[str, str] = {}
    first = templates.get(step.template)
    for number, name in enumerate(step.templates):
        at = ("journeys", journey.name, f"{path}.templates.{number}")
        findings.reference("template", name, templates, *at)
        template = templates.get(name)
        if template is None:
            continue
        other = taken.setdefault(template.channel, name)
        if name in step.templates[:number]:
            findings.problem(f"The template '{name}' is written twice.", *at, "Remove one of the two.")
        elif other != name:
            what = f"'{other}' and '{name}' both go by {template.channel}, so there is no channel to choose."
            findings.problem(what, *at, "Keep one template for each channel.")
        for key, word in (("message_class", "class"), ("purpose", "purpose")):
            mine, theirs = getattr(template, key), getattr(first, key, None)
            if first is not None and mine != theirs:
                what = f"'{name}' has the {word} '{mine}', '{first.name}' has '{theirs}'."
                findings.problem(what, *at, f"They are one message by several channels: give them one {word}.")


def check_best_channel(project: Project, scope: Scope, findings: Findings) -> None:
    """Check how the policy weighs channels."""
    best = project.policy.best_channel
    if best is None:
        return
    if not scope.partial and not any(chooses(journey) for journey in project.journeys):
        what = "No send says 'channel: best', so 'best_channel' weighs nothing."
        findings.warning(
            what, *_POLICY, "best_channel", "Say 'send: { channel: best, templates: [...] }' in a journey."
        )
    _money(best.worth, "worth", "best_channel.worth", findings)
    for channel in best.channels:
        at = f"best_channel.channels.{channel.name}"
        _money(channel.cost, "cost", f"{at}.cost", findings)
        if channel.name and channel.name not in scope.channels and not scope.partial:
            hint = near_miss(channel.name, scope.channels)
            findings.problem(f"Unknown channel '{channel.name}'.", *_POLICY, at, hint)
        _response(best, channel, at, scope, findings)


def _response(best: BestChannel, channel: ChannelWorth, at: str, scope: Scope, findings: Findings) -> None:
    said = "response" if channel.response is not None else "usual" if channel.usual_bp else None
    if said and not best.worth and not findings.said(*_POLICY, "best_channel.worth"):
        what = f"'{said}' weighs nothing: it is not said what a response is worth."
        findings.problem(what, *_POLICY, f"{at}.{said}", "Say 'worth' under 'best_channel', in the money of the costs.")
    if channel.response is None:
        return
    alone = replace(scope, journey_allowed=False)
    found = findings.expression(alone, channel.response, *_POLICY, f"{at}.response")
    if found not in ("integer", None):
        what = f"The response is of type {found}."
        findings.problem(
            what, *_POLICY, f"{at}.response", "It says how often, so it must be a whole number: events(...)."
        )


def _money(amount: float, word: str, path: str, findings: Findings) -> None:
    if not 0 <= amount <= MOST_MONEY:
        what = f"The {word} {amount:g} is not from 0 to {MOST_MONEY:,}."
        findings.problem(what, *_POLICY, path, "It is an amount of money for one message.")
