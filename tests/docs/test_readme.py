"""The explanation in README.md is what the demo's command prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.conftest import cadenza
from tests.docs import pages

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]


def test_the_explanation(tmp_path: Path) -> None:
    shown = [s for b in pages.blocks(pages.ROOT / "README.md") if b.language == "console" for s in pages.spoken(b)]
    assert [s.command.split()[1] for s in shown] == ["explain"]
    command, output = shown[0].command.split(), shown[0].output
    assert cadenza("demo", "--no-serve", "--json", cwd=tmp_path).code == 0
    ran = cadenza(*command[1:], cwd=tmp_path)
    assert ran.code == 0, ran.err
    assert pages.agrees(output, ran.out), ran.out
