"""Single calls to the lease table, on a client in memory."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from vortex.adapters.dynamodb.calls import Refused, TableCalls
from vortex.adapters.dynamodb.lease_row import COUNTER, number, write_row
from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease
from vortex.ports import Denied, NotFound, Unavailable

ROW = Lease("shard", "they", 7, Checkpoint(TRIM_HORIZON))


class Refusing:
    """Refuses every update; GetItem shows the row."""

    def __init__(self, item: dict[str, Any], *, shows: bool) -> None:
        self.item, self.shows = item, shows
        self.read = 0

    async def update_item(self, **_: Any) -> None:
        shown = {"Item": self.item} if self.shows and self.item else {}
        raise ClientError({"Error": {"Code": "ConditionalCheckFailedException"}} | shown, "UpdateItem")

    async def get_item(self, **asked: Any) -> dict[str, Any]:
        assert asked["ConsistentRead"]
        self.read += 1
        return {"Item": self.item} if self.item else {}


@pytest.mark.parametrize("shows", [True, False])
@pytest.mark.parametrize("item", [write_row(ROW), {}])
async def test_update_shows_the_row_that_refused_it(item: dict[str, Any], shows: bool) -> None:
    """Read in another call if the server did not return it."""
    client = Refusing(item, shows=shows)
    with pytest.raises(Refused) as refused:
        await TableCalls(client, "leases", 1.0).update("shard", put={COUNTER: number(8)}, expect={COUNTER: number(6)})
    assert refused.value.found == (ROW if item else None)
    assert client.read == (0 if shows and item else 1)


async def test_update_shows_an_invalid_row_only_to_who_writes_over_it() -> None:
    junk = write_row(ROW) | {COUNTER: {"S": "seven"}}
    calls = TableCalls(Refusing(junk, shows=True), "leases", 1.0)
    with pytest.raises(Unavailable, match="leases"):
        await calls.update("shard", put={COUNTER: number(8)}, expect={COUNTER: number(6)})
    with pytest.raises(Refused) as refused:
        await calls.update("shard", put={COUNTER: number(8)}, expect={COUNTER: number(6)}, over_junk=True)
    assert (refused.value.found, refused.value.junk) == (None, junk)


@pytest.mark.parametrize(("operation", "meaning"), [("DescribeTable", NotFound), ("Scan", Denied)])
async def test_call_raises_not_found_only_for_the_table_itself(operation: str, meaning: type[Exception]) -> None:
    class Missing:
        async def describe_table(self, **_: Any) -> None:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, operation)

        scan = describe_table

    with pytest.raises(meaning):
        await TableCalls(Missing(), "leases", 1.0).call(operation, dict)
