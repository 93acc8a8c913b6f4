"""A request as a dialect sees it.

A dialect is a pure function from a request to ``wire.Decoded``. It is known by its name and reads plain values only, so
that a request can be kept as it came and read later, in another process, with the same result.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from cadenza.runtime.wire import Decoded


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """One request: the name of its dialect, the type of call its path names ('' when the body says), its unpacked body,
    and the few facts from outside the body that the dialect reads (``surfaces/collect_routes.py`` lists them for each
    path): path parameters and query parameters by their names, headers by their lower-case names."""

    dialect: str
    body: bytes
    call_type: str = ""
    facts: dict[str, str] = {}


class Dialect(Protocol):
    """One wire format. Both functions are pure."""

    def decode(self, received: Received) -> Decoded:
        """Its calls, and what cannot be used with the reasons. Raises Malformed when it cannot be read at all."""
        ...

    def write_key(self, received: Received) -> str | None:
        """The write key in the body, None when there is none, without reading all of it. Raises Malformed."""
        ...
