"""What the Helm chart takes from the rest of the repository: the schema of its values, the alerting rules,
and the figures of vortex plan.
"""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from tools.chart_values import values_schema
from vortex.config.output import FAST, Commit, Publish
from vortex.config.settings import LEAST_MEMORY, Memory, Shutdown
from vortex.config.units import DURATIONS, SIZES
from vortex.core import memory

_CHART = "deploy/helm/vortex"
_ALERTS = "deploy/prometheus-alerts.yml"
_SELECTOR = re.compile(r"\b(vortex_\w+)(\{)?")
_NO_QUERY = re.compile(r"\s*(#|summary:|runbook:|- alert:|- name:)")


def chart_files(root: Path) -> dict[str, str]:
    """The chart's generated files by their path in the repository.

    The alerting rules are a copy: a chart is packaged alone, and Helm reads no file outside of it.
    """
    defaults = yaml.safe_load((root / _CHART / "values.yaml").read_text("utf-8"))
    return {
        f"{_CHART}/values.schema.json": json.dumps(values_schema(defaults), indent=2, ensure_ascii=False) + "\n",
        f"{_CHART}/files/prometheus-alerts.yml": of_release((root / _ALERTS).read_text("utf-8")),
        f"{_CHART}/files/zones.json": json.dumps({"names": zones()}, indent=0) + "\n",
        f"{_CHART}/files/figures.json": json.dumps(figures(), indent=2) + "\n",
    }


def zones() -> list[str]:
    """The names of time zones that Kubernetes and KEDA know: those of the time zone database."""
    return sorted(resources.files("tzdata").joinpath("zones").read_text("utf-8").split())


def of_release(rules: str) -> str:
    """The alerting rules, with a place in each selector where the chart puts the labels of its release."""
    lines = rules.splitlines(keepends=True)
    return "".join(line if _NO_QUERY.match(line) else _SELECTOR.sub(_placed, line) for line in lines)


def _placed(found: re.Match[str]) -> str:
    place = "__LOADER__" if found[1].startswith("vortex_loader_") else "__RELEASE__"
    return f"{found[1]}{{{place}{', ' if found[2] else '}'}"


def figures() -> dict[str, Any]:
    """What the chart computes memory, disk and times of a pod from, in bytes and milliseconds."""
    default, commit, publish = Memory(), Commit(), Publish()
    return {
        "process": memory.PROCESS_BYTES,
        "supervisor": memory.SUPERVISOR_BYTES,
        "room_least": memory.ROOM_LEAST,
        "room_most": memory.ROOM_MOST,
        "room_share": memory.ROOM_SHARE,
        "pages": memory.PAGES_BYTES,
        "filter": memory.FILTER_BYTES,
        "limit": default.limit,
        "least": LEAST_MEMORY,
        "least_auto": memory.LEAST_AUTO,
        "lines_s": memory.LINES_BYTES_S,
        "every": commit.every,
        "max_bytes": commit.max_bytes,
        "period": FAST["publish"]["period"],
        "keys": default.keys,
        "scratch": publish.scratch,
        "grace": Shutdown().grace,
        "sizes": SIZES,
        "durations": DURATIONS,
    }
