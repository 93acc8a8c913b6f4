"""The arms of experiments against the first, on the experiment's metric."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from cadenza.definitions.graph import Graph, flatten
from cadenza.definitions.kinds import Experiment, Journey, Metric, Split
from cadenza.definitions.spots import spots_of
from cadenza.ports.engine import Engine
from cadenza.runtime.report.comparison import Comparisons, lift_of
from cadenza.runtime.report.figures import ExperimentArm, ExperimentFigures
from cadenza.stages import measure
from cadenza.statistics import lift, ratio


class Experiments:
    """The experiments of every journey. A unit is a person at its first walk through the experiment; replayed and
    live ones are never compared together (see ``Comparisons``, whose cuts and spans these are)."""

    def __init__(self, engine: Engine, comparisons: Comparisons) -> None:
        self._engine, self._comparisons = engine, comparisons

    def of(self, journey: Journey) -> tuple[ExperimentFigures, ...]:
        """In the order written; spans without any unit are left out."""
        found = (self._compare(journey, each, span) for each in experiments_of(journey)
                 for span in self._comparisons.spans)  # fmt: skip
        return tuple(one for one in found if one is not None)

    def _compare(self, journey: Journey, experiment: Experiment, span: measure.Span) -> ExperimentFigures | None:
        ways, shares = self._deployed(journey.name, experiment)
        if not ways:
            return None
        metric = self._comparisons.project.metric(experiment.metric)
        units = measure.sums_per_arm_of(self._comparisons.project, metric, measure.walked(ways), span)
        sums = {row[0]: row for row in self._engine.query(units)}
        if not sums:
            return None
        arms = tuple(_arm(arm.name, arm.share_bp, sums.get(arm.name)) for arm in experiment.arms)
        steady = len(shares) == 1 and not set(sums) - {arm.arm for arm in arms}
        declared = [arm.share_bp for arm in arms]
        return ExperimentFigures(
            kind=self._comparisons.kind_of([journey.name], span), name=experiment.name, metric=metric.name,
            unit_label=metric.unit_label, within_s=metric.within_s, arms=tuple(self._against_first(metric, arms, sums)),
            crossed=sum(row[3] for row in sums.values()),
            sample_ratio=ratio.check_arms([_units(sums, arm.arm) for arm in arms], declared) if steady else None,
        )  # fmt: skip

    def _against_first(self, metric: Metric, arms: tuple[ExperimentArm, ...], sums: dict) -> Iterator[ExperimentArm]:
        """All intervals together miss the truth once in 20: each has the level for so many comparisons (Bonferroni)."""
        level = 1 - (1 - lift.LEVEL) / (len(arms) - 1)
        first, *others = arms
        yield first
        for arm in others:
            found = lift_of(metric, _sums(sums, arm.arm), _sums(sums, first.arm), level)
            yield msgspec.structs.replace(arm, lift=found)

    def _deployed(
        self, journey: str, experiment: Experiment
    ) -> tuple[list[tuple[int, int, str]], set[tuple[tuple[str, int], ...]]]:
        """(version, hop, arm) of every walk through the experiment, and the arms with shares it ever had."""
        rows = self._engine.query(
            "SELECT jid, definition FROM journey_version WHERE journey = ? ORDER BY jid", [journey]
        )
        ways, shares = [], set()
        for jid, definition in rows:
            version = msgspec.json.decode(definition, type=Journey)
            for spot in spots_of(version.steps).values():
                if isinstance(spot.step, Split) and spot.step.name == experiment.name:
                    ways += [(jid, hop, arm) for hop, arm in _ways(flatten(version), spot.path, spot.step)]
                    shares.add(tuple((arm.name, arm.share_bp) for arm in spot.step.arms))
        return ways, shares


def experiments_of(journey: Journey) -> list[Experiment]:
    """The experiments among a journey's steps."""
    found = (spot.step for spot in spots_of(journey.steps).values())
    return [each for each in found if isinstance(each, Experiment)]


def _ways(graph: Graph, path: str, split: Split) -> Iterator[tuple[int, str]]:
    for hop in graph.hops:
        for arm in split.arms:
            if f"{path}: {arm.name}" in hop.taken:
                yield hop.hop, arm.name


def _sums(sums: dict, arm: str) -> tuple:
    return sums[arm][1:] if arm in sums else (0, 0, 0, 0, 0)


def _units(sums: dict, arm: str) -> int:
    return sums[arm][1] if arm in sums else 0


def _arm(name: str, share_bp: int, row: tuple | None) -> ExperimentArm:
    _, units, complete, _, total, _ = row or (name, 0, 0, 0, 0, 0)
    mean = float(total / complete) if complete else None
    return ExperimentArm(
        arm=name, share_bp=share_bp, n=complete, total=float(total), mean=mean, incomplete=units - complete
    )
