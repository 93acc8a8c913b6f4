"""When channels rest, as spans of the local week: what quiet hours and send windows come to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Literal, Union

import msgspec

from cadenza.definitions.kinds_policy import Jurisdiction, Policy, QuietHours, SendWindow
from cadenza.definitions.kinds_wait import WEEKDAYS

DAY_S = 86400
WEEK_S = 7 * DAY_S

Spans = list[tuple[int, int]]
"""Spans of the local week, in seconds since Monday 00:00, each without its end."""


class Closed(msgspec.Struct, frozen=True, kw_only=True):
    """A span of the local week in which a channel rests for persons of a jurisdiction (empty: there are none);
    it opens at ``opens_s``, of the next week where that is past its end."""

    channel: str
    jurisdiction: str
    from_s: int
    to_s: int
    opens_s: int
    reason: Literal["quiet_hours", "send_window"]


def closed_hours(policy: Policy, channels: Iterable[str]) -> list[Closed]:
    """The spans of every channel and jurisdiction that has any, in order."""
    places: list[Jurisdiction | None] = [*policy.jurisdictions] or [None]
    pairs = [(channel, place) for channel in sorted(set(channels)) for place in places]
    return [closed for channel, place in pairs for closed in _closed(policy, channel, place)]


def never_opens(policy: Policy, channel: str, place: Jurisdiction | None) -> bool:
    """Whether the channel rests the whole week."""
    return all(reason for _, _, reason in _pieces(policy, channel, place))


def _closed(policy: Policy, channel: str, place: Jurisdiction | None) -> Iterator[Closed]:
    pieces = _pieces(policy, channel, place)
    openings = [begin for begin, _, reason in pieces if reason is None]
    for begin, end, reason in pieces:
        if reason is not None and openings:
            opens = next((o for o in openings if o >= end), WEEK_S + openings[0])
            yield Closed(
                channel=channel, jurisdiction=place.name if place else "", from_s=begin, to_s=end, opens_s=opens,
                reason=reason,
            )  # fmt: skip


_Piece = tuple[int, int, Literal["quiet_hours", "send_window"] | None]


def _pieces(policy: Policy, channel: str, place: Jurisdiction | None) -> list[_Piece]:
    """The week in pieces that are open (None) or closed for one reason throughout."""
    rules: list[Union[Policy, Jurisdiction]] = [policy, *([place] if place else [])]
    quiet = [span for rule in rules for span in _quiet(rule, channel)]
    windows = [spans for rule in rules if (spans := _open(rule, channel)) is not None]
    edges = sorted({0, WEEK_S, *(edge for spans in (quiet, *windows) for span in spans for edge in span)})
    found: list[_Piece] = []
    for begin, end in pairwise(edges):
        reason = None if all(_within(begin, spans) for spans in windows) else "send_window"
        reason = "quiet_hours" if _within(begin, quiet) else reason
        if found and found[-1][2] == reason:
            begin = found.pop()[0]
        found.append((begin, end, reason))
    return found


def _within(second: int, spans: Spans) -> bool:
    return any(begin <= second < end for begin, end in spans)


def _quiet(rule: Policy | Jurisdiction, channel: str) -> Spans:
    """The quiet hours of every day."""
    found: list[QuietHours] = [rule.quiet_hours] if rule.quiet_hours else []
    found += [q for q in rule.channel_quiet_hours if q.channel == channel]
    inside: Spans = []
    for quiet in found:
        start, end = _seconds(quiet.from_), _seconds(quiet.to)
        inside += [(start, end)] if start < end else [(0, end), (start, DAY_S)] if start > end else []
    return [(day * DAY_S + a, day * DAY_S + b) for day in range(7) for a, b in inside if a < b]


def _open(rule: Policy | Jurisdiction, channel: str) -> Spans | None:
    """The send windows of the channel; None where it has none."""
    windows: list[SendWindow] = [w for w in rule.send_windows if w.channel in (None, channel)]
    if not windows:
        return None
    return [
        (day * DAY_S + _seconds(w.from_), day * DAY_S + _seconds(w.to))
        for w in windows for day, name in enumerate(WEEKDAYS) if not w.days or name in w.days
    ]  # fmt: skip


def _seconds(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60
