"""Shares and rates of several groups, shrunk to what is common to all, with what is not known of either; and chance.

Hierarchical models: the groups' true values are drawn from one Beta (or Gamma), whose spread is itself not known. Its
posterior is taken on a grid, uniform in the spread (Gelman et al., Bayesian Data Analysis, third edition, section 5.3); given
the spread, the mean has about the posterior of as many independent trials as the groups are worth. A group with
little evidence stays near the mean; groups that differ by no more than chance come out nearly as one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import msgspec

from cadenza.ids import seeded_random

_SPREADS = 24
"""Points of the grid, from no spread at all to the widest."""
_WIDEST = 2.0
"""The widest coefficient of variation of rates. (Shares: 1, which is two heaps at none and all.)"""
DRAWS = 1_000
"""Draws of which the intervals of groups are made."""


class Chance(Protocol):
    """A seeded source of chance (``random.Random``)."""

    def random(self) -> float: ...
    def gammavariate(self, alpha: float, beta: float) -> float: ...
    def betavariate(self, alpha: float, beta: float) -> float: ...
    def expovariate(self, lambd: float) -> float: ...
    def gauss(self, mu: float, sigma: float) -> float: ...


class Spreading(msgspec.Struct, frozen=True):
    """A point of the grid: its probability, how much evidence the groups' common distribution is worth (infinity: the
    groups are one), and the posterior of its mean, Beta(``a``, ``b``) or Gamma(``a``, rate ``b``)."""

    weight: float
    strength: float
    a: float
    b: float


class Estimate(msgspec.Struct, frozen=True):
    """A value, and the interval in which it lies with probability 0.95."""

    mean: float
    low: float
    high: float


class Shrunk(msgspec.Struct, frozen=True):
    """What is believed of groups: (successes, trials) or (events, exposure) of each, and the grid."""

    groups: tuple[tuple[float, float], ...]
    grid: tuple[Spreading, ...]
    shares: bool

    def draw(self, chance: Chance) -> tuple[list[float], float]:
        """(a value for every group, one for a group never seen)."""
        point, left = self.grid[-1], chance.random()
        for candidate in self.grid:
            left -= candidate.weight
            if left < 0:
                point = candidate
                break
        mean = self._drawn(chance, point.a, point.b)
        if math.isinf(point.strength):
            return [mean] * len(self.groups), mean
        k = point.strength
        if self.shares:
            a, b = k * mean, k * (1 - mean)
            return [self._drawn(chance, a + s, b + n - s) for s, n in self.groups], self._drawn(chance, a, b)
        return [self._drawn(chance, k + s, k / mean + e) for s, e in self.groups], self._drawn(chance, k, k / mean)

    def _drawn(self, chance: Chance, a: float, b: float) -> float:
        # Gamma variates of a tiny shape come out as 0; a share or a rate of exactly none would stay so for ever.
        if self.shares:
            return chance.betavariate(max(a, 1e-3), max(b, 1e-3))
        return max(chance.gammavariate(max(a, 1e-3), 1 / b), 1e-12)

    def means(self) -> list[float]:
        """About the expected value of every group (at the mean of what is common to all)."""
        found = [0.0] * len(self.groups)
        for point in self.grid:
            mean = point.a / (point.a + point.b) if self.shares else point.a / point.b
            for place, (s, n) in enumerate(self.groups):
                k = point.strength
                own = mean if math.isinf(k) else (k * mean + s) / (k + n) if self.shares else (k + s) / (k / mean + n)
                found[place] += point.weight * own
        return found

    def estimates(self) -> list[Estimate]:
        """Every group's mean and interval, of ``DRAWS`` draws that are always the same."""
        chance = seeded_random("estimates")
        drawn = [self.draw(chance)[0] for _ in range(DRAWS)]
        found = []
        for mean, values in zip(self.means(), zip(*drawn, strict=True), strict=True):
            low, high = order_interval(values, 0.95) or (min(values), max(values))
            found.append(Estimate(mean, low, high))
        return found


def shares(groups: Sequence[tuple[int, int]]) -> Shrunk:
    """Of (successes, trials) of each group: beta-binomial. With one group: Jeffreys' posterior.

    >>> [round(mean, 2) for mean in shares([(30, 100), (60, 100), (1, 2)]).means()]
    [0.31, 0.59, 0.47]
    """
    seen = [(s, n) for s, n in groups if n]
    total, trials = sum(s for s, _ in seen), sum(n for _, n in seen)
    points = [Spreading(0.0, math.inf, total + 0.5, trials - total + 0.5)]
    if len(seen) > 1:
        for place in range(1, _SPREADS):
            strength = (_SPREADS / place) ** 2
            # A group is worth so many independent trials (the design effect of Kish 1965, with correlation 1/(k + 1)).
            worth = [n / (1 + (n - 1) / (strength + 1)) for _, n in seen]
            hits = sum(w * s / n for w, (s, n) in zip(worth, seen, strict=True))
            points.append(Spreading(0.0, strength, hits + 0.5, sum(worth) - hits + 0.5))
    logs = [_beta_binomial(point, seen) for point in points]
    return Shrunk(tuple(groups), _weighted(points, logs), shares=True)


def _beta_binomial(point: Spreading, groups: Sequence[tuple[int, int]]) -> float:
    """The logarithm of how likely the groups are, around the mean's posterior (Laplace's method)."""
    mean, size = point.a / (point.a + point.b), point.a + point.b
    width = math.log(mean * (1 - mean) / size) / 2
    if math.isinf(point.strength):
        return width + sum(s * math.log(mean) + (n - s) * math.log1p(-mean) for s, n in groups)
    a, b = point.strength * mean, point.strength * (1 - mean)
    return width + sum(_log_beta(a + s, b + n - s) - _log_beta(a, b) for s, n in groups)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def rates(groups: Sequence[tuple[float, float]], dispersion: float = 1.0) -> Shrunk:
    """Of (events, exposure) of each group: gamma-Poisson. ``dispersion``: how many times a Poisson's variance the counts
    have; evidence counts for so much less (quasi-likelihood: McCullagh and Nelder 1989, section 9.2). With one group:
    Jeffreys' posterior. Raises ValueError where there is no exposure.

    >>> [round(mean, 2) for mean in rates([(30, 100), (90, 100), (1, 1)]).means()]
    [0.31, 0.89, 0.89]
    """
    scaled = tuple((k / dispersion, e / dispersion) for k, e in groups)
    seen = [(k, e) for k, e in scaled if e > 0]
    if not seen:
        raise ValueError("rates needs some exposure.")
    total, exposure = sum(k for k, _ in seen), sum(e for _, e in seen)
    points = [Spreading(0.0, math.inf, total + 0.5, exposure)]
    if len(seen) > 1:
        for place in range(1, _SPREADS):
            strength = (_SPREADS / (_WIDEST * place)) ** 2
            mean = (total + 0.5) / exposure
            for _ in range(3):
                worth = [e / (1 + e * mean / strength) for _, e in seen]
                hits = sum(w * k / e for w, (k, e) in zip(worth, seen, strict=True))
                mean = (hits + 0.5) / sum(worth)
            points.append(Spreading(0.0, strength, hits + 0.5, sum(worth)))
    logs = [_gamma_poisson(point, seen) for point in points]
    return Shrunk(scaled, _weighted(points, logs), shares=False)


def _gamma_poisson(point: Spreading, groups: Sequence[tuple[float, float]]) -> float:
    """As ``_beta_binomial``; factors that all points share are left out."""
    mean = point.a / point.b
    width = math.log(mean / point.b) / 2
    if math.isinf(point.strength):
        return width + sum(k * math.log(mean) - mean * e for k, e in groups)
    k = point.strength
    return width + sum(
        math.lgamma(k + n) - math.lgamma(k) + k * math.log(k / mean) - (k + n) * math.log(k / mean + e)
        for n, e in groups
    )


def _weighted(points: Sequence[Spreading], logs: Sequence[float]) -> tuple[Spreading, ...]:
    most = max(logs)
    weights = [math.exp(log - most) for log in logs]
    return tuple(
        msgspec.structs.replace(point, weight=weight / sum(weights))
        for point, weight in zip(points, weights, strict=True) if weight > 1e-9
    )  # fmt: skip


def dispersion(counts: Sequence[tuple[float, float]]) -> float:
    """How many times a Poisson's variance counts have, of (observed, expected): Pearson's statistic over its degrees of
    freedom (McCullagh and Nelder 1989, section 6.2.3); at least 1.

    >>> dispersion([(9, 10), (11, 10), (10, 10)]), dispersion([(0, 10), (20, 10)])
    (1.0, 20.0)
    """
    seen = [(o, e) for o, e in counts if e > 0]
    if len(seen) < 2:
        return 1.0
    return max(sum((o - e) ** 2 / e for o, e in seen) / (len(seen) - 1), 1.0)


def between_people(expected: float, excess: float, people: int) -> float | None:
    """The shape (and exposure) of the Gamma, of mean 1, from which each person's own rate relative to the expected one is
    drawn (the negative binomial of Ehrenberg 1959, by Marshall's moments): None where people differ by no more than
    chance. ``expected``: the sum of what was expected of everybody; ``excess``: the sum of (k - e)^2 / e."""
    if expected <= 0 or people < 2:
        return None
    spread = (excess - people) / expected
    return 1 / spread if spread > 1e-9 else None


def poisson(chance: Chance, mean: float) -> int:
    """A count of arrivals whose gaps are exponential; the time it takes grows with the mean."""
    count, at = 0, chance.expovariate(1.0)
    while at < mean:
        count, at = count + 1, at + chance.expovariate(1.0)
    return count


def overdispersed(chance: Chance, mean: float, dispersion: float) -> int:
    """A count with this mean and ``dispersion`` times its variance: negative binomial, a Poisson whose mean is Gamma."""
    if mean <= 0:
        return 0
    if dispersion <= 1:
        return poisson(chance, mean)
    return poisson(chance, chance.gammavariate(mean / (dispersion - 1), dispersion - 1))


def order_interval(values: Sequence[float], level: float) -> tuple[float, float] | None:
    """Where one more value like these lies with probability ``level``: between the j-th smallest and the j-th largest of
    n, with j = (1 - level)(n + 1) / 2, in between linearly (David and Nagaraja 2003, section 7.3; quantiles of type 6 in
    Hyndman and Fan 1996). None where n is too small for the level: 39 values are needed for 95 %, 9 for 80 %.

    >>> order_interval(range(1, 40), 0.95), order_interval(range(1, 40), 0.8), order_interval([1, 2], 0.8)
    ((1, 39), (4, 36), None)
    """
    ordered = sorted(values)
    place = (1 - level) * (len(ordered) + 1) / 2 - 1
    # 39 values give exactly the first and the last at 95 %, whatever floating point makes of 0.05.
    if place < -1e-9:
        return None
    return _at(ordered, place), _at(ordered, len(ordered) - 1 - place)


def median(values: Sequence[float]) -> float:
    """The middle value, or the mean of the two in the middle; at least one value.

    >>> median([3, 1, 2]), median([4, 1, 2, 3])
    (2, 2.5)
    """
    ordered = sorted(values)
    return _at(ordered, (len(ordered) - 1) / 2)


def _at(ordered: Sequence[float], place: float) -> float:
    place = round(place, 9)
    low = min(max(math.floor(place), 0), len(ordered) - 1)
    high = min(low + 1, len(ordered) - 1)
    share = place - low
    return ordered[low] if share <= 0 else ordered[low] + (ordered[high] - ordered[low]) * share
