"""Metrics for Prometheus: the meter of one process, and the merged pages of several."""

from __future__ import annotations

from typing import Any, cast

import pytest

from vortex import __version__, metrics
from vortex.adapters.metrics import PrometheusMeter, merged
from vortex.metrics import METRICS


def test_meter_shows_every_declared_metric() -> None:
    """With its help text, before anything has happened: counters at 0, and no gauge that is not known yet."""
    page = PrometheusMeter("s").page().decode()
    for row in METRICS:
        assert f"# HELP {row.name} " in page
        assert f"# TYPE {row.name} {row.kind}" in page
    shown = {line for line in page.splitlines() if not line.startswith("#")}
    assert {line for line in shown if 'stream="s"' not in line} == set()
    assert 'vortex_gaps_total{stream="s"} 0.0' in shown
    assert 'vortex_events_total{outcome="rejected",stream="s"} 0.0' in shown
    gauges = {row.name for row in METRICS if row.kind == "gauge"}
    assert [line for line in shown if line.partition("{")[0] in gauges] == [
        f'vortex_build_info{{stream="s",version="{__version__}"}} 1.0'
    ]


def test_meter_raises_an_error_for_an_undeclared_metric_or_a_wrong_kind() -> None:
    """Type checkers find it first."""
    meter = cast(Any, PrometheusMeter())
    with pytest.raises(KeyError):
        meter.add(metrics.CounterMetric("vortex_surprises_total", "Undeclared."))
    with pytest.raises(TypeError):
        meter.set(metrics.RECORDS, 1)


def test_meter_forget_removes_the_series_of_a_shard() -> None:
    """Forgetting it twice is not an error."""
    meter = PrometheusMeter()
    meter.set(metrics.SHARD_LAG, 5, shard="s-1")
    assert b's-1"' in meter.page()
    meter.forget(metrics.SHARD_LAG, shard="s-1")
    meter.forget(metrics.SHARD_LAG, shard="s-1")
    assert b's-1"' not in meter.page()


def test_merged_adds_counters_and_takes_the_maximum_of_lags() -> None:
    """Histograms and memory are added; lag and frontier are the maximum; shards keep their own series."""
    one, other = PrometheusMeter("s"), PrometheusMeter("s")
    for meter, shard, lag in ((one, "s-1", 5), (other, "s-2", 7)):
        meter.add(metrics.EVENTS, lag, outcome="accepted")
        meter.observe(metrics.COMMIT_SECONDS, 0.02)
        meter.set(metrics.SHARD_LAG, lag, shard=shard)
        meter.set(metrics.FILTER_BYTES, 100)
        meter.set(metrics.FRONTIER, 1000 + lag)
    one.set(metrics.READY, 1)
    other.set(metrics.READY, 0)
    one.set(metrics.SHARD_LAG, 2, shard="s-2")  # the shard has just moved
    page = merged([one.page().decode(), other.page().decode()]).decode()
    for line in (
        'vortex_events_total{outcome="accepted",stream="s"} 12.0',
        'vortex_commit_seconds_count{stream="s"} 2.0',
        'vortex_commit_seconds_bucket{le="0.03",stream="s"} 2.0',
        'vortex_shard_lag_seconds{shard="s-1",stream="s"} 5.0',
        'vortex_shard_lag_seconds{shard="s-2",stream="s"} 7.0',
        'vortex_filter_bytes{stream="s"} 200.0',
        'vortex_frontier_seconds{stream="s"} 1007.0',
        'vortex_ready{stream="s"} 0.0',
    ):
        assert line in page.splitlines()
    assert merged([page]).decode() == page
