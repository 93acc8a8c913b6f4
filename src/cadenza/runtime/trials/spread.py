"""A figure over many draws: its middle, and where one more draw would lie."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from cadenza.statistics.rates import median, order_interval

K = TypeVar("K")


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """The median of the draws, and the intervals in which one more draw lies with probability 0.8 and 0.95; None where
    there are too few draws for it (9 and 39 are enough)."""

    median: float
    low80: float | None
    high80: float | None
    low95: float | None
    high95: float | None


def spread(values: Sequence[float]) -> Spread:
    """Of one figure in every draw."""
    narrow = order_interval(values, 0.8) or (None, None)
    wide = order_interval(values, 0.95) or (None, None)
    return Spread(median=median(values), low80=narrow[0], high80=narrow[1], low95=wide[0], high95=wide[1])


def spreads(draws: Iterable[Mapping[K, float]]) -> dict[K, Spread]:
    """Of every figure, in the order in which they first come; one that a draw does not have is 0 in it."""
    found = list(draws)
    names = dict.fromkeys(name for draw in found for name in draw)
    return {name: spread([draw.get(name, 0.0) for draw in found]) for name in names}
