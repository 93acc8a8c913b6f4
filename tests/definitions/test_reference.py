"""The generated reference page is current and complete."""

from __future__ import annotations

from pathlib import Path

from cadenza.definitions import surface, surface_journey
from cadenza.definitions.expression import FUNCTIONS
from cadenza.definitions.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "definitions.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "run: python -m cadenza.definitions.reference > docs/reference/definitions.md"
    )


def test_every_key_function_and_step_is_in_it() -> None:
    text = reference()
    for kind in surface.SURFACE:
        for field in kind.body.fields:
            assert f"| `{field.key}` |" in text
            assert field.doc
    for name in FUNCTIONS:
        assert f"| `{name}(" in text
    for step in surface_journey.STEP_DOCS:
        assert f"| `{step}` |" in text


def test_every_table_row_has_its_columns() -> None:
    lines = reference().splitlines()
    for number, line in enumerate(lines):
        if line.startswith("| ---"):
            columns = line.count("|")
            for row in lines[number + 1 :]:
                if not row.startswith("|"):
                    break
                assert row.replace("\\|", "").count("|") == columns, row
