"""Takeover of a lease table of the Kinesis Client Library: without a gap, and nothing is read twice.

`tests/fixtures/kcl-2.6.1.json` has rows that the real KCL wrote; the test makes the same rows for a live stream.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Site, check_exactly_once, client, event_of, make_stream, wait_active
from tests.kpl import aggregate
from vortex.adapters.dynamodb.lease_row import read_row, write_row
from vortex.core.decode.kpl import deaggregate
from vortex.core.fleet.kcl_migration import inherited
from vortex.core.model import Position, ShardInfo, Start

FIXTURE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fixtures" / "kcl-2.6.1.json").read_text())


def infos(rows: list[dict[str, Any]]) -> list[ShardInfo]:
    """Shards of ListShards rows."""
    return [
        ShardInfo(
            row["ShardId"],
            tuple(row[name] for name in ("ParentShardId", "AdjacentParentShardId") if name in row),
            int(row["HashKeyRange"]["StartingHashKey"]),
            int(row["HashKeyRange"]["EndingHashKey"]),
            row["SequenceNumberRange"]["StartingSequenceNumber"],
            row["SequenceNumberRange"].get("EndingSequenceNumber"),
        )
        for row in rows
    ]


def test_lease_rows_of_the_real_kcl_are_read_and_written_unchanged() -> None:
    """Attribute by attribute."""
    for item in FIXTURE["rows"]:
        lease = read_row(item)
        assert lease is not None
        sets = {name: {"SS": sorted(item[name]["SS"])} for name in ("parentShardId", "childShardIds") if name in item}
        assert write_row(lease) == item | sets


def test_inherited_returns_the_positions_of_the_real_kcl() -> None:
    """Shard 1 is done, but 5 waits for 2 as well; 0 is done, and its children are roots."""
    leases = [lease for item in FIXTURE["rows"] if (lease := read_row(item)) is not None]
    roots = inherited(infos(FIXTURE["shards"]), leases, otherwise=Position(Start.TRIM_HORIZON), now_ms=0)
    at = {lease.key: lease.checkpoint.sequence for lease in leases}
    assert {
        root.shard.id[-1]: (root.position.kind.value, root.position.value, root.position.skip) for root in roots
    } == {
        "1": ("LATEST", "", 0),
        "2": ("AT_SEQUENCE_NUMBER", at["shardId-000000000002"], 1),
        "3": ("AT_SEQUENCE_NUMBER", at["shardId-000000000003"], 5),
        "4": ("AT_SEQUENCE_NUMBER", at["shardId-000000000004"], 5),
    }


class Producer:
    """Puts events into chosen shards, and records which of them the KCL has not processed."""

    def __init__(self, kinesis: Any, stream: str) -> None:
        self.kinesis, self.stream = kinesis, stream
        self.left: Counter[str] = Counter()
        self._made = 0

    def put(self, shard: int, number: int, subs: int = 0) -> None:
        """Events for the shard of that number, plain or in aggregates of `subs`."""
        begin = self.shards()[shard]["HashKeyRange"]["StartingHashKey"]
        for _ in range(number):
            names = [f"id-{self._made + n}" for n in range(max(subs, 1))]
            self._made += len(names)
            events = [event_of(name) for name in names]
            data = aggregate(events) if subs else events[0]
            self.kinesis.put_record(StreamName=self.stream, PartitionKey="key", ExplicitHashKey=begin, Data=data)
            self.left.update(names)

    def shards(self) -> list[dict[str, Any]]:
        """ListShards."""
        rows: list[dict[str, Any]] = self.kinesis.list_shards(StreamName=self.stream)["Shards"]
        return sorted(rows, key=lambda row: row["ShardId"])

    def take(self, shard: int, record: int, sub: int) -> tuple[str, int]:
        """Process all before the given record, and its sub-records 0..sub, as the KCL; return the checkpoint."""
        iterator = self.kinesis.get_shard_iterator(
            StreamName=self.stream, ShardId=f"shardId-{shard:012d}", ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        read = self.kinesis.get_records(ShardIterator=iterator)["Records"][: record + 1]
        assert len(read) == record + 1
        for each in read:
            subs = deaggregate(each["Data"]) or [each["Data"]]
            for event in subs[: sub + 1] if each is read[-1] else subs:
                del self.left[json.loads(event)["id"]]
        return read[-1]["SequenceNumber"], sub


@pytest.mark.integration
def test_drain_takes_a_stream_over_from_the_kcl_without_loss_or_duplicates(
    kinesis_local_url: str, dynamodb_url: str, tmp_path: Path
) -> None:
    """Checkpoints within aggregates, an ended shard with children, a merge of which one parent is done."""
    name = f"s-{uuid.uuid4().hex[:8]}"
    kinesis = make_stream(kinesis_local_url, name, 3)
    producer = Producer(kinesis, name)
    for shard in range(3):
        producer.put(shard, 3)
        producer.put(shard, 3, subs=4)
    middle = str(int(producer.shards()[0]["HashKeyRange"]["EndingHashKey"]) // 2)
    kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=middle)
    wait_active(kinesis, name)
    kinesis.merge_shards(
        StreamName=name, ShardToMerge="shardId-000000000001", AdjacentShardToMerge="shardId-000000000002"
    )
    wait_active(kinesis, name)
    for shard in (3, 4, 5):
        producer.put(shard, 2, subs=3)
        producer.put(shard, 2)
    for shard in (0, 1):
        producer.take(shard, 5, 3)
    checkpoints = {
        2: producer.take(2, 4, 1),
        3: producer.take(3, 0, 0),
        4: producer.take(4, 2, 0),
    }
    dynamodb = client("dynamodb", dynamodb_url)
    dynamodb.create_table(
        TableName=f"kcl-{name}",
        KeySchema=[{"AttributeName": "leaseKey", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "leaseKey", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    for row in FIXTURE["rows"]:
        shard = int(row["leaseKey"]["S"][-1])
        if shard in checkpoints:
            sequence, sub = checkpoints[shard]
            row = row | {"checkpoint": {"S": sequence}, "checkpointSubSequenceNumber": {"N": str(sub)}}
        dynamodb.put_item(TableName=f"kcl-{name}", Item=row)
    site = Site(kinesis_local_url, name, (tmp_path / "out").as_uri(), tmp_path / "v.toml")
    site.configure()
    more = f'[coordination]\nmode = "dynamodb"\ntable = "kcl-{name}"\nendpoint_url = "{dynamodb_url}"\n'
    site.config.write_text(site.config.read_text() + more)
    site.drain()
    assert check_exactly_once(site, producer.left) == len(producer.left)
    producer.put(3, 2, subs=2)
    producer.put(5, 2, subs=2)
    site.drain()
    assert check_exactly_once(site, producer.left) == len(producer.left)
    verified = site.call("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
