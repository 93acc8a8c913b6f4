"""Every class of problem once, on the starter project: exactly what the user reads, with file, line and remedy.

The table is ``problems.yaml``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

CASES: list[dict[str, Any]] = YAML(typ="safe", pure=True).load(Path(__file__).with_name("problems.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["problem"])
def test_each_problem_is_told_with_its_place_and_remedy(
    case: dict[str, Any], starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]
) -> None:
    for file, change in case["change"].items():
        if isinstance(change, dict):
            assert change["from"] in starter[file], f"{file} no longer holds {change['from']!r}"
            starter[file] = starter[file].replace(change["from"], change["to"], 1)
        else:
            starter[file] = change
    assert complaints(starter) == case["told"]


def test_the_starter_itself_has_no_problem(
    starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]
) -> None:
    assert complaints(starter) == []


def test_everything_is_told_at_once(starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]) -> None:
    """Three files with one mistake each, of three different natures: form, name, type."""
    starter["segments/a.yaml"] = "segment: a\nwhn: orders > 1\n"
    starter["segments/b.yaml"] = "segment: b\nwhen: ordrs > 1\n"
    starter["segments/c.yaml"] = "segment: c\nwhen: orders > 'x'\n"
    assert [text.split(": ")[0] for text in complaints(starter)] == [
        "segments/a.yaml:1", "segments/a.yaml:2", "segments/b.yaml:2", "segments/c.yaml:2",
    ]  # fmt: skip


def test_one_mistake_in_an_expression_hides_no_other(
    starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]
) -> None:
    starter["segments/a.yaml"] = "segment: a\nwhen: ordrs > 1 and emial = 'x' and orders = 'y'\n"
    assert len(complaints(starter)) == 3


def test_a_file_that_cannot_be_read_makes_no_name_unknown(
    starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]
) -> None:
    starter["traits/traits.yaml"] = "traits: [\n"
    told = complaints(starter)
    assert len(told) == 1
    assert told[0].startswith("traits/traits.yaml:2: The file is not valid YAML")


def test_a_definition_of_a_bad_name_makes_no_name_unknown(
    starter: dict[str, str], complaints: Callable[[dict[str, str]], list[str]]
) -> None:
    starter["traits/more.yaml"] = "traits: { Points: { type: integer, from: traits.points } }\n"
    starter["segments/a.yaml"] = "segment: a\nwhen: Points > 1\n"
    assert len(complaints(starter)) == 1
