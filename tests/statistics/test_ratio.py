"""The sample ratio check."""

from __future__ import annotations

from random import Random

import pytest

from cadenza.ids import bucket
from cadenza.statistics import ratio
from cadenza.statistics.ratio import check


@pytest.mark.parametrize(
    ("treated", "held_out", "share_bp", "p_value"),
    [
        (800, 200, 2_000, 1.0),
        (780, 220, 2_000, 0.113846),  # chi-square 2.5
        (4_900, 5_100, 5_000, 0.045500),  # chi-square 4
    ],
)
def test_p_values(treated: int, held_out: int, share_bp: int, p_value: float) -> None:
    result = check(treated, held_out, share_bp)
    assert result.p_value == pytest.approx(p_value, abs=1e-5)
    assert result.ok


def test_a_broken_split_raises_the_alarm() -> None:
    # Fabijan et al. 2019 begin with this split: 821,588 against 815,482 where halves were meant
    result = check(821_588, 815_482, 5_000)
    assert result.p_value is not None and result.p_value < 2e-6
    assert not result.ok


def test_the_alarm_is_rare_when_nothing_is_wrong() -> None:
    random = Random(11)
    alarms = 0
    for _ in range(2_000):
        held = sum(random.random() < 0.2 for _ in range(300))
        alarms += not check(300 - held, held, 2_000).ok
    assert alarms <= 8


def test_our_own_assignment_passes() -> None:
    held = sum(bucket("win_back_2011", person) < 2_000 for person in range(20_000))
    assert check(20_000 - held, held, 2_000).ok


def test_edges() -> None:
    assert check(0, 0, 2_000).p_value is None and check(0, 0, 2_000).ok
    assert check(10, 0, 0).ok
    assert not check(9, 1, 0).ok


@pytest.mark.parametrize(
    ("x", "degrees", "p"),  # tables of the distribution
    [
        (2.706, 1, 0.1),
        (9.210, 2, 0.01),
        (7.815, 3, 0.05),
        (18.467, 4, 0.001),
        (11.070, 5, 0.05),
        (21.666, 9, 0.01),
        (0.0, 3, 1.0),
    ],
)
def test_chi_square(x: float, degrees: int, p: float) -> None:
    assert ratio.chi_square_above(x, degrees) == pytest.approx(p, rel=2e-3)


@pytest.mark.parametrize(("treated", "held"), [(800, 200), (700, 300), (1, 0), (5123, 1200)])
def test_two_arms_are_checked_as_a_holdout_is(treated: int, held: int) -> None:
    two, arms = ratio.check(treated, held, 2_000), ratio.check_arms([treated, held], [8_000, 2_000])
    assert (arms.p_value, arms.ok) == (pytest.approx(two.p_value), two.ok)


def test_arms_without_units() -> None:
    assert ratio.check_arms([0, 0, 0], [1, 1, 9_998]) == ratio.ArmsCheck(p_value=None, ok=True)
