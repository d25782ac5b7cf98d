"""The Terraform module without the AWS provider; `make validate-terraform` checks it against that."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MODULE = ROOT / "deploy/terraform"
STUB = """
locals {
  partition = "aws-cn"
  region    = "cn-north-1"
  account   = "123456789012"
}
output "policies" { value = local.policies }
output "lifecycle" { value = local.lifecycle }
output "accounts" { value = local.accounts }
"""
GIVEN = {"stream": "clicks", "bucket": "my-b"}


@pytest.fixture(scope="module")
def terraform() -> str:
    found = shutil.which("terraform")
    if found is None:
        pytest.skip("Terraform is not installed")  # no registry that this project uses has it; CI brings it
    return found


@pytest.fixture(scope="module")
def evaluated(terraform: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module's variables, names and policies; only what the provider would say is made up."""
    folder = tmp_path_factory.mktemp("deploy")
    shutil.copytree(ROOT / "deploy/iam", folder / "iam")
    module = folder / "terraform"
    module.mkdir()
    for name in ("names.tf", "policies.tf", "variables.tf"):
        shutil.copy(MODULE / name, module)
    (module / "outputs.tf").write_text(STUB + re.findall(r'^output "store_url" {.*?^}', OUTPUTS, re.M | re.S)[0])
    run(terraform, "init", "-no-color", folder=module)
    return module


OUTPUTS = (MODULE / "outputs.tf").read_text("utf-8")


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """What it prints. Fails with its words."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def applied(folder: Path, **variables: object) -> subprocess.CompletedProcess[str]:
    text = {name: value if isinstance(value, str) else json.dumps(value) for name, value in variables.items()}
    given = [f"-var={name}={value}" for name, value in (GIVEN | text).items()]
    command = ["terraform", "apply", "-auto-approve", "-no-color", *given]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def outputs(folder: Path, **variables: object) -> dict[str, Any]:
    """What the module makes of these variables; policies are parsed."""
    done = applied(folder, **variables)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {name: one["value"] for name, one in json.loads(run("terraform", "output", "-json", folder=folder)).items()}
    return found | {"policies": {mode: json.loads(text) for mode, text in found["policies"].items()}}


def test_terraform_module_is_formatted_and_parses(terraform: str) -> None:
    run(terraform, "fmt", "-check", "-diff", MODULE)


def test_policies_of_the_module_name_its_resources_when_a_name_holds_a_placeholder(evaluated: Path) -> None:
    """As Terraform evaluates them."""
    key = "arn:aws-cn:kms:cn-north-1:123456789012:key/0123-abcd"
    made = outputs(evaluated, stream="CLICKSTREAM", prefix="PREFIX-STREAM", kms_key_arn=key)
    names = {
        "REGION": "cn-north-1",
        "ACCOUNT": "123456789012",
        "TABLE": "vortex-CLICKSTREAM",
        "STREAM": "CLICKSTREAM",
        "BUCKET": "my-b",
        "PREFIX": "PREFIX-STREAM",
        "KEY": key,
    }
    for mode in ("fleet", "loader", "key", "key-read"):
        text = (ROOT / f"deploy/iam/{mode}.json").read_text().replace("arn:aws:", "arn:aws-cn:")
        expected = json.loads(re.sub("[A-Z]{3,}", lambda found: names[found[0]], text))
        for statement in expected["Statement"]:
            if isinstance(statement["Resource"], str):
                statement["Resource"] = [statement["Resource"]]
        assert made["policies"][mode] == expected


def resources(made: dict[str, Any]) -> set[str]:
    return {one for policy in made["policies"].values() for row in policy["Statement"] for one in row["Resource"]}


@pytest.mark.parametrize(
    ("prefix", "below"), [("", ""), ("/", ""), ("vortex/", "vortex/"), ("/a/b//", "a/b/"), ("year=2026", "year=2026/")]
)
def test_policies_and_lifecycle_name_keys_that_vortex_writes_whatever_slashes_are_around_the_prefix(
    evaluated: Path, prefix: str, below: str
) -> None:
    made = outputs(evaluated, prefix=prefix, data_expires_days=30)
    bucket = "arn:aws-cn:s3:::my-b"
    in_bucket = {one for one in resources(made) if one.startswith(f"{bucket}/")}
    assert {f"{bucket}/{below}*", f"{bucket}/{below}_vortex/*", f"{bucket}/{below}customer=*"} <= in_bucket
    assert all(one.startswith(f"{bucket}/{below}") and "//" not in one for one in in_bucket)
    (listed,) = (row for row in made["policies"]["fleet"]["Statement"] if row["Action"] == "s3:ListBucket")
    assert sorted(listed["Condition"]["StringLike"]["s3:prefix"]) == sorted([f"{below}*", below])
    assert {rule["prefix"] for rule in made["lifecycle"].values()} == {
        f"{below}{folder}" for folder in ("customer=", "_bundles/", "_rejected/")
    }
    assert made["store_url"] == f"s3://my-b/{below}".rstrip("/")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {}),
        ({"data_expires_days": 30}, {"customer=": (0, 30), "_bundles/": (0, 30), "_rejected/": (0, 30)}),
        ({"data_archive_days": 9}, {"customer=": (9, 0), "_bundles/": (9, 0)}),
        ({"data_expires_days": 30, "rejected_expires_days": 0}, {"customer=": (0, 30), "_bundles/": (0, 30)}),
        ({"rejected_expires_days": 7}, {"_rejected/": (0, 7)}),
        (
            {"data_expires_days": 30, "event_folders": ["20", "x/"], "rejected_folder": "bad/"},
            {"20": (0, 30), "x/": (0, 30), "_bundles/": (0, 30), "bad/": (0, 30)},
        ),
    ],
)
def test_lifecycle_ends_all_folders_of_events_and_rejections(
    evaluated: Path, variables: dict[str, object], expected: dict[str, tuple[int, int]]
) -> None:
    """By the first folders of the layout."""
    made = outputs(evaluated, prefix="p", **variables)["lifecycle"]
    shown = {rule["prefix"].removeprefix("p/"): (rule["archive"], rule["expires"]) for rule in made.values()}
    assert shown == expected


def test_lifecycle_names_the_folders_where_the_loader_reads_events() -> None:
    """Events that outlive their retention are worse than none that expire."""
    statements = json.loads((ROOT / "deploy/iam/loader.json").read_text())["Statement"]
    folders = {one.partition("PREFIX/")[2].rstrip("*") for row in statements for one in [*row["Resource"]]}
    own = {"_hours/", "_manifests/", ""}
    assert folders - own == {"customer=", "_bundles/"}


def test_loader_may_read_the_folders_of_another_layout(evaluated: Path) -> None:
    made = outputs(evaluated, event_folders=["events/", "old/"])
    (read,) = (row for row in made["policies"]["loader"]["Statement"] if row["Action"] == "s3:GetObject")
    folders = {one.partition("my-b/vortex/")[2] for one in read["Resource"]}
    assert {"events/*", "old/*"} <= folders
    assert "customer=*" not in folders


def test_roles_may_use_access_points_beside_the_bucket(evaluated: Path) -> None:
    """IAM looks at the ARN of the access point where a request goes through it."""
    point = "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint/clicks"
    without, made = outputs(evaluated), outputs(evaluated, access_point_arns=[point])
    bucket = "arn:aws-cn:s3:::my-b"
    expected = {one.replace(f"{bucket}/", f"{point}/object/").replace(bucket, point) for one in resources(without)}
    assert resources(made) == resources(without) | expected
    assert f"{point}/object/vortex/*" in resources(made)
    assert point in resources(made)


def test_trust_names_every_service_account_that_is_given(evaluated: Path) -> None:
    made = outputs(evaluated, service_accounts=["vortex", "clicks-*"], namespace="data")["accounts"]
    assert made == {
        "fleet": ["system:serviceaccount:data:vortex", "system:serviceaccount:data:clicks-*"],
        "loader": ["system:serviceaccount:data:vortex-loader"],
    }


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"prefix": "a//b"}, "prefix"),
        ({"prefix": "s3://b/c"}, "prefix"),
        ({"prefix": "a/../b"}, "prefix"),
        ({"prefix": "a*"}, "prefix"),
        ({"prefix": "a" * 501}, "prefix has 500 characters"),
        ({"prefix": 'a"b'}, "prefix"),
        ({"prefix": "${aws:username}"}, "prefix"),
        ({"bucket": "s3://my-b"}, "bucket"),
        ({"bucket": "arn:aws:s3:::my-b"}, "bucket"),
        ({"stream": "arn:aws:kinesis:eu-central-1:123456789012:stream/clicks"}, "stream"),
        ({"stream": "s" * 51}, "a role's name has 64 at most"),
        ({"name": "n" * 51}, "a role's name has 64 at most"),
        ({"name": "a/b"}, "name"),
        ({"table": "t"}, "table"),
        ({"retention_hours": 23}, "retention_hours"),
        ({"retention_hours": 8761}, "retention_hours"),
        ({"shards": -1}, "shards"),
        ({"data_expires_days": 30, "data_archive_days": 30}, "data_archive_days must be less than data_expires_days"),
        ({"data_expires_days": 30, "data_archive_days": 90}, "data_archive_days must be less than data_expires_days"),
        ({"data_expires_days": -1}, "data_expires_days"),
        ({"data_archive_days": 1.5}, "data_archive_days"),
        ({"rejected_expires_days": -1}, "rejected_expires_days"),
        ({"kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:alias/clicks"}, "names an alias"),
        ({"kms_key_arn": "alias/clicks"}, "kms_key_arn"),
        ({"event_folders": []}, "event_folders"),
        ({"event_folders": [""]}, "event_folders"),
        ({"event_folders": ["_"]}, "_vortex/"),
        ({"event_folders": ["x/", "_vortex/a"]}, "_vortex/"),
        ({"event_folders": ["_hours/"]}, "_vortex/"),
        ({"event_folders": ["/customer="]}, "event_folders"),
        ({"event_folders": ["_bundles/"]}, "_bundles/"),
        ({"event_folders": ["a", "b", "a"]}, "must not lie in each other"),
        ({"event_folders": ["a/", "a/b/"]}, "must not lie in each other"),
        ({"event_folders": ["data/"], "rejected_folder": "data/_rejected/"}, "must not lie in each other"),
        ({"rejected_folder": ""}, "rejected_folder"),
        ({"rejected_folder": "_vor"}, "rejected_folder"),
        ({"service_accounts": []}, "service_accounts"),
        ({"loader_service_accounts": ["A B"]}, "loader_service_accounts"),
        ({"oidc_provider_arn": "https://oidc.eks.eu-central-1.amazonaws.com/id/E"}, "oidc_provider_arn"),
        ({"alarm_topic_arns": ["pager"]}, "alarm_topic_arns"),
        ({"access_point_arns": ["clicks-0123-s3alias"]}, "access_point_arns"),
    ],
)
def test_module_refuses_variables_and_names_them_when_aws_would_refuse_them_later(
    evaluated: Path, variables: dict[str, object], said: str
) -> None:
    done = applied(evaluated, **variables)
    assert done.returncode != 0
    shown = " ".join(done.stderr.replace("│", " ").split())
    assert "Invalid value for variable" in shown
    assert said in shown


def test_role_with_the_longest_name_fits_into_iam(evaluated: Path) -> None:
    assert applied(evaluated, name="n" * 50).returncode == 0
    assert len(f"vortex-{'n' * 50}-loader") == 64
