"""The lease table where it is DynamoDB's own: other people's attributes and rows, pages, tables of another kind."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Site, client, make_stream
from vortex.adapters.dynamodb.lease_row import read_row, write_row
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.ports import Denied, NotFound

FREE = Lease("shardId-000000000000", None, 0, Checkpoint("TRIM_HORIZON"))


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t-{uuid.uuid4().hex}"


@pytest.fixture
async def table(dynamodb_url: str, name: str) -> AsyncIterator[DynamoTable]:
    """The adapter, its table not made yet."""
    async with open_dynamo_table(name, region="us-east-1", endpoint_url=dynamodb_url) as opened:
        yield opened


async def test_workers_that_begin_together_make_one_table(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """On demand, so that nobody plans capacity; keyed as the KCL keys it."""
    await asyncio.gather(*(table.ensure() for _ in range(10)))
    described = client("dynamodb", dynamodb_url).describe_table(TableName=name)["Table"]
    assert described["BillingModeSummary"]["BillingMode"] == "PAY_PER_REQUEST"
    assert described["KeySchema"] == [{"AttributeName": "leaseKey", "KeyType": "HASH"}]


async def test_a_table_of_another_kind_is_refused(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """By its key, before anything is written into it."""
    client("dynamodb", dynamodb_url).create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(Denied, match=f"{name}: its key is"):
        await table.ensure()


async def test_a_missing_table_is_named(table: DynamoTable, name: str) -> None:
    """With the operation that missed it; a look at it makes none."""
    with pytest.raises(Denied, match=f"dynamodb:Scan on table {name}"):
        await table.rows()
    with pytest.raises(Denied, match=f"dynamodb:UpdateItem on table {name}"):
        await table.renew(FREE)
    with pytest.raises(NotFound, match=name):
        await table.active(create=False)


async def test_what_others_keep_on_a_row_survives(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """Through all writes; but a pending checkpoint and a hand-over (3.x) are over once somebody else took the lease."""
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
    told = await table.checkpoint(taken, Checkpoint("8"))
    assert told is not None
    assert await table.release(told) is not None
    item = dynamodb.get_item(TableName=name, Key={"leaseKey": {"S": FREE.key}})["Item"]
    assert item == write_row(FREE) | {
        "note": {"S": "an operator's"},
        "checkpoint": {"S": "8"},
        "leaseCounter": {"N": "4"},
    }


async def test_other_rows_are_left_out_and_alone(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """Other entities (3.x), and what is no lease at all; over all pages of a scan, which end at a megabyte."""
    await table.ensure()
    dynamodb = client("dynamodb", dynamodb_url)
    stuffing = {"stuffing": {"S": "x" * 300_000}}
    for n in range(8):
        dynamodb.put_item(TableName=name, Item=write_row(Lease(f"shard-{n}", None, n, Checkpoint("1"))) | stuffing)
    strangers = [
        {"leaseKey": {"S": "stranger-1"}, "entityType": {"S": "WORKER_METRICS"}, "leaseCounter": {"N": "1"}},
        {"leaseKey": {"S": "stranger-2"}, "any": {"S": "thing"}},
    ]
    for item in strangers:
        dynamodb.put_item(TableName=name, Item=item)
    assert sorted(lease.key for lease in await table.rows()) == [f"shard-{n}" for n in range(8)]
    for item in strangers:
        assert dynamodb.get_item(TableName=name, Key={"leaseKey": item["leaseKey"]})["Item"] == item


def test_a_row_is_what_the_kcl_puts() -> None:
    """Attribute by attribute; empty sets are left out, since DynamoDB has none."""
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


async def test_a_table_that_ignores_conditions_is_found_out(table: DynamoTable, dynamodb_url: str, name: str) -> None:
    """By the probe; on a good table it leaves nothing behind."""
    await table.ensure()
    await table.probe()
    assert client("dynamodb", dynamodb_url).scan(TableName=name)["Items"] == []

    class Careless:
        async def update_item(self, **_: object) -> dict[str, object]:
            return {"Attributes": write_row(Lease("vortex-check", None, 0, Checkpoint("none")))}

    with pytest.raises(Denied, match="does not honour conditional writes"):
        await DynamoTable(Careless(), name).probe()


def test_check_looks_at_the_table(moto_url: str, dynamodb_url: str, name: str, tmp_path: Path) -> None:
    """Missing it is no fault, since the first run makes it."""
    make_stream(moto_url, name, 1)
    site = Site(moto_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    text = f'\n[coordination]\nmode = "dynamodb"\nendpoint_url = "{dynamodb_url}"\n'
    site.config.write_text(site.config.read_text() + text)
    checked = site.call("check")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert f"ok   lease table vortex-{name}: is not there yet" in checked.stdout

    async def begin() -> None:
        async with open_dynamo_table(f"vortex-{name}", region="us-east-1", endpoint_url=dynamodb_url) as opened:
            await opened.ensure()
            await opened.create(FREE)

    asyncio.run(begin())
    assert f"ok   lease table vortex-{name}: 1 leases read, conditional writes work" in site.call("check").stdout
