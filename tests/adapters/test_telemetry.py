"""Spans reach an OTLP collector as OpenTelemetry understands them, where they are asked for and nowhere else."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import pytest

from cadenza.adapters.telemetry import open_spans
from cadenza.clock import VirtualClock
from cadenza.errors import OperatingError
from tests.adapters.receivers import http_server, told_spans

NOON = VirtualClock(datetime(2026, 3, 1, 12))


def test_a_span_is_told_with_its_time_and_its_attributes(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server() as (posts, port):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        spans = open_spans({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}, NOON)
        assert spans is not None
        spans.ended("tick", 0.25, {"cadenza.records": 9})
        spans.ended("deliver", 2, {"cadenza.destination": "mail"}, "retry")
        spans.close()
    (first, tick), (second, deliver) = told_spans(posts)
    assert first == second == "cadenza"
    noon = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 10**9
    assert (tick.name, tick.start_time_unix_nano, tick.end_time_unix_nano) == ("tick", noon - 250_000_000, noon)
    assert {a.key: a.value.int_value for a in tick.attributes} == {"cadenza.records": 9}
    assert tick.status.code == 0
    assert {a.key: a.value.string_value for a in deliver.attributes} == {
        "cadenza.destination": "mail",
        "error.type": "retry",
    }
    assert deliver.status.code == 2


def test_nothing_is_traced_unless_asked_for() -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
    assert open_spans({}, NOON) is None
    assert open_spans({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, NOON) is None
    assert open_spans(endpoint | {"OTEL_SDK_DISABLED": "true"}, NOON) is None
    assert open_spans(endpoint | {"OTEL_TRACES_EXPORTER": "none"}, NOON) is None


def test_what_cannot_be_done_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4317"}
    with pytest.raises(OperatingError, match="HTTP port"):
        open_spans(endpoint | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, NOON)
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(OperatingError, match=r"cadenza\[telemetry\]"):
        open_spans(endpoint, NOON)


def test_a_collector_that_is_not_there_costs_nothing_but_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    spans = open_spans({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}, NOON)
    assert spans is not None
    spans.ended("tick", 0.25, {})
    spans.close()
