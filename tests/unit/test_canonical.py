"""Definitions are content-addressed: what is equal has one version, however it was written and wherever it has been."""

from __future__ import annotations

from pathlib import Path

import pytest

from cadenza.definitions.kinds import ExitStep, Outcome, Send
from cadenza.definitions.load import load
from cadenza.definitions.project import Project, decode, encode, version_of
from cadenza.definitions.starter import write_starter

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["starter", "online-retail"])
def project(request: pytest.FixtureRequest, tmp_path: Path) -> Project:
    if request.param == "starter":
        write_starter(tmp_path)
        return load(tmp_path).project
    return load(ROOT / "examples" / "online-retail").project


def test_a_project_survives_the_log(project: Project) -> None:
    again = decode(encode(project))
    assert again == project
    assert encode(again) == encode(project)
    before = {(kind, name): version_of(d) for kind, name, d in project.named()}
    assert {(kind, name): version_of(d) for kind, name, d in again.named()} == before


def test_a_default_written_out_is_no_change() -> None:
    written = "".join(["per", "son"])  # equal to the default, and another object
    assert version_of(Outcome(metric="m", unit=written)) == version_of(Outcome(metric="m"))  # type: ignore[arg-type]
    assert version_of(ExitStep(reason="".join(["comp", "leted"]))) == version_of(ExitStep())


def test_a_difference_is_a_change() -> None:
    assert version_of(ExitStep(reason="other")) != version_of(ExitStep())
    assert version_of(Send(template="a")) != version_of(Send(template="b"))
