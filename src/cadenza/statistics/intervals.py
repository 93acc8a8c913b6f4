"""Quantiles and intervals: the normal, Student's t, Wilson's score interval. Standard library only."""

from __future__ import annotations

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_TINY = 1e-300


def normal_quantile(p: float) -> float:
    """The standard normal quantile (Wichura 1988, AS 241, as in ``statistics.NormalDist``).

    >>> round(normal_quantile(0.975), 6)
    1.959964
    """
    return _NORMAL.inv_cdf(p)


def normal_cdf(x: float) -> float:
    """The probability that a standard normal variable is at most ``x``."""
    return math.erfc(-x / math.sqrt(2)) / 2


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), 0 <= x <= 1, a and b positive.

    By the continued fraction DLMF 8.17.22, evaluated with Lentz's method as modified by Thompson and Barnett (1986);
    for x above (a + 1)/(a + b + 2), where it converges slowly, by the symmetry I_x(a, b) = 1 - I_{1-x}(b, a) (8.17.4).
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - incomplete_beta(b, a, 1 - x)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(log_front) / a * _beta_fraction(a, b, x)


def _beta_fraction(a: float, b: float, x: float) -> float:
    c, d = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, 100_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _away_from_zero(1 + term * d)
            c = _away_from_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def t_cdf(t: float, df: float) -> float:
    """The probability that Student's t with ``df`` (any positive number) degrees of freedom is at most ``t``
    (Abramowitz and Stegun 26.7.1).

    >>> round(t_cdf(2.0, 10), 6)
    0.963306
    """
    tail = incomplete_beta(df / 2, 0.5, df / (df + t * t)) / 2
    return 1 - tail if t > 0 else tail


def t_density(t: float, df: float) -> float:
    """The density of Student's t with ``df`` degrees of freedom."""
    log_scale = math.lgamma((df + 1) / 2) - math.lgamma(df / 2) - math.log(df * math.pi) / 2
    return math.exp(log_scale - (df + 1) / 2 * math.log1p(t * t / df))


def t_quantile(p: float, df: float) -> float:
    """Student's t quantile, 0 < p < 1, ``df`` positive; raises ValueError otherwise.

    Newton's method on ``t_cdf`` from the normal quantile, which lies below: the distribution function is concave
    there, so the steps rise to the root and never pass it.

    >>> round(t_quantile(0.975, 5), 6)
    2.570582
    """
    if not 0 < p < 1 or df <= 0:
        raise ValueError("t_quantile needs 0 < p < 1 and positive degrees of freedom.")
    if p < 0.5:
        return -t_quantile(1 - p, df)
    t = normal_quantile(p)
    if df > 1e7:
        return t
    for _ in range(200):
        step = (p - t_cdf(t, df)) / t_density(t, df)
        t += step
        if step <= 1e-13 * t:
            break
    return t


def wilson(successes: float, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927); (0, 1) when ``n`` is 0.

    >>> [round(x, 4) for x in wilson(56, 70)]
    [0.6918, 0.877]
    """
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile((1 + level) / 2)
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    low = (centre - spread) / scale if successes > 0 else 0.0
    high = (centre + spread) / scale if successes < n else 1.0
    return low, high
