"""Metrics for Prometheus: what the ledger counted, how the store stands, and what this process measured of itself.

No label holds anything of a person: sources, outcomes, reasons and states are names that definitions and Cadenza give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families

from cadenza.clock import to_micros
from cadenza.workspace import ReasonCount, Status, TeamFigures, Workspace

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
MOST_REASONS = 200
"""Reasons of one outcome that get a label of their own; the rest counts as 'other'."""
_OUTCOMES = {"stored": "stored", "duplicate": "duplicate", "rejected": "rejected", "entered": "quarantined"}
"""Tally -> label. What entered quarantine only ever grows, as a counter must; what rests there is a gauge."""


def exposition(workspace: Workspace) -> bytes:
    """The text exposition of a workspace. Raises CadenzaError when the ledger or the store cannot be read."""
    registry = CollectorRegistry(auto_describe=False)
    figures = workspace.operate.figures()
    registry.register(_Collected(workspace.status(), figures.tally, figures.quarantine, figures.journal_bytes))
    registry.register(_Tasks(workspace.tasks.teams()))
    registry.register(_Measured(workspace.measures.exposition().decode(), list(workspace.operate.published_measures())))
    return generate_latest(registry)


class _Measured:
    """The measures of this process, and those of collectors that run beside it with their name as ``collector``."""

    def __init__(self, own: str, others: Sequence[tuple[str, str]]) -> None:
        self._own, self._others = own, others

    def collect(self) -> Iterator[Metric]:
        families = {family.name: family for family in text_string_to_metric_families(self._own)}
        for name, text in self._others:
            try:
                found = list(text_string_to_metric_families(text))
            except ValueError:  # a file that was damaged tells nothing
                continue
            for family in found:
                known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                known.samples += [
                    sample._replace(labels={**sample.labels, "collector": name}) for sample in family.samples
                ]
        yield from families.values()


class _Tasks:
    """Tasks that people work on; nothing where there are none."""

    def __init__(self, teams: Sequence[TeamFigures]) -> None:
        self._teams = teams

    def collect(self) -> Iterator[Metric]:
        tasks = GaugeMetricFamily("cadenza_tasks", "Tasks by where they stand", labels=["team", "state"])
        ever = GaugeMetricFamily("cadenza_tasks_overdue", "Open tasks whose time is up", labels=["team"])
        for team in self._teams:
            states = {
                "open": team.active - team.accepted, "accepted": team.accepted, "completed": team.completed,
                "breached": team.breached, "withdrawn": team.withdrawn,
            }  # fmt: skip
            for state, n in states.items():
                tasks.add_metric([team.team, state], n)
            ever.add_metric([team.team], team.overdue)
        yield from (tasks, ever) if self._teams else ()


class _Collected:
    def __init__(
        self,
        status: Status,
        tally: Sequence[tuple[str, str, str, int]],
        quarantine: Sequence[ReasonCount],
        journal: int,
    ) -> None:
        self._status, self._tally, self._quarantine, self._journal = status, tally, quarantine, journal

    def collect(self) -> Iterator[Metric]:
        yield from self._records()
        yield from self._standing()

    def _records(self) -> Iterator[Metric]:
        records = CounterMetricFamily(
            "cadenza_records", "Records by what became of them when they came", labels=["source", "outcome", "reason"]
        )
        received = CounterMetricFamily("cadenza_records_received", "Records that came", labels=["source"])
        counted: dict[tuple[str, str, str], int] = {}
        reasons: dict[str, set[str]] = {}
        for source, outcome, reason, n in self._tally:
            if outcome == "received":
                received.add_metric([source], n)
            elif outcome in _OUTCOMES:
                known = reasons.setdefault(outcome, set())
                if reason in known or len(known) < MOST_REASONS:
                    known.add(reason)
                else:
                    reason = "other"
                key = (source, _OUTCOMES[outcome], reason)
                counted[key] = counted.get(key, 0) + n
        for key, n in counted.items():
            records.add_metric(list(key), n)
        yield received
        yield records
        resting = GaugeMetricFamily("cadenza_quarantine_records", "Refused records", labels=["source", "state"])
        standing: dict[tuple[str, str], int] = {}
        for c in self._quarantine:
            for state, n in (("resting", c.resting), ("dropped", c.dropped), ("replayed", c.replayed)):
                standing[c.source, state] = standing.get((c.source, state), 0) + n
        for (source, state), n in standing.items():
            resting.add_metric([source, state], n)
        yield resting

    def _standing(self) -> Iterator[Metric]:
        status = self._status
        outbox = GaugeMetricFamily("cadenza_outbox_messages", "Messages by where they stand", labels=["state"])
        for state, n in status.outbox.items():
            outbox.add_metric([state], n)
        yield outbox
        yield GaugeMetricFamily("cadenza_log_records", "Records in the log", value=status.log_records)
        yield GaugeMetricFamily(
            "cadenza_journal_bytes", "Bytes accepted that are not in the log yet", value=self._journal
        )
        yield GaugeMetricFamily(
            "cadenza_behind_records", "Records of the log that no tick has decided", value=status.behind
        )
        yield GaugeMetricFamily("cadenza_persons", "Living persons", value=status.persons)
        yield GaugeMetricFamily(
            "cadenza_live_enrollments", "People now inside a journey", value=status.live_enrollments
        )
        if status.horizon is not None:
            lag = (to_micros(status.now) - to_micros(status.horizon)) / 1e6
            yield GaugeMetricFamily(
                "cadenza_horizon_lag_seconds", "How far the decided time is behind the clock", value=lag
            )
