"""What a plan says has changed."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import Phase, given, settings

from cadenza.definitions.difference import Change, FieldChange, difference
from cadenza.definitions.load import Loaded
from cadenza.definitions.project import Project
from tests.definitions.strategies import PROJECTS

NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)
"""Projects are large; shrinking one takes minutes."""


def test_without_an_old_project_everything_is_added(starter: dict[str, str], read: Callable[..., Loaded]) -> None:
    project = read(starter).project
    changes = difference(None, project)
    assert {(c.kind, c.name) for c in changes} == {(kind, name) for kind, name, _ in project.named()}
    assert {c.change for c in changes} == {"added"}
    assert all(c.new_version and c.old_version is None for c in changes)


def changed(
    starter: dict[str, str], read: Callable[..., Loaded], file: str, *changes: tuple[str, str]
) -> tuple[Change, ...]:
    old = read(starter).project
    text = starter[file]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after, 1)
    return difference(old, read({**starter, file: text}).project)


def test_the_smallest_parts_are_named_in_the_words_of_the_yaml(
    starter: dict[str, str], read: Callable[..., Loaded]
) -> None:
    (change,) = changed(
        starter, read, "journeys/welcome.yaml",
        ("priority: 50", "priority: 60"), ("time_limit: 14 days", "time_limit: 36 hours"), ("until: 3 days", "until: 4 hours"),
        ("wait: 4 days", "wait: 4 hours"), ("wait: 1 day", "wait: 1 hour"), ("share: 10%", "share: 12.5%"), ("goal: event('Order Completed')", "goal: orders > 1"),
    )  # fmt: skip
    assert (change.kind, change.name, change.change) == ("journeys", "welcome", "changed")
    assert set(change.fields) == {
        FieldChange(path="priority", old="50", new="60"),
        FieldChange(path="exit.time_limit", old="14 days", new="36 hours"),
        FieldChange(path="exit.goal", old="event('Order Completed')", new="orders > 1"),
        FieldChange(path="holdout.share", old="10%", new="12.5%"),
        FieldChange(path="steps.1.until", old="3 days", new="4 hours"),
        FieldChange(path="steps.2.arms.0.steps.0.duration", old="4 days", new="4 hours"),
        FieldChange(path="steps.2.otherwise.0.duration", old="1 day", new="1 hour"),
    }


def test_the_parts_of_a_call_are_named(starter: dict[str, str], read: Callable[..., Loaded]) -> None:
    call = "call: { destination: scoring, body: { a: orders }, answer: { first_name: name }, timeout: 1 hour, failed: [], unanswered: [] }"
    starter["destinations/scoring.yaml"] = "destination: scoring\nchannel: scores\nadapter: webhook\n"
    starter["journeys/welcome.yaml"] = starter["journeys/welcome.yaml"].replace("send: welcome_mail", call, 1)
    (change,) = changed(
        starter, read, "journeys/welcome.yaml",
        ("timeout: 1 hour", "timeout: 2 hours"), ("first_name: name", "first_name: given.name"),
        ("body: { a: orders }", "purpose: profiling"), ("failed: []", "failed: [ { exit: no_score } ]"),
    )  # fmt: skip
    assert set(change.fields) == {
        FieldChange(path="steps.0.timeout", old="1 hour", new="2 hours"),
        FieldChange(path="steps.0.answer.first_name", old="name", new="given.name"),
        FieldChange(path="steps.0.body.a", old="orders", new=None),
        FieldChange(path="steps.0.purpose", old=None, new="profiling"),
        FieldChange(path="steps.0.failed.0", old=None, new='{"step":"exit","reason":"no_score"}'),
    }


def test_members_with_names_are_compared_by_name(starter: dict[str, str], read: Callable[..., Loaded]) -> None:
    (change,) = changed(
        starter, read, "policies/contact.yaml",
        ("  - { name: weekly, limit: 3", "  - { name: daily, limit: 1, per: 1 day }\n  - { name: weekly, limit: 2"),
    )  # fmt: skip
    assert [(f.path, f.old is None) for f in change.fields] == [("caps.weekly.limit", False), ("caps.daily", True)]


def test_a_comment_changes_nothing(starter: dict[str, str], read: Callable[..., Loaded]) -> None:
    assert (
        changed(starter, read, "segments/regulars.yaml", ("segment: regulars", "# people we like\nsegment: regulars"))
        == ()
    )


def test_removed_and_renamed(starter: dict[str, str], read: Callable[..., Loaded]) -> None:
    old = read({**starter, "segments/more.yaml": "segment: more\nwhen: orders > 9\n"}).project
    new = read(
        {**starter, "segments/more.yaml": "segment: most\nwhen: orders > 9\n", "cadenza.yaml": "project: b\n"}
    ).project
    assert [(c.kind, c.name, c.change) for c in difference(old, new)] == [
        ("segments", "more", "removed"), ("segments", "most", "added"), ("project", "b", "changed"),
    ]  # fmt: skip


@settings(max_examples=15, deadline=None, phases=NO_SHRINKING)
@given(PROJECTS, PROJECTS)
def test_a_change_of_version_always_names_a_field(old: Project, new: Project) -> None:
    assert difference(old, old) == ()
    for change in difference(old, new):
        assert (change.change == "changed") == bool(change.fields), change
        assert change.old_version != change.new_version or change.kind == "project"
