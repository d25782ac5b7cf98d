"""Rows of junk in the lease table: a shard is read whatever somebody wrote there."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from vortex.adapters.aws.exchange import Malformed
from vortex.adapters.dynamodb.lease_row import read_row, row_of, write_row
from vortex.adapters.dynamodb.table import DynamoTable
from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease
from vortex.ports import Unavailable

FREE = Lease("shard", None, 7, Checkpoint(TRIM_HORIZON), parents=("p",), start_hash=0, end_hash=9, stream=5)


@pytest.mark.parametrize(
    "junk",
    [
        {"throughputKBps": {"S": "fast"}},
        {"throughputKBps": {"N": "-5"}},
        {"throughputKBps": {"N": "1E+999"}},
        {"checkpointSubSequenceNumber": {"N": "-3"}},
        {"checkpointSubSequenceNumber": {"BOOL": True}},
        {"ownerSwitchesSinceCheckpoint": {"NULL": True}},
        {"parentShardId": {"S": "p"}},
        {"childShardIds": {"NS": ["1"]}},
        {"startingHashKey": {"S": "zero"}},
        {"endingHashKey": {"S": str(2**128)}},
        {"vortexToken": {"N": "5"}},
        {"checkpointOwner": {"L": []}},
        {"vortexStreamCreated": {"N": "1.5"}},
    ],
    ids=str,
)
def test_an_attribute_of_junk_counts_as_not_there(junk: dict[str, Any]) -> None:
    lease = read_row(write_row(FREE) | junk)
    assert lease is not None
    assert (lease.key, lease.owner, lease.counter, lease.checkpoint) == ("shard", None, 7, Checkpoint(TRIM_HORIZON))


JUNK: list[dict[str, Any]] = [
    {"leaseCounter": {"S": "seven"}},
    {"leaseCounter": {"N": "1.5"}},
    {"leaseCounter": {"N": "1E+37"}},
    {"leaseCounter": {"N": "9" * 30}},
    {"leaseOwner": {"N": "5"}},
    {"checkpoint": {"N": "5"}},
]


@pytest.mark.parametrize("junk", JUNK, ids=str)
def test_a_row_without_a_meaning_is_named(junk: dict[str, Any]) -> None:
    with pytest.raises(Malformed, match=r"row .*shard"):
        row_of(write_row(FREE) | junk)


class Table:
    """What DynamoDB does with one row, as far as conditions that name attributes with `=` or their absence go."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item

    async def scan(self, **_: Any) -> dict[str, Any]:
        return {"Items": [self.item]}

    async def update_item(self, **asked: Any) -> dict[str, Any]:
        names, values = asked["ExpressionAttributeNames"], asked["ExpressionAttributeValues"]
        for condition in asked["ConditionExpression"].split(" AND "):
            if condition.startswith("attribute_not_exists("):
                holds = names[condition[21:-1]] not in self.item
            else:
                name, value = condition.split(" = ")
                holds = self.item.get(names[name]) == values[value]
            if not holds:
                told = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": self.item}
                raise ClientError(told, "UpdateItem")
        words = asked["UpdateExpression"].replace(", ", " ").replace(" = ", "=").split(" ")
        doing = ""
        for word in words:
            if word in ("SET", "ADD", "REMOVE"):
                doing = word
            elif doing == "SET":
                name, value = word.split("=")
                self.item[names[name]] = values[value]
            elif doing == "REMOVE":
                self.item.pop(names[word], None)
        return {"Attributes": self.item}


@pytest.mark.parametrize("junk", JUNK, ids=str)
async def test_a_row_without_a_meaning_is_written_over(junk: dict[str, Any]) -> None:
    """It was a reply that makes no sense, asked for again for ever: the whole fleet stood still."""
    client = Table(write_row(FREE) | junk)
    table = DynamoTable(client, "leases")
    for _ in range(4):  # it might be the reply
        with pytest.raises(Unavailable, match=r"row .*shard"):
            await table.rows()
    assert await table.rows() == []
    fresh = Lease("shard", None, 0, Checkpoint(TRIM_HORIZON), stream=5)
    assert await table.create(fresh)
    assert await table.rows() == [fresh]
    taken = await table.take(fresh, "me", "token")
    assert taken is not None and taken.owner == "me"


async def test_a_row_that_has_a_meaning_is_not_written_over() -> None:
    client = Table(write_row(FREE))
    table = DynamoTable(client, "leases")
    assert not await table.create(Lease("shard", None, 0, Checkpoint(TRIM_HORIZON), stream=5))
    assert await table.rows() == [FREE]


@pytest.mark.parametrize("sequence", ["", "x", "-5", "1e5", "٣", "9" * 5000])
def test_a_checkpoint_of_junk_is_no_number(sequence: str) -> None:
    assert not Checkpoint(sequence).numbered
    assert not Checkpoint(sequence).ended
