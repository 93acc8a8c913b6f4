"""A simulation as text a person reads: the middle of every figure and where it may well lie, then how sure the fit is."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from rich.console import RenderableType
from rich.text import Text

from cadenza.surfaces.report_tables import amount, figures_table, number, titled, words
from cadenza.workspace import JourneyAhead, Simulation, Spread

MOST_RATES = 40
"""So many rates of the fit are shown; --json has them all."""
_ANSWERS = {
    "failed": "failed", "sent": "accepted by the provider", "bounced": "bounced", "delivered": "reported as delivered",
    "opened": "opened", "clicked": "clicked, once opened", "blind": "clicked, opening not seen",
    "unsubscribed": "unsubscribed", "complained": "complained",
}  # fmt: skip
_VERDICTS = {"refused": "refused", "drop": "messages dropped", "defer": "messages put off"}
_BY_PLACE = {"quiet_hours", "no_time_zone", "deadline"}


def render_simulation(found: Simulation) -> list[RenderableType]:
    """The simulation as rich renderables, in reading order."""
    fit = found.fit
    apart = f", told apart by {', '.join(fit.segments)}" if fit.segments else ""
    parts: list[RenderableType] = [
        Text(f"From {found.since:%Y-%m-%d %H:%M} to {found.until:%Y-%m-%d %H:%M} UTC: {number(found.draws)} draws from seed {found.seed}", style="bold"),
        Text(
            f"Simulated, not measured: people behave as in the {fit.days} days before{apart}, with chance. Nothing was sent.\n"
            f"A figure is the median of the draws; one more draw lies in the interval in 80 (or 95) of 100 cases{_too_few(found.draws)}.\n"
        ),
    ]  # fmt: skip
    parts += [_journey(journey) for journey in found.journeys if _any(journey)]
    parts += _outcomes(found)
    parts += [_periods(found), _pressure(found)]
    if found.answers:
        shown = _table("channel", "what became of messages", left=2)
        for answer in found.answers:
            shown.add_row(answer.channel, answer.name, *_cells(answer.n))
        parts.append(titled("Answers", shown))
    return [*parts, *_fit(found)]


def _too_few(draws: int) -> str:
    if draws >= 39:
        return ""
    return "; 95 % needs 39 draws" if draws >= 9 else "; 80 % needs 9 draws, 95 % 39"


def _table(*columns: str, left: int):
    return figures_table(*columns, "median", "80 %", "95 %", left=left)


def _cells(of: Spread, digits: bool = False) -> tuple[str, str, str]:
    return _one(of.median, digits), _span(of.low80, of.high80, digits), _span(of.low95, of.high95, digits)


def _one(value: float, digits: bool) -> str:
    return amount(value) if digits else f"{value:,.0f}"


def _span(low: float | None, high: float | None, digits: bool) -> str:
    return "" if low is None or high is None else f"{_one(low, digits)} to {_one(high, digits)}"


def _any(journey: JourneyAhead) -> bool:
    return bool(journey.ends or journey.losses) or any(
        s.median or s.high95 for s in (journey.entered, journey.inside, journey.planned)
    )


def _journey(journey: JourneyAhead) -> RenderableType:
    shown = _table("what", "reason", left=2)
    shown.add_row("entered", "", *_cells(journey.entered))
    for loss in journey.losses:
        rule = "" if loss.reason in _BY_PLACE else loss.rule
        reason = words(f"{loss.reason}: {rule}" if rule else loss.reason)
        shown.add_row(_VERDICTS.get(loss.verdict, loss.verdict), reason, *_cells(loss.n))
    for end in journey.ends:
        shown.add_row("ended", words(end.reason), *_cells(end.n))
    shown.add_row("inside at the end", "", *_cells(journey.inside))
    shown.add_row("messages", "decided to be sent", *_cells(journey.planned))
    return titled(journey.name, shown)


def _outcomes(found: Simulation) -> Iterator[RenderableType]:
    shown = _table("journey", "metric", "", left=3)
    for journey in found.journeys:
        if journey.outcome is not None and journey.entered.median:
            shown.add_row(
                journey.name, journey.outcome.metric, "of all who enter", *_cells(journey.outcome.total, True)
            )
            shown.add_row("", "", "each", *_cells(journey.outcome.each, True))
    if shown.row_count:
        yield titled("Outcomes of those who enter, until the end (whether a journey brings them is not in it)", shown)


def _periods(found: Simulation) -> RenderableType:
    weekly = found.until - found.since > timedelta(days=31)
    shown = _table("week from" if weekly else "day", "channel", "class", left=3)
    for row in found.periods:
        shown.add_row(f"{row.begins:%Y-%m-%d}", row.channel, row.message_class, *_cells(row.planned))
    shown.add_row("in all", "", "", *_cells(found.messages))
    return titled("Messages decided to be sent", shown) if found.periods else Text("No message is expected.\n")


def _pressure(found: Simulation) -> RenderableType:
    shown = _table("marketing messages in the time", left=1)
    pressure = found.pressure
    shown.add_row("persons at the end", *_cells(pressure.persons))
    shown.add_row("persons who get any", *_cells(pressure.reached))
    shown.add_row("messages of each of those, in the mean", *_cells(pressure.mean, True))
    shown.add_row("of the busiest 5 %, at least", *_cells(pressure.busy))
    shown.add_row("of the busiest person", *_cells(pressure.most))
    return titled("Pressure", shown)


def _fit(found: Simulation) -> Iterator[RenderableType]:
    fit = found.fit
    shown = figures_table("event", "people", "seen", "person-days", "a day, per 1,000 persons", "95 %", left=2)
    for rate in fit.events[:MOST_RATES]:
        low, high = 1_000 * rate.low, 1_000 * rate.high
        shown.add_row(rate.name, rate.cell, number(rate.count), number(rate.person_days), amount(1_000 * rate.per_day),
                      f"{amount(low)} to {amount(high)}")  # fmt: skip
    new = f"{amount(fit.newcomers_low)} to {amount(fit.newcomers_high)}"
    shown.add_row("new persons", "", number(fit.newcomers_seen), "", f"{amount(fit.newcomers)} a day", new)
    yield titled("How sure the fit is: what people do by themselves", shown)
    shown = figures_table("channel", "messages", "people", "seen", "of", "share", "95 %", left=3)
    for share in fit.responses[:MOST_RATES]:
        shown.add_row(share.channel, _ANSWERS.get(share.kind, share.kind), share.cell, number(share.count), number(share.of),
                      f"{share.share:.1%}", f"{share.low:.1%} to {share.high:.1%}")  # fmt: skip
    if shown.row_count:
        yield titled("How sure the fit is: what becomes of messages", shown)
    left = max(len(fit.events) - MOST_RATES, 0) + max(len(fit.responses) - MOST_RATES, 0)
    if left:
        yield Text(f"{left} more rates are left out; --json has them all.")
    yield from _effects(found)
    for note in fit.notes:
        yield Text(note)


def _effects(found: Simulation) -> Iterator[RenderableType]:
    """What messages are taken to do: only what holdouts show."""
    none = [e.name for e in found.fit.effects if not e.assumed]
    for effect in found.fit.effects:
        if effect.assumed and effect.ratio is not None and effect.low is not None and effect.high is not None:
            yield Text(
                f"{effect.name}: {effect.ratio:+.0%} within a week after a message (95 %: {effect.low:+.0%} to {effect.high:+.0%}),"
                f" from {number(effect.treated)} treated and {number(effect.held_out)} held out."
            )
    if none:
        reasons = sorted({e.reason for e in found.fit.effects if not e.assumed})
        yield Text(f"No effect of messages is assumed on {', '.join(none)}: {'; '.join(reasons)}.")
