"""Caps by the local calendar, of a topic or journey, and with room for each."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE
from cadenza.definitions.kinds import Cap, Entry, Exit, Journey, Send, Step, Trigger, Wait
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick


def _capped(c: Chooser, project: Project) -> Project:
    topics = ("offers", "newsletter")
    templates = tuple(
        replace(t, topic=pick(c, topics)) if t.message_class == "marketing" and chance(c, 40) else t
        for t in project.templates
    )
    named = sorted({t.topic or t.purpose for t in templates if t.message_class == "marketing"})
    caps = tuple(_cap(c, i, named, project) for i in range(1 + c.below(3)))
    deadline = 3600 * pick(c, [72, 24, 24 * 8, 24 * 33])
    quiet = project.policy.quiet_hours if chance(c, 40) else None
    policy = replace(project.policy, caps=caps, deadline_s=deadline, quiet_hours=quiet, suppress=())
    return replace(project, templates=templates, policy=policy, journeys=crowd(c, project.journeys))


def crowd(c: Chooser, journeys: tuple[Journey, ...]) -> tuple[Journey, ...]:
    """Journeys of one arena-less kind that all want the same person at once, again and again."""
    entry = Entry(on=Trigger(event="Order Completed"), again="after_exit")
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=864000 * 4)
    return tuple(
        replace(j, entry=entry, exit=exit_, arena=None, holdout=None, priority=pick(c, [50, 20]), steps=_sends(c))
        for j in journeys
    )


def _sends(c: Chooser) -> tuple[Step, ...]:
    hours = pick(c, [1, 6, 24, 72])
    first, second = (Send(template=pick(c, ["hello", "text", "hello", "news"])) for _ in range(2))
    return (first, Wait(duration_s=3600 * hours), second)


def _cap(c: Chooser, number: int, topics: list[str], project: Project) -> Cap:
    calendar = pick(c, ["day", "week", "month", None])
    only = pick(c, ["", "", "channel", "topic", "journey"])
    each = pick(c, [None, "journey", "topic", "channel"])
    return Cap(
        name=f"cap{number}", limit=pick(c, [1, 1, 2, 1, 2, 0] if number else [1, 1, 2]),
        per_s=0 if calendar else 3600 * pick(c, [24, 72, 6]), calendar=calendar,  # type: ignore[arg-type]
        channel=pick(c, ["email", "sms"]) if only == "channel" else None,
        topic=pick(c, topics) if only == "topic" else None,
        journey=pick(c, [j.name for j in project.journeys]) if only == "journey" else None,
        each=each if each != only else None,  # type: ignore[arg-type]
        when_full=pick(c, ["defer", "defer", "drop"]),  # type: ignore[arg-type]
    )  # fmt: skip


ADDITION = Addition(project=_capped)
