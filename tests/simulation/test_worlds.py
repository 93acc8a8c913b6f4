"""Generated worlds are valid projects, the same every time, and full of what the rules are about."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings

from cadenza.definitions.check import check
from cadenza.definitions.project import Project, decode, encode
from cadenza.simulate.worlds import Dice, World, make_project, seeded
from tests.simulation.strategies import facts, play, projects, smaller, with_project, worlds

SEEDS = 200
PLAYED = 60

INTERESTING = (
    "merge", "late event", "new identifier", "cancelled", "several moves at one instant", "timer at a record's instant",
    "end completed", "end enough", "end goal", "end disqualified", "end superseded", "end time_limit", "end merged",
    "refused no_key", "refused suppressed", "refused re_entry running", "refused re_entry once", "refused re_entry after",
    "refused priority", "refused holdout", "nonqualified when", "nonqualified when_unknown",
    "send", "defer quiet_hours", "defer cap", "drop unreachable", "drop suppressed", "drop policy", "drop no_consent",
    "drop holdout", "drop no_time_zone", "drop deadline", "drop cap",
    "move entered", "move timer", "move matched", "move timeout", "move updated", "move sent", "move dropped",
    "member record entered", "member record left", "member time entered", "member time left", "member merged entered",
    "member merged left", "message deliverable", "message replayed", "assigned holdout", "assigned treated",
    "record alias", "record outcome", "record command", "record Consent Updated", "record Unsubscribed",
    "record Email Bounced", "record Ping", "record page",
)  # fmt: skip


@lru_cache(maxsize=1)
def _share() -> Counter[str]:
    """In how many of the seeds each thing happens."""
    return Counter(name for seed in range(PLAYED) for name in facts(seeded(seed, 40, towns=3)))


@pytest.mark.parametrize("name", INTERESTING)
def test_every_interesting_thing_happens(name: str) -> None:
    share = _share()
    assert share[name] > 0, f"no world of {PLAYED} has '{name}'; there are: {dict(share)}"


def test_a_seed_is_a_world() -> None:
    assert msgspec.json.encode(seeded(7)) == msgspec.json.encode(seeded(7)) != msgspec.json.encode(seeded(8))
    assert play(seeded(7)) == play(seeded(7))


@pytest.mark.parametrize("start", range(0, SEEDS, 50))
def test_generated_projects_pass_the_checker(start: int) -> None:
    for seed in range(start, start + 50):
        _valid(make_project(Dice(seed)))


def _valid(project: Project) -> None:
    problems, _ = check(project)
    assert not problems, [str(p) for p in problems]
    assert decode(encode(project)) == project


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(projects())
def test_drawn_projects_pass_the_checker(project: Project) -> None:
    _valid(project)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(worlds(most_records=24))
def test_drawn_worlds_conserve(world: World) -> None:
    rows = play(world)
    ended = [row[0] for row in rows["ends"]]
    assert len(ended) == len(set(ended)), "an enrollment ended twice"
    assert set(ended) == {row[0] for row in rows["enrollments"] if row[5] == "end"}
    sends = {row[0:2] for row in rows["decisions"] if row[3] == "send"}
    assert len(rows["messages"]) == len(sends) == len({row[0] for row in rows["messages"]})
    assert {row[0] for row in rows["cancellations"]} <= {row[0] for row in rows["messages"]}


def test_offsets_and_instants_increase() -> None:
    records = seeded(3).records
    assert [r.offset for r in records] == list(range(1, len(records) + 1)) and records[0].kind == "deploy"
    assert all(a.recorded_at < b.recorded_at for a, b in pairwise(records))


def test_a_failing_world_is_made_smaller() -> None:
    def fails(world: World) -> bool:
        return any(row[3] == "send" for row in play(world)["decisions"])

    seed = next(s for s in range(SEEDS) if fails(seeded(s)))
    found = smaller(seeded(seed), fails)
    assert fails(found) and len(found.records) <= 8 and len(found.project.journeys) == 1
    assert with_project(found, found.project) == found
