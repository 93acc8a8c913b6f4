"""The placebo test: where nothing was sent, how often does the interval wrongly see an effect?

The same units are assigned again and again under other salts. No assignment had any effect, so an interval at
95 % should miss zero in about 1 of 20 of them; clearly more says that the interval (or the assignment) is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from cadenza.ids import bucket
from cadenza.statistics.intervals import wilson
from cadenza.statistics.lift import LEVEL, mean_difference


class PlaceboResult(msgspec.Struct, frozen=True, kw_only=True):
    """``share_missing``: of the re-salted assignments that gave an interval, how many did not cover zero; chance
    puts that between ``low`` and ``high`` (Wilson, 95 %). ``expected`` is 1 - level."""

    assignments: int
    missing: int
    share_missing: float | None
    low: float
    high: float
    expected: float

    @property
    def ok(self) -> bool:
        """Whether the expected share lies within what was seen, give or take chance."""
        return self.low <= self.expected <= self.high


def placebo(
    units: Sequence[tuple[int, float]], share_bp: int, salts: Iterable[str], level: float = LEVEL
) -> PlaceboResult:
    """Assign the units (person, value) anew under each salt, ``share_bp`` of them held out, as
    ``ids.bucket(salt, person)`` does it everywhere, and count the intervals that do not cover zero.
    Salts that leave fewer than two units in an arm are not counted."""
    n = len(units)
    total = math.fsum(value for _, value in units)
    squares = math.fsum(value * value for _, value in units)
    assignments = missing = 0
    for salt in salts:
        held = [value for person, value in units if bucket(salt, person) < share_bp]
        n_held = len(held)
        if min(n_held, n - n_held) < 2:
            continue
        sum_held, squares_held = math.fsum(held), math.fsum([value * value for value in held])
        result = mean_difference(
            n - n_held, total - sum_held, squares - squares_held, n_held, sum_held, squares_held, level
        )
        assignments += 1
        missing += not result.covers_zero
    low, high = wilson(missing, assignments)
    return PlaceboResult(
        assignments=assignments, missing=missing, share_missing=missing / assignments if assignments else None,
        low=low, high=high, expected=1 - level,
    )  # fmt: skip
