"""``cadenza run`` whose tick fails now and then, with an error that quotes a customer; a program for test_canary.py."""

from __future__ import annotations

import sys

from cadenza.errors import StoreError
from cadenza.surfaces.cli import main
from cadenza.workspace import Workspace

ticks = 0
tick = Workspace.tick


def failing(self: Workspace):
    """Every third tick fails, in one of two ways."""
    global ticks
    ticks += 1
    if ticks > 3 and ticks % 6 == 0:
        raise StoreError("Could not convert string 'canary-tick' to INT32.", remedy="canary-tick")
    if ticks > 3 and ticks % 6 == 3:
        raise ValueError("canary-tick@example.com")
    return tick(self)


Workspace.tick = failing  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
