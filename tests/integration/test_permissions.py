"""The policies of deploy/iam allow what Vortex does and no more: a proxy before the emulators enforces them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faultproxy import FaultProxy, in_thread
from tests.harness import Site, client, event_of, make_stream, stopped, until
from tests.loader.stores import H9, publish
from tests.policies import Policy

pytestmark = pytest.mark.integration


@contextmanager
def enforced(policy: Policy, aws: str, dynamodb: str, folder: Path, mode: str) -> Iterator[Site]:
    """A site whose every call passes through the policy; it has two shards and 40 events."""
    proxy = FaultProxy({"": aws, "dynamodb": dynamodb}, guard=policy)
    with in_thread(proxy):
        names = policy.places
        store = f"s3://{names['BUCKET']}/{names['PREFIX']}".rstrip("/")
        site = Site(proxy.url, names["STREAM"], store, folder / "v.toml", s3=proxy.url)
        site.configure(period="6s")
        text = site.config.read_text()
        site.config.write_text(
            f'{text}\n[coordination]\nmode = "{mode}"\nfailover = "3s"\nendpoint_url = "{proxy.url}"\n'
            if mode == "dynamodb"
            else text
        )
        yield site


PAGE = (Path(__file__).parents[2] / "docs/how-to/aws.md").read_text("utf-8")
RARE = {"dynamodb:GetItem", "dynamodb:DeleteItem"}
"""Needed after a write whose outcome is unknown, and for shards that ended long ago; tests/unit/adapters/dynamodb makes
such calls."""


@pytest.fixture
def names() -> dict[str, str]:
    """A user's names, of this test alone."""
    own = f"permitted-{uuid4().hex[:8]}"
    return {
        "REGION": "us-east-1",
        "ACCOUNT": "123456789012",
        "STREAM": own,
        "TABLE": f"vortex-{own}",
        "BUCKET": own,
        "PREFIX": "some/prefix",
    }


@pytest.fixture
def aws(moto_url: str, names: dict[str, str]) -> str:
    """Moto with the stream, which has 40 events, and the bucket."""
    now = int(time.time())
    kinesis, s3 = make_stream(moto_url, names["STREAM"], 2), client("s3", moto_url)
    s3.create_bucket(Bucket=names["BUCKET"])
    for n in range(40):
        kinesis.put_record(StreamName=names["STREAM"], PartitionKey=str(n), Data=event_of(f"id-{n}@{now}"))
    return moto_url


@pytest.mark.parametrize(("name", "mode"), [("worker", "local"), ("fleet", "dynamodb")])
def test_policy_allows_all_that_a_worker_and_its_commands_do_and_nothing_else(
    name: str, mode: str, names: dict[str, str], aws: str, dynamodb_url: str, tmp_path: Path
) -> None:
    """No call is denied, and every action of the policy is used, but for the rare ones."""
    policy = Policy(name, names)
    with enforced(policy, aws, dynamodb_url, tmp_path, mode) as site:
        assert site.call("check").returncode == 0
        plain = Site(aws, site.stream, site.store, site.config, s3=aws)
        worker = site.start(tmp_path / "log")
        with stopped(worker):
            until(lambda: len(plain.lines()) == 40, 90)
            until(lambda: policy.actions - policy.used <= RARE, 90)
        for command in (["status"], ["verify"], ["close", "--before", "2020-01-01"]):
            done = site.call(*command)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert policy.denied == set()


ARGUMENTS = {"preview": ["-n", "3"], "rejects list": ["--limit", "1"]}
"""Of commands that need some, or would say much."""


def test_policy_of_a_reader_allows_each_command_that_its_page_lists_and_no_write(
    names: dict[str, str], aws: str, dynamodb_url: str, tmp_path: Path
) -> None:
    """For the one on call."""
    (row,) = (line for line in PAGE.splitlines() if line.startswith("| `reader.json`"))
    listed = re.findall(r"`vortex ([a-z ]+)`", row)
    assert {"status", "verify", "explain", "preview", "rejects list", "rejects summary"} == set(listed)
    found = json.loads(event_of("id-0"))
    client("kinesis", aws).put_record(StreamName=names["STREAM"], PartitionKey="k", Data=event_of("id-0"))
    with enforced(Policy("fleet", names), aws, dynamodb_url, tmp_path, "dynamodb") as site:
        site.drain()
    policy = Policy("reader", names)
    with enforced(policy, aws, dynamodb_url, tmp_path, "dynamodb") as site:
        assert json.loads(site.call("verify", "--json").stdout)["faults"] == []
        for command in listed:
            arguments = [found["customer"], "id-0"] if command == "explain" else ARGUMENTS.get(command, [])
            done = site.call(*command.split(), *arguments)
            assert done.returncode == 0, (command, done.stdout, done.stderr)
            assert policy.denied == set(), command
        assert policy.actions == policy.used
        assert site.call("check").returncode == 1
        assert "s3:PutObject" in {action for action, _ in policy.denied}


def test_policy_of_a_worker_is_enough_at_the_root_of_a_bucket(names: dict[str, str], aws: str, tmp_path: Path) -> None:
    """Without the prefix and its slash, as the page says."""
    policy = Policy("worker", {**names, "PREFIX": ""})
    with enforced(policy, aws, "", tmp_path, "local") as site:
        assert site.call("check").returncode == 0
        site.drain()
        assert site.call("verify").returncode == 0
    assert policy.denied == set()


def test_policies_of_the_loader_are_enough_with_a_catalogue_in_s3_and_their_messages_name_what_is_missing(
    names: dict[str, str], aws: str, tmp_path: Path
) -> None:
    publish(tmp_path / "store", H9, {("acme", "page"): [{"n": 1}]})
    s3, bucket, below = client("s3", aws), names["BUCKET"], names["PREFIX"]
    for path in filter(Path.is_file, (tmp_path / "store").rglob("*")):
        key = f"{below}/{path.relative_to(tmp_path / 'store').as_posix()}"
        s3.put_object(Bucket=bucket, Key=key, Body=path.read_bytes())
    s3.put_object(Bucket=bucket, Key="other/catalog.toml", Body=b'[customer.acme]\nevents = "all"\n')
    catalog = f"s3://{bucket}/other/catalog.toml"
    for more in ((), ("catalog",)):
        policy = Policy("loader", {**names, "CATALOG": catalog.removeprefix("s3://")}, *more)
        proxy = FaultProxy({"": aws}, guard=policy)
        with in_thread(proxy):
            given = {"STORE": f"s3://{bucket}/{below}", "CATALOG": catalog, "WAREHOUSE": str(tmp_path / "w.duckdb")}
            variables = {f"VORTEX_LOADER_{name}": value for name, value in given.items()}
            done = subprocess.run(
                [sys.executable, "-m", "vortex_loader", "load", "--hour", "2026-11-29T09", "--endpoint-url", proxy.url],
                env={**os.environ, **variables},
                capture_output=True,
                text=True,
                timeout=120,
            )
        if more:
            assert (done.returncode, policy.denied) == (0, set()), done.stderr
        else:
            assert done.returncode != 0
            assert f"{catalog}: denied. Allow s3:GetObject on it" in done.stderr
            assert "catalog.json" in done.stderr
