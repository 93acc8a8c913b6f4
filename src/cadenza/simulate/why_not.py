"""Why not, and what would have let it go: the last refusal of one person in one journey, tried anew on the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime

import msgspec

from cadenza.definitions.project import Project
from cadenza.errors import CadenzaError
from cadenza.ports.engine import Engine
from cadenza.ports.ledger import Log, Record
from cadenza.runtime.explain import Explanation, explain
from cadenza.simulate.counterfactual import Target, search

MOST_RECORDS = 2_000
"""Records of one person; the model is slow on purpose."""


class WhyNot(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that something was refused. ``what``: an entry or a message. ``facts``: a smallest set whose change
    lets it go, seen to work on the reference model; None where no set was found. ``happens_at``: when it goes then."""

    person: str
    journey: str
    what: str
    at: datetime
    reason: str
    facts: tuple[str, ...] | None
    happens_at: datetime | None
    runs: int


class Counterfactuals:
    """Searches for what would have let something go. Needs the store and the log."""

    def __init__(
        self,
        reading: Callable[[], AbstractContextManager[Engine]],
        in_force: Callable[[Engine], Project],
        log: Callable[[], Log],
    ) -> None:
        self._reading, self._in_force, self._log = reading, in_force, log

    def run(self, person: str, journey: str) -> WhyNot:
        """The last refusal of the person in the journey. Raises CadenzaError for an unknown person or journey, where nothing
        was refused, and where the project in force would not refuse it."""
        with self._reading() as engine:
            project = self._in_force(engine)
            explained = explain(engine, project, person, journey)
            target = max(_refused(explained, journey), key=lambda t: t.at, default=None)
            if target is None:
                raise CadenzaError(
                    f"nothing was refused to {explained.person} in the journey '{journey}'.",
                    remedy="'cadenza explain' shows what happened.",
                )
            # Besides the person's records, what people said to journeys: pauses, stops, kill switches.
            sql = "SELECT offset_ FROM event WHERE pid = ? AND recorded_at <= ? UNION ALL SELECT offset_ FROM control WHERE ts <= ? ORDER BY 1"
            until = max(target.at, explained.as_of)
            offsets = [row[0] for row in engine.query(sql, [int(explained.person[2:]), until, until])]
        if len(offsets) > MOST_RECORDS:
            raise CadenzaError(
                f"{explained.person} has more than {MOST_RECORDS:,} records: too many to try on the model."
            )
        found = search(project, [record for offset in offsets for record in self._record(offset)], target)
        return WhyNot(
            person=explained.person, journey=journey, what="message" if target.dropped else "entry", at=target.at,
            reason=found.reason, facts=found.facts, happens_at=found.happens_at, runs=found.runs,
        )  # fmt: skip

    def _record(self, offset: int) -> list[Record]:
        return self._log().read(offset - 1, 1)


def _refused(explained: Explanation, journey: str) -> Iterator[Target]:
    """Everything that did not happen, so that it can be looked for in the model."""
    for refusal in explained.refusals:
        yield Target(journey=journey, at=refusal.at, dropped=False)
    for unqualified in explained.not_qualified:
        yield Target(journey=journey, at=unqualified.at, dropped=False)
    for passage in explained.passages:
        for message in passage.messages:
            for verdict in message.verdicts:
                if verdict.verdict == "drop":
                    yield Target(journey=journey, at=verdict.at, dropped=True)
