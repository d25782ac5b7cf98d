"""Who reaches a pod, and whom it reaches: addresses, probes, policies."""

from __future__ import annotations

import tomllib

import pytest
import yaml

from tests.deploy.helm import EXAMPLES, container, pod, refused, rendered


@pytest.mark.parametrize(
    ("sets", "host"),
    [([], "0.0.0.0"), (["settings.http.host=::"], "::"), (["settings.http.host=10.1.2.3"], "10.1.2.3")],
)
def test_chart_sets_the_address_where_probes_reach_a_pod(sets: list[str], host: str) -> None:
    """Probes of a cluster of IPv6 alone ask an address of IPv6."""
    made = rendered(*sets)
    assert tomllib.loads(made["ConfigMap"]["data"]["vortex.toml"])["http"]["host"] == host
    assert "env" not in container(made["Deployment"]), "a variable would win over the setting"


@pytest.mark.parametrize("host", ["unix:/tmp/vortex", "127.0.0.1", "127.1.2.3", "::1", "localhost", "null"])
def test_chart_refuses_a_host_where_probes_cannot_reach_a_pod(host: str) -> None:
    assert "settings.http.host" in refused(f"settings.http.host={host}")


@pytest.mark.parametrize(
    "name",
    ["VORTEX_HTTP__PORT", "VORTEX_HTTP__HOST", "vortex_http__port", "VORTEX_MEMORY__LIMIT", "VORTEX_SHUTDOWN__GRACE"],
)
def test_chart_refuses_a_variable_that_moves_what_the_chart_goes_by(name: str) -> None:
    said = refused(given=f"env: [{{name: {name}, value: '9500'}}]")
    assert f"env {name}" in said
    assert f"settings.{name.lower().removeprefix('vortex_').replace('__', '.')}" in said


def test_chart_refuses_to_replace_the_defaults_of_the_image() -> None:
    """They may hold a port that no probe knows."""
    given = "env: [{name: VORTEX_DEFAULTS, value: http.port=9500}]"
    assert "env VORTEX_DEFAULTS" in refused(given=given)


def test_chart_takes_other_variables() -> None:
    env = [{"name": "VORTEX_LOG__LEVEL", "value": "debug"}, {"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]
    assert container(rendered(given=yaml.safe_dump({"env": env}))["Deployment"])["env"] == env


def test_network_policy_lets_out_to_the_metadata_services_of_ipv4_and_ipv6() -> None:
    egress = rendered(values="fleet")["NetworkPolicy"]["spec"]["egress"]
    (http,) = (rule for rule in egress if rule["ports"] == [{"protocol": "TCP", "port": 80}])
    assert {peer["ipBlock"]["cidr"] for peer in http["to"]} == {
        "169.254.170.23/32",
        "169.254.169.254/32",
        "fd00:ec2::23/128",
        "fd00:ec2::254/128",
    }


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_network_policy_selects_the_pods_and_the_job(kind: str) -> None:
    """Where all else is denied, a pod without a policy reaches nothing."""
    given = "networkPolicy: {enabled: true, from: [{podSelector: {}}]}"
    made = rendered(values="sleeps-at-night", given=given)
    selector = made["NetworkPolicy"]["spec"]["podSelector"]
    labels = pod(made[kind])["metadata"]["labels"]
    assert selector["matchLabels"].items() <= labels.items()
    for one in selector["matchExpressions"]:
        assert one["operator"] == "In" and labels[one["key"]] in one["values"]


@pytest.mark.parametrize(
    ("given", "ports"),
    [
        (
            "settings: {source: {endpoint_url: 'http://kinesis:4567'}, store: {endpoint_url: 'https://s3:9000/'}}",
            {4567, 9000},
        ),
        ("settings: {coordination: {endpoint_url: 'http://dynamodb'}}", {80}),
        ("settings: {store: {endpoint_url: 'https://s3.example.com'}}", set()),
        ("env: [{name: HTTPS_PROXY, value: 'http://proxy:3128'}]", {3128}),
        ("env: [{name: https_proxy, value: 'http://[fd00::1]:8080'}, {name: OTHER, value: 'http://x:1'}]", {8080}),
    ],
)
def test_network_policy_lets_out_to_the_ports_of_endpoints_and_proxies(given: str, ports: set[int]) -> None:
    egress = rendered("networkPolicy.enabled=true", given=given)["NetworkPolicy"]["spec"]["egress"]
    anywhere = {port["port"] for rule in egress if "to" not in rule for port in rule["ports"]}
    assert anywhere == {53, 443} | ports


def test_fleet_example_lets_prometheus_in_from_its_namespace() -> None:
    values = yaml.safe_load((EXAMPLES / "fleet.yaml").read_text())
    namespace = values["keda"]["prometheus"].rpartition(".")[2].partition(":")[0]
    (rule,) = rendered(values="fleet")["NetworkPolicy"]["spec"]["ingress"]
    expected = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    assert rule["from"] == [expected]


@pytest.mark.parametrize(
    "reader",
    ["podMonitor.enabled=true", "prometheusRule.enabled=true", "keda.prometheus=http://prometheus.monitoring:9090"],
)
def test_chart_refuses_a_network_policy_that_may_keep_prometheus_out(reader: str) -> None:
    """Most run it in a namespace of its own."""
    assert "networkPolicy.from is required" in refused("networkPolicy.enabled=true", reader)


def test_network_policy_lets_in_the_namespace_when_nothing_is_said() -> None:
    (rule,) = rendered("networkPolicy.enabled=true")["NetworkPolicy"]["spec"]["ingress"]
    assert rule["from"] == [{"podSelector": {}}]
