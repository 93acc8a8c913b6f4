"""The spans port: what took how long, told to whoever traces this process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Spans(Protocol):
    """Takes spans that have ended. Safe to use from several threads; never blocks and never raises for trouble outside."""

    def ended(self, name: str, seconds: float, attributes: Mapping[str, str | int], error: str | None = None) -> None:
        """Something that lasted ``seconds`` ended just now. ``error``: the class of what ended it. Neither names nor
        attributes hold anything of a person."""
        ...

    def close(self) -> None:
        """Send what waits (a few seconds at most), then take no more."""
        ...
