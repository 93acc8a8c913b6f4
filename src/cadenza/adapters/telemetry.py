"""Spans as OpenTelemetry, sent by OTLP over HTTP, where the optional packages are installed.

Everything is set by the variables of the OpenTelemetry specification ("Environment Variable Specification" and "OTLP
Exporter Configuration"), so that a process beside others is configured as they are. Without an endpoint nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from cadenza import __version__
from cadenza.clock import Clock, to_micros
from cadenza.errors import OperatingError
from cadenza.ports.spans import Spans

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP = "http/protobuf"
_FLUSH_MS = 5_000


def open_spans(environment: Mapping[str, str], clock: Clock) -> Spans | None:
    """Where the environment of this process says that spans go; None where it names no endpoint, or says no. Raises
    OperatingError when the packages are not installed or another protocol than OTLP over HTTP is asked for."""
    off = environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    off = off or environment.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() == "none"
    endpoint = next((name for name in ENDPOINTS if environment.get(name, "").strip()), None)
    if off or endpoint is None:
        return None
    asked = next((environment[name] for name in PROTOCOLS if environment.get(name, "").strip()), HTTP)
    if asked.strip() != HTTP:
        raise OperatingError(
            f"spans are sent as {HTTP}, not as '{asked}'.", where=endpoint,
            remedy="Point the variable at the collector's HTTP port (4318 by default) and leave the protocol out.",
        )  # fmt: skip
    return _Otlp(_provider(endpoint, environment), clock)


def _provider(endpoint: str, environment: Mapping[str, str]) -> TracerProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        raise OperatingError(
            "traces need the OpenTelemetry packages.", where=endpoint,
            remedy="Install cadenza[telemetry], or do not set the variable.",
        ) from None  # fmt: skip
    about = {"service.version": __version__}
    if not environment.get("OTEL_SERVICE_NAME") and "service.name=" not in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    ):
        about["service.name"] = "cadenza"
    provider = TracerProvider(resource=Resource.create(about))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider


class _Otlp:
    def __init__(self, provider: TracerProvider, clock: Clock) -> None:
        self._provider, self._clock = provider, clock
        self._tracer = provider.get_tracer("cadenza", __version__)

    def ended(self, name: str, seconds: float, attributes: Mapping[str, str | int], error: str | None = None) -> None:
        from opentelemetry.trace import Status, StatusCode

        end = to_micros(self._clock.now()) * 1_000
        span = self._tracer.start_span(name, start_time=end - int(seconds * 1e9), attributes=dict(attributes))
        if error is not None:
            span.set_attribute("error.type", error)
            span.set_status(Status(StatusCode.ERROR))
        span.end(end)

    def close(self) -> None:
        self._provider.force_flush(_FLUSH_MS)
        self._provider.shutdown()
