"""Sample ratio: is the split of units what was declared? If not, the comparison is not to be trusted."""

from __future__ import annotations

import math
from collections.abc import Sequence

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


class ArmsCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Several arms against their declared shares. ``p_value``: see ``RatioCheck``."""

    p_value: float | None
    ok: bool


def check_arms(units: Sequence[int], shares_bp: Sequence[int]) -> ArmsCheck:
    """Pearson's chi-square of the units of each arm against the declared shares (basis points, each above 0).

    >>> check_arms([500, 300, 200], [5_000, 3_000, 2_000]).ok, check_arms([600, 300, 100], [5_000, 3_000, 2_000]).ok
    (True, False)
    """
    n, whole = sum(units), sum(shares_bp)
    if n == 0:
        return ArmsCheck(p_value=None, ok=True)
    expected = [n * share / whole for share in shares_bp]
    statistic = math.fsum((seen - wanted) ** 2 / wanted for seen, wanted in zip(units, expected, strict=True))
    p_value = chi_square_above(statistic, len(units) - 1)
    return ArmsCheck(p_value=p_value, ok=p_value >= ALARM)


def chi_square_above(x: float, degrees: int) -> float:
    """P(chi-square > x) for whole degrees of freedom: the finite sums of Abramowitz and Stegun 26.4.4 and 26.4.5.

    >>> round(chi_square_above(3.841459, 1), 4), round(chi_square_above(5.991465, 2), 4), round(chi_square_above(11.0705, 5), 4)
    (0.05, 0.05, 0.05)
    """
    if x <= 0:
        return 1.0
    half, odd = x / 2, degrees % 2
    terms = (
        math.exp(i * math.log(half) - half - math.lgamma(i + 1)) for i in (k + odd / 2 for k in range(degrees // 2))
    )
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    return min(1.0, tail + math.fsum(terms))
