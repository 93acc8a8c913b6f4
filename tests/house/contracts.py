"""The import contracts of the house, and how to hold a source tree to them.

Floors follow ``ARCHITECTURE.md``; every ignore list is empty and stays so. The contracts are written
here rather than in a configuration file, so that a test can hold a damaged copy of the tree to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FLOORS = (
    "surfaces",
    "workspace",
    "simulate",
    "runtime",
    "stages | store | adapters | ledger | audit",
    "sql | ports | statistics",
    "definitions",
    "faults",
    "errors | clock | ids",
)
"""Highest first. Rooms joined by ``|`` stand on one floor and do not know each other."""

NETWORK_CLIENTS = (
    "httpx2",
    "httpx",
    "httpcore2",
    "requests",
    "urllib3",
    "aiohttp",
    "http",
    "aiosmtplib",
    "smtplib",
    "ftplib",
)
"""Outward network code; ``urllib`` is left out because ``urllib.parse`` is harmless (tidy.py bans the rest)."""

INNER_ROOMS = ("stages", "store", "adapters", "ledger", "sql", "statistics", "simulate", "audit")
"""What a surface reaches through the facade only."""


def configuration(stages: list[str], surfaces: list[str]) -> str:
    """The import-linter configuration (ini) for a tree with these stage and surface modules."""
    over_facade = [name for name in surfaces if name != "collect_http"]
    parts = [
        "[importlinter]\nroot_package = cadenza\ninclude_external_packages = True",
        _contract("floors", "layers", containers="cadenza", exhaustive="True", layers=FLOORS),
        _contract(
            "engine", "forbidden", source_modules=_rooms_but("store"), forbidden_modules=["duckdb"],
            allow_indirect_imports="True",
        ),
        _contract(
            "network", "forbidden", source_modules=_rooms_but("adapters"), forbidden_modules=NETWORK_CLIENTS,
            allow_indirect_imports="True",
        ),
        _contract(
            "facade", "forbidden",
            source_modules=[f"cadenza.surfaces.{name}" for name in over_facade],
            forbidden_modules=[f"cadenza.{room}" for room in INNER_ROOMS],
            allow_indirect_imports="True",
        ),
        _contract(
            "collect route", "forbidden", source_modules=["cadenza.surfaces.collect_http"],
            forbidden_modules=["cadenza.workspace", *(f"cadenza.{room}" for room in INNER_ROOMS)],
            allow_indirect_imports="True",
        ),
        _contract(
            "auditor", "forbidden", source_modules=["cadenza.audit"],
            forbidden_modules=[f"cadenza.{room}" for room in ("sql", "statistics", "stages", "simulate", "runtime", "faults")],
        ),
    ]  # fmt: skip
    if len(stages) > 1:
        parts.append(_contract("stages", "independence", modules=[f"cadenza.stages.{name}" for name in stages]))
    return "\n\n".join(parts) + "\n"


def _rooms_but(*exempt: str) -> list[str]:
    """Every room on any floor but these; FLOORS is exhaustive, so nothing can be forgotten here."""
    rooms = [room.strip() for floor in FLOORS for room in floor.split("|")]
    return [f"cadenza.{room}" for room in rooms if room not in exempt]


def _contract(name: str, kind: str, **options: object) -> str:
    lines = [f"[importlinter:contract:{name}]", f"name = {name}", f"type = {kind}"]
    for option, value in options.items():
        if isinstance(value, str):
            lines.append(f"{option} = {value}")
        else:
            lines.append(f"{option} =")
            lines.extend(f"    {item}" for item in value)  # type: ignore[attr-defined]
    return "\n".join(lines)


def broken(src: Path, scratch: Path) -> str:
    """What import-linter says of the tree ``src/cadenza``; empty when every contract is kept."""
    rooms = {room: _modules(src / "cadenza" / room) for room in ("stages", "surfaces")}
    config = scratch / "contracts.ini"
    config.write_text(configuration(rooms["stages"], rooms["surfaces"]))
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()",
         "--config", str(config), "--no-cache", "--no-logo"],
        cwd=scratch, env={**os.environ, "PYTHONPATH": str(src)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _modules(room: Path) -> list[str]:
    found = {p.stem for p in room.glob("*.py") if p.stem != "__init__"}
    return sorted(found | {p.parent.name for p in room.glob("*/__init__.py")})
