"""The JSON schema of the chart's values: `helm install` refuses what Kubernetes, KEDA or Prometheus would refuse later.

What a schema cannot say is in the chart's templates/_checks.tpl.
"""

from __future__ import annotations

import json
from typing import Any

from vortex.config.example import schema

Schema = dict[str, Any]


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _pattern(text: str, **more: Any) -> Schema:
    return {"type": "string", "pattern": f"^({text})$", **more}


def _keyed(key: str, value: Schema) -> Schema:
    return {"type": "object", "additionalProperties": False, "patternProperties": {f"^({key})$": value}}


def _named(**properties: Schema) -> Schema:
    return {**_object(name=_NAME, **properties), "required": ["name"]}


_TEXT: Schema = {"type": "string"}
_FLAG: Schema = {"type": "boolean"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_POSITIVE: Schema = {"type": "integer", "minimum": 1}
_PORT: Schema = {"type": "integer", "minimum": 1, "maximum": 65535}
_MAP: Schema = {"type": "object"}
_MAPS = _list(_MAP)
_TEXTS: Schema = {"type": "object", "additionalProperties": _TEXT}

_DNS_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_DNS = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*"
_WORD = "[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_KEY = f"({_DNS}/)?{_WORD}"
_QUANTITY = r"[0-9]+(\.[0-9]*)?([KMGTPE]i|[mkMGTPE]|[eE][0-9]+)?"
_REPOSITORY = r"(([A-Za-z0-9.-]+(:[0-9]+)?/)?[A-Za-z0-9]+([._/-]+[A-Za-z0-9]+)*)?"
"""Without a tag or a scheme."""
_NAME = _pattern(_DNS, maxLength=253)
_LABELS = _keyed(_KEY, {"type": "string", "pattern": f"^({_WORD})?$"})
_ANNOTATIONS = _keyed(_KEY, _TEXT)
_MATCHERS = _keyed("[a-zA-Z_][a-zA-Z0-9_]*", _pattern(r'[^\s"\\#]*'))
_AMOUNTS: Schema = {
    "type": "object",
    "additionalProperties": {
        "anyOf": [{"type": "string", "pattern": f"^{_QUANTITY}$"}, {"type": "number", "minimum": 0}]
    },
}
_RESOURCES = _object(requests=_AMOUNTS, limits=_AMOUNTS, claims=_MAPS)
_ENV: Schema = {
    **_object(
        name=_pattern("[-._a-zA-Z][-._a-zA-Z0-9]*"),
        value=_TEXT,
        valueFrom={"type": "object", "minProperties": 1, "maxProperties": 1},
    ),
    "required": ["name"],
    "not": {"required": ["value", "valueFrom"]},
}
_REFERENCE = _named(optional=_FLAG)
_ENV_FROM: Schema = {
    **_object(configMapRef=_REFERENCE, secretRef=_REFERENCE, prefix=_TEXT),
    "oneOf": [{"required": ["configMapRef"]}, {"required": ["secretRef"]}],
}
_VOLUME: Schema = {
    "type": "object",
    "properties": {"name": _pattern(_DNS_LABEL)},
    "required": ["name"],
    "minProperties": 2,
    "maxProperties": 2,
}
"""A name, and the one kind that it is."""
_MOUNT: Schema = {
    **_object(
        name=_pattern(_DNS_LABEL),
        mountPath=_pattern("/[^:]+"),
        subPath=_TEXT,
        subPathExpr=_TEXT,
        readOnly=_FLAG,
        mountPropagation=_TEXT,
        recursiveReadOnly=_TEXT,
    ),
    "required": ["name", "mountPath"],
}
_TOLERATION = _object(
    key=_TEXT,
    operator={"enum": ["Exists", "Equal"]},
    value=_TEXT,
    effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
    tolerationSeconds={"type": "integer"},
)
_SELECTOR = _object(matchLabels=_LABELS, matchExpressions=_MAPS)
_PEER: Schema = {
    **_object(
        podSelector=_SELECTOR,
        namespaceSelector=_SELECTOR,
        ipBlock={
            **_object(cidr=_pattern("[0-9a-fA-F.:]+/[0-9]{1,3}"), **{"except": _list(_TEXT)}),
            "required": ["cidr"],
        },
    ),
    "minProperties": 1,
}
_ALLOWED_PORT = _object(
    protocol={"enum": ["TCP", "UDP", "SCTP"]},
    port={"anyOf": [_PORT, _pattern("[a-z0-9-]{1,15}")]},
    endPort=_PORT,
)
_EGRESS = _object(ports=_list(_ALLOWED_PORT), to=_list(_PEER))
_UNAVAILABLE: Schema = {
    "description": "At least 1, or a percentage of at least 1 %: with 0 no node could be drained.",
    "anyOf": [_POSITIVE, _pattern("([1-9][0-9]?|100)%")],
}
_CRON = r"[0-9*?,/-]+ +[0-9*?,/-]+ +[0-9*?,/-]+ +[0-9A-Za-z*?,/-]+ +[0-9A-Za-z*?,/-]+"
_HOURS: Schema = {"type": "string", "pattern": f"^{_CRON}$"}
_SCHEDULE: Schema = {
    "type": "string",
    "pattern": f"^({_CRON}|@(hourly|daily|midnight|weekly|monthly|yearly|annually))?$",
}
"""KEDA takes five fields, Kubernetes a name as well; empty is the default. The templates look at the numbers."""
_ZONE: Schema = {"type": "string"}
"""A name of the time zone database, which the templates look up: neither Kubernetes nor KEDA knows UTC+2."""
_DURATION = _pattern("([0-9]+(ms|[ywdhms]))+")
_URL = _pattern("(https?://[^/ ]+.*)?")


def values_schema(defaults: Schema) -> Schema:
    """The schema; `settings` are those of vortex.schema.json.

    A key with a default cannot be null, which would remove it; empty defaults may be missing.
    """
    hours = {**_object(start=_HOURS, end=_HOURS, timezone=_ZONE, replicas=_POSITIVE), "required": ["start", "end"]}
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the Vortex chart",
        **_complete(
            _object(
                image=_object(
                    repository=_pattern(_REPOSITORY),
                    tag=_pattern(r"([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"),
                    digest=_pattern("(sha256:[0-9a-f]{64})?"),
                    pullPolicy={"enum": ["Always", "IfNotPresent", "Never"]},
                ),
                imagePullSecrets=_list(_named()),
                fullnameOverride=_pattern("([a-z]([a-z0-9-]{0,44}[a-z0-9])?)?"),
                settings=_settings(),
                env=_list(_ENV),
                envFrom=_list(_ENV_FROM),
                replicas=_COUNT,
                processes=_POSITIVE,
                shardsPerProcess=_COUNT,
                resources=_RESOURCES,
                serviceAccount=_object(create=_FLAG, name=_pattern(f"({_DNS})?"), annotations=_ANNOTATIONS),
                terminationGracePeriodSeconds=_POSITIVE,
                scratch=_object(sizeLimit=_pattern(f"({_QUANTITY})?")),
                extraVolumes=_list(_VOLUME),
                extraVolumeMounts=_list(_MOUNT),
                podAnnotations=_ANNOTATIONS,
                podLabels=_LABELS,
                nodeSelector=_LABELS,
                tolerations=_list(_TOLERATION),
                affinity=_object(nodeAffinity=_MAP, podAffinity=_MAP, podAntiAffinity=_MAP),
                priorityClassName=_pattern(f"({_DNS})?"),
                topologySpread=_object(enabled=_FLAG, topologyKey=_pattern(_KEY)),
                podDisruptionBudget=_object(enabled=_FLAG, maxUnavailable=_UNAVAILABLE),
                service=_object(enabled=_FLAG, port=_PORT),
                podMonitor=_object(enabled=_FLAG, interval=_DURATION, labels=_LABELS),
                prometheusRule=_object(enabled=_FLAG, labels=_LABELS, matchLabels=_MATCHERS),
                networkPolicy=_object(enabled=_FLAG, **{"from": _list(_PEER)}, egress=_list(_EGRESS)),
                keda=_object(
                    enabled=_FLAG,
                    minReplicas=_COUNT,
                    maxReplicas=_POSITIVE,
                    shardsPerPod=_COUNT,
                    lagSeconds=_POSITIVE,
                    prometheus=_URL,
                    hours=_list(hours),
                    pollingInterval=_POSITIVE,
                    cooldownPeriod=_COUNT,
                    authentication=_pattern(f"({_DNS})?"),
                ),
                autoscaling=_object(
                    enabled=_FLAG,
                    minReplicas=_POSITIVE,
                    maxReplicas=_POSITIVE,
                    targetCPUUtilizationPercentage=_POSITIVE,
                ),
                drain=_object(
                    enabled=_FLAG,
                    schedule=_SCHEDULE,
                    timeZone=_ZONE,
                    shards=_COUNT,
                    resources=_RESOURCES,
                    deadlineSeconds=_POSITIVE,
                ),
                **{"global": _MAP},
            ),
            defaults,
        ),
    }


def _settings() -> Schema:
    """Those of Vortex, but a pod has one port, which its probes know."""
    found: Schema = json.loads(schema())
    del found["$schema"], found["title"]
    found["properties"]["http"]["properties"]["port"].update(
        minimum=1, description="Port to listen on, which probes and scrapers ask."
    )
    return found


def _complete(known: Schema, defaults: Schema) -> Schema:
    """With the keys required that have a default which is not empty."""
    needed = [key for key in known["properties"] if defaults.get(key) not in ("", [], {}, None)]
    inner = {
        key: _complete(one, defaults[key]) if key in needed and "properties" in one and key != "settings" else one
        for key, one in known["properties"].items()
    }
    return {**known, "properties": inner, **({"required": needed} if needed else {})}
