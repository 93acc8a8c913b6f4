"""The floors hold, and each contract notices when its wall is broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.house import contracts

SRC = Path(__file__).resolve().parents[2] / "src"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the source tree that a test may damage."""
    src = tmp_path / "src"
    shutil.copytree(SRC / "cadenza", src / "cadenza", ignore=shutil.ignore_patterns("__pycache__"))
    return src


def test_every_contract_is_kept(tmp_path: Path) -> None:
    said = contracts.broken(SRC, tmp_path)
    assert said == "", said


def test_no_import_is_excused() -> None:
    assert "ignore_imports" not in contracts.configuration(["a", "b"], ["cli", "collect_http"])
    assert "exhaustive_ignores" not in contracts.configuration(["a", "b"], ["cli", "collect_http"])


@pytest.mark.parametrize(
    ("file", "code", "contract"),
    [
        ("misc.py", "", "floors"),
        ("sql/wrong_way.py", "import cadenza.runtime\n", "floors"),
        ("ledger/neighbour.py", "import cadenza.store\n", "floors"),
        ("stages/wrong_room.py", "import cadenza.stages.measure\n", "stages"),
        ("runtime/own_engine.py", "import duckdb\n", "engine"),
        ("surfaces/own_client.py", "import httpx2\n", "network"),
        ("runtime/own_mailer.py", "def send():\n    import smtplib\n", "network"),
        ("surfaces/past_the_facade.py", "from cadenza.store import duckdb_engine\n", "facade"),
        ("audit/one_opinion.py", "from cadenza.sql import wall_clock\n", "auditor"),
        ("audit/same_words.py", "from cadenza.simulate import verdicts\n", "floors"),
        ("surfaces/collect_http.py", "import cadenza.workspace\n", "collect route"),
    ],
)
def test_a_broken_wall_is_noticed(copy: Path, tmp_path: Path, file: str, code: str, contract: str) -> None:
    offender = copy / "cadenza" / file
    offender.write_text((offender.read_text() if offender.exists() else "") + code)
    said = contracts.broken(copy, tmp_path)
    assert f"{contract} BROKEN" in said, said or "nothing was noticed"
