"""Documentation is complete and as the code would write it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.house import documented

REFERENCE = documented.ROOT / "docs" / "reference"


def test_everything_has_an_entry() -> None:
    assert documented.undocumented(REFERENCE) == []


@pytest.mark.parametrize(
    ("page", "entry"),
    [
        ("tables.md", "enrollment_end"), ("commands.md", "quarantine"), ("errors.md", "LedgerError"),
        ("fault-points.md", "tick.before_commit"), ("definitions.md", "journey"), ("api.md", "/api/report"),
    ],
)  # fmt: skip
def test_a_missing_entry_is_noticed(tmp_path: Path, page: str, entry: str) -> None:
    shutil.copytree(REFERENCE, tmp_path / "reference")
    path = tmp_path / "reference" / page
    lines = path.read_text().splitlines()
    kept = [line for line in lines if not (line.startswith(("#", "|")) and entry.lower() in line.lower())]
    assert len(kept) < len(lines)
    path.write_text("\n".join(kept))
    assert f"{page}: {entry}" in documented.undocumented(tmp_path / "reference")


def test_golden_reference_is_what_the_code_writes() -> None:
    generate = documented.generator()
    for name, text in generate.pages().items():
        assert (REFERENCE / name).read_text(encoding="utf-8") == text, (
            f"docs/reference/{name} is stale; run 'make docs'"
        )
    house = documented.ROOT / "ARCHITECTURE.md"
    if house.is_file():
        text = house.read_text(encoding="utf-8")
        assert generate.architecture(text) == text, "ARCHITECTURE.md is stale; run 'make docs'"
