"""Treated against holdout on a journey's outcome metric, or on a placebo where nothing was sent."""

from __future__ import annotations

import itertools
from datetime import datetime
from decimal import Decimal
from typing import Literal

from cadenza.clock import EPOCH
from cadenza.definitions.holdouts import Level, holdouts_of, step_holdouts
from cadenza.definitions.kinds import Holdout, Journey, Metric
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.runtime.history import Deployed
from cadenza.runtime.report.figures import ArmFigures, Comparison
from cadenza.sql import step
from cadenza.stages import measure
from cadenza.statistics import lift, ratio

_SCRIPT = step.Script.beside(__file__, "measure")
_Sums = tuple[int, int, int, Decimal, Decimal]
"""Of one arm: units, complete ones, those seen in both arms, sum, sum of squares."""
_NOTHING: _Sums = (0, 0, 0, Decimal(0), Decimal(0))
FOREVER = datetime(9999, 1, 1)


class Comparisons:
    """The comparisons of every journey with a holdout, cut at one instant.

    Units assigned while history was replayed and units assigned live are never compared together: the first
    can only be a placebo, the second only a measurement.
    """

    def __init__(
        self, engine: Engine, project: Project, versions: tuple[Deployed, ...], before: datetime,
        live_from: datetime | None,
    ) -> None:  # fmt: skip
        self._engine = engine
        self.project = project
        self._versions = versions
        self._before = before
        bounds = [EPOCH, FOREVER] if live_from is None else [EPOCH, min(live_from, FOREVER), FOREVER]
        self.spans = [
            measure.Span(since=since, until=until, before=before) for since, until in itertools.pairwise(bounds)
        ]

    def of(self, journey: Journey) -> tuple[Comparison, ...]:
        """Of its holdout, then of those of its steps; of each replayed units first, then live ones. Spans without any unit are
        left out."""
        metric = self.project.metric(journey.outcome.metric)
        own = self._each(journey.holdout, metric, "journey") if journey.holdout is not None else ()
        steps = {held.holdout.name: held.holdout for held in step_holdouts(journey)}
        return (*own, *(c for held in steps.values() for c in self._each(held, metric, "step")))

    def programmes(self) -> tuple[Comparison, ...]:
        """Of every programme that says by what it is measured."""
        named = [(p.holdout, p.metric) for p in self.project.policy.programmes if p.metric is not None]
        return tuple(c for held, metric in named for c in self._each(held, self.project.metric(metric), "programme"))

    def _each(self, holdout: Holdout, metric: Metric, level: Level) -> tuple[Comparison, ...]:
        found = (self._compare(holdout, metric, span, level) for span in self.spans)
        return tuple(comparison for comparison in found if comparison is not None)

    def since(self, journey: Journey, at: datetime) -> Comparison | None:
        """Of units first assigned at an instant or later; None without a holdout, or without any unit."""
        if journey.holdout is None:
            return None
        span = measure.Span(since=at, until=FOREVER, before=self._before)
        return self._compare(journey.holdout, self.project.metric(journey.outcome.metric), span)

    def _compare(
        self, holdout: Holdout, metric: Metric, span: measure.Span, level: Level = "journey"
    ) -> Comparison | None:
        rows = self._engine.query(measure.sums_per_arm(self.project, metric, holdout.name, span))
        if not rows:
            return None
        sums: dict[str, _Sums] = {row[0]: (row[1], row[2], row[3], Decimal(row[4]), Decimal(row[5])) for row in rows}
        treated, held = sums.get("treated", _NOTHING), sums.get("holdout", _NOTHING)
        steady = self._shares(holdout) == {holdout.share_bp}
        return Comparison(
            level=level, kind=self._kind(holdout, span), holdout=holdout.name, share_bp=holdout.share_bp, metric=metric.name,
            unit_label=metric.unit_label, within_s=metric.within_s,
            treated=_arm("treated", treated), held_out=_arm("holdout", held),
            crossed=treated[2] + held[2],
            lift=lift_of(metric, treated, held),
            sample_ratio=ratio.check(treated[0], held[0], holdout.share_bp) if steady else None,
        )  # fmt: skip

    def _shares(self, holdout: Holdout) -> set[int]:
        """Every share the holdout was ever deployed with."""
        held = (h.holdout for version in self._versions for h in holdouts_of(version.project))
        return {h.share_bp for h in held if h.name == holdout.name} | {holdout.share_bp}

    def _kind(self, holdout: Holdout, span: measure.Span) -> Literal["placebo", "measured", "mixed"]:
        names = {h.name for h in holdouts_of(self.project) if h.holdout.name == holdout.name}
        return self.kind_of([j.name for j in self.project.journeys if j.name in names or j.programme in names], span)

    def kind_of(self, journeys: list[str], span: measure.Span) -> Literal["placebo", "measured", "mixed"]:
        """Whether the messages of some journeys reached anybody, in a span."""
        deliverable, replayed = self._engine.query(
            _SCRIPT.step(
                "delivered", journeys=[step.text(name) for name in journeys],
                since=step.instant(span.since.isoformat(" ")), until=step.instant(span.until.isoformat(" ")),
                before=step.instant(self._before.isoformat(" ")),
            ).sql
        )[0]  # fmt: skip
        if deliverable == 0:
            return "placebo"
        return "mixed" if replayed else "measured"


def lift_of(metric: Metric, treated: _Sums, held: _Sums, level: float = lift.LEVEL) -> lift.Lift:
    """The difference over complete units; a conversion is a share, everything else a mean."""
    if metric.kind == "conversion":
        return lift.proportion_difference(treated[1], int(treated[3]), held[1], int(held[3]), level)
    return lift.mean_difference(treated[1], treated[3], treated[4], held[1], held[3], held[4], level)


def _arm(arm: Literal["treated", "holdout"], sums: _Sums) -> ArmFigures:
    units, complete, _, total, _ = sums
    mean = float(total / complete) if complete else None
    return ArmFigures(arm=arm, n=complete, total=float(total), mean=mean, incomplete=units - complete)
