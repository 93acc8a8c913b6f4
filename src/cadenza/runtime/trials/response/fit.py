"""How sure the fit is: every rate with what it was seen on and the interval in which it may well lie."""

from __future__ import annotations

import msgspec

from cadenza.runtime.trials.response.model import Estimate, Model


class EventRate(msgspec.Struct, frozen=True, kw_only=True):
    """How often something happens: ``count`` in ``person_days``; ``per_day`` per person, with the interval in which it lies
    with probability 0.95. ``cell``: the segments that hold for these people. ``dispersion``: how many times a Poisson's
    variance the days have."""

    name: str
    cell: str
    count: int
    person_days: int
    per_day: float
    low: float
    high: float
    dispersion: float


class ResponseRate(msgspec.Struct, frozen=True, kw_only=True):
    """What people of a cell do with messages of a channel: ``count`` of ``of`` messages; ``share`` with its 0.95 interval.
    ``blind``: a click of one whose opening was not seen. ``clicked`` is of those opened, ``failed`` of all, ``sent`` and
    ``bounced`` of those that did not fail, the others of those that arrived."""

    channel: str
    kind: str
    cell: str
    count: int
    of: int
    share: float
    low: float
    high: float


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What a message does to how often something happens within a week, as far as holdouts show it: ``ratio`` is the
    relative change. ``assumed``: it is part of the simulation; otherwise none is, for the ``reason``."""

    name: str
    assumed: bool
    reason: str
    treated: int
    held_out: int
    ratio: float | None
    low: float | None
    high: float | None


class Fit(msgspec.Struct, frozen=True, kw_only=True):
    """What was fitted on ``days`` days of history, by combinations of ``segments``. ``newcomers``: persons a day, of
    ``newcomers_seen``; ``notes``: what the history does not say, and what is therefore left out."""

    days: int
    segments: tuple[str, ...]
    events: tuple[EventRate, ...]
    responses: tuple[ResponseRate, ...]
    effects: tuple[Effect, ...]
    newcomers_seen: int
    newcomers: float
    newcomers_low: float
    newcomers_high: float
    notes: tuple[str, ...]


def described(model: Model) -> Fit:
    """The fit in figures."""
    (new,) = model.newcomers.per_day.estimates()
    known = model.newcomers.count > 0
    return Fit(
        days=model.days, segments=model.cells.segments, events=tuple(_events(model)), responses=tuple(_responses(model)),
        effects=tuple(_effect(e) for e in model.effects), newcomers_seen=model.newcomers.count,
        newcomers=new.mean if known else 0.0, newcomers_low=new.low if known else 0.0, newcomers_high=new.high,
        notes=model.notes,
    )  # fmt: skip


def _events(model: Model) -> list[EventRate]:
    return [
        EventRate(
            name=arriving.name, cell=model.cells.label(cell), count=count, person_days=exposure, per_day=found.mean,
            low=found.low, high=found.high, dispersion=arriving.dispersion,
        )
        for arriving in model.arriving
        for cell, (count, exposure), found in zip(
            arriving.cells, arriving.counts, arriving.per_day.estimates(), strict=True
        )
    ]  # fmt: skip


def _responses(model: Model) -> list[ResponseRate]:
    return [
        ResponseRate(
            channel=answering.channel, kind=kind, cell=model.cells.label(cell), count=count, of=of, share=found.mean,
            low=found.low, high=found.high,
        )
        for answering in model.answering
        for kind, shrunk in answering.shares.items()
        for cell, (count, of), found in zip(answering.cells, answering.counts[kind], shrunk.estimates(), strict=True)
    ]  # fmt: skip


def _effect(estimate: Estimate) -> Effect:
    return Effect(
        name=estimate.name, assumed=estimate.used, reason=estimate.reason, treated=estimate.treated,
        held_out=estimate.held_out, ratio=estimate.ratio, low=estimate.low, high=estimate.high,
    )  # fmt: skip
