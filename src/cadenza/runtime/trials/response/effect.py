"""What a message does to how often something happens, where holdouts show it; nothing is assumed where they do not.

Treated and held-out units are compared as they were assigned, whether or not a message came (intention to treat),
within each holdout, and combined with the weights of Mantel and Haenszel (Greenland and Robins 1985). Divided by
the difference in who got a message, that is the effect on those whom the assignment gave one (Wald 1940; Imbens and
Angrist 1994). What is in force elsewhere (other journeys' messages) reaches both arms alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from cadenza.runtime.trials.response.model import Estimate
from cadenza.statistics.intervals import normal_quantile

FEWEST = 50
"""Units of an arm below which nothing is estimated."""
LEAST_REACHED = 0.1
"""By so much more often must treated units have got a message."""


class Arm(msgspec.Struct, frozen=True, kw_only=True):
    """Units of one arm of a holdout: how many, who got a message, the events' sum and sum of squares."""

    name: str
    holdout: str
    arm: str
    units: int
    got: int
    n: int
    squares: int

    @property
    def mean(self) -> float:
        return self.n / self.units

    @property
    def variance(self) -> float:
        """Of the mean."""
        spread = self.squares / self.units - self.mean**2
        return spread / max(self.units - 1, 1)


def estimated(name: str, arms: Iterable[Arm]) -> Estimate:
    """The effect on an event, from the arms of every holdout."""
    pairs = [pair for pair in _pairs(arms) if all(arm.units for arm in pair)]
    treated, held = sum(t.units for t, _ in pairs), sum(h.units for _, h in pairs)
    whole = Estimate(name=name, used=False, reason="", treated=treated, held_out=held)

    def none(reason: str) -> Estimate:
        return msgspec.structs.replace(whole, reason=reason)

    if not pairs:
        return none("no holdout was live long enough")
    if min(treated, held) < FEWEST:
        return none(f"too few units: {FEWEST} of each arm are needed")
    weights = [t.units * h.units / (t.units + h.units) for t, h in pairs]
    total = sum(weights)

    def combined(values: Iterable[float]) -> float:
        return sum(w * v for w, v in zip(weights, values, strict=True)) / total

    reached = combined(t.got / t.units - h.got / h.units for t, h in pairs)
    if reached < LEAST_REACHED:
        return none("the treated got hardly more messages than the held out")
    change = combined(t.mean - h.mean for t, h in pairs) / reached
    variance = sum(w * w * (t.variance + h.variance) for w, (t, h) in zip(weights, pairs, strict=True)) / total**2
    error = math.sqrt(variance) / reached
    without = combined(h.mean - change * h.got / h.units for _, h in pairs)
    if without <= 0 or error == 0:
        return none("it happened too rarely")
    half = normal_quantile(0.975) * error
    found = msgspec.structs.replace(
        whole, ratio=change / without, low=(change - half) / without, high=(change + half) / without,
        error=error / without,
    )  # fmt: skip
    if change - half <= 0 <= change + half:
        return msgspec.structs.replace(found, reason="the holdouts cannot tell it from none")
    return msgspec.structs.replace(found, used=True)


def _pairs(arms: Iterable[Arm]) -> list[tuple[Arm, Arm]]:
    found: dict[str, dict[str, Arm]] = {}
    for arm in arms:
        found.setdefault(arm.holdout, {})[arm.arm] = arm
    return [(a["treated"], a["holdout"]) for _, a in sorted(found.items()) if {"treated", "holdout"} <= a.keys()]
