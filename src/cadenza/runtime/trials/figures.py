"""What happened in a store between two instants, in figures: one side of a trial."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any, TypeVar

import msgspec
from sqlglot import exp

from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.runtime.history import deployed
from cadenza.runtime.report.comparison import Comparisons
from cadenza.runtime.report.figures import Comparison, Count
from cadenza.sql import step

_SCRIPT = step.Script.beside(__file__, "measure")
T = TypeVar("T")


class _Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the structs below: plain facts, JSON-encodable."""


class Loss(_Figures, frozen=True, kw_only=True):
    """``refused``: candidates that did not enter; ``drop``, ``defer`` (and other verdicts): messages, by reason and rule."""

    journey: str
    verdict: str
    reason: str
    rule: str
    n: int


class StepVolume(_Figures, frozen=True, kw_only=True):
    """A resting step of a version of a journey: how many arrived, how many stood there at the end, by which way they
    left, and the arms of branches and splits that stand at that place."""

    journey: str
    version: str
    path: str
    kind: str
    template: str
    arrived: int
    standing: int
    ways: tuple[Count, ...] = ()


class DayOfMessages(_Figures, frozen=True, kw_only=True):
    """Messages planned on a day (UTC) and how many of them were withdrawn before anybody could have taken them."""

    day: date
    journey: str
    channel: str
    message_class: str
    planned: int
    cancelled: int


class Contention(_Figures, frozen=True, kw_only=True):
    """How often a journey lost to another: ``what`` names the arena or the cap. A loss at a cap counts once for every
    journey that had taken some of its room."""

    journey: str
    winner: str
    what: str
    n: int


class Contested(_Figures, frozen=True, kw_only=True):
    """A person whom several journeys want: how often one lost, and which took part (also one that lost to itself)."""

    person: str
    losses: int
    journeys: tuple[str, ...]


class JourneyVolume(_Figures, frozen=True, kw_only=True):
    """One journey, all versions. ``planned``: messages; ``inside``: passages without an end at the end."""

    name: str
    entered: int = 0
    inside: int = 0
    ends: tuple[Count, ...] = ()
    not_qualified: tuple[Count, ...] = ()
    losses: tuple[Loss, ...] = ()
    planned: int = 0
    cancelled: int = 0
    outcome: Comparison | None = None


class Side(_Figures, frozen=True, kw_only=True):
    """What happened in one store, over all journeys that did anything or are defined."""

    journeys: tuple[JourneyVolume, ...]
    steps: tuple[StepVolume, ...]
    days: tuple[DayOfMessages, ...]
    contention: tuple[Contention, ...]

    def only(self, journey: str) -> Side:
        """The part about one journey; contention from both sides."""
        return Side(
            journeys=tuple(j for j in self.journeys if j.name == journey),
            steps=tuple(s for s in self.steps if s.journey == journey),
            days=tuple(d for d in self.days if d.journey == journey),
            contention=tuple(c for c in self.contention if journey in (c.journey, c.winner)),
        )


def side(engine: Engine, project: Project, since: datetime, before: datetime, outcomes: bool = True) -> Side:
    """The figures of a store in [``since``, ``before``); ``project``: what is in force at the end. ``outcomes``: with
    the comparisons of treated and held-out units, which are placebos here: see ``_outcomes``."""
    rows = _Rows(engine, since, before)
    days = rows.of("messages", DayOfMessages)
    return Side(
        journeys=tuple(_journeys(engine, project, rows, days, since, before, outcomes)), steps=_steps(rows), days=days,
        contention=rows.of("contention", Contention, losers=rows.losers(project)),
    )  # fmt: skip


def volumes(
    engine: Engine, project: Project, since: datetime, before: datetime
) -> tuple[tuple[JourneyVolume, ...], tuple[DayOfMessages, ...]]:
    """The part of ``side`` about whole journeys and days, without comparisons."""
    rows = _Rows(engine, since, before)
    days = rows.of("messages", DayOfMessages)
    return tuple(_journeys(engine, project, rows, days, since, before, outcomes=False)), days


def contested(
    engine: Engine, project: Project, since: datetime, before: datetime, most: int
) -> tuple[int, tuple[Contested, ...]]:
    """(how many persons journeys contested in [``since``, ``before``), the most contested of them)."""
    rows = _Rows(engine, since, before)
    losers = rows.losers(project)
    number = engine.query(_SCRIPT.step("contested_persons", losers=losers).sql)[0][0]
    found = engine.query(_SCRIPT.step("contested", losers=losers, most=step.number(most)).sql)
    return number, tuple(Contested(person=f"p_{pid}", losses=n, journeys=tuple(names)) for pid, n, names in found)


class _Rows:
    """The named queries, cut at both ends."""

    def __init__(self, engine: Engine, since: datetime, before: datetime) -> None:
        self._engine = engine
        self._cut = {"since": step.instant(since.isoformat(" ")), "before": step.instant(before.isoformat(" "))}

    def of(self, name: str, kind: type[T], **parts: step.Part) -> tuple[T, ...]:
        return tuple(msgspec.convert(self._records(name, parts), list[kind]))

    def losers(self, project: Project) -> exp.Expr:
        """The query of who lost to whom, to fill a slot of another."""
        return step.query(_SCRIPT.step("losers", **self._cut, caps=_caps(project), templates=_templates(project)).sql)

    def counts(self, name: str) -> dict[str, tuple[Count, ...]]:
        """A query of (journey, name, n)."""
        found: dict[str, list[Count]] = defaultdict(list)
        for row in self._records(name, {}):
            found[row["journey"]].append(Count(row["name"], row["n"]))
        return {journey: tuple(counts) for journey, counts in found.items()}

    def numbers(self, name: str) -> dict[str, int]:
        """A query of (name, n)."""
        return {row["name"]: row["n"] for row in self._records(name, {})}

    def _records(self, name: str, parts: dict[str, step.Part]) -> list[dict[str, Any]]:
        wanted = {n: part for n, part in self._cut.items() if n in _CUT[name]}
        return self._engine.records(_SCRIPT.step(name, **wanted, **parts).sql)


_CUT = {name: {p.name for p in _SCRIPT.query(name).find_all(exp.Placeholder)} for name in _SCRIPT.names()}


def _journeys(
    engine: Engine, project: Project, rows: _Rows, days: Iterable[DayOfMessages], since: datetime, before: datetime,
    outcomes: bool,
) -> Iterable[JourneyVolume]:  # fmt: skip
    entered, inside, ends = rows.numbers("entered"), rows.numbers("live"), rows.counts("ends")
    unqualified, losses = rows.counts("not_qualified"), rows.of("losses", Loss)
    current = {j.name: j for j in project.journeys}
    compared = _outcomes(engine, project, since, before) if outcomes else {}
    names = dict.fromkeys([*current, *sorted({*entered, *inside, *ends, *unqualified, *(x.journey for x in losses)})])
    for name in names:
        mine = [day for day in days if day.journey == name]
        yield JourneyVolume(
            name=name, entered=entered.get(name, 0), inside=inside.get(name, 0), ends=ends.get(name, ()),
            not_qualified=unqualified.get(name, ()), losses=tuple(x for x in losses if x.journey == name),
            planned=sum(d.planned for d in mine), cancelled=sum(d.cancelled for d in mine),
            outcome=compared.get(name),
        )  # fmt: skip


def _outcomes(engine: Engine, project: Project, since: datetime, before: datetime) -> dict[str, Comparison]:
    """Treated against held-out units first assigned since ``since``. What these people did, they did without the messages
    of the trial, so the difference is chance: it shows what the metric is worth and how far it scatters, not an effect."""
    with engine.transaction():
        comparisons = Comparisons(engine, project, deployed(engine, project, before), before, None)
        found = {journey.name: comparisons.since(journey, since) for journey in project.journeys}
    return {name: msgspec.structs.replace(one, kind="placebo") for name, one in found.items() if one is not None}


def _steps(rows: _Rows) -> tuple[StepVolume, ...]:
    volumes = {(v.journey, v.version, v.path, v.kind): v for v in rows.of("steps", StepVolume)}
    for way in rows.of("ways", _Way):
        place = (way.journey, way.version, way.path, way.kind)
        # Nobody rests at a branch or a split, but everybody takes an arm; and a step may be left by those who came before.
        volume = volumes.get(place) or StepVolume(
            journey=way.journey, version=way.version, path=way.path, kind=way.kind, template="", arrived=0, standing=0
        )
        arrived = volume.arrived + (way.n if way.kind == "arms" else 0)
        volumes[place] = msgspec.structs.replace(volume, arrived=arrived, ways=(*volume.ways, Count(way.way, way.n)))
    return tuple(sorted(volumes.values(), key=lambda v: (v.journey, v.version, _order(v.path))))


class _Way(_Figures, frozen=True, kw_only=True):
    journey: str
    version: str
    path: str
    kind: str
    way: str
    n: int


def _order(path: str) -> list[tuple[int, str]]:
    """So that step 10 comes after step 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in path.replace("]", "[").split("[")]


def _caps(project: Project) -> list[exp.Expr]:
    """(rule, seconds, channel, topic, journey, each, calendar) of every cap; one that is never the rule of a decision keeps
    the list from being empty."""
    rows = [
        (c.name, c.per_s, c.channel, c.topic, c.journey, c.each, c.calendar) for c in project.policy.caps
    ] or [("", 0, None, None, None, None, None)]  # fmt: skip
    return [
        exp.Tuple(expressions=[step.text(name), step.number(seconds), *(step.text(one) for one in more)])
        for name, seconds, *more in rows
    ]


def _templates(project: Project) -> list[exp.Expr]:
    """(template, topic that it declares, purpose) of every template, and one that no message has."""
    rows = [("", None, ""), *((t.name, t.topic, t.purpose) for t in project.templates)]
    return [exp.Tuple(expressions=[step.text(one) for one in row]) for row in rows]
