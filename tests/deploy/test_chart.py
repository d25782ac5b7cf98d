"""The Helm chart, rendered by Helm: `make test-deploy`."""

from __future__ import annotations

import math
import re
import shutil
import textwrap
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import CHART, ROOT, of_kind, render, rendered
from vortex.commands.sizing import Load, pod_memory, size
from vortex.config.settings import Memory
from vortex.config.units import size_bytes
from vortex.core.memory import MIB, shard_bytes

GOLDEN = [*sorted((ROOT / "deploy/helm/golden").glob("*.yaml")), ROOT / "deploy/kubernetes.yaml"]
WITHOUT_SCHEMA = {"PodMonitor", "PrometheusRule", "ScaledObject"}
"""Kinds of operators, which Kubernetes itself does not know."""


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.parametrize("version", ["1.27", "1.30", "1.33"])
def test_chart_matches_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(document, version, strict=True)


@pytest.mark.parametrize("values", ["fleet", "one-worker", "plain", "sleeps-at-night"])
def test_chart_matches_the_schemas_of_the_oldest_kubernetes_when_it_is_rendered_for_that(values: str) -> None:
    made = render(values=values, kubernetes="1.25.0").stdout
    for document in yaml.safe_load_all(made):
        if document["kind"] not in WITHOUT_SCHEMA:
            kubernetes_validate.validate(document, "1.25", strict=True)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["replicas=2"], 'several workers need settings.coordination.mode "dynamodb"'),
        (["processes=2"], 'several workers need settings.coordination.mode "dynamodb"'),
        (["keda.enabled=true"], 'several workers need settings.coordination.mode "dynamodb"'),
        (["image.repository="], "image.repository"),
        (["settings.source.steam=x"], "steam"),
        (["settings.commit.every=soon"], "every"),
        (["replica=2"], "replica"),
        (
            ["settings.coordination.mode=dynamodb", "keda.enabled=true", "keda.minReplicas=0"],
            "keda.minReplicas 0 needs drain.enabled",
        ),
        (
            ["settings.coordination.mode=dynamodb", "keda.enabled=true", "keda.minReplicas=0", "drain.enabled=true"],
            "keda.minReplicas 0 needs keda.hours",
        ),
        (["drain.enabled=true"], "drain.enabled needs times without a pod"),
        (
            ["settings.coordination.mode=dynamodb", "keda.enabled=true", "replicas=0", "drain.enabled=true"],
            "drain.enabled needs times without a pod",
        ),
        (
            ["settings.coordination.mode=dynamodb", "autoscaling.enabled=true", "replicas=0", "drain.enabled=true"],
            "drain.enabled needs times without a pod",
        ),
        (["replicas=0", "drain.enabled=true", "drain.schedule=bla"], "schedule"),
        (["replicas=0", "drain.enabled=true", "drain.schedule=15 * * *"], "schedule"),
        (["keda.hours[0].start=0 6 * * *", "keda.hours[0].end=late"], "end"),
        (["keda.hours[0].start=0 6 * * *"], "end"),
        (["settings.memory.limit=256"], "/settings/memory/limit"),
        (["settings.memory.limit=0"], "/settings/memory/limit"),
        (["settings.memory.keys=1000K"], "/settings/memory/keys"),
        (["replicas=two"], "replicas"),
        (["keda.minReplica=0"], "minReplica"),
        (["shardsPerProcess=-1"], "shardsPerProcess"),
        (
            ["settings.coordination.mode=dynamodb", "keda.enabled=true", "autoscaling.enabled=true"],
            "one scaler at a time",
        ),
    ],
)
def test_chart_refuses_values_and_names_them_when_they_cannot_work(sets: list[str], said: str) -> None:
    done = render(*sets)
    assert done.returncode != 0
    assert said in done.stderr


def memory_of(made: str) -> str:
    (deployment,) = of_kind(made, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return str(container["resources"]["limits"]["memory"])


@pytest.mark.parametrize("shards", [0, 1, 40])
@pytest.mark.parametrize(
    ("limit", "keys", "processes"),
    [
        (None, None, 1),
        (None, None, 3),
        ("auto", "1GiB", 2),
        ("64MiB", "64 MiB", 1),
        ("512MiB", "1GiB", 1),
        ("2G", "1.5gi", 4),
        ("1GB", "100000000", 4),
        ("3MiB", "1Ti", 8),
        ("2GiB", "1048576B", 1),
    ],
)
def test_chart_gives_a_pod_the_memory_of_vortex_plan(
    limit: str | None, keys: str | None, processes: int, shards: int
) -> None:
    """To the MiB; the notes print the same number."""
    settings = "".join(f"{key}: {text}, " for key, text in (("limit", limit), ("keys", keys)) if text)
    done = render(
        f"processes={processes}",
        f"shardsPerProcess={shards}",
        values="plain",
        given=f"settings: {{memory: {{{settings}}}}}",
    )
    assert done.returncode == 0, done.stderr
    expected = pod_memory(
        processes,
        size_bytes(limit) if limit not in (None, "auto") else "auto",
        size_bytes(keys) if keys else Memory().keys,
        shards,
    )
    assert memory_of(done.stdout) == f"{math.ceil(expected / MIB)}Mi"


@pytest.mark.parametrize(
    ("settings", "gathered_s", "most"),
    [
        ("commit: {every: 20s}", 20, 64 * MIB),
        ("commit: {every: 1m30s, max_bytes: 1GiB}", 90, 1024 * MIB),
        ("commit: {max_bytes: 8MB}", 60, 8_000_000),
        ("publish: {period: 30s}", 30, 64 * MIB),
        ("publish: {preset: fast}", 4, 64 * MIB),
        ("publish: {preset: fast, period: 5m}", 4, 64 * MIB),
        ("publish: {preset: fast, period: 10s}", 10, 64 * MIB),
    ],
)
def test_chart_plans_auto_by_what_a_shard_gathers_between_two_commits(
    settings: str, gathered_s: int, most: int
) -> None:
    done = render("shardsPerProcess=100", values="plain", given=f"settings: {{{settings}}}")
    assert done.returncode == 0, done.stderr
    expected = pod_memory(1, "auto", Memory().keys, 100, shard_bytes(gathered_s * 1000, most))
    assert memory_of(done.stdout) == f"{math.ceil(expected / MIB)}Mi"


@pytest.mark.parametrize("schedule", ["drain.schedule=", "drain.schedule=null"])
def test_chart_refuses_a_drain_without_a_schedule_when_pods_run_by_hours(schedule: str) -> None:
    """Any default would meet the hours of somebody."""
    done = render(schedule, values="sleeps-at-night")
    assert done.returncode != 0
    assert "drain.schedule is required with keda.hours" in done.stderr


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], "15 * * * *"),
        (["drain.schedule=null"], "15 * * * *"),
        (["drain.schedule=*/20 0-5 ? JAN-MAR mon"], "*/20 0-5 ? JAN-MAR mon"),
        (["drain.schedule=@daily"], "@daily"),
    ],
)
def test_chart_drains_a_stream_that_no_pod_reads_when_replicas_is_0(sets: list[str], expected: str) -> None:
    made = render("replicas=0", "drain.enabled=true", *sets)
    (job,) = of_kind(made.stdout, "CronJob")
    assert job["spec"]["schedule"] == expected
    kubernetes_validate.validate(job, "1.30", strict=True)


def notes(folder: Path, *sets: str, values: str) -> str:
    """Helm prints them only when it installs, so a copy of the chart has them in an object."""
    chart = folder / "vortex"
    shutil.copytree(CHART, chart)
    (chart / "templates/notes.yaml").write_text(
        'kind: Notes\ntext: |\n{{ include (print .Template.BasePath "/NOTES.txt") . | indent 2 }}\n'
    )
    (found,) = of_kind(render(*sets, values=values, chart=chart).stdout, "Notes")
    return str(found["text"])


def test_notes_say_when_the_drain_runs_and_ask_no_pod_when_there_may_be_none(tmp_path: Path) -> None:
    text = notes(tmp_path, values="sleeps-at-night")
    assert 'A job drains the stream at "10 23,0-5 * * *" (Europe/Berlin).' in text
    assert "create job --from=cronjob/v-vortex-drain v-vortex-drain-now" in text
    assert "deploy/" not in text


def test_notes_print_the_memory_of_a_pod(tmp_path: Path) -> None:
    text = notes(tmp_path, "processes=2", values="plain")
    made = render("processes=2", values="plain").stdout
    (deployment,) = of_kind(made, "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    memory = container["resources"]["limits"]["memory"].removesuffix("Mi")
    assert f"Memory of a pod: {memory} MiB. CPU: one core for each process (2)." in text
    (formula,) = re.findall(r"^MiB of a process: (.*)\.$", text, re.MULTILINE)
    assert 2 * sum(map(int, re.findall(r"\d+", formula))) + 96 == int(memory)
    assert "A pod has 2 times that, and 96 for their supervisor." in text
    assert "VORTEX" not in text and "writes below s3://my-bucket/my-prefix." in text
    assert "port-forward deploy/v-vortex 9400, then http://127.0.0.1:9400/" in text


def test_chart_gives_a_pod_what_plan_prints_for_its_stream() -> None:
    """With the values that it prints for the chart."""
    planned = size(Load(events=60_000, event_bytes=1000, shards=100, customers=300, types=20))
    done = render(
        f"replicas={planned.processes}",
        f"shardsPerProcess={planned.shards_each}",
        f"settings.memory.limit={planned.limit}",
        f"settings.memory.keys={planned.keys}",
        values="plain",
    )
    (deployment,) = of_kind(done.stdout, "Deployment")
    assert planned.processes == deployment["spec"]["replicas"] > 1
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["memory"] == f"{math.ceil(planned.memory / MIB)}Mi"


def test_values_that_the_page_on_kubernetes_shows_are_taken() -> None:
    page = (ROOT / "docs/how-to/kubernetes.md").read_text("utf-8")
    known = set(yaml.safe_load((CHART / "values.yaml").read_text()))
    blocks = [textwrap.dedent(block) for block in re.findall(r"^ *```yaml\n(.*?)^ *```$", page, re.M | re.S)]
    shown = [block for block in blocks if "--8<--" not in block and set(yaml.safe_load(block)) <= known]
    assert len(shown) == 2
    for block in shown:
        rendered(values="plain", given=block)


def test_chart_restarts_pods_when_a_setting_changes() -> None:
    """The annotation is a digest of the settings file."""
    one, two = (of_kind(render(f"settings.commit.every={text}").stdout, "Deployment")[0] for text in ("30s", "10s"))
    digests = [made["spec"]["template"]["metadata"]["annotations"]["checksum/settings"] for made in (one, two)]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("sets", "shards"),
    [
        ([], "25"),
        (["processes=4", "shardsPerProcess=10"], "40"),
        (["shardsPerProcess=0"], "1"),
        (["processes=4", "keda.shardsPerPod=7"], "7"),
    ],
)
def test_chart_has_keda_start_a_pod_for_as_many_shards_as_a_pod_has_memory_for(sets: list[str], shards: str) -> None:
    """Unless keda.shardsPerPod says otherwise."""
    (scaler,) = of_kind(render("keda.enabled=true", *sets, values="plain").stdout, "ScaledObject")
    (trigger,) = scaler["spec"]["triggers"]
    assert trigger["metadata"]["shardCount"] == shards


def test_chart_adds_a_cpu_scaler_when_autoscaling_is_enabled() -> None:
    """And leaves the number of replicas to it."""
    made = render("autoscaling.enabled=true", "settings.coordination.mode=dynamodb").stdout
    (scaler,) = of_kind(made, "HorizontalPodAutoscaler")
    (deployment,) = of_kind(made, "Deployment")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert "replicas" not in deployment["spec"]
    kubernetes_validate.validate(scaler, "1.30", strict=True)


@pytest.mark.parametrize(
    ("sets", "expected"),
    [
        ([], "4352Mi"),
        (["processes=4"], "16640Mi"),
        (["processes=2", "settings.publish.scratch=1G"], "2163Mi"),
        (["scratch.sizeLimit=9Gi"], "9Gi"),
    ],
)
def test_pod_has_room_for_what_its_processes_spill(sets: list[str], expected: str) -> None:
    """A pod that writes more than the limit is evicted."""
    (deployment,) = of_kind(render(*sets, values="plain").stdout, "Deployment")
    volumes = {one["name"]: one for one in deployment["spec"]["template"]["spec"]["volumes"]}
    assert volumes["scratch"]["emptyDir"]["sizeLimit"] == expected


@pytest.mark.parametrize(
    ("grace", "fits"), [("59s", True), ("60s", False), ("1m30s", False), ("0.5m 29s", True), ("2h", False)]
)
def test_chart_refuses_a_grace_period_that_ends_before_that_of_the_worker(grace: str, fits: bool) -> None:
    done = render(f"settings.shutdown.grace={grace}")
    assert (done.returncode == 0) == fits, done.stderr
    assert fits or "terminationGracePeriodSeconds must be more than settings.shutdown.grace" in done.stderr


def test_keda_asks_for_the_lag_of_this_release_alone() -> None:
    """Prometheus may know several streams; the label is the stream's name, which an ARN ends with."""
    made = render(values="fleet").stdout
    (scaler,) = of_kind(made, "ScaledObject")
    triggers = {one["type"]: one["metadata"] for one in scaler["spec"]["triggers"]}
    assert triggers["aws-kinesis-stream"]["streamName"] == "clickstream"
    own = 'job="default/v-vortex",namespace="default",stream="clickstream"'
    assert triggers["prometheus"]["query"] == f"max(vortex_shard_lag_seconds{{{own}}})"


@pytest.mark.parametrize(("lag", "awake"), [(300, 300), (1, 120)])
def test_keda_lets_pods_sleep_when_an_idle_stream_has_some_lag(lag: int, awake: int) -> None:
    """The lag of an idle shard is never 0: it grows until the next look, a minute later at most."""
    sets = ["keda.prometheus=http://prometheus:9090", f"keda.lagSeconds={lag}"]
    (scaler,) = of_kind(render(*sets, values="sleeps-at-night").stdout, "ScaledObject")
    (trigger,) = (one for one in scaler["spec"]["triggers"] if one["type"] == "prometheus")
    assert trigger["metadata"]["threshold"] == str(lag)
    assert trigger["metadata"]["activationThreshold"] == str(awake)


@pytest.mark.parametrize(("name", "owner"), [("", "operator"), ("keda-aws", None)])
def test_keda_signs_in_as_its_operator_when_no_authentication_is_named(name: str, owner: str | None) -> None:
    """Without `identityOwner` KEDA would look for an access key in the trigger."""
    (scaler,) = of_kind(render(f"keda.authentication={name}", values="fleet").stdout, "ScaledObject")
    (trigger,) = (one for one in scaler["spec"]["triggers"] if one["type"] == "aws-kinesis-stream")
    assert trigger["metadata"].get("identityOwner") == owner
    assert ("authenticationRef" in trigger) == (owner is None)
