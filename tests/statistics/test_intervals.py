"""Quantiles against published tables, and against their own definitions."""

from __future__ import annotations

import math

import pytest

from cadenza.statistics.intervals import (
    incomplete_beta,
    normal_cdf,
    normal_quantile,
    t_cdf,
    t_density,
    t_quantile,
    wilson,
)


@pytest.mark.parametrize(
    ("p", "df", "expected"),  # NIST/SEMATECH e-Handbook 1.3.6.7.2; Abramowitz and Stegun, table 26.10
    [
        (0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 5, 2.571), (0.975, 10, 2.228), (0.975, 30, 2.042),
        (0.975, 100, 1.984), (0.975, 1000, 1.962), (0.95, 7, 1.895), (0.995, 10, 3.169), (0.999, 4, 7.173), (0.9, 2, 1.886),
    ],
)  # fmt: skip
def test_t_quantiles(p: float, df: float, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, abs=0.0006)
    assert t_quantile(1 - p, df) == pytest.approx(-expected, abs=0.0006)


@pytest.mark.parametrize("df", [0.7, 1, 2.5, 9, 63.2, 5_000, 1e6])
@pytest.mark.parametrize("p", [0.5, 0.51, 0.8, 0.975, 0.9999])
def test_t_quantile_inverts_the_distribution(p: float, df: float) -> None:
    # lgamma of a large number keeps fewer decimals
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-12 if df < 1_000 else 1e-8)


def test_t_with_closed_forms() -> None:
    for t in (-3.0, -0.5, 0.0, 1.0, 20.0):
        assert t_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-13)
        assert t_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-13)
        assert t_density(t, 1) == pytest.approx(1 / (math.pi * (1 + t * t)))
    assert t_quantile(0.975, 1e8) == pytest.approx(normal_quantile(0.975), rel=1e-6)


@pytest.mark.parametrize("bad", [(0.0, 5), (1.0, 5), (0.5, 0)])
def test_t_quantile_refuses_nonsense(bad: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="t_quantile needs"):
        t_quantile(*bad)


def test_incomplete_beta() -> None:
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(0.5248)  # 6x^2 - 8x^3 + 3x^4
    assert incomplete_beta(5, 2, 0.9) + incomplete_beta(2, 5, 0.1) == pytest.approx(1)
    assert (incomplete_beta(2, 2, 0), incomplete_beta(2, 2, 1)) == (0, 1)


def test_normal() -> None:
    assert normal_quantile(0.975) == pytest.approx(1.959963985)
    assert normal_cdf(1.959963985) == pytest.approx(0.975)


def test_wilson() -> None:
    # Newcombe 1998 (two independent proportions), table II, example (a): 56/70 and 48/80 alone.
    assert wilson(56, 70) == pytest.approx((0.6918, 0.8770), abs=0.0001)
    assert wilson(48, 80) == pytest.approx((0.4904, 0.7004), abs=0.0001)
    assert wilson(0, 10) == (0.0, pytest.approx(0.2775, abs=0.0001))
    assert wilson(10, 10)[1] == 1.0
    assert wilson(0, 0) == (0.0, 1.0)
