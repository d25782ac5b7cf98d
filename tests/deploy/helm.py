"""Renders the chart by Helm, for tests."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/vortex"
EXAMPLES = ROOT / "deploy/helm/examples"
HELM = ROOT / ".tools/bin/helm"


def render(
    *sets: str,
    values: str = "one-worker",
    given: str = "",
    chart: Path = CHART,
    release: str = "v",
    namespace: str = "default",
    kubernetes: str = "1.30.0",
) -> subprocess.CompletedProcess[str]:
    """`helm template` with an example's values, and changes to them; `given` are more values, in YAML."""
    changes = [part for one in sets for part in ("--set", one)]
    more = ["-f", "-"] if given else []
    example: Path = EXAMPLES / f"{values}.yaml"
    where = ["--kube-version", kubernetes, "--namespace", namespace]
    command: list[str | Path] = [HELM, "template", release, chart, "-f", example, *more, *where, *changes]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60)


def rendered(*sets: str, **more: Any) -> dict[str, dict[str, Any]]:
    """The objects by kind, of which each is there once at most. Fails with Helm's words."""
    done = render(*sets, **more)
    assert done.returncode == 0, done.stderr
    return {document["kind"]: document for document in yaml.safe_load_all(done.stdout) if document}


def of_kind(text: str, kind: str) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(text) if document and document["kind"] == kind]


def refused(*sets: str, **more: Any) -> str:
    """What Helm says where it refuses the values."""
    done = render(*sets, **more)
    assert done.returncode != 0, done.stdout[:2000]
    assert "nil pointer" not in done.stderr and "interface conversion" not in done.stderr, done.stderr
    return done.stderr


def pod(document: dict[str, Any]) -> dict[str, Any]:
    """The pod of a Deployment or a CronJob: metadata and spec."""
    spec = document["spec"]
    found: dict[str, Any] = (spec["jobTemplate"]["spec"] if "jobTemplate" in spec else spec)["template"]
    return found


def container(document: dict[str, Any]) -> dict[str, Any]:
    (found,) = pod(document)["spec"]["containers"]
    return dict(found)
