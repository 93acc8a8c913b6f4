"""What must be documented, and what of it is not."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import get_args

from cadenza.definitions import kinds
from cadenza.definitions.schema import schemas
from cadenza.faults import FAULT_POINTS
from cadenza.sql.tables import TABLES
from cadenza.surfaces.operations import OPERATIONS

ROOT = Path(__file__).resolve().parents[2]


def generator() -> ModuleType:
    """docs/generate.py as a module."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def wanted() -> dict[str, list[str]]:
    """Page -> the names it must have an entry for."""
    generate = generator()
    steps = [step.__struct_config__.tag for step in get_args(kinds.Step)]
    return {
        "definitions.md": [*(k for k in schemas() if k != "project"), *steps],
        "commands.md": list(generate.commands()),
        "api.md": [operation.path for operation in OPERATIONS],
        "tables.md": [table.name for table in TABLES],
        "errors.md": [error.__name__ for error in generate.error_classes()],
        "fault-points.md": sorted(FAULT_POINTS),
    }


def undocumented(reference: Path) -> list[str]:
    """``page: name`` for whatever has neither a heading nor a row of a table that begins with it."""
    missing = []
    for page, names in wanted().items():
        path = reference / page
        entries = _entries(path.read_text(encoding="utf-8")) if path.is_file() else set()
        missing += [f"{page}: {name}" for name in names if name.lower() not in entries]
    return missing


def _entries(text: str) -> set[str]:
    """Words and code of headings, and the first cell of rows; lower case."""
    heads = re.findall(r"^#{2,} (.+)$", text, flags=re.MULTILINE)
    cells = re.findall(r"^\| `?([^`|]+)`? \|", text, flags=re.MULTILINE)
    words = [word.strip("`,:()") for head in heads for word in [head, *head.split()]]
    return {entry.strip().strip("`").lower() for entry in [*words, *cells]}
