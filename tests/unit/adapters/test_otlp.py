"""Metrics by OTLP, received by a server that speaks it; and the errors of an environment that cannot be served."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.otlp_collector import collector, metrics_of, resource_of
from vortex import __version__, metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.adapters.otlp import exported, wanted
from vortex.config.loading import ConfigError

pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2", reason="no extra otlp")


@pytest.fixture
def received() -> Iterator[tuple[str, list[Any]]]:
    """The address of a collector, and the requests that came."""
    with collector() as found:
        yield found


async def test_metrics_are_pushed_to_the_endpoint_of_the_environment(
    received: tuple[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same names as for Prometheus, each with the stream; what is forgotten is not pushed."""
    address, requests = received
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
    prometheus = PrometheusMeter("snow")
    async with exported(prometheus, "snow") as meter:
        meter.add(metrics.EVENTS, 3, outcome="accepted")
        meter.add(metrics.EVENTS, 4, outcome="accepted")
        meter.observe(metrics.COMMIT_SECONDS, 0.02)
        meter.set(metrics.SHARD_LAG, 5, shard="a")
        meter.set(metrics.SHARD_LAG, 7, shard="b")
        meter.forget(metrics.SHARD_LAG, shard="a")
        meter.set(metrics.READY, True)  # as callers may: nothing at all was pushed
    attributes = resource_of(requests[-1])
    assert (attributes["service.name"], attributes["service.version"]) == ("vortex", __version__)
    found = metrics_of(requests[-1])
    assert set(found) == {"vortex_events_total", "vortex_commit_seconds", "vortex_shard_lag_seconds", "vortex_ready"}
    (events,) = found["vortex_events_total"].sum.data_points
    assert events.as_double == 7 or events.as_int == 7
    assert {one.key: one.value.string_value for one in events.attributes} == {"stream": "snow", "outcome": "accepted"}
    (lag,) = found["vortex_shard_lag_seconds"].gauge.data_points
    assert (lag.as_double or lag.as_int, {one.key: one.value.string_value for one in lag.attributes}) == (
        7,
        {"stream": "snow", "shard": "b"},
    )
    (seconds,) = found["vortex_commit_seconds"].histogram.data_points
    assert list(seconds.explicit_bounds) == list(metrics.COMMIT_SECONDS.buckets)
    assert prometheus.total(metrics.EVENTS, "accepted") == 7


async def test_nothing_is_pushed_without_an_endpoint() -> None:
    meter = PrometheusMeter("snow")
    async with exported(meter, "snow", {}) as same:
        assert same is meter


@pytest.mark.parametrize(
    ("environ", "found"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://x"}, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_SDK_DISABLED": "true"}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_METRICS_EXPORTER": "none"}, ""),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x"}, ""),
    ],
)
def test_wanted_names_the_variable_that_asks_for_otlp(environ: dict[str, str], found: str) -> None:
    assert wanted(environ) == found


def test_wanted_raises_config_error_for_another_protocol() -> None:
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' is not supported; set it to"):
        wanted(environ)


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_METRIC_EXPORT_INTERVAL", "0"), ("OTEL_METRICS_EXEMPLAR_FILTER", "all")]
)
async def test_exported_raises_config_error_for_a_variable_that_opentelemetry_refuses(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """It was a traceback."""
    monkeypatch.setenv(name, value)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with pytest.raises(ConfigError, match=r"^OpenTelemetry refuses one of its variables"):
        async with exported(PrometheusMeter("s"), "s", environ):
            pass


async def test_exported_raises_config_error_that_names_the_extra_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT is set, .*vortex-microbatcher\[otlp\]"):
        async with exported(PrometheusMeter("snow"), "snow", environ):
            pass
