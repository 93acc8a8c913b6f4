"""Sample ratio: is the split of units what was declared? If not, the comparison is not to be trusted."""

from __future__ import annotations

import math

import msgspec

ALARM = 0.001
"""Below this probability the split counts as broken (Fabijan et al., KDD 2019, use 0.0005 to 0.01)."""


class RatioCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Shares are those of the held-out units. ``p_value``: how often chance alone would give a split at least as far
    from the declared one; None without any unit."""

    expected_share: float
    observed_share: float | None
    p_value: float | None
    ok: bool


def check(treated: int, held_out: int, held_out_bp: int) -> RatioCheck:
    """Pearson's chi-square with one degree of freedom against the declared share (basis points held out).

    P(chi-square > x) with one degree of freedom is erfc(sqrt(x / 2)) (Abramowitz and Stegun 26.4).

    >>> check(8_000, 2_000, 2_000).ok, check(8_200, 1_800, 2_000).ok
    (True, False)
    """
    expected = held_out_bp / 10_000
    n = treated + held_out
    if n == 0:
        return RatioCheck(expected_share=expected, observed_share=None, p_value=None, ok=True)
    observed = held_out / n
    if expected in (0.0, 1.0):
        p_value = 1.0 if observed == expected else 0.0
    else:
        gap = held_out - n * expected
        p_value = math.erfc(math.sqrt(gap * gap / (n * expected * (1 - expected)) / 2))
    return RatioCheck(expected_share=expected, observed_share=observed, p_value=p_value, ok=p_value >= ALARM)
