"""One suite for every lease table: memory, and DynamoDB (ministack, whose conditional writes are atomic).

The fleet relies on each line of it; the KCL's own semantics are what is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError

from simulation.memtable import MemoryTable
from vortex.adapters.dynamodb.table import DynamoTable, open_dynamo_table
from vortex.core.fleet.lease import SHARD_END, TRIM_HORIZON, Checkpoint, Lease
from vortex.ports import LeaseTable, Unavailable

RACERS = 20
T = TypeVar("T")


class Faulty:
    """A table whose next replies may be lost: the write takes effect, and nobody is told."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.table: LeaseTable
        self.lost = 0
        self.meanwhile: Callable[[], Awaitable[object]] | None = None

    async def reply(self) -> None:
        """Between an effect and its reply."""
        if self.lost:
            self.lost -= 1
            if (meanwhile := self.meanwhile) is not None:
                self.meanwhile = None
                await meanwhile()
            raise ReadTimeoutError(endpoint_url="table", error="lost") if self.kind == "dynamodb" else Unavailable("x")


class LossyClient:
    """A DynamoDB client whose updates may lose their replies."""

    def __init__(self, client: Any, faulty: Faulty) -> None:
        self._client, self._faulty = client, faulty

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def update_item(self, **arguments: Any) -> Any:
        """The call, and perhaps no reply, be it good or bad."""
        try:
            return await self._client.update_item(**arguments)
        finally:
            await self._faulty.reply()


@pytest.fixture(params=["memory", "dynamodb"])
async def faulty(request: pytest.FixtureRequest) -> AsyncIterator[Faulty]:
    """A fresh table of each kind."""
    faulty = Faulty(request.param)
    if request.param == "memory":

        async def after(operation: str, key: str) -> None:
            if key:
                await faulty.reply()

        faulty.table = MemoryTable(after=after)
        yield faulty
        return
    url = request.getfixturevalue("dynamodb_url")
    async with open_dynamo_table(f"t-{uuid.uuid4().hex}", region="us-east-1", endpoint_url=url) as opened:
        await opened.ensure()
        faulty.table = DynamoTable(LossyClient(opened._client, faulty), opened._table)
        yield faulty


@pytest.fixture
def table(faulty: Faulty) -> LeaseTable:
    """The table by itself."""
    return faulty.table


def free(key: str = "shardId-000000000000") -> Lease:
    """A lease that nobody has yet."""
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
    """The row as it stands."""
    (found,) = [lease for lease in await table.rows() if lease.key == key]
    return found


async def held(table: LeaseTable, owner: str = "one", token: str = "t1") -> Lease:
    """A lease that `owner` has just taken."""
    await table.create(free())
    taken = await table.take(free(), owner, token)
    assert taken is not None
    return taken


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """As the fleet calls: again, where the outcome is unknown."""
    while True:
        with contextlib.suppress(Unavailable):
            return await call()


async def test_what_was_created_is_read(table: LeaseTable) -> None:
    """With every field; `ensure` may be called again and again."""
    lease = msgspec.structs.replace(
        free(),
        owner="one",
        token="t",
        counter=7,
        checkpoint=Checkpoint("49590338271490256608559692538361571095921575989136588898", 12),
        switches=3,
        children=("shardId-000000000010", "shardId-000000000011"),
        throughput=12.5,
    )
    assert await table.create(lease)
    await table.ensure()
    assert await table.rows() == [lease]
    assert await row(table) == lease


async def test_a_second_create_changes_nothing(table: LeaseTable) -> None:
    """Whatever it says."""
    assert await table.create(free())
    assert not await table.create(msgspec.structs.replace(free(), checkpoint=Checkpoint(SHARD_END)))
    assert await row(table) == free()


async def test_a_row_of_an_earlier_stream_is_written_over(table: LeaseTable) -> None:
    """Whole, and once; its owner has lost it. What does not tell its stream is left alone."""
    old = msgspec.structs.replace(
        free(), owner="one", token="t", counter=9, checkpoint=Checkpoint(SHARD_END), children=("c",), stream=1_000
    )
    new = msgspec.structs.replace(free(), parents=(), start_hash=None, end_hash=None, stream=2_000)
    assert await table.create(old)
    assert not await table.create(free()), "it may be of the same stream"
    won = await asyncio.gather(*(table.create(new) for _ in range(RACERS)))
    assert won.count(True) == 1
    assert await row(table) == new
    assert await table.renew(old) is None
    assert await table.checkpoint(old, Checkpoint("1")) is None
    assert not await table.create(msgspec.structs.replace(new, switches=1))
    await table.create(free("a row of the KCL"))
    assert not await table.create(msgspec.structs.replace(new, key="a row of the KCL"))


async def test_a_lease_is_the_streams_from_when_it_was_taken(table: LeaseTable) -> None:
    """So a row that the KCL made becomes one that tells its stream."""
    await table.create(free())
    taken = await table.take(msgspec.structs.replace(free(), stream=1_000), "one", "t")
    assert taken is not None
    assert taken.stream == 1_000
    renewed = await table.renew(taken)
    assert renewed is not None
    assert (await row(table)).stream == 1_000


async def test_many_rows_are_all_read(table: LeaseTable) -> None:
    """Each once."""
    keys = {f"shardId-{n:012d}" for n in range(300)}
    await asyncio.gather(*(table.create(free(key)) for key in keys))
    found = [lease.key for lease in await table.rows()]
    assert len(found) == 300
    assert set(found) == keys


async def test_the_life_of_a_lease(table: LeaseTable) -> None:
    """Take, heartbeat, checkpoint, release; each write moves the counter by one, and tells the row as it became."""
    lease = await held(table)
    assert lease == msgspec.structs.replace(free(), owner="one", token="t1", counter=1)
    renewed = await table.renew(lease)
    assert renewed == msgspec.structs.replace(lease, counter=2) == await row(table)
    told = await table.checkpoint(renewed, Checkpoint("42", 3))
    assert told == msgspec.structs.replace(lease, counter=3, checkpoint=Checkpoint("42", 3)) == await row(table)
    given = await table.release(told)
    assert given == msgspec.structs.replace(told, owner=None, token="", counter=4) == await row(table)


async def test_a_steal_counts_as_a_switch_until_the_next_checkpoint(table: LeaseTable) -> None:
    """The old owner's writes are refused from then on, whatever they are."""
    first = await held(table)
    second = await table.take(first, "two", "t2")
    assert second == msgspec.structs.replace(
        first, owner="two", token="t2", counter=2, switches=1, previous_owner="one"
    )
    assert await table.renew(first) is None
    assert await table.checkpoint(first, Checkpoint("42")) is None
    assert await row(table) == second
    told = await table.checkpoint(second, Checkpoint("43"))
    assert told is not None
    assert (told.switches, told.counter) == (0, 3)


async def test_the_one_that_it_was_taken_from_tells_when_it_has_committed(table: LeaseTable) -> None:
    """By its release, which is no heartbeat; a thief's thief waits for the last owner alone."""
    first = await held(table)
    second = await table.take(first, "two", "t2")
    assert second is not None
    assert await table.release(first) is None
    assert await row(table) == msgspec.structs.replace(second, previous_owner=None)
    renewed = await table.renew(second)
    assert renewed == await row(table)
    assert renewed is not None
    third = await table.take(renewed, "three", "t3")
    assert third is not None
    assert await table.release(first) is None
    assert (await row(table)).previous_owner == "two"
    told = await table.checkpoint(third, Checkpoint("42"))
    assert told is not None
    assert told.previous_owner == "two"
    given = await table.release(told)
    assert given is not None
    assert (given.owner, given.previous_owner) == (None, None)


async def test_a_free_lease_is_no_switch(table: LeaseTable) -> None:
    """Nor is taking one's own again."""
    lease = await held(table)
    given = await table.release(lease)
    assert given is not None
    again = await table.take(given, "two", "t2")
    assert again is not None
    same = await table.take(again, "two", "t3")
    assert same is not None
    assert (same.owner, same.token, same.switches) == ("two", "t3", 0)


async def test_the_end_of_a_shard(table: LeaseTable) -> None:
    """With its children, which stay on the row."""
    lease = await held(table)
    ended = await table.checkpoint(lease, Checkpoint(SHARD_END), children=("b", "a"))
    assert ended is not None
    assert ended.checkpoint.ended
    assert ended.children == ("a", "b")
    again = await table.checkpoint(ended, Checkpoint(SHARD_END))
    assert again is not None
    assert again.children == ("a", "b")


async def test_an_own_heartbeat_invalidates_no_own_checkpoint(table: LeaseTable) -> None:
    """Nor the other way round: the acquisition counts, not the counter."""
    lease = await held(table)
    for _ in range(3):
        assert await table.renew(lease) is not None
    told = await table.checkpoint(lease, Checkpoint("42"))
    assert told is not None
    assert told.checkpoint == Checkpoint("42")
    assert await table.renew(lease) == await row(table)
    assert (await row(table)).checkpoint == Checkpoint("42")


async def test_an_old_acquisition_of_the_same_owner_is_over(table: LeaseTable) -> None:
    """A write that was on its way for long must not pass for one of today."""
    first = await held(table)
    given = await table.release(first)
    assert given is not None
    second = await table.take(given, "one", "t2")
    assert await table.renew(first) is None
    assert await table.checkpoint(first, Checkpoint("1")) is None
    assert await table.release(first) is None
    assert await row(table) == second


async def test_throughput_is_told_with_the_heartbeat(table: LeaseTable) -> None:
    """Where it is known; otherwise the last one stays."""
    lease = await held(table)
    told = await table.renew(msgspec.structs.replace(lease, throughput=3.25))
    assert told is not None
    assert told.throughput == 3.25
    again = await table.renew(msgspec.structs.replace(told, throughput=None))
    assert again is not None
    assert again.throughput == 3.25


async def test_of_racing_takes_one_wins(table: LeaseTable) -> None:
    """Free or not; the counter moves by one."""
    await table.create(free())
    lease = free()
    for turn in range(5):
        won = await asyncio.gather(*(table.take(lease, f"w{n}", f"{turn}-{n}") for n in range(RACERS)))
        (winner,) = [taken for taken in won if taken is not None]
        assert winner == await row(table)
        assert winner.counter == turn + 1
        lease = winner


async def test_of_racing_creates_one_wins(table: LeaseTable) -> None:
    """Exactly one True."""
    leases = [msgspec.structs.replace(free(), switches=n) for n in range(RACERS)]
    won = await asyncio.gather(*map(table.create, leases))
    assert won.count(True) == 1
    assert await row(table) == leases[won.index(True)]


async def test_owner_and_thief_never_both_go_on(table: LeaseTable) -> None:
    """A heartbeat against steals: whoever is told a lease is who has it."""
    lease = await held(table)
    for turn in range(10):
        told = await asyncio.gather(
            table.renew(lease), *(table.take(lease, f"w{n}", f"{turn}-{n}") for n in range(RACERS))
        )
        (winner,) = [one for one in told if one is not None]
        assert winner == await row(table)
        lease = winner


async def test_a_row_that_is_gone_is_lost(faulty: Faulty) -> None:
    """The KCL deletes rows of shards that are no more."""
    table, lease = faulty.table, free()
    assert await table.take(lease, "one", "t") is None
    mine = msgspec.structs.replace(lease, owner="one", token="t")
    assert await table.renew(mine) is None
    assert await table.checkpoint(mine, Checkpoint("1")) is None
    assert await table.release(mine) is None
    assert await table.rows() == []


async def test_lost_replies_lose_no_lease(faulty: Faulty) -> None:
    """KCL issues 2 and 59: the second try fails on the first one's effect, and must look before it believes that."""
    table = faulty.table
    await table.create(free())
    faulty.lost = 2
    lease = await retried(lambda: table.take(free(), "one", "t1"))
    assert lease == await row(table)
    assert (lease.owner, lease.counter) == ("one", 1)
    faulty.lost = 2
    renewed = await retried(lambda: table.renew(lease))
    assert renewed == await row(table)
    assert renewed.owner == "one"
    faulty.lost = 2
    told = await retried(lambda: table.checkpoint(renewed, Checkpoint("42"), children=("a",)))
    assert told == await row(table)
    assert (told.checkpoint, told.children) == (Checkpoint("42"), ("a",))
    faulty.lost = 2
    given = await retried(lambda: table.release(told))
    assert given == await row(table)
    assert given.owner is None
    assert faulty.lost == 0


async def test_a_lost_reply_of_an_owned_create_is_mine(faulty: Faulty) -> None:
    """By its token; without one nobody can tell, and it says that the row is there."""
    lease = msgspec.structs.replace(free(), owner="one", token="t1")
    faulty.lost = 1
    assert await retried(lambda: faulty.table.create(lease))
    faulty.lost = 1
    assert not await retried(lambda: faulty.table.create(free("another")))


async def test_a_lost_reply_and_a_thief_is_a_loss(faulty: Faulty) -> None:
    """What was stolen between the write and the second try is not taken for mine."""
    table = faulty.table
    lease = await held(table)

    async def steal() -> None:
        assert await table.take(await row(table), "two", f"t-{uuid.uuid4().hex}") is not None

    faulty.lost, faulty.meanwhile = 1, steal
    assert await retried(lambda: table.renew(lease)) is None
    assert (await row(table)).owner == "two"
    lease = await row(table)
    faulty.lost, faulty.meanwhile = 1, steal
    assert await retried(lambda: table.take(lease, "one", "t2")) is None
    assert (await row(table)).owner == "two"


async def test_a_table_restored_to_an_earlier_state(faulty: Faulty) -> None:
    """The counter may come round to one's own again while another owner holds the row: that is no renewal."""
    table = faulty.table
    await table.create(msgspec.structs.replace(free(), owner="before", token="t0", counter=2))
    ghost = msgspec.structs.replace(free(), owner="one", token="t1", counter=2)
    assert await table.renew(ghost) is None
    assert await table.checkpoint(ghost, Checkpoint("1")) is None
    assert await table.take(ghost, "one", "t2") is None
    assert (await row(table)).owner == "before"
