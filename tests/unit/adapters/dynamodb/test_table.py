"""The DynamoDB lease table, on a client in memory."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from vortex.adapters.dynamodb.lease_row import write_row
from vortex.adapters.dynamodb.table import DynamoTable
from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease
from vortex.ports import Unavailable

FREE = Lease("shard", None, 7, Checkpoint(TRIM_HORIZON), parents=("p",), start_hash=0, end_hash=9, stream=5, store="s")
JUNK: list[dict[str, Any]] = [
    {"leaseCounter": {"S": "seven"}},
    {"leaseCounter": {"N": "1.5"}},
    {"leaseCounter": {"N": "1E+37"}},
    {"leaseCounter": {"N": "9" * 30}},
    {"leaseOwner": {"N": "5"}},
    {"checkpoint": {"N": "5"}},
]


class FakeTable:
    """One row of DynamoDB, with conditions that compare by `=` or require absence."""

    def __init__(self, item: dict[str, Any]) -> None:
        self.item = item

    async def scan(self, **_: Any) -> dict[str, Any]:
        return {"Items": [self.item]}

    async def delete_item(self, **asked: Any) -> dict[str, Any]:
        self._check(asked)
        gone, self.item = self.item, {}
        return {"Attributes": gone}

    def _check(self, asked: dict[str, Any]) -> None:
        names, values = asked["ExpressionAttributeNames"], asked["ExpressionAttributeValues"]
        for condition in asked["ConditionExpression"].split(" AND "):
            if condition.startswith("attribute_not_exists("):
                holds = names[condition[21:-1]] not in self.item
            else:
                name, value = condition.split(" = ")
                holds = self.item.get(names[name]) == values[value]
            if not holds:
                error = {"Error": {"Code": "ConditionalCheckFailedException"}, "Item": self.item}
                raise ClientError(error, "UpdateItem")

    async def update_item(self, **asked: Any) -> dict[str, Any]:
        self._check(asked)
        names, values = asked["ExpressionAttributeNames"], asked["ExpressionAttributeValues"]
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
async def test_table_overwrites_an_invalid_row(junk: dict[str, Any]) -> None:
    """It used to count as a malformed reply and was requested again without end: the whole fleet stopped."""
    client = FakeTable(write_row(FREE) | junk)
    table = DynamoTable(client, "leases")
    for _ in range(4):  # the fault may be in the reply
        with pytest.raises(Unavailable, match=r"row .*shard"):
            await table.rows()
    assert await table.rows() == []
    fresh = Lease("shard", None, 0, Checkpoint(TRIM_HORIZON), stream=5)
    assert await table.create(fresh)
    assert await table.rows() == [fresh]
    taken = await table.take(fresh, "me", "token")
    assert taken is not None and taken.owner == "me"


async def test_table_does_not_overwrite_a_valid_row() -> None:
    client = FakeTable(write_row(FREE))
    table = DynamoTable(client, "leases")
    assert not await table.create(Lease("shard", None, 0, Checkpoint(TRIM_HORIZON), stream=5))
    assert await table.rows() == [FREE]


async def test_table_takes_and_removes_a_lease_whose_owner_is_an_empty_name() -> None:
    """An operator clears the name of a dead owner in the console. It used to count as absent, and nobody could take
    the lease.
    """
    client = FakeTable(write_row(FREE) | {"leaseOwner": {"S": ""}})
    table = DynamoTable(client, "leases")
    (cleared,) = await table.rows()
    taken = await table.take(cleared, "me", "token")
    assert taken is not None and (taken.owner, taken.token) == ("me", "token")
    client.item = write_row(FREE) | {"leaseOwner": {"S": ""}}
    assert await table.remove(cleared)
