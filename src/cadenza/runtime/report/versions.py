"""What happened in each version of a journey, where it has had several."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from decimal import Decimal

from cadenza.definitions.kinds import Metric
from cadenza.definitions.project import Project
from cadenza.ports.engine import Engine
from cadenza.runtime.report.figures import Count, VersionFigures
from cadenza.sql import step
from cadenza.stages import measure

_SCRIPT = step.Script.beside(__file__, "measure")


def by_version(engine: Engine, project: Project, before: datetime) -> dict[str, tuple[VersionFigures, ...]]:
    """The versions of each journey that has had several before an instant (naive UTC), oldest first. Another version is
    another time and other people: the outcomes beside one another are no measurement."""
    cut = step.instant(before.isoformat(" "))
    rows = engine.query(_SCRIPT.step("versions", before=cut).sql)
    if not rows:
        return {}
    exits: dict[int, list[Count]] = defaultdict(list)
    for jid, reason, n in engine.query(_SCRIPT.step("exits_by_version", before=cut).sql):
        exits[jid].append(Count(reason, n))
    metrics = {j.name: project.metric(j.outcome.metric) for j in project.journeys}
    outcomes: dict[int, tuple[int, int, Decimal]] = {}
    for name in dict.fromkeys(row[0] for row in rows):
        if name in metrics:
            outcomes |= _outcomes(engine, project, name, metrics[name], before)
    found: dict[str, list[VersionFigures]] = defaultdict(list)
    for name, jid, version, deployed_at, began, came_over, sent in rows:
        units, complete, total = outcomes.get(jid, (0, 0, Decimal(0)))
        found[name].append(VersionFigures(
            version=version, deployed_at=deployed_at, began=began, came_over=came_over, sent=sent, exits=tuple(exits[jid]),
            metric=metrics[name].name if name in metrics else "", persons=complete,
            mean=float(total / complete) if complete else None, incomplete=units - complete,
        ))  # fmt: skip
    return {name: tuple(versions) for name, versions in found.items()}


def _outcomes(
    engine: Engine, project: Project, journey: str, metric: Metric, before: datetime
) -> dict[int, tuple[int, int, Decimal]]:
    """jid -> persons who began in it, those of them whose window is over, the sum of the metric over these."""
    rows = engine.query(measure.sums_per_version(project, metric, journey, before))
    return {jid: (units, complete, Decimal(total)) for jid, units, complete, total in rows}
