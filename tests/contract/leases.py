"""Leases for tests of lease tables, and a table that loses replies."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from botocore.exceptions import ReadTimeoutError

from vortex.core.fleet.lease import TRIM_HORIZON, Checkpoint, Lease
from vortex.ports import LeaseTable, Unavailable

RACERS = 20


class FaultyTable:
    """A table that can lose its next replies: the write takes effect, and the caller gets no answer."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.table: LeaseTable
        self.lost = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def reply(self) -> None:
        """Called between an effect and its reply."""
        if self.lost:
            self.lost -= 1
            if (meanwhile := self.meanwhile) is not None:
                self.meanwhile = None
                await meanwhile()
            raise ReadTimeoutError(endpoint_url="table", error="lost") if self.kind == "dynamodb" else Unavailable("x")


class LossyClient:
    """A DynamoDB client that can lose the replies to its updates."""

    def __init__(self, client: Any, faulty: FaultyTable) -> None:
        self._client, self._faulty = client, faulty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def update_item(self, **arguments: Any) -> Any:
        """Make the call, and maybe lose its reply or error."""
        try:
            return await self._client.update_item(**arguments)
        finally:
            await self._faulty.reply()


def free(key: str = "shardId-000000000000") -> Lease:
    """A lease without an owner."""
    return Lease(
        key,
        owner=None,
        counter=0,
        checkpoint=Checkpoint(TRIM_HORIZON),
        parents=("shardId-000000000008", "shardId-000000000009"),
        start_hash=0,
        end_hash=2**128 - 1,
    )


async def row(table: LeaseTable, key: str = "shardId-000000000000") -> Lease:
    """The row as it is stored."""
    (found,) = [lease for lease in await table.rows() if lease.key == key]
    return found


async def held(table: LeaseTable, owner: str = "one", token: str = "t1") -> Lease:
    """A lease that `owner` has just taken."""
    await table.create(free())
    taken = await table.take(free(), owner, token)
    assert taken is not None
    return taken
