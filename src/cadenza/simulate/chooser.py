"""Where a generated world's choices come from: a seed, or a search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from cadenza.ids import md5_low64

T = TypeVar("T")


class Chooser(Protocol):
    """Where choices come from."""

    def below(self, n: int) -> int:
        """A whole number from 0 to n - 1."""
        ...


class Dice:
    """Choices made from a seed: the same seed, the same world, on every machine."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._thrown = 0

    def below(self, n: int) -> int:
        self._thrown += 1
        return md5_low64(f"{self._seed}:{self._thrown}") % n


def pick(chooser: Chooser, options: Sequence[T]) -> T:
    """One of the options; the first is the plainest."""
    return options[chooser.below(len(options))]


def chance(chooser: Chooser, percent: int) -> bool:
    """TRUE in ``percent`` of 100 cases."""
    return chooser.below(100) >= 100 - percent
