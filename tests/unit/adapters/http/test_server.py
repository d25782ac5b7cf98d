"""Metrics and health, over real HTTP on loopback."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from vortex.adapters.http.server import UNIX, Check, ask, checks_of, serve
from vortex.adapters.metrics import METRICS, PrometheusMeter, merged


async def get(address: tuple[str, int], path: str) -> tuple[int, str]:
    """Status and text."""
    async with aiohttp.ClientSession() as session, session.get(f"http://{address[0]}:{address[1]}{path}") as reply:
        return reply.status, await reply.text()


async def test_server_serves_liveness_and_readiness_and_metrics() -> None:
    """Alive is not ready; `?verbose` gives the reasons."""
    meter = PrometheusMeter()
    checks = [("store", False, "denied"), ("shards", True, "4 are read")]

    async def page() -> bytes:
        return meter.page()

    async def ready() -> list[Check]:
        return checks

    async with serve("127.0.0.1", 0, page, ready) as address:
        meter.add("vortex_events_total", 3, outcome="accepted")
        assert (await get(address, "/livez"))[0] == 200
        assert (await get(address, "/readyz"))[0] == 503
        assert await get(address, "/readyz?verbose") == (503, "FAIL store: denied\nok shards: 4 are read\n")
        checks[0] = ("store", True, "")
        assert (await get(address, "/readyz"))[0] == 200
        status, text = await get(address, "/metrics")
        assert status == 200
        assert 'vortex_events_total{outcome="accepted"} 3.0' in text
        assert "process_cpu_seconds_total" in text


def test_metrics_follow_the_naming_rules_of_prometheus() -> None:
    """Counters end in _total, units are base units, and no label grows with the customers."""
    for row in METRICS:
        assert row.name.startswith("vortex_")
        assert row.name.endswith("_total") == (row.kind == "counter")
        assert set(row.labels) <= {"shard", "outcome", "cause", "reason", "result", "version"}
        assert not row.name.endswith(("_ms", "_mb", "_minutes"))


def test_meter_raises_an_error_for_an_undeclared_metric_or_a_wrong_kind() -> None:
    meter = PrometheusMeter()
    with pytest.raises(KeyError):
        meter.add("vortex_surprises_total")
    with pytest.raises(TypeError):
        meter.set("vortex_records_total", 1)


def test_meter_forget_removes_the_series_of_a_shard() -> None:
    """Forgetting it twice is not an error."""
    meter = PrometheusMeter()
    meter.set("vortex_shard_lag_seconds", 5, shard="s-1")
    assert b's-1"' in meter.page()
    meter.forget("vortex_shard_lag_seconds", shard="s-1")
    meter.forget("vortex_shard_lag_seconds", shard="s-1")
    assert b's-1"' not in meter.page()


def test_merged_adds_counters_and_takes_the_maximum_of_lags() -> None:
    """Histograms and memory are added; lag and frontier are the maximum; shards keep their own series."""
    one, other = PrometheusMeter(), PrometheusMeter()
    for meter, shard, lag in ((one, "s-1", 5), (other, "s-2", 7)):
        meter.add("vortex_events_total", lag, outcome="accepted")
        meter.observe("vortex_commit_seconds", 0.02)
        meter.set("vortex_shard_lag_seconds", lag, shard=shard)
        meter.set("vortex_filter_bytes", 100)
        meter.set("vortex_frontier_seconds", 1000 + lag)
    one.set("vortex_shard_lag_seconds", 2, shard="s-2")  # the shard has just moved
    page = merged([one.page().decode(), other.page().decode()]).decode()
    for line in (
        'vortex_events_total{outcome="accepted"} 12.0',
        "vortex_commit_seconds_count 2.0",
        'vortex_commit_seconds_bucket{le="0.03"} 2.0',
        'vortex_shard_lag_seconds{shard="s-1"} 5.0',
        'vortex_shard_lag_seconds{shard="s-2"} 7.0',
        "vortex_filter_bytes 200.0",
        "vortex_frontier_seconds 1007.0",
    ):
        assert line in page.splitlines()
    assert merged([page]).decode() == page


async def test_server_listens_on_a_unix_socket(tmp_path: Path) -> None:
    """The supervisor asks its workers this way."""

    async def page() -> bytes:
        return b"metrics"

    async def ready() -> list[Check]:
        return [("store", False, "denied: why"), ("shards", True, "4 are read")]

    async with serve(f"{UNIX}{tmp_path}/s", 0, page, ready) as (host, _):
        assert await ask(host, "/metrics") == "metrics"
        assert checks_of(await ask(host, "/readyz?verbose")) == await ready()
    with pytest.raises(OSError, match="s"):
        await ask(host, "/metrics")
