"""The files in deploy/ refer to existing metrics, settings and commands."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from vortex.cli import main
from vortex.config.loading import load
from vortex.metrics import METRICS
from vortex_loader.metrics import METRICS as LOADERS

DEPLOY = Path(__file__).parents[2] / "deploy"
_METRIC = re.compile(r"vortex_\w+")
_PARTS = ("_bucket", "_sum", "_count")
"""Suffixes of the series of a histogram."""


def expressions(value: Any) -> list[str]:
    """All `expr` values in a document."""
    if isinstance(value, list):
        return [found for part in value for found in expressions(part)]
    if not isinstance(value, dict):
        return []
    own = [value["expr"]] if "expr" in value else []
    return own + [found for part in value.values() for found in expressions(part)]


@pytest.fixture(params=["prometheus-alerts.yml", "grafana-dashboard.json"])
def queries(request: pytest.FixtureRequest) -> list[str]:
    """The PromQL of a file."""
    return expressions(yaml.safe_load((DEPLOY / request.param).read_text()))  # JSON is YAML, too


def test_queries_use_existing_metrics_and_labels(queries: list[str]) -> None:
    """Histograms by their series, counters within rate or increase."""
    assert len(queries) >= 10
    rows: list[Any] = [*METRICS, *LOADERS]
    known = {row.name: row for row in rows}
    for query in queries:
        asked = _METRIC.findall(query)
        assert asked or "process_" in query, query
        for name in asked:
            row = known.get(name) or known[next(name.removesuffix(part) for part in _PARTS if name.endswith(part))]
            assert (row.kind == "histogram") == (row.name != name), query
            assert row.kind == "gauge" or "rate(" in query or "increase(" in query, query
        labels = {label for name in asked if name in known for label in known[name].labels}
        grouped = {label for listed in re.findall(r"by \(([\w, ]+)\)", query) for label in listed.split(", ")}
        grouped |= set(re.findall(r"vortex_\w+\{(\w+)=", query))
        assert grouped <= labels | {"le", "namespace", "job", "stream"}, query


def test_alerts_have_unique_names_and_a_summary_and_a_severity() -> None:
    groups = yaml.safe_load((DEPLOY / "prometheus-alerts.yml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names))
    for rule in rules:
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")


MANIFESTS = [*sorted((DEPLOY / "helm/golden").glob("*.yaml")), DEPLOY / "kubernetes.yaml"]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifest_has_valid_settings_and_command_and_grace_period(path: Path, tmp_path: Path) -> None:
    """What the chart renders, and the plain manifest that is made from it."""
    documents = list(yaml.safe_load_all(path.read_text()))
    parts = {document["kind"]: document for document in documents}
    (tmp_path / "vortex.toml").write_text(parts["ConfigMap"]["data"]["vortex.toml"])
    settings = load(tmp_path / "vortex.toml", {})
    pod = parts["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (volume, scratch) = container["volumeMounts"]
    assert parts["Deployment"]["spec"].get("replicas") == 1 or settings.coordination.mode == "dynamodb"
    assert container["args"][:3] == ["run", "-c", f"{volume['mountPath']}/vortex.toml"]
    assert container["args"][0] in main.commands
    assert scratch["mountPath"] == "/tmp"
    assert container["ports"][0]["containerPort"] == settings.http.port
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert pod["terminationGracePeriodSeconds"] * 1000 > settings.shutdown.grace
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["enableServiceLinks"] is False
    probes = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
    assert probes == ["/livez", "/livez", "/readyz"]


def test_manifest_of_a_stream_that_sleeps_drains_it_by_a_job() -> None:
    """No pod of a Deployment runs then: KEDA may go to zero only by hours and lag, which shards would prevent."""
    parts = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "helm/golden/sleeps-at-night.yaml").read_text())}
    scaler = parts["ScaledObject"]["spec"]
    assert scaler["minReplicaCount"] == 0
    assert {trigger["type"] for trigger in scaler["triggers"]} == {"cron"}
    job = parts["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]
    assert job["spec"]["containers"][0]["args"] == ["run", "-c", "/etc/vortex/vortex.toml", "--drain"]
    selector = parts["Deployment"]["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= job["metadata"]["labels"].items(), "the Deployment must not count the job's pods"


def test_example_values_cover_every_template() -> None:
    """A template that no example renders is one that nobody reads."""
    kinds = {one["kind"] for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())}
    templates = (DEPLOY / "helm/vortex/templates").glob("*.yaml")
    declared = {kind for path in templates for kind in re.findall(r"^kind: (\w+)$", path.read_text(), re.MULTILINE)}
    assert declared - kinds == {"HorizontalPodAutoscaler"}, "tests/deploy renders the scaler by CPU"


def test_terraform_replaces_every_placeholder_of_the_policies() -> None:
    """tests/deploy/test_terraform.py has Terraform itself do it."""
    module = (DEPLOY / "terraform/policies.tf").read_text()
    (marked,) = re.findall(r"\(([A-Z|]+)\)", module)
    assert set(marked.split("|")) == set(re.findall(r'"<([A-Z]+)>",', module))
    for name in ("fleet", "loader", "key", "key-read"):
        assert f'"{name}"' in module
        assert set(re.findall(r"\b[A-Z]{3,}\b", (DEPLOY / f"iam/{name}.json").read_text())) <= set(marked.split("|"))


@pytest.mark.parametrize("name", ["worker", "fleet", "reader", "replay", "loader"])
def test_command_that_fills_in_a_policy_leaves_no_placeholder(name: str) -> None:
    page = (DEPLOY.parent / "docs/how-to/aws.md").read_text("utf-8")
    (command,) = re.findall(r"^(sed .*?) deploy/iam/fleet\.json > policy\.json$", page, re.M | re.S)
    filled = subprocess.run(
        ["sh", "-c", f"{command} deploy/iam/{name}.json"], cwd=DEPLOY.parent, capture_output=True, text=True, check=True
    ).stdout
    assert not re.search(r"[A-Z]{3,}", re.sub(r'"Sid": "\w+"', "", filled))
    assert json.loads(filled)["Statement"]


def test_example_of_the_terraform_module_sets_variables_and_reads_outputs_that_exist() -> None:
    page = (DEPLOY.parent / "docs/how-to/aws.md").read_text("utf-8")
    (module,) = re.findall(r'^module "vortex" {\n(.*?)^}', page, re.M | re.S)
    given = set(re.findall(r"^  (\w+) +=", module, re.MULTILINE)) - {"source"}
    variables = (DEPLOY / "terraform/variables.tf").read_text()
    bodies = dict(re.findall(r'^variable "(\w+)" {\n(.*?)^}', variables, re.M | re.S))
    assert given <= set(bodies)
    assert {name for name, body in bodies.items() if "default" not in re.findall(r"^  (\w+) ", body, re.M)} <= given
    outputs = re.findall(r'^output "(\w+)"', (DEPLOY / "terraform/outputs.tf").read_text(), re.MULTILINE)
    (told,) = re.findall(r"^terraform output vortex +# ([\w, ]+):", page, re.MULTILINE)
    assert sorted(told.split(", ")) == sorted(outputs)


def test_readme_of_the_terraform_module_has_every_variable_and_output_with_its_description() -> None:
    module = DEPLOY / "terraform"
    rows = []
    for file, kind in (("variables", "variable"), ("outputs", "output")):
        text = (module / f"{file}.tf").read_text()
        for name, body in re.findall(rf'^{kind} "(\w+)" {{\n(.*?)^}}', text, re.M | re.S):
            default = re.search(r"^  default += (.+)$", body, re.MULTILINE)
            shown = f"`{default[1]}` | " if default else "required | " if kind == "variable" else ""
            (meaning,) = re.findall(r'^  description = "(.+)"$', body, re.MULTILINE)
            rows.append(f"| `{name}` | {shown}{meaning} |")
    assert sorted(rows) == sorted(re.findall(r"^\| `.+$", (module / "README.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", sorted(path.name for path in (DEPLOY / "iam").iterdir()))
def test_iam_policy_names_actions_of_known_services_and_no_wildcard_resource(name: str) -> None:
    policy = json.loads((DEPLOY / "iam" / name).read_text())
    for statement in policy["Statement"]:
        actions = [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        assert all(re.fullmatch(r"(kinesis|s3|dynamodb|kms):[A-Z]\w+", action) for action in actions)
        assert statement["Resource"] != "*"


def test_only_policies_of_what_writes_may_make_data_keys() -> None:
    def actions(name: str) -> str:
        return (DEPLOY / f"iam/{name}.json").read_text()

    assert "kms:GenerateDataKey" in actions("key") and "kms:GenerateDataKey" not in actions("key-read")
    roles = (DEPLOY / "terraform/roles.tf").read_text()
    assert 'local.policies[each.key == "loader" ? "key-read" : "key"]' in roles
