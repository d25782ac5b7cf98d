"""Names of the chart's objects, for every name that Helm accepts for a release."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from tests.deploy.helm import CHART, render, rendered

LONGEST = 53
RELEASES = ["v", "vortex", "my-vortex", "a.b", "7days", "7.vortex", "1", "x" * LONGEST, "x" * 45 + "-vortex", "9" * 45]
EVERYTHING = "networkPolicy: {enabled: true, from: [{podSelector: {}}]}"
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")


def names(release: str) -> dict[str, str]:
    done = render(release=release, values="sleeps-at-night", given=EVERYTHING)
    assert done.returncode == 0, done.stderr
    return {one["kind"]: one["metadata"]["name"] for one in yaml.safe_load_all(done.stdout)}


@pytest.mark.parametrize("release", RELEASES)
def test_names_of_all_objects_are_valid_whatever_the_release_is_called(release: str) -> None:
    """A Service's begins with a letter and has no dot; a CronJob's has 52 characters at most, and others 63."""
    found = names(release)
    assert set(found) >= {"Service", "CronJob", "Deployment", "PodDisruptionBudget", "NetworkPolicy", "ScaledObject"}
    for name in found.values():
        assert LABEL.fullmatch(name), name
    assert len(found["CronJob"]) <= 52
    assert max(map(len, found.values())) <= 52


@pytest.mark.parametrize("text", ["1", "123", "1e3", "0x1f", "12.5", "true", "null", "on"])
def test_names_stay_text_when_they_look_like_another_value_of_yaml(text: str) -> None:
    """A label that is a number is refused by Kubernetes."""
    named = {
        "serviceAccount": {"name": text},
        "priorityClassName": text,
        "nodeSelector": {"disk": text},
        "imagePullSecrets": [{"name": text}],
        "keda": {"authentication": text},
        "image": {"repository": "registry/vortex", "tag": text.replace(".", "-")},
        "topologySpread": {"topologyKey": text},
        "podLabels": {"team": text},
        "networkPolicy": {"enabled": True, "from": [{"podSelector": {"matchLabels": {"app": text}}}]},
        "env": [{"name": "A", "value": text}],
    }
    for kind, document in rendered(release=text, values="sleeps-at-night", given=json.dumps(named)).items():
        if kind not in ("ScaledObject", "PodMonitor", "PrometheusRule"):
            kubernetes_validate.validate(document, "1.30", strict=True)
        assert document["metadata"]["labels"]["app.kubernetes.io/instance"] == text


def test_names_of_releases_differ_when_they_are_cut_or_changed() -> None:
    """Two releases in a namespace must not write to the same objects."""
    releases = ["a.b", "a-b", "x" * 52 + "a", "x" * 52 + "b", "7days", "v-7days"]
    found = [names(release)["Deployment"] for release in releases]
    assert len(set(found)) == len(releases)


@pytest.mark.parametrize(("release", "name"), [("vortex", "vortex"), ("clicks", "clicks-vortex")])
def test_names_follow_the_release_when_it_fits(release: str, name: str) -> None:
    assert names(release)["Deployment"] == name
    assert names(release)["CronJob"] == f"{name}-drain"


def test_every_object_has_the_name_that_is_given() -> None:
    """The service account and the job's, too. The release still tells its pods from those of others."""
    given = EVERYTHING + "\nfullnameOverride: prod-clicks"
    parts = list(yaml.safe_load_all(render(release="r", values="sleeps-at-night", given=given).stdout))
    assert {one["metadata"]["name"] for one in parts} == {"prod-clicks", "prod-clicks-drain"}
    (deployment,) = (one for one in parts if one["kind"] == "Deployment")
    assert deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/instance"] == "r"
    assert deployment["spec"]["template"]["spec"]["serviceAccountName"] == "prod-clicks"


def test_labels_are_valid_when_the_version_has_build_metadata(tmp_path: Path) -> None:
    chart = tmp_path / "vortex"
    shutil.copytree(CHART, chart)
    about = chart / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^(version|appVersion): .*$", r"\1: 1.0.0+abc", about.read_text()))
    labels = rendered(chart=chart)["Deployment"]["metadata"]["labels"]
    assert labels["helm.sh/chart"] == "vortex-1.0.0_abc"
    assert labels["app.kubernetes.io/version"] == "1.0.0_abc"
