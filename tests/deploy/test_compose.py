"""deploy/compose, as far as it can be checked without a container engine: `make test-deploy`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from vortex.config.loading import load
from vortex_loader.catalog import read_catalog

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy/compose"
CHECKED = ROOT / ".tools/bin/compose"
"""The loader of Compose itself, with its schema and its consistency checks."""


@pytest.fixture(scope="module")
def model() -> dict[str, Any]:
    """compose.yaml as Compose understands it."""
    done = subprocess.run(
        [CHECKED, "-format", "json", "compose.yaml"], cwd=FOLDER, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_compose_has_the_whole_story(model: dict[str, Any]) -> None:
    names = {"aws", "leases", "producer", "worker-1", "worker-2", "warehouse", "loader", "prometheus", "grafana"}
    assert set(model["services"]) == names
    for service in model["services"].values():
        assert service["image"].rpartition(":")[2] not in ("", "latest")


def test_ports_are_served_on_this_machine_only_and_once(model: dict[str, Any]) -> None:
    ports = [port for service in model["services"].values() for port in service.get("ports", ())]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    assert len({port["published"] for port in ports}) == len(ports)


def test_mounted_files_are_in_the_repository() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text("utf-8"))["services"]
    files = [volume.split(":")[0] for one in services.values() for volume in one.get("volumes", ())]
    assert [name for name in files if name.startswith(".") and not (FOLDER / name).is_file()] == []
    assert "../grafana-dashboard.json" in files and "../prometheus-alerts.yml" in files


def test_workers_and_loader_can_read_their_files(model: dict[str, Any]) -> None:
    settings = load(FOLDER / "vortex.toml", {})
    assert settings.coordination.mode == "dynamodb"
    hosts = {
        str(url).split("/")[2].split(":")[0] for url in (settings.source.endpoint_url, settings.store.endpoint_url)
    }
    assert hosts <= set(model["services"])
    assert model["services"]["loader"]["environment"]["VORTEX_LOADER_STORE"] == settings.store.url
    assert read_catalog((FOLDER / "catalog.toml").read_bytes(), "catalog.toml").document.customers == "all"


def test_prometheus_scrapes_the_workers_and_the_loader(model: dict[str, Any]) -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text("utf-8"))
    targets = [t for job in config["scrape_configs"] for one in job["static_configs"] for t in one["targets"]]
    assert targets == ["worker-1:9400", "worker-2:9400", "loader:9401"]
    for target in targets:
        name, _, port = target.partition(":")
        assert int(port) in [one["target"] for one in model["services"][name]["ports"]]
