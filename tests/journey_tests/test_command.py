"""``cadenza test``: what it prints, JSON, JUnit, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from cadenza.surfaces.cli import main
from tests.journey_tests.kit import starter


def test_red_and_green(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = starter(tmp_path, welcomejourneys=("until: 3 days=>until: 12 hours",))
    report = tmp_path / "out" / "junit.xml"
    asked = ["test", "a_click*", "nothing*", "-p", str(folder)]
    assert main([*asked, "--junit", str(report), "--uncovered"]) == 1
    told = capsys.readouterr().out
    assert "FAILED  a_click_earns_four_days\n  tests/welcome.yaml:30: expected path send welcome_mail, wait_for" in told
    assert "    happened: send welcome_mail at 2026-03-02 09:00:00 (start)\n" in told
    assert "    why:      2026-03-02 09:00:00 (start) welcome: entered by 'Signed Up', record" in told
    assert "passed  nothing_at_night\n" in told and "1 passed, 1 failed, in " in told
    assert "  journeys/welcome.yaml:13: exit goal\n" in told

    suites = ElementTree.parse(report).getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("2", "1")
    [failure] = suites.findall("./testsuite[@name='welcome']/testcase[@name='a_click_earns_four_days']/failure")
    assert failure.text and failure.text.startswith("tests/welcome.yaml:30\nhappened:\nsend welcome_mail")
    assert not (folder / ".cadenza").exists(), "the project's own state is not touched"


def test_too_little_coverage_is_red(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["test", "nothing_at_night", "-p", str(starter(tmp_path))]
    assert main([*asked, "--min-coverage", "99", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(t["name"], t["failures"]) for t in found["tests"]] == [("nothing_at_night", [])]
    [welcome] = found["coverage"]
    assert (found["passed"], welcome["journey"], welcome["of"]) == (False, "welcome", 16)
    assert 20 < welcome["percent"] < 99


def test_wrong_definitions_are_told_with_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = starter(tmp_path, welcometests=("refused: holdout, rule=>refused: held, rule",))
    assert main(["test", "-p", str(folder)]) == 1
    assert "tests/welcome.yaml:96: 'held' is no refusal." in capsys.readouterr().err
    assert main(["test", "--nonsense"]) == 2
