"""When a running journey is worth a look although nothing fails: its alerts as a frozen struct."""

from __future__ import annotations

from typing import Literal

from cadenza.definitions.definition import Definition

AlertCode = Literal["no_entries", "quiet_step", "branch_jump", "unknown", "drops"]


class Alerts(Definition, frozen=True, kw_only=True):
    """What is judged of a journey, always against its own past: a window is compared with the four of its length before it.
    Shares are judged of at least ``least`` in both."""

    no_entries_s: int | None = None
    """Nobody entered for so long. None: 7 days, and only where at least 4 entered in the four windows before."""
    quiet_step_s: int = 14 * 86_400
    """A step at which nobody arrived for so long, after at least 8 did in the four windows before."""
    over_s: int = 7 * 86_400
    """The window of the shares below."""
    branch_jump_bp: int = 2_000
    """An arm of a branch whose share moved by so much."""
    unknown_bp: int = 3_000
    """So much of a branch's traffic takes ``unknown``."""
    drops_bp: int = 2_000
    """A reason for not sending whose share of all verdicts rose by so much."""
    least: int = 30
    mute: tuple[AlertCode, ...] = ()
    """Alerts that are not wanted."""
