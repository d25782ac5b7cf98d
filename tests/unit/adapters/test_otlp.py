"""Metrics by OTLP, received by a server that speaks it; and the errors of an environment that cannot be served."""

from __future__ import annotations

import gzip
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from vortex import __version__, metrics
from vortex.adapters.metrics import PrometheusMeter
from vortex.adapters.otlp import exported, wanted
from vortex.config.loading import ConfigError

service = pytest.importorskip("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2", reason="no extra otlp")


@pytest.fixture
def received() -> Iterator[tuple[str, list[Any]]]:
    """The address of a collector, and the requests that came."""
    requests: list[Any] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            requests.append(service.ExportMetricsServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", requests
    server.shutdown()
    thread.join()
    server.server_close()


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
    (whole,) = requests[-1].resource_metrics
    attributes = {one.key: one.value.string_value for one in whole.resource.attributes}
    assert (attributes["service.name"], attributes["service.version"]) == ("vortex", __version__)
    found = {one.name: one for scope in whole.scope_metrics for one in scope.metrics}
    assert set(found) == {"vortex_events_total", "vortex_commit_seconds", "vortex_shard_lag_seconds"}
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


async def test_exported_raises_config_error_that_names_the_extra_when_it_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
    with pytest.raises(ConfigError, match=r"^OTEL_EXPORTER_OTLP_ENDPOINT is set, .*vortex-microbatcher\[otlp\]"):
        async with exported(PrometheusMeter("snow"), "snow", environ):
            pass
