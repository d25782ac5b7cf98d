"""Helm refuses what Kubernetes, KEDA or Prometheus would refuse later, and names the value."""

from __future__ import annotations

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import CHART, pod, refused, render, rendered

FLEET = "settings: {coordination: {mode: dynamodb}}\n"
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("settings: {http: {port: 0}}", "port"),
        ("settings: {http: {port: 65536}}", "port"),
        ("service: {port: 0}", "port"),
        ("service: {port: 70000}", "port"),
        ("scratch: {sizeLimit: banana}", "sizeLimit"),
        ("scratch: {sizeLimit: 2GiB}", "sizeLimit"),
        ("resources: {requests: {memory: 2GB}}", "memory"),
        ("resources: {request: {cpu: 1}}", "request"),
        ("topologySpread: {topologyKey: ''}", "topologyKey"),
        ("topologySpread: {topologyKey: a b}", "topologyKey"),
        ("imagePullSecrets: [registry]", "imagePullSecrets"),
        ("imagePullSecrets: [{}]", "name"),
        ("image: {digest: latest}", "digest"),
        ("image: {repository: 'registry.example.com/vortex:1.2'}", "repository"),
        ("image: {repository: 'https://registry.example.com/vortex'}", "repository"),
        ("settings: {source: {stream: ''}}", 'settings.source.stream "" is neither'),
        ("settings: {source: {stream: 'a b'}}", 'settings.source.stream "a b" is neither'),
        ("settings: {store: {url: my-bucket}}", 'settings.store.url "my-bucket"'),
        ("settings: {store: {url: 'file:///data'}}", 'settings.store.url "file:///data": no volume is mounted there'),
        (
            "settings: {store: {url: 'file:///data/x'}}\nextraVolumes: [{name: d, emptyDir: {}}]\n"
            "extraVolumeMounts: [{name: d, mountPath: /dat}]",
            "no volume is mounted there",
        ),
        ("fullnameOverride: My_Name", "fullnameOverride"),
        ("fullnameOverride: " + 47 * "x", "fullnameOverride"),
        ("settings: {http: {host: '[::]'}}", 'settings.http.host "[::]" is no address'),
        ("settings: {http: {host: ''}}", 'settings.http.host "" is no address'),
        ("resources: {requests: {memory: 4Gi}, limits: {memory: 4000M}}", "resources.requests.memory 4Gi is above"),
        ("resources: {requests: {cpu: 2}, limits: {cpu: 1500m}}", "resources.requests.cpu 2 is above"),
        ("drain: {resources: {requests: {cpu: 2}, limits: {cpu: 1}}}", "drain.resources.requests.cpu 2 is above"),
        ("image: {tag: 'a b'}", "tag"),
        ("env: [{name: A, value: 5}]", "value"),
        ("env: [{name: A, value: true}]", "value"),
        ("env: [{name: '1=A', value: x}]", "name"),
        ("env: [{name: A, value: x, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]", "env"),
        ("env: [HTTPS_PROXY=x]", "env"),
        ("env: [{name: A, value: x}, {name: A, value: z}]", "env: A is there twice"),
        ("podDisruptionBudget: {maxUnavailable: banana}", "maxUnavailable"),
        ("podDisruptionBudget: {maxUnavailable: 0}", "maxUnavailable"),
        ("podDisruptionBudget: {maxUnavailable: 0%}", "maxUnavailable"),
        ("podDisruptionBudget: {maxUnavailable: -1}", "maxUnavailable"),
        ("podDisruptionBudget: {maxUnavailable: 101%}", "maxUnavailable"),
        ("podDisruptionBudget: {maxUnavailable: '1'}", "maxUnavailable"),
        ("podMonitor: {interval: often}", "interval"),
        ("podLabels: {team: 'my team'}", "podLabels"),
        ("podLabels: {'a b': x}", "podLabels"),
        ("podLabels: {app.kubernetes.io/name: other}", "podLabels"),
        ("podLabels: {helm.sh/chart: other}", "podLabels"),
        ("podAnnotations: {checksum/settings: x}", "podAnnotations"),
        ("podMonitor: {labels: {app.kubernetes.io/instance: x}}", "podMonitor.labels"),
        ("prometheusRule: {labels: {app.kubernetes.io/version: x}}", "prometheusRule.labels"),
        ("prometheusRule: {matchLabels: {a-b: x}}", "matchLabels"),
        ("serviceAccount: {create: false, annotations: {eks.amazonaws.com/role-arn: x}}", "serviceAccount.annotations"),
        ("serviceAccount: {name: My_Account}", "name"),
        ("priorityClassName: High Priority", "priorityClassName"),
        ("nodeSelector: {disk: 'a b'}", "nodeSelector"),
        ("affinity: {nodeAffinities: {}}", "nodeAffinities"),
        ("tolerations: [spot]", "tolerations"),
        ("tolerations: [{key: spot, operator: Exist}]", "operator"),
        ("networkPolicy: {from: [monitoring]}", "from"),
        ("networkPolicy: {from: [{}]}", "from"),
        ("networkPolicy: {from: [{namespace: monitoring}]}", "namespace"),
        ("networkPolicy: {egress: [{ports: [{port: 0}]}]}", "port"),
        ("networkPolicy: {egress: [{to: [{ipBlock: {cidr: 10.0.0.1}}]}]}", "cidr"),
        ("keda: {prometheus: prometheus:9090}", "prometheus"),
        ("keda: {authentication: KEDA}", "authentication"),
        ("drain: {timeZone: UTC+2}", 'drain.timeZone: there is no time zone "UTC+2"; did you mean "UTC"?'),
        ("drain: {timeZone: '+02:00'}", 'drain.timeZone: there is no time zone "+02:00"; did you mean "'),
        ("drain: {timeZone: Local}", 'drain.timeZone: there is no time zone "Local"; did you mean "'),
        ("drain: {timeZone: Europe/Berln}", 'there is no time zone "Europe/Berln"; did you mean "Europe/Berlin"?'),
        ("drain: {timeZone: europe/berlin}", 'there is no time zone "europe/berlin"; did you mean "Europe/Berlin"?'),
        ("drain: {timeZone: Europe}", 'there is no time zone "Europe"; did you mean "Europe/'),
        ("drain: {timeZone: Asia/Calcuta}", 'did you mean "Asia/Calcutta"?'),
        ("drain: {timeZone: New_York}", 'did you mean "America/New_York"?'),
        ("drain: {timeZone: '" + "é" * 900 + "'}", "drain.timeZone: there is no time zone"),
        (
            "keda: {hours: [{start: 0 6 * * *, end: 0 22 * * *, timezone: Berlin}]}",
            'keda.hours: timezone: there is no time zone "Berlin"; did you mean "Europe/Berlin"?',
        ),
        (
            FLEET + "keda: {enabled: true, minReplicas: 3, maxReplicas: 2}",
            "keda.minReplicas 3 is above keda.maxReplicas 2",
        ),
        (FLEET + "autoscaling: {enabled: true, minReplicas: 3, maxReplicas: 2}", "autoscaling.minReplicas 3 is above"),
        (FLEET + "autoscaling: {enabled: true}\nresources: {requests: {memory: 3Gi}}", "resources.requests.cpu"),
        (
            FLEET + "keda: {enabled: true, maxReplicas: 2, hours: [{start: 0 6 * * *, end: 0 22 * * *, replicas: 3}]}",
            "keda.hours: replicas 3 is above keda.maxReplicas 2",
        ),
        (
            FLEET + "keda: {enabled: true, hours: [{start: 0 6 * * *, end: 0  6 * * *}]}",
            'keda.hours: start and end are both "0 6 * * *"',
        ),
    ],
)
def test_chart_refuses_what_is_refused_later_and_names_it(given: str, said: str) -> None:
    assert said in refused(given=given)


@pytest.mark.parametrize("value", sorted(key for key, default in DEFAULTS.items() if default not in ("", [], {})))
def test_chart_says_what_is_missing_when_a_value_is_null(value: str) -> None:
    said = refused(given=f"{value}: null")
    assert value in said


@pytest.mark.parametrize(
    "value",
    sorted(
        f"{section}.{key}"
        for section, keys in DEFAULTS.items()
        if isinstance(keys, dict) and section != "settings"
        for key in keys
    ),
)
def test_chart_is_rendered_or_names_the_value_when_a_part_is_null(value: str) -> None:
    section, _, key = value.partition(".")
    given = yaml.safe_dump({section: {key: None}})
    done = render(given=given, values="sleeps-at-night")
    if done.returncode:
        assert key in refused(given=given, values="sleeps-at-night")
    else:
        assert "<nil>" not in done.stdout
        assert not list(nulls(list(yaml.safe_load_all(done.stdout))))


def nulls(value: object) -> list[object]:
    if isinstance(value, dict):
        return [found for part in value.values() for found in nulls(part)]
    if isinstance(value, list):
        return [found for part in value for found in nulls(part)]
    return [value] if value is None else []


@pytest.mark.parametrize(
    "given",
    [
        "podDisruptionBudget: {enabled: true, maxUnavailable: 25%}",
        "podDisruptionBudget: {enabled: true, maxUnavailable: 3}",
        "scratch: {sizeLimit: 1.5Gi}",
        "settings: {store: {url: 'file:///data/x'}}\nextraVolumes: [{name: d, persistentVolumeClaim: {claimName: d}}]\n"
        "extraVolumeMounts: [{name: d, mountPath: /data}]",
        "resources: {requests: {cpu: 0.5, memory: 2Gi}, limits: {memory: 3G}}",
        "image: {repository: 'localhost:5000/team/vortex', tag: 0.3.0}",
        "resources: {requests: {cpu: 2000m, memory: 4194304Ki}, limits: {cpu: 2, memory: 4Gi}}",
        "networkPolicy: {enabled: true, egress: [{ports: [{protocol: TCP, port: 9000}], to: [{podSelector: {}}]}]}",
        "resources: {requests: {cpu: 500m, ephemeral-storage: 1e9}}",
        "imagePullSecrets: [{name: registry}]",
        "env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}, {name: EMPTY}]",
        "podLabels: {team: data, example.com/cost-centre: '42'}",
        "topologySpread: {topologyKey: kubernetes.io/hostname}",
        "serviceAccount: {create: false, name: my-account, annotations: null}",
        "tolerations: [{key: spot, operator: Exists}]",
        FLEET + "autoscaling: {enabled: true}\nresources: {limits: {cpu: 2}}",
        FLEET
        + "keda: {enabled: true, hours: [{start: 0 6 * * 1-5, end: 0 22 * * 1-5, timezone: America/Argentina/Salta}]}",
    ],
)
def test_chart_takes_what_kubernetes_takes(given: str) -> None:
    for kind, document in rendered(given=given).items():
        if kind not in ("ScaledObject", "PodMonitor", "PrometheusRule"):
            kubernetes_validate.validate(document, "1.30", strict=True)


@pytest.mark.parametrize(
    ("version", "policy"), [("1.26.0", None), ("1.27.0", "AlwaysAllow"), ("1.33.0", "AlwaysAllow")]
)
def test_pods_that_are_not_ready_hold_no_node_back(version: str, policy: str | None) -> None:
    """A pod that waits for AWS is not ready, and would be protected by the budget."""
    budget = rendered(values="plain", kubernetes=version)["PodDisruptionBudget"]["spec"]
    assert budget.get("unhealthyPodEvictionPolicy") == policy


@pytest.mark.parametrize(
    ("sets", "seconds"), [([], 60), (["processes=2"], 120), (["terminationGracePeriodSeconds=300", "processes=8"], 360)]
)
def test_pod_ends_after_its_supervisor_has_killed_workers_that_hang(sets: list[str], seconds: int) -> None:
    """Which it does a minute after shutdown.grace."""
    assert pod(rendered(*sets, values="plain")["Deployment"])["spec"]["terminationGracePeriodSeconds"] == seconds
