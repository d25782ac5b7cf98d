"""The Terraform module without the AWS provider; `make validate-terraform` checks it against that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "deploy/terraform"
STUB = """
locals {
  partition = "aws-cn"
  region    = "cn-north-1"
  account   = "123456789012"
  table     = "vortex-CLICKSTREAM"
}
output "policies" { value = local.policies }
"""


@pytest.fixture
def terraform() -> str:
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("Terraform is not installed")  # no registry that this project uses has it; CI brings it
    return found


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """What it prints. Fails with its words."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_terraform_module_is_formatted_and_parses(terraform: str) -> None:
    run(terraform, "fmt", "-check", "-diff", MODULE)


def test_policies_of_the_module_name_its_resources_when_a_name_holds_a_placeholder(
    terraform: str, tmp_path: Path
) -> None:
    """As Terraform evaluates them; only what the provider would say is made up."""
    shutil.copytree(ROOT / "deploy/iam", tmp_path / "iam")
    module = tmp_path / "terraform"
    module.mkdir()
    for name in ("policies.tf", "variables.tf"):
        shutil.copy(MODULE / name, module)
    (module / "stub.tf").write_text(STUB)
    key = "arn:aws-cn:kms:cn-north-1:123456789012:key/KEY"
    variables = {"stream": "CLICKSTREAM", "bucket": "my-b", "prefix": "PREFIX-STREAM", "kms_key_arn": key}
    given = [f"-var={name}={value}" for name, value in variables.items()]
    run(terraform, "init", "-no-color", folder=module)
    run(terraform, "apply", "-auto-approve", "-no-color", *given, folder=module)
    policies = json.loads(run(terraform, "output", "-json", folder=module))["policies"]["value"]
    names = {
        "REGION": "cn-north-1",
        "ACCOUNT": "123456789012",
        "TABLE": "vortex-CLICKSTREAM",
        "STREAM": "CLICKSTREAM",
        "BUCKET": "my-b",
        "PREFIX": "PREFIX-STREAM",
        "KEY": key,
    }
    for mode in ("fleet", "loader", "key"):
        text = (ROOT / f"deploy/iam/{mode}.json").read_text().replace("arn:aws:", "arn:aws-cn:")
        assert policies[mode] == re.sub("[A-Z]{3,}", lambda found: names[found[0]], text)
