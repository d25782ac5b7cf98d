"""The lease table in DynamoDB: foreign attributes and rows, pages, tables of another kind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Site, client, event_of, make_stream
from vortex.adapters.dynamodb.lease_row import read_row, write_row
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.core.fleet.lease import WHOLE, Checkpoint, Lease
from vortex.exits import Exit
from vortex.ports import Denied, NotFound

FREE = Lease("shardId-000000000000", None, 0, Checkpoint("TRIM_HORIZON"))


@pytest.fixture
def name() -> str:
    """A unique name."""
    return f"t-{uuid.uuid4().hex}"


@pytest.fixture
async def table(dynamodb_url: str, name: str) -> AsyncIterator[DynamoTable]:
    """The adapter; its table does not exist yet."""
    async with open_dynamo_table(name, region="us-east-1", endpoint_url=dynamodb_url) as opened:
        yield opened


async def test_ensure_creates_one_table_when_workers_start_together(
    table: DynamoTable, dynamodb_url: str, name: str
) -> None:
    """On demand, without planned capacity, with the key of the KCL."""
    await asyncio.gather(*(table.ensure() for _ in range(10)))
    described = client("dynamodb", dynamodb_url).describe_table(TableName=name)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]


async def test_ensure_is_denied_when_the_table_has_another_key(
    table: DynamoTable, dynamodb_url: str, name: str
) -> None:
    """Before anything is written."""
    client("dynamodb", dynamodb_url).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(Denied, match=f"{name}: its key is"):
        await table.ensure()


async def test_calls_are_denied_with_operation_and_table_when_the_table_is_missing(
    table: DynamoTable, name: str
) -> None:
    """A check creates none."""
    with pytest.raises(Denied, match=f"dynamodb:Scan on table {name}"):
        await table.rows()
    with pytest.raises(Denied, match=f"dynamodb:UpdateItem on table {name}"):
        await table.renew(FREE)
    with pytest.raises(NotFound, match=name):
        await table.active(create=False)


async def test_writes_keep_foreign_attributes_of_a_row(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """A pending checkpoint and a hand-over (KCL 3.x) end when another worker takes the lease."""
    await table.ensure()
    others: dict[str, Any] = {
        "note": {"S": "an operator's"},
        "pendingCheckpoint": {"S": "7"},
        "pendingCheckpointSubSequenceNumber": {"N": "0"},
        "checkpointOwner": {"S": "kcl-2"},
    }
    dynamodb = client("dynamodb", dynamodb_url)
    dynamodb.put_item(TableName=name, Item=write_row(FREE) | {"leaseOwner": {"S": "kcl-1"}, **others})
    (lease,) = await table.rows()
    taken = await table.take(lease, "one", "t")
    assert taken is not None
    assert await table.renew(taken) is not None
    written = await table.checkpoint(taken, Checkpoint("8"))
    assert written is not None
    assert await table.release(written) is not None
    item = dynamodb.get_item(TableName=name, Key={"leaseKey": {"S": FREE.key}})["Item"]
    assert item == write_row(FREE) | {
        "note": {"S": "an operator's"},
        "checkpoint": {"S": "8"},
        "leaseCounter": {"N": "4"},
    }


async def test_rows_omits_and_keeps_rows_that_are_not_leases(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """Other entities of KCL 3.x and foreign rows, over several pages of a scan (1 MiB each)."""
    await table.ensure()
    dynamodb = client("dynamodb", dynamodb_url)
    padding = {"padding": {"S": "x" * 300_000}}
    for n in range(8):
        dynamodb.put_item(TableName=name, Item=write_row(Lease(f"shard-{n}", None, n, Checkpoint("1"))) | padding)
    foreign = [
        {"leaseKey": {"S": "foreign-1"}, "entityType": {"S": "WORKER_METRICS"}, "leaseCounter": {"N": "1"}},
        {"leaseKey": {"S": "foreign-2"}, "any": {"S": "thing"}},
    ]
    for item in foreign:
        dynamodb.put_item(TableName=name, Item=item)
    assert sorted(lease.key for lease in await table.rows()) == [f"shard-{n}" for n in range(8)]
    for item in foreign:
        assert dynamodb.get_item(TableName=name, Key={"leaseKey": item["leaseKey"]})["Item"] == item


def test_write_row_writes_the_attributes_of_the_kcl() -> None:
    """Empty sets are omitted, since DynamoDB has none."""
    lease = Lease(
        "shardId-000000000002",
        "host:1:a",
        9,
        Checkpoint("495", 3),
        switches=2,
        parents=("shardId-000000000001", "shardId-000000000000"),
        children=("shardId-000000000003",),
        start_hash=0,
        end_hash=2**128 - 1,
    )
    assert write_row(lease) == {
        "leaseKey": {"S": "shardId-000000000002"},
        "leaseOwner": {"S": "host:1:a"},
        "leaseCounter": {"N": "9"},
        "checkpoint": {"S": "495"},
        "checkpointSubSequenceNumber": {"N": "3"},
        "ownerSwitchesSinceCheckpoint": {"N": "2"},
        "parentShardId": {"SS": ["shardId-000000000000", "shardId-000000000001"]},
        "childShardIds": {"SS": ["shardId-000000000003"]},
        "startingHashKey": {"S": "0"},
        "endingHashKey": {"S": "340282366920938463463374607431768211455"},
    }
    assert set(write_row(FREE)) == {
        "leaseKey",
        "leaseCounter",
        "checkpoint",
        "checkpointSubSequenceNumber",
        "ownerSwitchesSinceCheckpoint",
    }
    assert read_row(write_row(FREE) | {"entityType": {"S": "LEASE"}}) == FREE


async def test_probe_is_denied_when_the_table_ignores_conditions(
    table: DynamoTable, dynamodb_url: str, name: str
) -> None:
    """On a good table the probe leaves nothing behind."""
    await table.ensure()
    await table.probe()
    assert client("dynamodb", dynamodb_url).scan(TableName=name)["Items"] == []

    class Careless:
        async def update_item(self, **_: object) -> dict[str, object]:
            return {"Attributes": write_row(Lease("vortex-check", None, 0, Checkpoint("none")))}

    with pytest.raises(Denied, match="does not honour conditional writes"):
        await DynamoTable(Careless(), name).probe()


def test_check_reports_the_state_of_the_lease_table(
    moto_url: str, dynamodb_url: str, name: str, tmp_path: Path
) -> None:
    """A missing table is not a fault, since the first run creates it."""
    make_stream(moto_url, name, 1)
    site = Site(moto_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    text = f'\n[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb_url}"\n'
    site.config.write_text(site.config.read_text() + text)
    checked = site.call("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"ok   lease table vortex-{name}: does not exist yet" in checked.stdout

    async def begin() -> None:
        async with open_dynamo_table(f"vortex-{name}", region="us-east-1", endpoint_url=dynamodb_url) as opened:
            await opened.ensure()
            await opened.create(FREE)

    asyncio.run(begin())
    assert f"ok   lease table vortex-{name}: 1 lease; conditional writes work" in site.call("check").stdout


async def test_check_and_run_refuse_the_table_of_another_store(
    table: DynamoTable, dynamodb_url: str, moto_url: str, name: str, tmp_path: Path
) -> None:
    """Before anything is written. With a table of its own, the store begins at `source.start`."""
    make_stream(moto_url, name, 1)
    created = client("kinesis", moto_url).describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    at = round(created["StreamCreationTimestamp"].timestamp() * 1000)
    await table.ensure()
    await table.create(
        Lease("shardId-000000000000", None, 3, Checkpoint("495", WHOLE), stream=at, store="0123456789abcdef s3://b/old")
    )
    before = await table.rows()
    site = Site(moto_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    settings = site.config.read_text()
    coordination = f'\n[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb_url}"\n'
    site.config.write_text(f'{settings}{coordination}table = "{name}"\n')
    for answer, code in ((site.call("check"), Exit.FAILED), (site.call("run"), Exit.LOST_STATE)):
        said = answer.stdout + answer.stderr
        assert answer.returncode == code, said
        assert f"lease table {name} serves the store s3://b/old, not file://" in said
        assert "coordination.table" in said
    assert await table.rows() == before
    assert not list((tmp_path / "out").rglob("stream.json"))
    site.config.write_text(f'{settings}{coordination}table = "{name}-own"\n')
    client("kinesis", moto_url).put_record(StreamName=name, PartitionKey="k", Data=event_of("id"))
    site.drain()
    assert len(site.lines()) == 1
