"""Send windows, quiet hours of a channel, and jurisdictions with hours and consent of their own."""

from __future__ import annotations

from msgspec.structs import replace

from cadenza.definitions.kinds_policy import ChannelQuietHours, Jurisdiction, Policy, QuietHours, SendWindow
from cadenza.definitions.project import Project
from cadenza.simulate.addition import Addition
from cadenza.simulate.additions.caps import crowd
from cadenza.simulate.chooser import Chooser, chance, pick

_WORK = ("mon", "tue", "wed", "thu", "fri")
_QUIET = [("21:00", "08:00"), ("22:00", "02:30"), ("01:30", "02:30"), ("02:00", "03:00"), ("19:00", "09:00")]
_OPEN = [("09:00", "18:00"), ("02:00", "02:30"), ("00:00", "24:00"), ("03:00", "24:00"), ("10:00", "11:00")]


def _with_hours(c: Chooser, project: Project) -> Project:
    old = project.policy
    policy = Policy(
        quiet_hours=_quiet(c) if chance(c, 40) else None, channel_quiet_hours=_of_channel(c), send_windows=_windows(c),
        missing_time_zone=old.missing_time_zone, deadline_s=86400 * pick(c, [3, 8, 1]), caps=old.caps if chance(c, 30) else (),
    )  # fmt: skip
    if chance(c, 60):
        policy = replace(
            policy, jurisdiction_trait="plan", unknown_jurisdiction=pick(c, ["gold", "drop", "free"]),
            jurisdictions=tuple(_jurisdiction(c, name) for name in ("free", "gold")),
        )  # fmt: skip
    return replace(project, policy=policy, journeys=crowd(c, project.journeys))


def _jurisdiction(c: Chooser, name: str) -> Jurisdiction:
    return Jurisdiction(
        name=name, consent=pick(c, ["opt_out", "opt_in", "opt_out"]), quiet_hours=_quiet(c) if chance(c, 30) else None,  # type: ignore[arg-type]
        send_windows=_windows(c, ((),)) if chance(c, 30) else (),
    )  # fmt: skip


def _quiet(c: Chooser) -> QuietHours:
    begin, end = pick(c, _QUIET)
    return QuietHours(from_=begin, to=end)


def _of_channel(c: Chooser) -> tuple[ChannelQuietHours, ...]:
    begin, end = pick(c, _QUIET)
    return (ChannelQuietHours(channel=pick(c, ["sms", "email"]), from_=begin, to=end),) if chance(c, 40) else ()


def _windows(c: Chooser, days: tuple[tuple[str, ...], ...] = ((), _WORK, ("sat", "sun"))) -> tuple[SendWindow, ...]:
    """None or a few; one is long enough that with any quiet hours the week has an open hour."""
    if chance(c, 30):
        return ()
    hours = [("08:00", "20:00"), *(pick(c, _OPEN) for _ in range(c.below(3)))]
    channel = pick(c, [None, "email", "sms"])
    chosen = pick(c, days)
    return tuple(SendWindow(channel=channel, days=chosen, from_=a, to=b) for a, b in hours)  # type: ignore[arg-type]


ADDITION = Addition(project=_with_hours)
