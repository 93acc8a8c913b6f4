"""The additions to generated worlds, by name: one module each."""

from __future__ import annotations

from cadenza.simulate.addition import Addition
from cadenza.simulate.additions.waits import WAITS

ADDITIONS: dict[str, Addition] = {
    "waits": WAITS,
}
