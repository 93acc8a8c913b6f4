"""Posteriors cover the truth as often as they say, whatever the groups; chance has the mean and the variance it should."""

from __future__ import annotations

import doctest
from statistics import fmean, pvariance

import pytest
from hypothesis import given, strategies as st

from cadenza.ids import seeded_random
from cadenza.statistics import rates
from cadenza.statistics.rates import between_people, order_interval, overdispersed, poisson


def test_the_examples_hold() -> None:
    assert doctest.testmod(rates).failed == 0


WORLDS = 80
"""Of 25, whose groups share what they are drawn from, 87 to 97 in a hundred were covered, by the seed alone."""


def covered(found: list[tuple[rates.Estimate, float]]) -> float:
    return fmean(estimate.low <= truth <= estimate.high for estimate, truth in found)


@pytest.mark.parametrize("sizes", [(400, 300, 5, 20, 80, 8), (30,) * 12, (200, 200)], ids=["uneven", "even", "two"])
@pytest.mark.parametrize("differ", [False, True])
def test_shares_cover_the_truth(sizes: tuple[int, ...], differ: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """About 95 in a hundred (a little less in 100 draws), whether the groups differ or not, small ones too."""
    monkeypatch.setattr(rates, "DRAWS", 100)
    chance = seeded_random("shares", *sizes, int(differ))
    found: list[tuple[rates.Estimate, float]] = []
    for _ in range(WORLDS):
        truth = [chance.betavariate(6, 14) if differ else 0.3 for _ in sizes]
        groups = [(sum(chance.random() < p for _ in range(n)), n) for p, n in zip(truth, sizes, strict=True)]
        found += zip(rates.shares(groups).estimates(), truth, strict=True)
    assert covered(found) >= 0.90


@pytest.mark.parametrize("spread", [1.0, 3.0])
@pytest.mark.parametrize("differ", [False, True])
def test_rates_cover_the_truth(differ: bool, spread: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the counts scatter more than a Poisson's, when that is said."""
    monkeypatch.setattr(rates, "DRAWS", 100)
    chance = seeded_random("rates", int(differ), str(spread))
    found: list[tuple[rates.Estimate, float]] = []
    for _ in range(WORLDS):
        sizes = (900.0, 400.0, 30.0, 60.0, 250.0, 15.0)
        truth = [chance.gammavariate(8, 0.2 / 8) if differ else 0.2 for _ in sizes]
        groups = [(overdispersed(chance, r * e, spread), e) for r, e in zip(truth, sizes, strict=True)]
        found += zip(rates.rates(groups, spread).estimates(), truth, strict=True)
    assert covered(found) >= 0.90


def test_intervals_are_no_wider_than_they_must_be() -> None:
    """Of a large group about that of its own counts; of small ones that do not differ about that of all."""
    (large, *_) = rates.shares([(300, 1000), (3, 10), (600, 1000)]).estimates()
    assert large.high - large.low < 1.1 * 2 * 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    alike = rates.rates([(10, 100.0)] * 20).estimates()
    assert alike[0].high - alike[0].low < 0.5 * 2 * 1.96 * 10**0.5 / 100


def test_a_small_group_stays_near_all_and_a_large_one_near_itself() -> None:
    small, large, other = rates.shares([(0, 3), (700, 1000), (300, 1000)]).means()
    assert 0.2 < small < 0.6 and large == pytest.approx(0.7, abs=0.01) and other < 0.32
    few, many, rest = rates.rates([(0, 3.0), (700, 1000.0), (100, 1000.0)]).means()
    assert 0.05 < few < 0.7 and many == pytest.approx(0.7, abs=0.01) and rest < 0.12


def test_the_mean_of_the_draws_is_the_mean() -> None:
    for shrunk in (rates.shares([(30, 100), (60, 100), (1, 2)]), rates.rates([(30, 100.0), (90, 100.0), (1, 1.0)])):
        chance = seeded_random("means")
        drawn = [shrunk.draw(chance)[0] for _ in range(3000)]
        assert [fmean(values) for values in zip(*drawn, strict=True)] == pytest.approx(shrunk.means(), rel=0.12)


def test_nothing_and_everything() -> None:
    assert rates.shares([(0, 0)]).means() == [0.5]
    assert rates.shares([(0, 10), (0, 20)]).means()[1] < 0.05 and rates.shares([(10, 10), (0, 10)]).means()[0] > 0.8
    assert rates.rates([(0, 10.0)]).means() == [pytest.approx(0.05)]
    with pytest.raises(ValueError, match="exposure"):
        rates.rates([(0, 0.0)])


def test_people_who_differ() -> None:
    """Gamma of shape 2 between 3,000 people, each with 4 expected; and people who do not differ."""
    chance = seeded_random("people")
    counts = [poisson(chance, 4 * chance.gammavariate(2, 0.5)) for _ in range(3000)]
    shape = between_people(12_000, sum((k - 4) ** 2 / 4 for k in counts), 3000)
    assert shape == pytest.approx(2, rel=0.15)
    assert between_people(12_000, 2_900, 3000) is None and between_people(0, 0, 3) is None


@pytest.mark.parametrize(("mean", "spread"), [(0.3, 1.0), (40.0, 1.0), (12.0, 4.0), (0.5, 2.0)])
def test_counts_have_their_mean_and_variance(mean: float, spread: float) -> None:
    chance = seeded_random("counts", str(mean), str(spread))
    counts = [overdispersed(chance, mean, spread) for _ in range(6000)]
    assert fmean(counts) == pytest.approx(mean, rel=0.06)
    assert pvariance(counts) == pytest.approx(spread * mean, rel=0.1)
    assert overdispersed(chance, 0.0, 3.0) == 0


@given(st.lists(st.integers(0, 50), min_size=1, max_size=60), st.sampled_from([0.5, 0.8, 0.95]))
def test_intervals_of_draws(values: list[int], level: float) -> None:
    """Within the draws, and only where there are enough of them."""
    found = order_interval(values, level)
    assert (found is None) == ((1 - level) * (len(values) + 1) / 2 < 1 - 1e-9)
    if found is not None:
        assert min(values) <= found[0] <= found[1] <= max(values)


def test_one_more_draw_lies_in_the_interval_as_often_as_it_says() -> None:
    chance = seeded_random("one more")
    inside = 0
    for _ in range(2000):
        low, high = order_interval([chance.random() for _ in range(9)], 0.8) or (0.0, 0.0)
        inside += low <= chance.random() <= high
    assert inside / 2000 == pytest.approx(0.8, abs=0.03)
