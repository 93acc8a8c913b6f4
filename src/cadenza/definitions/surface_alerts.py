"""The YAML surface of a journey's alerts."""

from __future__ import annotations

from typing import get_args

from cadenza.definitions.kinds_alerts import AlertCode, Alerts
from cadenza.definitions.shapes import Choice, Duration, Fields, ListOf, Share, Whole
from cadenza.definitions.surface_kind import field

ALERTS = Fields(Alerts, (
    field("no_entries", Duration(), "Nobody entered for so long. Without it 7 days, where there used to be entries.",
       attribute="no_entries_s", example="1 day"),
    field("quiet_step", Duration(), "A step at which nobody arrived for so long, though people used to.",
       attribute="quiet_step_s", example="14 days"),
    field("over", Duration(), "The window of the shares below; it is compared with the four before it.",
       attribute="over_s", example="7 days"),
    field("branch_jump", Share(1, 10_000), "An arm of a branch whose share moved by so much.", attribute="branch_jump_bp",
       example="20%"),
    field("unknown", Share(1, 10_000), "So much of a branch's traffic takes `unknown`.", attribute="unknown_bp", example="30%"),
    field("drops", Share(1, 10_000), "A reason for not sending whose share of all verdicts rose by so much.",
       attribute="drops_bp", example="20%"),
    field("least", Whole(1, 1_000_000), "Shares of fewer are not judged.", example="30"),
    field("mute", ListOf(Choice(get_args(AlertCode)), single=True), "Alerts that are not wanted.", example="[quiet_step]"),
))  # fmt: skip
