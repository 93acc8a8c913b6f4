"""What the store adds to the warnings about a project: how many people two journeys really want at the same time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import msgspec

from cadenza.definitions.load import Loaded
from cadenza.definitions.project import Project
from cadenza.errors import Problem
from cadenza.ports.engine import Engine

_OVERLAPS = """
WITH candidate AS (
  SELECT DISTINCT e.pid, v.journey, e.entered_at AS ts, FALSE AS beaten FROM enrollment AS e JOIN journey_version AS v USING (jid)
  UNION SELECT r.pid, v.journey, r.ts, r.reason = 'priority' FROM refusal AS r JOIN journey_version AS v USING (jid)
), people AS (SELECT journey, count(DISTINCT pid) AS n FROM candidate GROUP BY journey)
SELECT a.journey, b.journey, count(DISTINCT a.pid), min(p.n), min(q.n),
  count(DISTINCT a.pid) FILTER (a.beaten), count(DISTINCT b.pid) FILTER (b.beaten)
FROM candidate AS a JOIN candidate AS b ON b.pid = a.pid AND b.journey > a.journey
  AND b.ts >= a.ts - to_days(?::INTEGER) AND b.ts <= a.ts + to_days(?::INTEGER)
JOIN people AS p ON p.journey = a.journey JOIN people AS q ON q.journey = b.journey
GROUP BY a.journey, b.journey ORDER BY 3 DESC, 1, 2
"""


class Overlap(msgspec.Struct, frozen=True, kw_only=True):
    """Two journeys that wanted the same people. ``persons``: candidates of both within the days that were asked for;
    ``of_first``, ``of_second``: all candidates of each; ``beaten_first``, ``beaten_second``: how many of ``persons`` each
    had to leave to a journey of at least its priority. ``arena`` is None where they do not compete."""

    first: str
    second: str
    arena: str | None
    persons: int
    of_first: int
    of_second: int
    beaten_first: int
    beaten_second: int


class LintReport(msgspec.Struct, frozen=True, kw_only=True):
    """The warnings about the project in the folder, and the overlaps of its journeys so far, the largest first."""

    warnings: tuple[Problem, ...]
    days: int
    overlaps: tuple[Overlap, ...]


class Linting:
    """Looks at the project in the folder and at the store."""

    def __init__(self, loaded: Callable[[], Loaded], reading: Callable[[], AbstractContextManager[Engine]]) -> None:
        self._loaded, self._reading = loaded, reading

    def run(self, days: int = 7) -> LintReport:
        """The warnings, and who was a candidate of two journeys within ``days``. Raises DefinitionError, StoreError."""
        loaded = self._loaded()
        with self._reading() as engine:
            return LintReport(warnings=loaded.warnings, days=days, overlaps=overlaps(engine, loaded.project, days))


def overlaps(engine: Engine, project: Project, days: int) -> tuple[Overlap, ...]:
    """Pairs of the project's journeys that wanted the same people within ``days`` of one another: entered, or refused for
    any reason. Who did not qualify was no candidate."""
    arenas = {journey.name: journey.arena for journey in project.journeys}
    return tuple(
        Overlap(
            first=first, second=second, arena=arenas[first] if arenas[first] == arenas[second] else None, persons=persons,
            of_first=of_first, of_second=of_second, beaten_first=beaten_first, beaten_second=beaten_second,
        )
        for first, second, persons, of_first, of_second, beaten_first, beaten_second in engine.query(_OVERLAPS, [days, days])
        if first in arenas and second in arenas
    )  # fmt: skip
