"""The tree is tidy, and every rule notices its fault."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house import tidy

ROOT = Path(__file__).resolve().parents[2]


def test_the_tree_is_tidy() -> None:
    found = tidy.untidy(ROOT)
    assert not found, "\n" + "\n".join(found)


LONG = "def f():\n" + "    x = 1\n" * 70

FAULTS = [
    ("src/cadenza/a.py", LONG, "has 71 lines"),
    ("tests/a.py", "x = 1\n" * 601, "601 lines"),
    ("src/cadenza/sql/utils.py", "", "says nothing"),
    ("src/cadenza/a.py", "class LogManager: ...\n", "says nothing"),
    ("src/cadenza/a.py", "from datetime import datetime\nx = datetime.now()\n", "take a Clock"),
    ("src/cadenza/a.py", "import time\n", "take a Clock"),
    ("src/cadenza/a.py", "from uuid import uuid4\n", "take a Clock"),
    ("src/cadenza/a.py", "def f():\n    import json\n", "import inside f"),
    ("src/cadenza/a.py", "from json import *\n", "name what you use"),
    ("src/cadenza/a.py", "from urllib import request\n", "adapters/"),
    ("src/cadenza/stages/a.py", "def f(e):\n    for r in e.query('x'):\n        print(r)\n", "say it in SQL"),
    (
        "src/cadenza/runtime/tick.py",
        "def f(e):\n    rows = e.records('x')\n    return [r for r in rows]\n",
        "say it in SQL",
    ),
]


@pytest.mark.parametrize(("file", "code", "said"), FAULTS, ids=[f"{f[0]}-{f[2]}" for f in FAULTS])
def test_a_fault_is_noticed(tmp_path: Path, file: str, code: str, said: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert any(said in found for found in tidy.untidy(tmp_path)), tidy.untidy(tmp_path)


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("src/cadenza/clock.py", "import time\nfrom datetime import datetime\nx = datetime.now()\n"),
        ("src/cadenza/store/a.py", "def f():\n    import json\n"),
        ("src/cadenza/surfaces/a.py", "def f(e):\n    for r in e.query('x'):\n        print(r)\n"),
        ("src/cadenza/stages/a.py", "def f(project):\n    return [s for s in project.steps()]\n"),
        ("tests/a.py", "import random\n"),
    ],
)
def test_what_is_allowed_passes(tmp_path: Path, file: str, code: str) -> None:
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(code)
    assert tidy.untidy(tmp_path) == []
