"""The facade is small, and what it offers is written down."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

from cadenza.workspace import Workspace

GOLDEN = Path(__file__).parent / "golden" / "workspace.txt"
MOST = 25


def public(facade: type) -> list[str]:
    """``name(signature)`` of each public method, sorted."""
    return [
        f"{name}{inspect.signature(member)}"
        for name, member in sorted(inspect.getmembers(facade, callable))
        if not name.startswith("_")
    ]


def test_golden_methods() -> None:
    found = "\n".join(public(Workspace)) + "\n"
    if os.environ.get("CADENZA_GOLDEN") == "write":
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text(), "the facade changed; 'make golden' rewrites the list"


def test_the_facade_stays_small() -> None:
    assert len(public(Workspace)) <= MOST


def test_a_method_more_is_noticed() -> None:
    grown = type("Grown", (Workspace,), {f"more_{i}": lambda self: None for i in range(MOST)})
    assert len(public(grown)) > MOST
