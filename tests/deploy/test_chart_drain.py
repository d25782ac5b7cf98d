"""The job that empties a stream whose pods sleep."""

from __future__ import annotations

import math
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import container, pod, refused, rendered
from vortex.config.settings import Memory
from vortex.config.units import size_bytes
from vortex.core.memory import FILTER_BYTES, LEAST_AUTO, MIB, process_bytes


def job(*sets: str, **more: Any) -> dict[str, Any]:
    found = rendered(*sets, values=more.pop("values", "sleeps-at-night"), **more)["CronJob"]
    kubernetes_validate.validate(found, "1.30", strict=True)
    return found


def resources(document: dict[str, Any]) -> dict[str, Any]:
    return dict(container(document)["resources"])


@pytest.mark.parametrize(
    ("sets", "shards"),
    [
        ([], 4 * 25),
        (["processes=4"], 4 * 4 * 25),
        (["keda.maxReplicas=2", "shardsPerProcess=10"], 20),
        (["drain.shards=7"], 7),
        (["drain.shards=1000"], 1000),
    ],
)
def test_drain_has_one_cpu_and_memory_for_one_process_that_reads_all_shards(sets: list[str], shards: int) -> None:
    limit = "settings.memory.limit=512MiB"
    expected = process_bytes(512 * MIB, Memory().keys, max(shards, 10 if "shardsPerProcess=10" in sets else 25))
    memory = f"{math.ceil(expected / MIB)}Mi"
    assert resources(job(limit, *sets)) == {"requests": {"cpu": "1", "memory": memory}, "limits": {"memory": memory}}


def test_drain_has_the_whole_limit_that_processes_share() -> None:
    made = rendered("processes=4", "settings.memory.limit=2GiB", values="sleeps-at-night")
    whole = process_bytes(size_bytes("2GiB"), Memory().keys, 4 * 4 * 25)
    assert resources(made["CronJob"])["limits"]["memory"] == f"{math.ceil(whole / MIB)}Mi"
    assert resources(made["Deployment"])["requests"]["cpu"] == "4"


def test_drain_has_memory_for_auto_and_the_filters_of_all_shards() -> None:
    """A limit of "auto" follows the memory of the pod; the filters do not."""
    of_a_pod, of_the_job = (
        int(resources(one)["limits"]["memory"].removesuffix("Mi"))
        for one in (rendered(values="sleeps-at-night")[kind] for kind in ("Deployment", "CronJob"))
    )
    assert of_the_job - of_a_pod == 75 * FILTER_BYTES // MIB
    assert of_the_job * MIB > process_bytes(LEAST_AUTO, Memory().keys, 100)


def test_drain_takes_resources_of_its_own() -> None:
    given = "resources: {requests: {cpu: 4, memory: 8Gi}}\ndrain: {resources: {requests: {cpu: 250m, memory: 3Gi}}}"
    made = rendered(values="sleeps-at-night", given=given)
    assert resources(made["CronJob"]) == {"requests": {"cpu": "250m", "memory": "3Gi"}}
    assert resources(made["Deployment"])["requests"]["cpu"] == 4


def test_drain_has_the_scratch_of_one_process_and_no_minute_for_a_supervisor() -> None:
    made = rendered("processes=4", values="sleeps-at-night")
    volumes = {
        kind: pod(made[kind])["spec"]["volumes"][1]["emptyDir"]["sizeLimit"] for kind in ("Deployment", "CronJob")
    }
    assert volumes == {"Deployment": "16640Mi", "CronJob": "4352Mi"}
    patience = {kind: pod(made[kind])["spec"]["terminationGracePeriodSeconds"] for kind in volumes}
    assert patience == {"Deployment": 120, "CronJob": 60}


def test_drain_has_the_labels_and_annotations_of_pods() -> None:
    """A service mesh, a policy or a bill goes by them."""
    given = "podLabels: {team: data}\npodAnnotations: {sidecar.istio.io/inject: 'false'}"
    made = rendered(values="sleeps-at-night", given=given)
    labels, annotations = (pod(made["CronJob"])["metadata"][name] for name in ("labels", "annotations"))
    assert labels["team"] == "data" and annotations["sidecar.istio.io/inject"] == "false"
    selector = made["Deployment"]["spec"]["selector"]["matchLabels"]
    assert not selector.items() <= labels.items(), "the Deployment must not count the job's pods"


@pytest.mark.parametrize("kind", ["Deployment", "CronJob"])
def test_pods_and_the_job_mount_what_is_given(kind: str) -> None:
    given = {
        "extraVolumes": [{"name": "ca", "secret": {"secretName": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ssl/own", "readOnly": True}],
        "envFrom": [{"secretRef": {"name": "aws"}}, {"configMapRef": {"name": "proxy"}, "prefix": "X_"}],
        "env": [{"name": "AWS_CA_BUNDLE", "value": "/etc/ssl/own/ca.pem"}],
    }
    made = rendered(values="sleeps-at-night", given=yaml.safe_dump(given))[kind]
    kubernetes_validate.validate(made, "1.30", strict=True)
    assert pod(made)["spec"]["volumes"][2:] == given["extraVolumes"]
    assert container(made)["volumeMounts"][2:] == given["extraVolumeMounts"]
    assert container(made)["envFrom"] == given["envFrom"]
    assert container(made)["env"] == given["env"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("extraVolumes: [{name: scratch, emptyDir: {}}]", 'a volume "scratch" already'),
        ("extraVolumes: [{name: a, emptyDir: {}}, {name: a, emptyDir: {}}]", 'a volume "a" already'),
        ("extraVolumes: [{name: a}]", "extraVolumes"),
        ("extraVolumes: [{emptyDir: {}}]", "name"),
        ("extraVolumeMounts: [{name: ca, mountPath: /ca}]", 'no volume "ca"'),
        ("extraVolumeMounts: [{name: scratch, mountPath: /tmp/}]", '"/tmp/" already'),
        ("extraVolumeMounts: [{name: scratch, mountPath: tmp}]", "mountPath"),
        ("envFrom: [{secretRef: aws}]", "secretRef"),
        ("envFrom: [aws]", "envFrom"),
    ],
)
def test_chart_refuses_volumes_and_variables_that_a_pod_cannot_have(given: str, said: str) -> None:
    assert said in refused(given=given)


def test_drain_runs_in_the_time_zone_of_the_hours_when_it_has_none() -> None:
    assert job("drain.timeZone=")["spec"]["timeZone"] == "Europe/Berlin"
    assert job("drain.timeZone=UTC", "drain.schedule=30 0 * * *")["spec"]["timeZone"] == "UTC"
    assert "timeZone" not in job("replicas=0", "drain.enabled=true", values="one-worker")["spec"]


DAY = '{start: "0 6 * * *", end: "0 22 * * *", timezone: Europe/Berlin}'
WEEK = '{start: "0 6 * * 1-5", end: "0 22 * * 1-5", timezone: Europe/Berlin}'
NIGHT = '{start: "0 20 * * *", end: "30 4 * * *", timezone: Europe/Berlin}'


@pytest.mark.parametrize(
    ("windows", "schedule", "inside"),
    [
        ([DAY], "10 23,0-5 * * *", None),
        ([DAY], "59 5 * * *", None),
        ([DAY], "10 22 * * *", None),
        ([DAY], "9 22 * * *", "22:09"),
        ([DAY], "0 22 * * *", "22:00"),
        ([DAY], "0 6 * * *", "06:00"),
        ([DAY], "15 * * * *", "06:15"),
        ([DAY], "@hourly", "06:00"),
        ([DAY], "@daily", None),
        ([DAY], "0 12 1 * *", "12:00"),
        ([DAY], "0 12 * JAN *", "12:00"),
        ([WEEK], "0 12 * * SAT,sun", None),
        ([WEEK], "0 12 * * 0-1", "12:00"),
        ([NIGHT], "0 12 * * *", None),
        ([NIGHT], "0 2 * * *", "02:00"),
        ([NIGHT], "35 4 * * *", "04:35"),
        ([NIGHT], "40 4 * * *", None),
        ([WEEK, NIGHT], "0 12 * * 6", None),
        ([WEEK, NIGHT], "0 3 * * 6", "03:00"),
    ],
)
def test_chart_refuses_a_drain_while_pods_run(windows: list[str], schedule: str, inside: str | None) -> None:
    """Within their hours, and keda.cooldownPeriod (ten minutes) after."""
    given = f"keda: {{hours: [{', '.join(windows)}]}}\ndrain: {{schedule: '{schedule}'}}"
    if inside is None:
        assert job(given=given)["spec"]["schedule"] == schedule
    else:
        assert f'drain.schedule "{schedule}" has {inside}, while pods run' in refused(
            values="sleeps-at-night", given=given
        )


@pytest.mark.parametrize(
    ("zone", "schedule", "inside"),
    [
        ("Europe/Paris", "10 23,0-5 * * *", None),
        ("Europe/Paris", "0 12 * * *", "12:00"),
        ("Asia/Tokyo", "0 12 * * *", None),  # 4:00 and 5:00 in Berlin
        ("Asia/Tokyo", "0 13 * * *", "13:00"),  # 5:00 and 6:00
        ("Asia/Kolkata", "0 10 * * *", "10:00"),  # 5:30 and 6:30
        ("UTC", "0 21 * * *", "21:00"),  # 22:00 and 23:00
        ("America/New_York", "15 17 * * *", None),
        ("America/New_York", "5 16 * * *", "16:05"),
    ],
)
def test_chart_refuses_a_drain_of_another_time_zone_when_pods_run_in_winter_or_summer(
    zone: str, schedule: str, inside: str | None
) -> None:
    given = f"drain: {{timeZone: {zone}, schedule: '{schedule}'}}"
    if inside is None:
        assert job(given=given)["spec"]["timeZone"] == zone
    else:
        assert f'has {inside}, while pods run: keda.hours are from "0 6 * * *"' in (
            refused(values="sleeps-at-night", given=given)
        )


def test_chart_takes_hours_of_days_of_a_month_as_they_are() -> None:
    given = """keda: {hours: [{start: "0 6 1 * *", end: "0 22 1 * *"}]}\ndrain: {schedule: "0 12 2-31 * *"}"""
    assert job(given=given)["spec"]["schedule"] == "0 12 2-31 * *"


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("minute", "60 * * * *"),
        ("hour", "0 24 * * *"),
        ("hour", "0 22-5 * * *"),
        ("hour", "0 */0 * * *"),
        ("hour", "0 -1 * * *"),
        ("day of month", "0 0 0 * *"),
        ("day of month", "0 0 32 * *"),
        ("month", "0 0 * 13 *"),
        ("month", "0 0 * FOO *"),
        ("day of week", "0 0 * * 7"),
        ("day of week", "0 0 * * MONDAY"),
    ],
)
@pytest.mark.parametrize("value", ["drain.schedule", "keda.hours.start", "keda.hours.end"])
def test_chart_refuses_a_cron_expression_that_kubernetes_or_keda_would_refuse(
    value: str, field: str, text: str
) -> None:
    others = {"drain.schedule": "0 1 * * *", "keda.hours.start": "0 6 * * *", "keda.hours.end": "0 22 * * *"} | {
        value: text
    }
    window = f'{{start: "{others["keda.hours.start"]}", end: "{others["keda.hours.end"]}"}}'
    given = f'keda: {{hours: [{window}]}}\ndrain: {{schedule: "{others["drain.schedule"]}"}}'
    said = refused(values="sleeps-at-night", given=given)
    assert f'{value}: "{text}" is no cron expression' in said
    assert field in said
