"""What the Helm chart takes from the rest of the repository: the schema of its values, the alerting rules,
and the figures of vortex plan.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vortex.config.example import schema
from vortex.config.output import FAST, Commit, Publish
from vortex.config.settings import LEAST_MEMORY, Memory, Shutdown
from vortex.config.units import DURATIONS, SIZES
from vortex.core import memory

_CHART = "deploy/helm/vortex"
_ALERTS = "deploy/prometheus-alerts.yml"
_TEXT = {"type": "string"}
_FLAG = {"type": "boolean"}
_COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
_MAP = {"type": "object"}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_CRON = r"[0-9*?,/-]+ +[0-9*?,/-]+ +[0-9*?,/-]+ +[0-9A-Za-z*?,/-]+ +[0-9A-Za-z*?,/-]+"
_HOURS = {"type": "string", "pattern": f"^{_CRON}$"}
_SCHEDULE = {"type": "string", "pattern": f"^({_CRON}|@(hourly|daily|midnight|weekly|monthly|yearly|annually))?$"}
"""KEDA takes five fields, Kubernetes a name as well; empty is the default."""
_LIST = {"type": "array"}
_EITHER = {"type": ["integer", "string"]}


def chart_files(root: Path) -> dict[str, str]:
    """The chart's generated files by their path in the repository.

    The alerting rules are a copy: a chart is packaged alone, and Helm reads no file outside of it.
    """
    return {
        f"{_CHART}/values.schema.json": json.dumps(values_schema(), indent=2, ensure_ascii=False) + "\n",
        f"{_CHART}/files/prometheus-alerts.yml": (root / _ALERTS).read_text("utf-8"),
        f"{_CHART}/files/figures.json": json.dumps(figures(), indent=2) + "\n",
    }


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


def values_schema() -> dict[str, Any]:
    """The JSON schema of values.yaml; `settings` are those of vortex.schema.json."""
    settings = json.loads(schema())
    del settings["$schema"], settings["title"]
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Vortex chart",
        **_object(
            image=_object(
                repository=_TEXT, tag=_TEXT, digest=_TEXT, pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]}
            ),
            imagePullSecrets=_LIST,
            settings=settings,
            env=_LIST,
            replicas=_COUNT,
            processes=_POSITIVE,
            shardsPerProcess=_COUNT,
            resources=_MAP,
            serviceAccount=_object(create=_FLAG, name=_TEXT, annotations=_TEXTS),
            terminationGracePeriodSeconds=_POSITIVE,
            scratch=_object(sizeLimit=_TEXT),
            podAnnotations=_TEXTS,
            podLabels=_TEXTS,
            nodeSelector=_TEXTS,
            tolerations=_LIST,
            affinity=_MAP,
            priorityClassName=_TEXT,
            topologySpread=_object(enabled=_FLAG, topologyKey=_TEXT),
            podDisruptionBudget=_object(enabled=_FLAG, maxUnavailable=_EITHER),
            service=_object(enabled=_FLAG, port=_POSITIVE),
            podMonitor=_object(enabled=_FLAG, interval=_TEXT, labels=_TEXTS),
            prometheusRule=_object(enabled=_FLAG, labels=_TEXTS),
            networkPolicy=_object(enabled=_FLAG, **{"from": _LIST}, egress=_LIST),
            keda=_object(
                enabled=_FLAG,
                minReplicas=_COUNT,
                maxReplicas=_POSITIVE,
                shardsPerPod=_POSITIVE,
                lagSeconds=_POSITIVE,
                prometheus=_TEXT,
                hours={
                    "type": "array",
                    "items": {
                        **_object(start=_HOURS, end=_HOURS, timezone=_TEXT, replicas=_POSITIVE),
                        "required": ["start", "end"],
                    },
                },
                pollingInterval=_POSITIVE,
                cooldownPeriod=_COUNT,
                authentication=_TEXT,
            ),
            autoscaling=_object(
                enabled=_FLAG, minReplicas=_POSITIVE, maxReplicas=_POSITIVE, targetCPUUtilizationPercentage=_POSITIVE
            ),
            drain=_object(enabled=_FLAG, schedule=_SCHEDULE, timeZone=_TEXT, deadlineSeconds=_POSITIVE),
            **{"global": _MAP},
        ),
    }


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}
