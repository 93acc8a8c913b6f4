"""Counts what happened. See the package for what a report promises."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
from sqlglot import exp

from cadenza.clock import EPOCH, MICROSECOND
from cadenza.definitions.flags import chooses
from cadenza.definitions.implied import is_implied
from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError, near_miss
from cadenza.ports.engine import Engine
from cadenza.runtime.history import Deployed, deployed
from cadenza.runtime.report.comparison import FOREVER, Comparisons
from cadenza.runtime.report.experiments import Experiments
from cadenza.runtime.report.figures import (
    Check,
    Count,
    JourneyFigures,
    LogCounts,
    MessageFigures,
    People,
    Report,
    SegmentFigures,
    check,
)  # fmt: skip
from cadenza.runtime.report.hints import hints
from cadenza.runtime.report.triggers import asked, triggered
from cadenza.runtime.report.versions import by_version
from cadenza.sql import step
from cadenza.stages import measure

_SCRIPT = step.Script.beside(__file__, "measure")


class _Cut(msgspec.Struct, frozen=True, kw_only=True):
    """The report's instant: facts before ``before`` are seen. ``present``: the store knows nothing later."""

    as_of: datetime
    before: datetime
    present: bool
    live_from: datetime | None


class _Facts:
    """The named queries, cut at one instant."""

    def __init__(self, engine: Engine, before: datetime) -> None:
        self._engine = engine
        self._before = step.instant(before.isoformat(" "))

    def rows(self, name: str, **parts: step.Part) -> list[tuple[Any, ...]]:
        return self.state(name, before=self._before, **parts)

    def state(self, name: str, **parts: step.Part) -> list[tuple[Any, ...]]:
        """A query of the present state, not cut."""
        return self._engine.query(_SCRIPT.step(name, **parts).sql)

    def counts(self, name: str) -> tuple[Count, ...]:
        """A query of (name, n)."""
        return tuple(Count(row[0], row[1]) for row in self.rows(name))

    def per_journey(self, name: str) -> dict[str, tuple[Any, ...]]:
        """A query of one row per journey, its name first."""
        return {row[0]: row[1:] for row in self.rows(name)}

    def counts_per_journey(self, name: str) -> dict[str, tuple[Count, ...]]:
        """A query of (journey, name, n) or (journey, reason, rule, n)."""
        found: dict[str, list[Count]] = defaultdict(list)
        for journey, *names, n in self.rows(name):
            found[journey].append(Count(": ".join(dict.fromkeys(part for part in names if part)), n))
        return {journey: tuple(counts) for journey, counts in found.items()}


def report(
    engine: Engine, project: Project, log_counts: LogCounts | None = None, as_of: datetime | None = None
) -> Report:
    """The report at ``as_of`` (naive UTC; None is as far as the store is; a past instant is cut at its hour).

    Read in one transaction, so a tick that commits meanwhile is seen wholly or not at all. Raises StoreError.
    """
    with engine.transaction():
        cut = _cut(engine, as_of)
        facts = _Facts(engine, cut.before)
        versions = deployed(engine, project, cut.before)
        people, people_check = _people(facts, project)
        segments = _segments(facts, project)
        comparisons = Comparisons(engine, project, versions, cut.before, cut.live_from)
        journeys, journey_checks = _journeys(engine, project, facts, cut, versions, comparisons)
        programmes = comparisons.programmes()
        checks = (people_check, *(_profile_checks(facts, project, people, segments) if cut.present else ()))
        events, unidentified = facts.counts("events"), facts.counts("unidentified")
    every = (*checks, *journey_checks)
    bare = Report(
        project=project.name, as_of=cut.as_of, people=people, events=events, unidentified=unidentified,
        log=log_counts or LogCounts(), segments=segments, journeys=journeys, programmes=programmes,
        checks=every, adds_up=all(c.holds for c in every),
    )  # fmt: skip
    return msgspec.structs.replace(bare, hints=hints(bare, project))


def units(engine: Engine, project: Project, journey: str, as_of: datetime | None = None) -> list[tuple[int, float]]:
    """(person, outcome metric) of every unit of a journey's holdout, both arms, whose window is over at
    ``as_of``; by person. Raises CadenzaError when the journey is unknown or has no holdout."""
    definition = {j.name: j for j in project.journeys}.get(journey)
    if definition is None:
        raise CadenzaError(
            f"there is no journey '{journey}'.", remedy=near_miss(journey, [j.name for j in project.journeys])
        )
    if definition.holdout is None:
        raise CadenzaError(f"journey '{journey}' has no holdout, so it has no units to compare.")
    with engine.transaction():
        before = _cut(engine, as_of).before
        span = measure.Span(since=EPOCH, until=FOREVER, before=before)
        metric = project.metric(definition.outcome.metric)
        rows = engine.query(measure.values(project, metric, definition.holdout.name, span))
    return [(pid, float(value)) for pid, _, value in rows]


def _cut(engine: Engine, as_of: datetime | None) -> _Cut:
    rows = engine.query(_SCRIPT.step("clock").sql)
    horizon, live_from = rows[0] if rows else (EPOCH, None)
    horizon = max(horizon, EPOCH)  # a store that has read nothing stands at the year 1
    if as_of is None or as_of >= horizon:
        return _Cut(as_of=horizon, before=horizon + MICROSECOND, present=True, live_from=live_from)
    hour = as_of.replace(minute=0, second=0, microsecond=0)
    return _Cut(as_of=hour, before=hour, present=False, live_from=live_from)


def _people(facts: _Facts, project: Project) -> tuple[People, Check]:
    kinds = [step.text(i.type) for i in project.identity.identifiers if i.source != "anonymousId"]
    created, living, identified, merged = facts.rows("people", kinds=kinds or [exp.Null()])[0]
    people = People(living=living, identified=identified, anonymous=living - identified, merged=merged)
    return people, check("persons ever created", created, living=living, merged=merged)


def _segments(facts: _Facts, project: Project) -> tuple[SegmentFigures, ...]:
    counted = {name: (members, ever) for name, members, ever in facts.rows("segments") if not is_implied(name)}
    names = dict.fromkeys([*(s.name for s in project.segments if not is_implied(s.name)), *counted])
    return tuple(
        SegmentFigures(name=name, members=members, ever=ever)
        for name in names
        for members, ever in [counted.get(name, (0, 0))]
    )


def _profile_checks(
    facts: _Facts, project: Project, people: People, segments: Iterable[SegmentFigures]
) -> tuple[Check, ...]:
    """The profiles are state, the membership intervals are facts: at the present they must agree."""
    names = [s.name for s in project.segments if not is_implied(s.name)]
    sums = [step.sql(f'count(*) FILTER (WHERE "s_{name}")') for name in names]
    living, *members = facts.state("profiles", counts=sums)[0]
    counted = {s.name: s.members for s in segments}
    return (
        check("living persons", people.living, profiles=living),
        check("persons merged into another", people.merged, merged_away=facts.state("merged")[0][0]),
        *(
            check(f"members of segment {name}", counted[name], profiles=n)
            for name, n in zip(names, members, strict=True)
        ),
    )


def _journeys(
    engine: Engine,
    project: Project,
    facts: _Facts,
    cut: _Cut,
    versions: tuple[Deployed, ...],
    comparisons: Comparisons,
) -> tuple[tuple[JourneyFigures, ...], tuple[Check, ...]]:
    entered = facts.per_journey("entered")
    refused, unqualified = facts.counts_per_journey("refused"), facts.counts_per_journey("not_qualified")
    exits, messages = (
        facts.counts_per_journey("exits"),
        _Messages(facts, frozenset(j.name for j in project.journeys if chooses(j))),
    )
    ways = _ways(facts)
    candidates = triggered(engine, versions, cut.before)
    candidates.update(asked(engine, versions, cut.before))
    several = by_version(engine, project, cut.before)
    experiments = Experiments(engine, comparisons)
    current = {j.name: j for j in project.journeys}
    figures, checks = [], []
    for name in dict.fromkeys([*current, *sorted({*candidates, *entered, *refused, *unqualified})]):
        count, standing, unended = entered.get(name, (0, 0, 0))
        one = JourneyFigures(
            name=name, candidates=candidates.get(name, 0), entered=count,
            refused=refused.get(name, ()), not_qualified=unqualified.get(name, ()),
            live=standing if cut.present else unended, exits=exits.get(name, ()), messages=messages.of(name),
            comparisons=comparisons.of(current[name]) if name in current else (),
            tasks=tuple(ways[name, "hand_off"]), calls=tuple(ways[name, "call"]),
            restarted=sum(c.n for c in exits.get(name, ()) if c.name == "restarted"), versions=several.get(name, ()),
            experiments=experiments.of(current[name]) if name in current else (),
        )  # fmt: skip
        figures.append(one)
        checks += _journey_checks(one, messages.rows(name))
    return tuple(figures), tuple(checks)


def _ways(facts: _Facts) -> defaultdict[tuple[str, str], list[Count]]:
    """(Journey, kind of step) -> by which ways people went on from such steps."""
    found: defaultdict[tuple[str, str], list[Count]] = defaultdict(list)
    for journey, kind, way, n in facts.rows("ways"):
        found[journey, kind].append(Count(way.removeprefix("outcome:"), n))
    return found


def total(counts: Iterable[Count]) -> int:
    """The sum of counts."""
    return sum(count.n for count in counts)


def _journey_checks(figures: JourneyFigures, message_rows: int) -> list[Check]:
    name, messages = figures.name, figures.messages
    return [
        check(f"{name}: candidates", figures.candidates + figures.restarted, entered=figures.entered,
              refused=total(figures.refused), not_qualified=total(figures.not_qualified)),
        check(f"{name}: entered", figures.entered, live=figures.live, ended=total(figures.exits)),
        check(f"{name}: message candidates", messages.candidates, sent=messages.sent,
              dropped=total(messages.dropped), withdrawn=messages.withdrawn, waiting=messages.waiting),
        check(f"{name}: messages decided to be sent", messages.sent, messages=message_rows),
    ]  # fmt: skip


class _Messages:
    """The message figures of every journey. ``choosing``: those in which a send chooses its channel."""

    def __init__(self, facts: _Facts, choosing: frozenset[str]) -> None:
        self._candidates = facts.per_journey("candidates")
        self._verdicts = facts.rows("verdicts")
        self._deferred = facts.counts_per_journey("deferrals")
        self._delivery = facts.counts_per_journey("messages")
        self._reactions = facts.counts_per_journey("reactions")
        self._channels = facts.counts_per_journey("channels") if choosing else {}
        self._choosing = choosing

    def rows(self, journey: str) -> int:
        """How many rows the message table holds of a journey."""
        return total(self._delivery.get(journey, ()))

    def of(self, journey: str) -> MessageFigures:
        candidates, waiting, withdrawn = self._candidates.get(journey, (0, 0, 0))
        mine = [(verdict, reason, n) for name, verdict, reason, n in self._verdicts if name == journey]
        return MessageFigures(
            candidates=candidates, waiting=waiting, withdrawn=withdrawn,
            sent=sum(n for verdict, _, n in mine if verdict == "send"),
            dropped=tuple(Count(reason, n) for verdict, reason, n in mine if verdict == "drop"),
            deferred=self._deferred.get(journey, ()), delivery=self._delivery.get(journey, ()),
            reactions=self._reactions.get(journey, ()),
            channels=self._channels.get(journey, ()) if journey in self._choosing else (),
        )  # fmt: skip
