"""The loader's metrics, as Prometheus reads them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import pytest
from click.testing import CliRunner
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.loader.stores import hour, page, publish
from vortex_loader.cli import main
from vortex_loader.metrics import METRICS, RESULTS, Metrics
from vortex_loader.model import LoaderError
from vortex_loader.textfile import kept_in


def test_every_counter_is_there_before_anything_happens_and_a_gauge_once_it_is_known() -> None:
    """A series that begins at 2 has no increase; the Unix time 0 is no hour."""
    metrics = Metrics()
    text = generate_latest(metrics.registry).decode()
    for row in METRICS:
        assert (f"# HELP {row.name} {row.help}\n" in text) == (row.kind != "gauge")
    metrics.waiting(1, -5.0)
    metrics.catalog_age(3.0)
    metrics.loaded(hour(1))
    metrics.loaded(hour(0))
    text = generate_latest(metrics.registry).decode()
    assert all(f"# HELP {row.name} {row.help}\n" in text for row in METRICS)
    assert "vortex_loader_oldest_waiting_seconds 0.0\n" in text
    assert metrics.registry.get_sample_value("vortex_loader_last_loaded_hour_seconds") == hour(1).timestamp()
    for result in RESULTS:
        assert f'vortex_loader_partitions_total{{result="{result}"}} 0.0\n' in text


def test_run_serves_its_metrics_and_stops_at_sigterm(tmp_path: Path) -> None:
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
    assert printed == "2026-11-29T09: 9 rows in 1 table (1 loaded now), 1 row of 1 type not in the catalogue\n"
    end = time.monotonic() + 30
    text = ""
    while "vortex_loader_last_loaded_hour_seconds " not in text:
        assert time.monotonic() < end
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            text = reply.read().decode()
    assert "vortex_loader_rows_total 9.0\n" in text
    assert "vortex_loader_not_in_catalog_rows_total 1.0\n" in text
    assert "vortex_loader_load_seconds_count 1.0\n" in text
    loader.send_signal(signal.SIGTERM)
    assert loader.wait(30) == 0


def test_metrics_file_goes_on_counting_over_commands_and_keeps_gauges_that_one_does_not_set(tmp_path: Path) -> None:
    """Each command is a process of its own; without sums Prometheus would see no increase."""
    store, catalog, file = tmp_path / "store", tmp_path / "catalog.toml", tmp_path / "vortex.prom"
    pages = [page(n) for n in range(9)]
    for n in range(2):
        publish(store, hour(n), {("acme", "page"): pages[n:], ("acme", "identify"): pages[:1]})
    catalog.write_text('[customer.acme]\nevents = ["page"]\n')
    places = ["--store", str(store), "--catalog", str(catalog), "--warehouse", str(tmp_path / "w.duckdb")]

    def run(*command: str) -> dict[str, float]:
        CliRunner().invoke(main, [*command[:1], *places, "--metrics-file", str(file), *command[1:]])
        return values(file)

    found = run("load", "--hour", "2026-11-29T10")
    assert found["vortex_loader_rows_total"] == 8 and found["vortex_loader_load_seconds_count"] == 1
    assert "vortex_loader_hours_waiting" not in found
    found = run("status", "--from", "2026-11-29T08", "--to", "2026-11-29T12")
    assert found["vortex_loader_hours_waiting"] == 1
    assert found["vortex_loader_oldest_waiting_seconds"] == pytest.approx(time.time() - hour(1).timestamp(), abs=60)
    found = run("load", "--hour", "2026-11-29T09")
    assert found["vortex_loader_rows_total"] == 8 + 9 and found["vortex_loader_load_seconds_count"] == 2
    assert found["vortex_loader_last_loaded_hour_seconds"] == hour(1).timestamp(), "the last hour, not the last load"
    assert found["vortex_loader_hours_waiting"] == 1, "of the last status"
    next((store / "customer=acme/event_type=page/date=2026-11-29/hour=09").glob("*.gz")).write_bytes(b"junk")
    for failures in (1, 2):
        found = run("backfill", "--from", "2026-11-29T09", "--to", "2026-11-29T10", "--force")
        assert found["vortex_loader_failures_total"] == failures
    catalog.unlink()
    assert run("load", "--hour", "2026-11-29T09")["vortex_loader_failures_total"] == 3
    assert run("load", "--hour", "2026-11-29T20")["vortex_loader_failures_total"] == 4, "the catalogue comes first"


def test_metrics_file_begins_anew_when_it_is_invalid_and_is_reported_when_it_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "vortex.prom"
    file.write_bytes(b"\xff\xfe junk {")
    with kept_in(file, Metrics()):
        assert values(file)["vortex_loader_failures_total"] == 0, "there before anything happens"
    with (
        pytest.raises(LoaderError, match=r"no/vortex.prom: metrics cannot be written: No such file"),
        kept_in(tmp_path / "no" / "vortex.prom", Metrics()),
    ):
        raise AssertionError("nothing is loaded")


def test_metrics_file_has_the_sum_where_loaders_end_at_the_same_moment(tmp_path: Path) -> None:
    file = tmp_path / "vortex.prom"

    def one() -> None:
        metrics = Metrics()
        with kept_in(file, metrics):
            metrics.rows.inc(7)

    threads = [threading.Thread(target=one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values(file)["vortex_loader_rows_total"] == 56


def values(file: Path) -> dict[str, float]:
    """The samples without labels."""
    families = text_string_to_metric_families(file.read_text())
    return {sample.name: sample.value for family in families for sample in family.samples if not sample.labels}
