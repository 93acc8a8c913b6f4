"""``channel: best`` in the reference model: which of a send's templates goes to one person now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from cadenza.clock import EPOCH
from cadenza.definitions.kinds import Template
from cadenza.definitions.kinds_policy import BestChannel, millionths
from cadenza.definitions.project import Project
from cadenza.simulate import verdicts
from cadenza.simulate.evaluate import View, evaluate
from cadenza.simulate.person import Enrollment, Message, Person
from cadenza.simulate.verdicts import Verdict


def best_of(
    project: Project, person: Person, enrollment: Enrollment, templates: list[Template], view: View,
    sent: list[Message], killed: Callable[[Template], bool], held_out: Callable[[], bool],
) -> Template:  # fmt: skip
    """B1 to B4 of the specification. ``sent``: the person's messages that count; ``held_out``: whether one of the
    holdouts withholds the message, asked only where nothing before them does."""

    def judged(template: Template, arm: str) -> Verdict | None:
        return verdicts.judge(project, person, enrollment, template, view, lambda: arm, killed=killed(template))

    allowed = [t for t in templates if judged(t, "holdout") in (verdicts.SEND, Verdict("drop", "holdout"))]
    if not allowed:
        return templates[0]
    if allowed[0].message_class == "marketing" and held_out():
        return allowed[0]
    counted = [m for m in sent if m.marketing]
    ranked = []
    for place, template in enumerate(allowed):
        found = judged(template, "treated") or verdicts.capped(project, enrollment, template, counted, view)
        order = ("send", "defer", "drop").index(found.verdict)
        worth = 0 if found.verdict == "drop" else score(project, template.channel, sent, view)
        ranked.append((order, found.until or EPOCH, -worth, place, template))
    return min(ranked, key=lambda r: r[:4])[4]


def score(project: Project, channel: str, sent: list[Message], view: View) -> int:
    """B3: what a message by the channel is worth to this person's response, less its cost, in millionths of money."""
    best = project.policy.best_channel or BestChannel(channels=())
    said = best.of(channel)
    messages = responses = weight = 0
    if said.response is not None:
        since = view.now - timedelta(seconds=best.within_s)
        messages = sum(m.channel == channel and since < m.planned_at <= view.now for m in sent)
        answer = evaluate(said.response, view)
        responses = min(max(int(str(answer)) if answer is not None else 0, 0), messages)
    weight = best.weight
    rate = (10_000 * responses + weight * said.usual_bp, 10_000 * (messages + weight))
    return millionths(best.worth) * rate[0] // rate[1] - millionths(said.cost)
