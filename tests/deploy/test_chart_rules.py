"""The chart's alerting rules: those of deploy/prometheus-alerts.yml for its release, and two for the draining job."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.helm import ROOT, rendered

PROMTOOL = shutil.which("promtool")
RULES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yml").read_text("utf-8"))
OWN = 'job="day/v-vortex",namespace="day",stream="clickstream"'
DRAIN = 'namespace="night",cronjob="v-vortex-drain"'


def rules(*sets: str, values: str, given: str = "", namespace: str = "day") -> dict[str, Any]:
    more = {"values": values, "given": given, "namespace": namespace}
    return dict(rendered("prometheusRule.enabled=true", *sets, **more)["PrometheusRule"]["spec"])


def alerts(spec: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for group in spec["groups"] for rule in group["rules"]}


@pytest.mark.parametrize("values", ["fleet", "sleeps-at-night"])
def test_rules_have_no_alert_of_absent_workers_when_pods_sleep(values: str) -> None:
    """It would fire every night. All other rules are there, as they are, but for the labels of the release."""
    made = rules(values=values)["groups"]
    expected = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yml").read_text())["groups"]
    if values == "sleeps-at-night":
        assert expected[0]["rules"].pop(0)["alert"] == "VortexAbsent"
        assert made.pop()["name"] == "vortex-drain"
    for group in made:
        for rule in group["rules"]:
            for own in (OWN, 'namespace="day",stream="clickstream"', 'namespace="day"'):
                rule["expr"] = rule["expr"].replace(f"{{{own}}}", "").replace(f"{{{own}, ", "{")
    assert made == expected


@pytest.mark.parametrize(
    ("sets", "own"),
    [
        (["podMonitor.enabled=true"], OWN),
        (["podMonitor.enabled=false"], 'namespace="day",stream="clickstream"'),
        (["prometheusRule.matchLabels.kubernetes_namespace=d"], 'kubernetes_namespace="d"'),
    ],
)
def test_every_selector_of_the_rules_names_the_release(sets: list[str], own: str) -> None:
    found = [
        (name, labels)
        for alert, rule in alerts(rules(*sets, values="fleet")).items()
        for name, labels in re.findall(r"\b(vortex_\w+)(\{[^}]*\})?", rule["expr"])
        if not alert.startswith("VortexLoader")
    ]
    assert len(found) > 20
    for name, labels in found:
        assert labels.startswith(f"{{{own}"), f"{name}{labels}"


def test_rules_of_the_loader_name_its_namespace() -> None:
    made = alerts(rules(values="fleet"))
    assert 'vortex_loader_oldest_waiting_seconds{namespace="day"}' in made["VortexLoaderHourWaits"]["expr"]


@pytest.mark.parametrize("rule", ["VortexDrainFails", "VortexDrainLate"])
def test_alert_of_the_job_links_to_its_section_of_the_runbook(rule: str) -> None:
    found = alerts(rules(values="sleeps-at-night"))[rule]["annotations"]
    page, _, section = found["runbook"].partition("#")
    assert section == rule.lower()
    text = re.search(rf"^### {rule}\n\n(.+?)(?=^#)", (ROOT / page).read_text("utf-8"), re.M | re.S)
    assert text and "**What to do.**" in text[1]


def series(name: str, labels: str, values: str) -> dict[str, str]:
    return {"series": f"{name}{{{labels}}}", "values": values}


def of_job(number: int, start_s: int, failed: int, minutes: int = 100) -> list[dict[str, str]]:
    """A run that began then, and has ended; kube-state-metrics tells of it as long as Kubernetes keeps it."""
    labels = f'namespace="night",job_name="v-vortex-drain-{number}"'
    gap = f"_x{start_s // 60} " if start_s else ""
    return [
        series("kube_job_status_start_time", labels, f"{gap}{start_s}x{minutes}"),
        series("kube_job_failed", f'{labels},condition="true"', f"{gap}{failed}x{minutes}"),
        series("kube_job_failed", f'{labels},condition="false"', f"{gap}{1 - failed}x{minutes}"),
    ]


CREATED = series("kube_cronjob_created", DRAIN, "0x300")
SUSPENDED = series("kube_cronjob_spec_suspend", DRAIN, "0x300")
CASES: dict[str, tuple[list[dict[str, str]], set[str]]] = {
    "a run succeeded": (
        [
            CREATED,
            SUSPENDED,
            *of_job(1, 3600, 0),
            series("kube_cronjob_status_last_successful_time", DRAIN, "_x70 4200x100"),
        ],
        set(),
    ),
    "the first run failed": ([CREATED, SUSPENDED, *of_job(1, 3600, 1)], {"VortexDrainFails"}),
    "a run failed after one that succeeded": (
        [
            CREATED,
            *of_job(1, 0, 0),
            *of_job(2, 3600, 1),
            series("kube_cronjob_status_last_successful_time", DRAIN, "600x200"),
        ],
        {"VortexDrainFails"},
    ),
    "a run succeeded after one that failed": (
        [
            CREATED,
            *of_job(1, 60, 1),
            *of_job(2, 3600, 0),
            series("kube_cronjob_status_last_successful_time", DRAIN, "4200x200"),
        ],
        set(),
    ),
    "a job of another release failed": (
        [
            CREATED,
            series("kube_job_status_start_time", 'namespace="night",job_name="w-vortex-drain-1"', "3600x200"),
            series("kube_job_failed", 'namespace="night",job_name="w-vortex-drain-1",condition="true"', "1x200"),
        ],
        set(),
    ),
    "the next run is to come": (
        [CREATED, SUSPENDED, series("kube_cronjob_next_schedule_time", DRAIN, "7200x200")],
        set(),
    ),
    "a run did not begin": (
        [CREATED, SUSPENDED, series("kube_cronjob_next_schedule_time", DRAIN, "600x200")],
        {"VortexDrainLate"},
    ),
    "the job is suspended": ([CREATED, series("kube_cronjob_spec_suspend", DRAIN, "1x200")], {"VortexDrainLate"}),
    "a release that is awake has no workers": (
        [
            series(
                "vortex_build_info", 'namespace="day",job="day/v-vortex",instance="a",stream="clickstream"', "1x5 _x200"
            )
        ],
        {"VortexAbsent"},
    ),
    "the pods of the release that sleeps are gone": (
        [
            series(
                "vortex_build_info",
                'namespace="night",job="night/v-vortex",instance="a",stream="clickstream"',
                "1x5 _x200",
            ),
            series(
                "vortex_build_info", 'namespace="day",job="day/v-vortex",instance="b",stream="clickstream"', "1x200"
            ),
        ],
        set(),
    ),
}
NAMES = ("VortexDrainFails", "VortexDrainLate", "VortexAbsent")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: Debian's package prometheus has it")
def test_rules_of_two_releases_in_one_prometheus_fire_and_keep_still_in_every_case(tmp_path: Path) -> None:
    """One release is awake in the namespace `day`, the other sleeps in `night`."""
    assert PROMTOOL is not None
    day = rules("podMonitor.enabled=true", values="fleet")
    night = rules(values="sleeps-at-night", namespace="night")
    files = {"day.yml": day, "night.yml": night}
    for name, spec in files.items():
        (tmp_path / name).write_text(yaml.safe_dump(spec))
    bare = {name: yaml.safe_load(yaml.safe_dump(spec)) for name, spec in files.items()}
    for name, spec in bare.items():
        for group in spec["groups"]:
            group["name"] += name  # the same group in two files
            for rule in group["rules"]:
                del rule["annotations"]
                rule["labels"] = {"of": name}
        (tmp_path / f"bare-{name}").write_text(yaml.safe_dump(spec))
    labels = {
        "VortexDrainFails": {"of": "night.yml", "namespace": "night"},
        "VortexDrainLate": {"of": "night.yml", "namespace": "night"},
        "VortexAbsent": {"of": "day.yml", "namespace": "day", "job": "day/v-vortex", "stream": "clickstream"},
    }
    tests = []
    for name, (given, firing) in CASES.items():
        # The first rule of the release that is awake is still where the case is not about it.
        awake = (
            []
            if any("build_info" in one["series"] for one in given)
            else [
                series(
                    "vortex_build_info", 'namespace="day",job="day/v-vortex",instance="b",stream="clickstream"', "1x300"
                )
            ]
        )
        expected = [
            {
                "eval_time": "90m",
                "alertname": alert,
                "exp_alerts": [{"exp_labels": labels[alert]}] if alert in firing else [],
            }
            for alert in NAMES
        ]
        tests.append({"name": name, "interval": "1m", "input_series": [*awake, *given], "alert_rule_test": expected})
    cases = {"rule_files": [f"bare-{name}" for name in files], "evaluation_interval": "1m", "tests": tests}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases))
    for command in (["check", "rules", *files], ["test", "rules", "cases.yml"]):
        done = subprocess.run([PROMTOOL, *command], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
