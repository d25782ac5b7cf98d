"""Metrics pushed by OTLP, for shops without Prometheus: the Meter port over OpenTelemetry's SDK, the extra `otlp`.

It runs where the environment names an endpoint. OpenTelemetry's own variables count: interval, headers, time-outs,
resource attributes (https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from vortex import __version__
from vortex.config.loading import ConfigError
from vortex.metrics import METRICS, CounterMetric, GaugeMetric, HistogramMetric, Metric
from vortex.ports import Meter

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Observation
    from opentelemetry.sdk.metrics import MeterProvider

ENDPOINTS = ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_LEAVE_MS = 5000.0
"""For the last export."""


def wanted(environ: Mapping[str, str]) -> str:
    """The variable that asks for OTLP; empty if none does. Raises ConfigError for a protocol that is not supported."""
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_METRICS_EXPORTER") == "none":
        return ""
    found = next((name for name in ENDPOINTS if environ.get(name)), "")
    if found:
        for name in _PROTOCOLS:
            if (protocol := environ.get(name)) and protocol != "http/protobuf":
                raise ConfigError(
                    f'{name}: {protocol!r} is not supported; set it to "http/protobuf" (port 4318 by default)'
                )
    return found


@contextlib.asynccontextmanager
async def exported(meter: Meter, stream: str, environ: Mapping[str, str] = os.environ) -> AsyncIterator[Meter]:
    """`meter`, whose metrics are also pushed where the environment asks for it. Raises ConfigError.

    Exports run in a thread of the SDK, so an endpoint that does not answer holds nothing up.
    """
    asked = wanted(environ)
    if not asked:
        yield meter
        return
    provider = _provider(asked, environ)
    try:
        yield Both(meter, OtlpMeter(provider, stream))
    finally:
        with contextlib.suppress(Exception):  # the last export failed: there is nobody left to tell
            await asyncio.to_thread(provider.shutdown, timeout_millis=_LEAVE_MS)


def _provider(asked: str, environ: Mapping[str, str]) -> MeterProvider:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
    except ImportError as missing:
        what = "OTLP needs OpenTelemetry's SDK: pip install 'vortex-microbatcher[otlp]' ('.[otlp]' in a checkout)"
        raise ConfigError(f"{asked} is set, but {what}, or unset the variable ({missing})") from missing
    named = environ.get("OTEL_SERVICE_NAME") or "service.name=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    attributes = {"service.version": __version__, "service.instance.id": f"{socket.gethostname()}:{os.getpid()}"}
    if not named:
        attributes["service.name"] = "vortex"
    # It logs a traceback for each export that fails, where the exporter's own line says all.
    logging.getLogger("opentelemetry.sdk.metrics").setLevel(logging.CRITICAL)
    try:
        reader = PeriodicExportingMetricReader(OTLPMetricExporter())
        return MeterProvider([reader], Resource.create(attributes), shutdown_on_exit=False)
    except ValueError as wrong:  # most wrong values are a line of OpenTelemetry's own, and its defaults
        why = " ".join(str(wrong).split())
        raise ConfigError(f"OpenTelemetry refuses one of its variables (OTEL_…): {why}") from None


class OtlpMeter:
    """Meter over OpenTelemetry's instruments, by the same names; each data point has the attribute `stream`."""

    def __init__(self, provider: MeterProvider, stream: str) -> None:
        self._stream = {"stream": stream}
        self._gauges: dict[Metric, dict[tuple[str, ...], tuple[float, dict[str, str]]]] = {}
        meter = provider.get_meter("vortex", __version__)
        self._instruments: dict[Metric, Any] = {}
        for row in METRICS:
            if isinstance(row, CounterMetric):
                self._instruments[row] = meter.create_counter(row.name, description=row.help)
            elif isinstance(row, HistogramMetric):
                self._instruments[row] = meter.create_histogram(
                    row.name, description=row.help, explicit_bucket_boundaries_advisory=row.buckets
                )
            else:
                self._gauges[row] = {}
                meter.create_observable_gauge(row.name, [self._shown(row)], description=row.help)

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        self._instruments[metric].add(value, self._stream | labels)

    def set(self, metric: GaugeMetric, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[metric][tuple(labels.values())] = float(value), self._stream | labels  # a bool cannot be encoded

    def observe(self, metric: HistogramMetric, value: float, **labels: str) -> None:
        """Record one observation of a histogram."""
        self._instruments[metric].record(value, self._stream | labels)

    def forget(self, metric: Metric, **labels: str) -> None:
        """Remove the series of a gauge."""
        self._gauges.get(metric, {}).pop(tuple(labels.values()), None)

    def _shown(self, row: Metric) -> Callable[[CallbackOptions], Iterable[Observation]]:
        from opentelemetry.metrics import Observation

        def observed(options: CallbackOptions) -> Iterable[Observation]:
            return [Observation(value, labels) for value, labels in list(self._gauges[row].values())]

        return observed


class Both:
    """Two meters as one."""

    def __init__(self, one: Meter, other: Meter) -> None:
        self._meters = (one, other)

    def add(self, metric: CounterMetric, value: float = 1, **labels: str) -> None:
        """Add to a counter."""
        for meter in self._meters:
            meter.add(metric, value, **labels)

    def set(self, metric: GaugeMetric, value: float, **labels: str) -> None:
        """Set a gauge."""
        for meter in self._meters:
            meter.set(metric, value, **labels)

    def observe(self, metric: HistogramMetric, value: float, **labels: str) -> None:
        """Record one observation of a histogram."""
        for meter in self._meters:
            meter.observe(metric, value, **labels)

    def forget(self, metric: Metric, **labels: str) -> None:
        """Remove a series."""
        for meter in self._meters:
            meter.forget(metric, **labels)
