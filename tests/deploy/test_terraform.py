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
    given = [
        f"-var={name}={value}" for name, value in (("stream", "CLICKSTREAM"), ("bucket", "my-b"), ("kms_key_arn", key))
    ]
    run(terraform, "init", "-no-color", folder=module)
    run(terraform, "apply", "-auto-approve", "-no-color", *given, "-var=prefix=PREFIX-STREAM", folder=module)
    policies = json.loads(run(terraform, "output", "-json", folder=module))["policies"]["value"]
    assert set(policies) == {"fleet", "loader", "key"}
    arns = {arn for text in policies.values() for arn in re.findall(r'"(arn:[^"]+)"', json.dumps(json.loads(text)))}
    assert arns == {
        "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/CLICKSTREAM",
        "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/vortex-CLICKSTREAM",
        "arn:aws-cn:s3:::my-b",
        *(
            f"arn:aws-cn:s3:::my-b/PREFIX-STREAM/{below}"
            for below in ("*", "_vortex/*", "customer=*", "_hours/*", "_manifests/*")
        ),
        key,
    }
