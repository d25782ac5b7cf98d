"""A real Prometheus that scrapes a real worker: the dashboard's queries have answers, and the alerting rules load."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import yaml

from tests.harness import Site, make_stream, stopped, until
from tests.servers import free_port, wait_for

PROMETHEUS = shutil.which("prometheus")
pytestmark = [
    pytest.mark.integration,
    # Of the system, not of Python's packages; .ci/run installs it.
    pytest.mark.skipif(PROMETHEUS is None, reason="no Prometheus here: Debian's package is prometheus"),
]
DEPLOY = Path(__file__).parents[2] / "deploy"
_NOT_YET = ("vortex_retries_total", "vortex_last_closed_hour_seconds", "vortex_trouble")
"""Metrics whose queries may be empty while all is well and no hour is over."""


def get(url: str) -> Any:
    """The JSON at a URL."""
    with urllib.request.urlopen(url, timeout=10) as reply:
        return json.loads(reply.read())


@contextmanager
def prometheus(folder: Path, port: int) -> Iterator[str]:
    """Scrapes the worker at `port` every second; yields its address."""
    assert PROMETHEUS is not None
    own = free_port()
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(DEPLOY / "prometheus-alerts.yml")],
        "scrape_configs": [{"job_name": "vortex", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [PROMETHEUS, f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb"]
    process = subprocess.Popen(
        [*command, f"--web.listen-address=127.0.0.1:{own}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(own, process, "/-/ready")
        yield f"http://127.0.0.1:{own}"
    finally:
        process.terminate()
        process.wait(20)


def dashboard() -> list[str]:
    """The queries of Vortex's own panels, with the dashboard's variables filled in."""
    panels = json.loads((DEPLOY / "grafana-dashboard.json").read_text("utf-8"))["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    filled = [re.sub(r"\$(job|stream)", ".*", expr.replace("$__rate_interval", "30s")) for expr in found]
    return [expr for expr in filled if "vortex_loader_" not in expr]


def test_dashboard_has_answers_and_rules_load_in_a_real_prometheus(moto_url: str, tmp_path: Path) -> None:
    stream, port, rng = f"prometheus-{os.getpid()}", free_port(), Random(1)
    kinesis = make_stream(moto_url, stream, 2)
    site = Site(moto_url, stream, f"file://{tmp_path}/store", tmp_path / "v.toml")
    site.configure()

    def put() -> None:
        rows = [
            {"Data": json.dumps({"customer": "acme", "type": "view", "id": str(rng.random())}), "PartitionKey": str(n)}
            for n in range(20)
        ]
        kinesis.put_records(StreamName=stream, Records=rows)

    with (tmp_path / "log").open("wb") as log:
        command = [sys.executable, "-m", "vortex", "run", "-c", str(site.config)]
        worker = subprocess.Popen(command, stderr=log, env={**os.environ, "VORTEX_HTTP__PORT": str(port)})
    with stopped(worker), prometheus(tmp_path, port) as address:

        def asked(expr: str) -> list[Any]:
            answer = get(f"{address}/api/v1/query?{urllib.parse.urlencode({'query': expr})}")
            assert answer["status"] == "success", answer
            return list(answer["data"]["result"])

        def published() -> bool:
            put()
            found = asked("vortex_objects_published_total > 3 and vortex_ready == 1")
            return bool(found) and len(asked("count_over_time(vortex_ready[1m]) > 5")) > 0

        until(published)
        empty = [expr for expr in dashboard() if not asked(expr) and not any(name in expr for name in _NOT_YET)]
        assert empty == []
        assert {row["metric"]["stream"] for row in asked('{__name__=~"(vortex|process)_.*"}')} == {stream}

        def rules() -> list[Any]:
            groups = get(f"{address}/api/v1/rules")["data"]["groups"]
            return [rule for group in groups for rule in group["rules"]]

        until(lambda: all(rule["health"] != "unknown" for rule in rules()))
        assert len(rules()) >= 18
        assert [(rule["name"], rule.get("lastError")) for rule in rules() if rule.get("lastError")] == []
        shown = get(f"http://127.0.0.1:{port}/status.json")
        assert shown["ready"] and shown["stream"] == stream
        assert [len(shown[name]) for name in ("shards", "workers", "customers")] == [2, 1, 1]
        assert sum(point[1] for point in shown["history"]) > 0
