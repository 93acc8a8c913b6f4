"""Sends that choose their channel, where channels differ in what is allowed, open, capped, responded to and paid for."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from cadenza.definitions.expression import FALSE, parse
from cadenza.definitions.kinds import Cap, Entry, Exit, Holdout, Journey, QuietHours, Send, Step, Trigger, Wait
from cadenza.definitions.kinds_policy import BestChannel, ChannelQuietHours, ChannelWorth, SendWindow
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.chooser import Chooser, chance, pick

_RESPONSES = [
    "events('Email Link Clicked', within => '2 days')",
    "events('Order Completed')",
    "events('Trial Started')",
    "events('Order Completed', within => '12 hours')",
    "events('Order Completed') - 1",
]
_CHANNELS = ("email", "sms")


def _project(c: Chooser, project: Project) -> Project:
    class_ = pick(c, ["marketing", "marketing", "marketing", "transactional"])
    templates = tuple(
        replace(t, message_class=class_, purpose="marketing", topic=None) if t.name in ("hello", "text") else t  # type: ignore[arg-type]
        for t in project.templates
    )  # fmt: skip
    policy = replace(
        project.policy, caps=_caps(c), suppress=project.policy.suppress if chance(c, 20) else (), best_channel=_best(c),
        holdout=Holdout(name="all", share_bp=2500) if chance(c, 30) else None,
        quiet_hours=QuietHours(from_="22:00", to="07:00") if chance(c, 30) else None,
        channel_quiet_hours=_quiet(c), send_windows=_windows(c), deadline_s=3600 * pick(c, [6, 24, 24, 72]),
        missing_time_zone=pick(c, ["drop", "UTC", "Europe/Berlin"]),
    )  # fmt: skip
    return replace(
        project, templates=templates, policy=policy, journeys=tuple(_journey(c, j) for j in project.journeys)
    )


def _journey(c: Chooser, journey: Journey) -> Journey:
    exit_ = Exit(goal=FALSE, disqualified=FALSE, superseded=True, time_limit_s=864000 * 4)
    steps: tuple[Step, ...] = (_send(c), Wait(duration_s=3600 * pick(c, [1, 6, 24])), _send(c), _send(c))
    entry = Entry(on=Trigger(event=pick(c, ["Order Completed", "Trial Started"])), again="after_exit")
    return replace(journey, entry=entry, exit=exit_, arena=None, holdout=None, priority=pick(c, [50, 20]), steps=steps)


def _send(c: Chooser) -> Step:
    if chance(c, 20):
        return Send(template=pick(c, ["hello", "text", "news"]))
    templates = ("hello", "text") if chance(c, 50) else ("text", "hello")
    held = Holdout(name="step", share_bp=4000) if chance(c, 20) else None
    return Send(template=templates[0], templates=templates, holdout=held)


def _caps(c: Chooser) -> tuple[Cap, ...]:
    found: list[Cap] = []
    for number in range(c.below(3)):
        calendar = pick(c, [None, "day"])
        found.append(Cap(
            name=f"cap{number}", limit=pick(c, [1, 1, 2, 0]), per_s=0 if calendar else 3600 * pick(c, [6, 24]),
            calendar=calendar, channel=pick(c, [*_CHANNELS, None]), when_full=pick(c, ["defer", "drop"]),  # type: ignore[arg-type]
        ))  # fmt: skip
    return tuple(found)


def _quiet(c: Chooser) -> tuple[ChannelQuietHours, ...]:
    begin = pick(c, ["20:00", "06:30", "00:00"])
    return (ChannelQuietHours(channel=pick(c, list(_CHANNELS)), from_=begin, to="11:00"),) if chance(c, 50) else ()


def _windows(c: Chooser) -> tuple[SendWindow, ...]:
    return (SendWindow(channel=pick(c, list(_CHANNELS)), from_="08:00", to=pick(c, ["12:00", "21:00"])),) if chance(c, 40) else ()  # fmt: skip


def _best(c: Chooser) -> BestChannel | None:
    if chance(c, 20):
        return None
    channels = tuple(
        ChannelWorth(
            name=name, cost=pick(c, [0, 0.001, 0.045, 0.1]), usual_bp=pick(c, [0, 300, 2000]),
            response=parse(pick(c, _RESPONSES)) if chance(c, 70) else None,
        )
        for name in _CHANNELS
        if not chance(c, 15)
    )  # fmt: skip
    return BestChannel(
        channels=channels or (ChannelWorth(name="sms", cost=0.02),), worth=pick(c, [0, 0.5, 3]),
        within_s=3600 * pick(c, [12, 48, 24 * 90]), weight=pick(c, [1, 3, 20]),
    )  # fmt: skip


def _call(c: Chooser, project: Project, at: int) -> dict[str, Any]:
    """What makes one channel possible or impossible."""
    channel = pick(c, list(_CHANNELS))
    if chance(c, 60):
        said = {"purpose": "marketing", "channel": channel, "granted": not chance(c, 25)}
        return {"type": "track", "event": "Consent Updated", "properties": said}
    name = pick(c, ["Suppressed", "Unsuppressed"])
    return {"type": "track", "event": name, "properties": {"channel": channel, "reason": "complaint"}}


ADDITION = Addition(project=_project, call=_call, percent=20)
