"""The loader's metrics, as Prometheus reads them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from prometheus_client import generate_latest

from tests.loader.stores import hour, page, publish
from vortex_loader.metrics import METRICS, RESULTS, Metrics


def test_every_series_is_there_before_anything_happens() -> None:
    """A series that begins at 2 has no increase."""
    text = generate_latest(Metrics().registry).decode()
    for row in METRICS:
        assert f"# HELP {row.name} {row.help}\n" in text
    for result in RESULTS:
        assert f'vortex_loader_partitions_total{{result="{result}"}} 0.0\n' in text


def test_run_serves_its_metrics_and_stops_when_it_is_told_to(tmp_path: Path) -> None:
    """Of one closed hour, of which one type is not in the catalogue."""
    store, catalog = tmp_path / "store", tmp_path / "catalog.toml"
    publish(store, hour(0), {("acme", "page"): [page(n) for n in range(9)], ("acme", "identify"): [page(1)]})
    catalog.write_text('[customer.acme]\nevents = ["page"]\n')
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "vortex_loader", "run", "--store", str(store), "--catalog", str(catalog)]
    places = ["--warehouse", str(tmp_path / "w.duckdb"), "--from", "2026-11-29T09", "--every", "0.1"]
    loader = subprocess.Popen(
        [*command, *places, "--metrics-port", str(port)], stdout=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert loader.stdout is not None
    printed = loader.stdout.readline()
    assert printed == "2026-11-29T09: 9 rows in 1 tables (1 loaded now), 1 rows of 1 types not in the catalogue\n"
    end = time.monotonic() + 30
    text = ""
    while "vortex_loader_last_loaded_hour_seconds 0.0" in text or not text:
        assert time.monotonic() < end
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
    assert "vortex_loader_rows_total 9.0\n" in text
    assert "vortex_loader_not_in_catalog_rows_total 1.0\n" in text
    assert "vortex_loader_load_seconds_count 1.0\n" in text
    loader.send_signal(signal.SIGTERM)
    assert loader.wait(30) == 0
