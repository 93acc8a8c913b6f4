"""A future drawn many times: people who behave as the history says, the same tick on a virtual clock, every rule in force.

It is what would happen if the days to come were like those that were, told apart by nothing but the fitted rates. It is
no measurement: what a journey is worth, only a holdout shows, live.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta

import msgspec

from cadenza.clock import to_micros
from cadenza.definitions.project import Project, encode
from cadenza.errors import OperatingError
from cadenza.ids import ACCOUNTS, fingerprint
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log
from cadenza.runtime.deploy import load
from cadenza.runtime.status import current_project
from cadenza.runtime.tick import Ticker
from cadenza.runtime.trials.ahead import Ahead, Fork, from_now, ticker_on
from cadenza.runtime.trials.backtest import Progressing, Scratch, stands_at
from cadenza.runtime.trials.figures import volumes
from cadenza.runtime.trials.past import PAGE, just_after, put_in_force
from cadenza.runtime.trials.resample import Drawn
from cadenza.runtime.trials.response import ANSWERS, Fit, Model, People, described, fitted
from cadenza.runtime.trials.spread import Spread, spreads
from cadenza.sql import step
from cadenza.sql.program import Program
from cadenza.stages import measure

MOST_DAYS, MOST_DRAWS, MOST_STEP_H = 366, 1_000, 24
_SCRIPT = step.Script.beside(__file__, "measure")
DAY, WEEKLY = timedelta(days=1), timedelta(days=31)
Figures = dict[tuple[str, ...], float]
"""One draw: what is counted -> how much."""


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """What to simulate. ``draft``: None is what is in force. ``by``: the segments that tell people apart, None: all.
    ``step_h``: people's answers to messages are drawn every so many hours, and none comes sooner than that."""

    days: int = 14
    draws: int = 39
    seed: int = 1
    step_h: int = 3
    draft: Project | None = None
    by: tuple[str, ...] | None = None


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """How far it is: days over all draws, and where the present draw (from 1) stands."""

    days: int
    of_days: int
    draw: int
    at: datetime


class LossAhead(msgspec.Struct, frozen=True, kw_only=True):
    """As ``figures.Loss``, over the draws."""

    verdict: str
    reason: str
    rule: str
    n: Spread


class EndAhead(msgspec.Struct, frozen=True, kw_only=True):
    """Passages that end for a reason."""

    reason: str
    n: Spread


class OutcomeAhead(msgspec.Struct, frozen=True, kw_only=True):
    """The journey's metric of the ``persons`` who first enter it in the time, from then on until its window or the time
    is over: in all, and each. Whether the journey brought it is not in it."""

    metric: str
    persons: Spread
    total: Spread
    each: Spread


class JourneyAhead(msgspec.Struct, frozen=True, kw_only=True):
    """One journey, all versions. ``planned``: messages; ``inside``: passages without an end at the end."""

    name: str
    entered: Spread
    inside: Spread
    planned: Spread
    ends: tuple[EndAhead, ...]
    losses: tuple[LossAhead, ...]
    outcome: OutcomeAhead | None


class DayAhead(msgspec.Struct, frozen=True, kw_only=True):
    """Messages planned on a day (UTC)."""

    day: date
    journey: str
    channel: str
    message_class: str
    planned: Spread


class PeriodAhead(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of all journeys in a day, or in a week from Monday on where more than 31 days are simulated."""

    begins: date
    channel: str
    message_class: str
    planned: Spread


class Pressure(msgspec.Struct, frozen=True, kw_only=True):
    """Marketing messages of one person in the time: how many ``persons`` there are at the end, how many get any
    (``reached``), how many those get in the mean, what the busiest 5 % get at least, and the most."""

    persons: Spread
    reached: Spread
    mean: Spread
    busy: Spread
    most: Spread


class AnswerAhead(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the time's messages of a channel get an answer."""

    channel: str
    name: str
    n: Spread


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    """The time after ``since`` until ``until`` (naive UTC), drawn ``draws`` times from ``seed`` under the definitions
    ``fingerprint``. ``messages``: planned in all; ``happened``: what people did by themselves, and records of newcomers."""

    since: datetime
    until: datetime
    seed: int
    draws: int
    step_h: int
    fingerprint: str
    fit: Fit
    happened: Spread
    messages: Spread
    journeys: tuple[JourneyAhead, ...]
    days: tuple[DayAhead, ...]
    periods: tuple[PeriodAhead, ...]
    pressure: Pressure
    answers: tuple[AnswerAhead, ...]


def simulate(
    course: Course, log: Log, scratch: Scratch, real: Scratch, fork: Fork, progress: Progressing | None = None,
    passed: Callable[[Passed], None] | None = None, page: int = PAGE,
) -> Simulation:  # fmt: skip
    """Fit, then run copies of the store ahead. ``page``: records of one tick, which changes nothing. Raises
    OperatingError where there is too little history to fit, or nothing is deployed; CadenzaError for segments."""
    since = stands_at(log, real)
    with from_now(log, scratch, real, fork, since, progress) as base:
        before = current_project(base) or Project()
        project = course.draft or before
        if course.draft is not None:
            put_in_force(base, course.draft, since)
        program = load(base)
        if program is None:
            raise OperatingError("nothing was ever deployed.", remedy="'cadenza apply' deploys the project.")
        model = fitted(base, log, program, before, since, course.by)
        found = []
        for draw in range(course.draws):
            with fork(base) as engine:
                found.append(_drawn(engine, program, model, course, draw, page, passed))
    return _summed(course, project, model, found)


def _drawn(
    engine: Engine, program: Program, model: Model, course: Course, draw: int, page: int,
    passed: Callable[[Passed], None] | None,
) -> Figures:  # fmt: skip
    """One future, in figures."""
    ahead = Ahead(engine.query("SELECT consumed FROM clock")[0][0])
    ticker = ticker_on(engine, ahead, program)
    people = People(engine, model, course.seed, draw, course.step_h * 3_600_000_000)
    end = model.since + course.days * DAY
    coming: list[Drawn] = []
    happened = 0
    for number in range(course.days):
        begins = model.since + number * DAY
        today = people.day(begins, number)
        happened += len(today)
        coming = _steps(engine, ticker, ahead, people, sorted([*coming, *today]), begins, course.step_h, page)
        if passed is not None:
            done = draw * course.days + number + 1
            passed(Passed(days=done, of_days=course.draws * course.days, draw=draw + 1, at=begins + DAY))
    return counted(engine, program.project, just_after(model.since), just_after(end), happened)


def _steps(
    engine: Engine, ticker: Ticker, ahead: Ahead, people: People, coming: list[Drawn], begins: datetime, step_h: int,
    page: int,
) -> list[Drawn]:  # fmt: skip
    """Run a day, step by step; what is still to come afterwards. A message's answers come no sooner than a step later, so
    that drawing them after each step leaves none out."""
    at, until = begins, begins + DAY
    while at < until:
        upto = min(at + timedelta(hours=step_h), until)
        cut = bisect_left(coming, to_micros(upto), key=lambda drawn: drawn[0])
        now, coming = coming[:cut], coming[cut:]
        due = ticker.next_timer()
        if now or (due is not None and due <= upto):
            ahead.add(now)
            ticker.run(upto, None, page)
            coming = sorted([*coming, *people.answers(at, upto)])
        at = upto
    return coming


# --- figures --------------------------------------------------------------------------------------------------


def counted(engine: Engine, project: Project, after: datetime, before: datetime, happened: int) -> Figures:
    """What one future (or what really came) comes to in [``after``, ``before``)."""
    found: Figures = {("happened",): happened}
    journeys, days = volumes(engine, project, after, before)
    for journey in journeys:
        found["entered", journey.name] = journey.entered
        found["inside", journey.name] = journey.inside
        found["planned", journey.name] = journey.planned
        for count in journey.ends:
            found["end", journey.name, count.name] = count.n
        for loss in journey.losses:
            found["loss", journey.name, loss.verdict, loss.reason, loss.rule] = loss.n
    weekly = before - after > WEEKLY
    for day in days:
        found["day", day.day.isoformat(), day.journey, day.channel, day.message_class] = day.planned
        begins = day.day - timedelta(days=day.day.weekday()) if weekly else day.day
        period = ("period", begins.isoformat(), day.channel, day.message_class)
        found[period] = found.get(period, 0) + day.planned
    cut: dict[str, step.Part] = {
        "since": step.instant(after.isoformat(" ")),
        "before": step.instant(before.isoformat(" ")),
    }
    _pressure(engine, cut, found)
    names = [step.text(name) for name in sorted(set(ANSWERS.values()))]
    for channel, name, n in engine.query(_SCRIPT.step("answered", **cut, names=names).sql):
        found["answer", channel, name] = n
    span = measure.Span(since=after, until=before, before=before)
    for journey in project.journeys:
        metric = project.metric(journey.outcome.metric)
        persons, total = engine.query(measure.entrants(project, metric, journey.name, span))[0]
        found["persons", journey.name], found["total", journey.name] = persons, float(total)
        found["each", journey.name] = float(total) / persons if persons else 0.0
    return found


def _pressure(engine: Engine, cut: dict[str, step.Part], found: Figures) -> None:
    counts = engine.query(_SCRIPT.step("pressure", **cut).sql)
    reached, sent = sum(people for _, people in counts), sum(n * people for n, people in counts)
    found["pressure", "persons"] = engine.query(f"SELECT count(*) FROM profile WHERE pid < {ACCOUNTS}")[0][0]
    found["pressure", "reached"] = reached
    found["pressure", "mean"] = sent / reached if reached else 0.0
    found["pressure", "most"] = max((n for n, _ in counts), default=0)
    found["pressure", "busy"] = _busy(counts, reached)


def _busy(counts: Sequence[tuple[int, int]], reached: int) -> int:
    """What the busiest 5 % of those who were reached got at least."""
    left = max(reached // 20, 1)
    for n, people in reversed(counts):
        left -= people
        if left <= 0:
            return n
    return 0


def _summed(course: Course, project: Project, model: Model, found: Sequence[Figures]) -> Simulation:
    over = spreads(found)
    names = list(dict.fromkeys(key[1] for key in over if key[0] == "entered"))
    whole = spreads([{"n": sum(n for key, n in draw.items() if key[0] == "planned")} for draw in found])["n"]
    days = sorted(key for key in over if key[0] == "day")
    answers = sorted(key for key in over if key[0] == "answer")
    return Simulation(
        since=model.since, until=model.since + course.days * DAY, seed=course.seed, draws=course.draws,
        step_h=course.step_h, fingerprint=fingerprint([encode(project)]), fit=described(model),
        happened=over[("happened",)], messages=whole, journeys=tuple(_journey(project, over, name) for name in names),
        days=tuple(
            DayAhead(day=date.fromisoformat(key[1]), journey=key[2], channel=key[3], message_class=key[4], planned=over[key])
            for key in days
        ),
        periods=tuple(
            PeriodAhead(begins=date.fromisoformat(key[1]), channel=key[2], message_class=key[3], planned=over[key])
            for key in sorted(over) if key[0] == "period"
        ),
        pressure=Pressure(**{key[1]: n for key, n in over.items() if key[0] == "pressure"}),
        answers=tuple(AnswerAhead(channel=key[1], name=key[2], n=over[key]) for key in answers),
    )  # fmt: skip


def _journey(project: Project, over: dict[tuple[str, ...], Spread], name: str) -> JourneyAhead:
    mine = [key for key in over if len(key) > 1 and key[1] == name]
    metric = next((j.outcome.metric for j in project.journeys if j.name == name), None)
    return JourneyAhead(
        name=name, entered=over["entered", name], inside=over["inside", name], planned=over["planned", name],
        ends=tuple(EndAhead(reason=key[2], n=over[key]) for key in sorted(mine) if key[0] == "end"),
        losses=tuple(
            LossAhead(verdict=key[2], reason=key[3], rule=key[4], n=over[key]) for key in sorted(mine) if key[0] == "loss"
        ),
        outcome=None if metric is None else OutcomeAhead(
            metric=metric, persons=over["persons", name], total=over["total", name], each=over["each", name]
        ),
    )  # fmt: skip
