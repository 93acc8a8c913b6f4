"""Which project was in force when."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cadenza.clock import EPOCH
from cadenza.definitions.project import Project, decode
from cadenza.ports.engine import Engine
from cadenza.sql import step

_SCRIPT = step.Script.beside(__file__, "history")


class Deployed(msgspec.Struct, frozen=True, kw_only=True):
    """A deployed project and the part of the log in which it was in force: records with ``first`` < offset <
    ``next_first``, timers in (``since``, ``until``]."""

    project: Project
    first: int
    next_first: int | None
    since: datetime
    until: datetime | None

    def holds(self, offset: int | None, at: datetime) -> bool:
        """Whether it was in force for the record at an offset, or for a timer (None) at an instant."""
        if offset is not None:
            return self.first < offset and (self.next_first is None or offset < self.next_first)
        return self.since < at and (self.until is None or at <= self.until)


def deployed(engine: Engine, project: Project, before: datetime) -> tuple[Deployed, ...]:
    """Every deployment before an instant (naive UTC), in order; the given project when none is recorded."""
    rows = engine.query(_SCRIPT.step("deployments", before=step.instant(before.isoformat(" "))).sql)
    if not rows:
        return (Deployed(project=project, first=-1, next_first=None, since=EPOCH, until=None),)
    return tuple(
        Deployed(project=decode(text), first=offset, next_first=following, since=at, until=until)
        for offset, at, text, following, until in rows
    )
