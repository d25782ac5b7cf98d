"""Every alert fires where it should and keeps still where it should, by Prometheus's own tool; each has its runbook."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests/fixtures/alerts.yml"
RULES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus-alerts.yml").read_text("utf-8"))
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(PROMTOOL is None, reason="no promtool here: Debian's package prometheus has it")
def test_alerts_fire_and_keep_still_in_every_case(tmp_path: Path) -> None:
    """By labels only: with annotations `promtool` would compare those, too."""
    assert PROMTOOL is not None
    bare = [
        {**group, "rules": [{k: v for k, v in rule.items() if k != "annotations"} for rule in group["rules"]]}
        for group in RULES["groups"]
    ]
    (tmp_path / "alerts.yml").write_text(yaml.safe_dump({"groups": bare}))
    (tmp_path / "cases.yml").write_text(CASES.read_text("utf-8"))
    done = subprocess.run([PROMTOOL, "test", "rules", "cases.yml"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rules = [PROMTOOL, "check", "rules", str(ROOT / "deploy/prometheus-alerts.yml")]
    done = subprocess.run(rules, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    cases = [one for test in yaml.safe_load(CASES.read_text("utf-8"))["tests"] for one in test["alert_rule_test"]]
    names = {rule["alert"] for rule in ALERTS}
    assert {one["alertname"] for one in cases if one["exp_alerts"]} == names
    assert {one["alertname"] for one in cases if not one["exp_alerts"]} == names


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_alert_links_to_its_section_of_the_runbook(rule: dict[str, Any]) -> None:
    """Which says what it means and what to do."""
    page, _, section = rule["annotations"]["runbook"].partition("#")
    assert section == rule["alert"].lower()
    text = (ROOT / page).read_text("utf-8")
    found = re.search(rf"^### {rule['alert']}\n\n(.+?)(?=^#)", text, re.MULTILINE | re.DOTALL)
    assert found, f"{page} has no section {rule['alert']}"
    assert "**What to do.**" in found[1]
