"""The policies of deploy/iam allow what Vortex does and no more: a proxy before the emulators enforces them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from tests.faultproxy import FaultProxy, in_thread
from tests.harness import Site, client, event_of, make_stream, stopped, until
from tests.policies import Policy

pytestmark = pytest.mark.integration


@contextmanager
def enforced(policy: Policy, aws: str, dynamodb: str, folder: Path, mode: str) -> Iterator[Site]:
    """A site whose every call passes through the policy; it has two shards and 40 events."""
    proxy = FaultProxy({"": aws, "dynamodb": dynamodb}, guard=policy)
    with in_thread(proxy):
        names = policy.places
        store = f"s3://{names['BUCKET']}/{names['PREFIX']}"
        site = Site(proxy.url, names["STREAM"], store, folder / "v.toml", s3=proxy.url)
        site.configure(period="6s")
        text = site.config.read_text()
        site.config.write_text(
            f'{text}\n[coordination]\nmode = "{mode}"\nfailover = "3s"\nendpoint_url = "{proxy.url}"\n'
            if mode == "dynamodb"
            else text
        )
        yield site


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


def test_policy_of_a_reader_allows_status_and_verify_and_no_write(
    names: dict[str, str], aws: str, dynamodb_url: str, tmp_path: Path
) -> None:
    """For the one on call."""
    with enforced(Policy("fleet", names), aws, dynamodb_url, tmp_path, "dynamodb") as site:
        site.drain()
    policy = Policy("reader", names)
    with enforced(policy, aws, dynamodb_url, tmp_path, "dynamodb") as site:
        for command in ("status", "verify"):
            done = site.call(command, "--json")
            assert done.returncode == 0, (done.stdout, done.stderr)
        assert json.loads(done.stdout)["faults"] == []
        assert policy.denied == set()
        assert site.call("check").returncode == 1
        assert "s3:PutObject" in {action for action, _ in policy.denied}
