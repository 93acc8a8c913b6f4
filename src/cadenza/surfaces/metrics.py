"""The status as Prometheus metrics. No person's id is ever a label."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from cadenza.clock import to_micros
from cadenza.workspace import Status

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4


def exposition(status: Status) -> bytes:
    """The text exposition of one status."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(status))
    return generate_latest(registry)


class _Collected:
    def __init__(self, status: Status) -> None:
        self._status = status

    def collect(self) -> Iterator[Metric]:
        status = self._status
        received = CounterMetricFamily("cadenza_records", "Records by what became of them", labels=["outcome"])
        for outcome, n in status.received.items():
            received.add_metric([outcome], n)
        yield received
        outbox = GaugeMetricFamily("cadenza_outbox_messages", "Messages by where they stand", labels=["state"])
        for state, n in status.outbox.items():
            outbox.add_metric([state], n)
        yield outbox
        yield GaugeMetricFamily("cadenza_log_records", "Records in the log", value=status.log_records)
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
