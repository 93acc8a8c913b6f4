"""Tests run together see what each would see alone; a change of a journey turns them red; coverage counts what can be."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from cadenza.definitions.kinds_testing import Expectation, JourneyTest
from cadenza.definitions.load import Loaded, load
from cadenza.definitions.project import encode
from cadenza.errors import CadenzaError
from cadenza.runtime.testing.coverage import covered
from cadenza.runtime.testing.script import grouped
from cadenza.workspace import Workspace
from tests.journey_tests.kit import asking, loaded, run

WRONG = (
    Expectation(path=("exit merged",)), Expectation(messages=("x",)), Expectation(refused="no_key"),
    Expectation(dropped="welcome_mail", reason="x"), Expectation(entered=9), Expectation(trait="orders", value=99),
)  # fmt: skip
"""Nothing of this is so, so every failure tells all that happened."""


def told(found: Loaded) -> dict[str, list[tuple[tuple[str, ...], tuple[str, ...]]]]:
    """Test -> what is said to have happened, and why, without the numbers of records."""
    return {
        test.name: [(f.happened, tuple(re.sub(r"record \d+", "record", w) for w in f.why)) for f in test.failures]
        for test in run(found).tests
    }


def with_tests(found: Loaded, tests: tuple[JourneyTest, ...]) -> Loaded:
    return msgspec.structs.replace(found, tests=tests)


def test_together_is_as_alone(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    asked = tuple(asking(test, *WRONG) for test in found.tests[3:])
    together = told(with_tests(found, asked))
    assert len(together) == 3 and all(len(failures) >= len(WRONG) for failures in together.values())
    assert told(with_tests(found, asked[2:]))[asked[2].name] == together[asked[2].name]


def test_tests_that_name_one_address_do_not_meet(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    anna = msgspec.structs.replace(found.tests[0].persons[0], traits={"email": "anna@shop.example"})
    tests = tuple(
        msgspec.structs.replace(test, persons=(anna,), name=f"t{n}") for n, test in enumerate(found.tests[:2])
    )
    assert grouped(tests, found.project) == [tests[:1], tests[1:]]
    assert grouped(found.tests, found.project) == [found.tests]


CHANGES = (
    "until: 3 days=>until: 12 hours", "unless: in_segment('regulars')=>unless: orders > 9",
    "goal: event('Order Completed')=>goal: orders > 1",
)  # fmt: skip
RED = {
    "a_click_earns_four_days": (30, "wait 1 day at 2026-03-02 21:00:00 (+12 hours)"),
    "an_order_ends_it": (43, "ended completed at 2026-03-04 08:00:00 (+1 day 23 hours)"),
    "regulars_and_the_held_out_are_left_alone": (94, "no refusal"),
}
"""Test -> the line of the first expectation that fails, and something that happened instead."""


def test_a_changed_journey_turns_its_tests_red(tmp_path: Path) -> None:
    found = loaded(tmp_path, welcomejourneys=CHANGES)
    for result in run(found, *RED).tests:
        first, (line, happened) = result.failures[0], RED[result.name]
        assert (first.file, first.line) == ("tests/welcome.yaml", line)
        assert happened in first.happened
        assert first.why and all(re.match(r"\d{4}-", words) for words in first.why)


def test_a_record_that_collection_would_refuse_is_a_failure(tmp_path: Path) -> None:
    found = loaded(tmp_path, welcometests=("revenue: 20 }=>revenue: cheap }",))
    [result] = run(found, "an_order_ends_it").tests
    assert result.failures[0].expected == "something that can be taken into the log"
    assert "revenue" in result.failures[0].happened[0]
    assert (result.failures[0].file, result.failures[0].line) == ("tests/welcome.yaml", 40)


def test_what_is_deployed_does_not_change_with_tests(tmp_path: Path) -> None:
    found = loaded(tmp_path / "a")
    without = loaded(tmp_path / "b", welcometests=("",))
    assert found.tests and not without.tests
    assert encode(found.project) == encode(without.project)


def test_only_the_tests_that_are_asked_for(tmp_path: Path) -> None:
    found = loaded(tmp_path)
    results = run(found, "a_*", "nothing_at_*")
    assert [test.name for test in results.tests] == ["a_click_earns_four_days", "nothing_at_night"]
    assert 0 < results.coverage[0].share < 100
    missed = {(p.kind, p.words) for p in results.coverage[0].points if not p.reached}
    assert ("exit", "goal") in missed and ("refusal", "holdout") in missed
    assert {p.line for p in results.coverage[0].points if p.words == "goal"} == {13}


@pytest.mark.parametrize(("names", "journey", "said"), [
    (("welcom",), None, "no test is called 'welcom'"), ((), "welcme", "Did you mean 'welcome'?"),
])  # fmt: skip
def test_unknown_names_are_told(names: tuple[str, ...], journey: str | None, said: str, tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match=re.escape(said)):
        run(loaded(tmp_path), *names, journey=journey)


def test_no_tests_are_no_success(tmp_path: Path) -> None:
    with pytest.raises(CadenzaError, match="no tests"):
        run(loaded(tmp_path, welcometests=("",)))


def possible(found: Loaded) -> set[tuple[str, str]]:
    """What coverage asks of the journey, when nobody reached anything."""
    [journey] = covered(found.project, ["welcome"], {}, found.places)
    assert journey.share == 0
    return {(point.kind, point.words) for point in journey.points}


def test_what_cannot_happen_is_not_asked_for(tmp_path: Path) -> None:
    """Waits of seven days and two messages put off for three days each end before two weeks are over."""
    words = possible(loaded(tmp_path))
    assert ("exit", "time_limit") not in words and ("exit", "superseded") not in words
    assert ("refusal", "priority") not in words and ("way", "branch unknown") not in words
    assert {
        ("step", "wait 4 days"),
        ("way", "wait_for clicked: matched"),
        ("way", "branch 1"),
        ("exit", "completed"),
    } <= words
    assert ("exit", "time_limit") in possible(
        loaded(tmp_path, welcomejourneys=("time_limit: 14 days=>time_limit: 12 days",))
    )


def test_a_task_that_nobody_has_opened_cannot_be_completed(tmp_path: Path) -> None:
    """Nor one that is completed already; what follows in the log is decided all the same."""
    Workspace.create(tmp_path, "lead_nurture")
    file = tmp_path / "tests" / "leads.yaml"
    text = file.read_text()
    early = "  - { person: ben, at: +30 minutes, completes: not_now }\n  - { person: ben, at: +3 hours, completes: not_now }\n"
    late = "  - { person: ben, at: +4 hours, completes: no_fit }\n"
    file.write_text(text.replace("  - { person: ben, at: +3 hours, completes: not_now }\n", early + late))
    [result] = run(load(tmp_path), "a_lead_ripens*").tests
    first = text.splitlines().index("  - { person: ben, at: +3 hours, completes: not_now }") + 1
    assert [(f.line, f.happened[0]) for f in result.failures] == [
        (first, "The person has no open task at that time."), (first + 2, "The person has no open task at that time."),
    ]  # fmt: skip
