"""Trials as text a person reads: both sides beside each other, then who goes another way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from typing import TypeVar

from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from cadenza.surfaces.report_tables import amount, figures_table, number, titled, words
from cadenza.workspace import Backtest, Comparison, Forecast, JourneyVolume, Side

MOST_CHANGES = 40
MOST_DAYS = 31
"""More days than these are shown by the week."""
_BY_PLACE = {"quiet_hours", "no_time_zone", "deadline"}
"""Reasons whose rule is a time zone: shown in one line."""
_VERDICTS = {"refused": "refused", "drop": "messages dropped", "defer": "messages put off"}
K = TypeVar("K")


def render_backtest(found: Backtest) -> list[RenderableType]:
    """The backtest as rich renderables, in reading order."""
    other = found.compared_with
    parts: list[RenderableType] = [
        Text(f"The draft {found.draft_fingerprint} from {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC, beside {other}", style="bold"),
        Text(f"{number(found.made.records)} records decided in {number(found.made.waves)} waves. Nothing was sent.\n"),
    ]  # fmt: skip
    ran = {j.name: j for j in found.against.journeys}
    drafted = {j.name: j for j in found.draft.journeys}
    for name in dict.fromkeys([*drafted, *ran]):
        rows = list(_beside(_rows(ran.get(name)), _rows(drafted.get(name))))
        if rows:
            parts.append(_rows_table(name, rows))
        outcome = drafted[name].outcome if name in drafted else None
        if outcome is not None:
            parts.append(_outcome(outcome))
    return [*parts, *_steps(found), *_contention(found), *_days(found), *_changes(found)]


def render_forecast(found: Forecast) -> list[RenderableType]:
    """The forecast as rich renderables, in reading order."""
    came = (
        "Nothing new happens in it but timers." if found.resampled is None
        else f"{number(found.resampled)} records of past days happen again."
    )  # fmt: skip
    parts: list[RenderableType] = [
        Text(f"From {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC", style="bold"),
        Text(f"{came} Nothing was sent.\n"),
    ]
    shown = figures_table("day", "channel", "class", "messages", left=3)
    days: Counter[tuple[date, str, str]] = Counter()
    for day in found.side.days:
        days[day.day, day.channel, day.message_class] += day.planned
    for (day, channel, kind), n in sorted(days.items()):
        shown.add_row(f"{day:%Y-%m-%d}", channel, kind, number(n))
    parts.append(titled("Messages expected", shown) if days else Text("No message is expected.\n"))
    for journey in found.side.journeys:
        rows = [(what, reason, n) for (what, reason), n in _rows(journey).items() if n]
        shown = figures_table("what", "reason", "number", left=2)
        for what, reason, n in rows:
            shown.add_row(what, reason, number(n))
        if rows:
            parts.append(titled(journey.name, shown))
    return [*parts, *_losers(found.side), *_contested(found)]


def _losers(side: Side) -> Iterator[RenderableType]:
    shown = figures_table("journey", "lost to", "over", "times", left=3)
    for row in side.contention:
        shown.add_row(row.journey, row.winner, row.what, number(row.n))
    if shown.row_count:
        yield titled("Contention: who loses to whom", shown)


def _contested(found: Forecast) -> Iterator[RenderableType]:
    if not found.contested:
        yield Text("Nobody is contested.")
        return
    shown = figures_table("person", "journeys", "losses", left=2)
    for person in found.contested:
        shown.add_row(person.person, ", ".join(person.journeys), number(person.losses))
    yield titled(f"Contested: {number(found.contested_persons)} persons, the most contested first", shown)


def _rows(journey: JourneyVolume | None) -> Counter[tuple[str, str]]:
    """(what, reason) -> how many."""
    rows: Counter[tuple[str, str]] = Counter()
    if journey is None:
        return rows
    rows["entered", ""] = journey.entered
    for count in journey.not_qualified:
        rows["not qualified", words(count.name)] = count.n
    for loss in journey.losses:
        rule = "" if loss.reason in _BY_PLACE else loss.rule
        reason = words(f"{loss.reason}: {rule}" if rule else loss.reason)
        rows[_VERDICTS.get(loss.verdict, loss.verdict), reason] += loss.n
    for count in journey.ends:
        rows["ended", words(count.name)] = count.n
    rows["inside at the end", ""] = journey.inside
    rows["messages", "decided to be sent"] = journey.planned
    rows["messages", "withdrawn again"] = journey.cancelled
    return rows


def _beside(ran: Counter[K], drafted: Counter[K]) -> Iterator[tuple[K, int, int]]:
    for key in dict.fromkeys([*drafted, *ran]):
        if ran[key] or drafted[key]:
            yield key, ran[key], drafted[key]


def _rows_table(name: str, rows: Iterable[tuple[tuple[str, str], int, int]]) -> RenderableType:
    shown = figures_table("what", "reason", "ran", "draft", "difference", left=2)
    before = ""
    for (what, reason), ran, drafted in rows:
        shown.add_row(what if what != before else "", reason, number(ran), number(drafted), _more(drafted - ran))
        before = what
    return titled(name, shown)


def _outcome(found: Comparison) -> RenderableType:
    lift, treated, held = found.lift, found.treated, found.held_out
    said = f"{found.metric}: {amount(treated.mean)} per person over {number(treated.n)} treated"
    if lift.difference is None:
        said += f", {number(held.n)} held out: too few to compare."
    else:
        interval = (
            f", {lift.level:.0%} interval {amount(lift.low)} to {amount(lift.high)}" if lift.low is not None else ""
        )
        said += (
            f", {amount(held.mean)} over {number(held.n)} held out; difference {amount(lift.difference)}{interval}. The draft's"
            " messages reached nobody, so this is chance: how far the metric scatters, not an effect."
        )
    return Padding(Text(said), (0, 0, 1, 2))


def _steps(found: Backtest) -> Iterator[RenderableType]:
    ran: Counter[tuple[str, str, str]] = Counter()
    for step in found.against.steps:
        ran[step.journey, step.path, step.kind] += step.arrived
    shown = figures_table("journey", "step", "what", "left by, or arms", "ran", "draft", "standing", left=4)
    before = ""
    for step in found.draft.steps:
        ways = ", ".join(f"{c.name} {number(c.n)}" for c in step.ways)
        what = f"{step.kind} {step.template}".strip()
        name = step.journey if step.journey != before else ""
        shown.add_row(name, step.path, what, ways, number(ran[step.journey, step.path, step.kind]), number(step.arrived),
                      number(step.standing))  # fmt: skip
        before = step.journey
    if shown.row_count:
        yield titled("Steps of the draft", shown)


def _contention(found: Backtest) -> Iterator[RenderableType]:
    def counted(side: Side) -> Counter[tuple[str, str, str]]:
        return Counter({(c.journey, c.winner, c.what): c.n for c in side.contention})

    shown = figures_table("journey", "lost to", "over", "ran", "draft", "difference", left=3)
    for (journey, winner, what), ran, drafted in _beside(counted(found.against), counted(found.draft)):
        shown.add_row(journey, winner, what, number(ran), number(drafted), _more(drafted - ran))
    if shown.row_count:
        yield titled("Contention: who lost to whom", shown)


def _days(found: Backtest) -> Iterator[RenderableType]:
    weekly = (found.until - found.since) > timedelta(days=MOST_DAYS)

    def counted(side: Side) -> Counter[date]:
        days: Counter[date] = Counter()
        for day in side.days:
            days[_monday(day.day) if weekly else day.day] += day.planned
        return days

    shown = figures_table("week from" if weekly else "day", "ran", "draft", "difference")
    ran, drafted = counted(found.against), counted(found.draft)
    for day in sorted({*ran, *drafted}):
        shown.add_row(f"{day:%Y-%m-%d}", number(ran[day]), number(drafted[day]), _more(drafted[day] - ran[day]))
    if shown.row_count:
        yield titled("Messages decided to be sent", shown)


def _monday(day: date) -> date:
    return day - timedelta(days=day.weekday())


def _changes(found: Backtest) -> Iterator[RenderableType]:
    totals = [(j.both + j.only_old + j.only_new, j.alike) for j in found.changes.journeys]
    passages, alike = sum(p for p, _ in totals), sum(a for _, a in totals)
    if not found.changes.paths:
        yield Text(
            f"Nobody goes another way: all {number(passages)} passages take the same steps, if not at the same time."
        )
        return
    yield Text(f"{number(alike)} of {number(passages)} passages take the same steps.")
    shown = figures_table("journey", "was", "becomes", "passages", "persons", "for example", left=3)
    before = ""
    for change in found.changes.paths[:MOST_CHANGES]:
        becomes = "the same, on another way" if change.was == change.becomes else _ending(change.becomes)
        shown.add_row(change.journey if change.journey != before else "", _ending(change.was), becomes,
                      number(change.passages), number(change.persons), " ".join(change.examples))  # fmt: skip
        before = change.journey
    yield titled("Who goes another way", shown)
    left = len(found.changes.paths) - MOST_CHANGES
    if left > 0:
        yield Text(f"{left} rarer changes are left out; --json has them all.")


def _ending(name: str) -> str:
    return f"refused: {words(name.removeprefix('refused: '))}" if name.startswith("refused: ") else words(name)


def _more(difference: int) -> str:
    return f"{difference:+,}" if difference else ""
