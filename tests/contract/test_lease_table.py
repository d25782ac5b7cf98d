"""One suite for every lease table: memory, and DynamoDB.

The fleet relies on each of these tests. They require the semantics of the KCL.
"""

from __future__ import annotations

import asyncio

import msgspec

from tests.contract.leases import RACERS, FaultyTable, free, held, row
from vortex.core.fleet.lease import SHARD_END, Checkpoint
from vortex.ports import LeaseTable


async def test_rows_returns_a_created_lease_with_every_field(table: LeaseTable) -> None:
    """`ensure` can be called repeatedly."""
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


async def test_create_changes_nothing_when_the_row_exists(table: LeaseTable) -> None:
    assert await table.create(free())
    assert not await table.create(msgspec.structs.replace(free(), checkpoint=Checkpoint(SHARD_END)))
    assert await row(table) == free()


async def test_create_replaces_a_row_of_an_earlier_stream_once(table: LeaseTable) -> None:
    """The old owner loses it. A row without a stream is not replaced."""
    old = msgspec.structs.replace(
        free(), owner="one", token="t", counter=9, checkpoint=Checkpoint(SHARD_END), children=("c",), stream=1_000
    )
    new = msgspec.structs.replace(free(), parents=(), start_hash=None, end_hash=None, stream=2_000)
    assert await table.create(old)
    assert not await table.create(free()), "it may belong to the same stream"
    won = await asyncio.gather(*(table.create(new) for _ in range(RACERS)))
    assert won.count(True) == 1
    assert await row(table) == new
    assert await table.renew(old) is None
    assert await table.checkpoint(old, Checkpoint("1")) is None
    assert not await table.create(msgspec.structs.replace(new, switches=1))
    await table.create(free("a row of the KCL"))
    assert not await table.create(msgspec.structs.replace(new, key="a row of the KCL"))


async def test_take_adds_stream_and_store_to_a_row_without_them(table: LeaseTable) -> None:
    """Such as a row that the KCL created."""
    await table.create(free())
    taken = await table.take(msgspec.structs.replace(free(), stream=1_000, store="a store"), "one", "t")
    assert taken is not None
    assert (taken.stream, taken.store) == (1_000, "a store")
    renewed = await table.renew(taken)
    assert renewed is not None
    assert ((await row(table)).stream, (await row(table)).store) == (1_000, "a store")


async def test_rows_returns_each_of_many_rows_once(table: LeaseTable) -> None:
    keys = {f"shardId-{n:012d}" for n in range(300)}
    await asyncio.gather(*(table.create(free(key)) for key in keys))
    found = [lease.key for lease in await table.rows()]
    assert len(found) == 300
    assert set(found) == keys


async def test_each_write_increments_the_counter_and_returns_the_new_row(table: LeaseTable) -> None:
    """Take, heartbeat, checkpoint, release."""
    lease = await held(table)
    assert lease == msgspec.structs.replace(free(), owner="one", token="t1", counter=1)
    renewed = await table.renew(lease)
    assert renewed == msgspec.structs.replace(lease, counter=2) == await row(table)
    written = await table.checkpoint(renewed, Checkpoint("42", 3))
    assert written == msgspec.structs.replace(lease, counter=3, checkpoint=Checkpoint("42", 3)) == await row(table)
    released = await table.release(written)
    assert released == msgspec.structs.replace(written, owner=None, token="", counter=4) == await row(table)


async def test_take_counts_a_switch_until_the_next_checkpoint(table: LeaseTable) -> None:
    """From then on all writes of the old owner are refused."""
    first = await held(table)
    second = await table.take(first, "two", "t2")
    assert second == msgspec.structs.replace(
        first, owner="two", token="t2", counter=2, switches=1, previous_owner="one"
    )
    assert await table.renew(first) is None
    assert await table.checkpoint(first, Checkpoint("42")) is None
    assert await row(table) == second
    written = await table.checkpoint(second, Checkpoint("43"))
    assert written is not None
    assert (written.switches, written.counter) == (0, 3)


async def test_release_by_the_previous_owner_clears_its_name_from_the_row(table: LeaseTable) -> None:
    """That is not a heartbeat. After a second steal only the last owner is waited for."""
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
    written = await table.checkpoint(third, Checkpoint("42"))
    assert written is not None
    assert written.previous_owner == "two"
    released = await table.release(written)
    assert released is not None
    assert (released.owner, released.previous_owner) == (None, None)


async def test_take_counts_no_switch_for_a_free_lease_or_the_same_owner(table: LeaseTable) -> None:
    lease = await held(table)
    released = await table.release(lease)
    assert released is not None
    again = await table.take(released, "two", "t2")
    assert again is not None
    same = await table.take(again, "two", "t3")
    assert same is not None
    assert (same.owner, same.token, same.switches) == ("two", "t3", 0)


async def test_checkpoint_keeps_the_children_of_an_ended_shard(table: LeaseTable) -> None:
    lease = await held(table)
    ended = await table.checkpoint(lease, Checkpoint(SHARD_END), children=("b", "a"))
    assert ended is not None
    assert ended.checkpoint.ended
    assert ended.children == ("a", "b")
    again = await table.checkpoint(ended, Checkpoint(SHARD_END))
    assert again is not None
    assert again.children == ("a", "b")


async def test_checkpoint_succeeds_after_the_owners_own_heartbeats(table: LeaseTable) -> None:
    """And the other way round: writes depend on the acquisition, not on the counter."""
    lease = await held(table)
    for _ in range(3):
        assert await table.renew(lease) is not None
    written = await table.checkpoint(lease, Checkpoint("42"))
    assert written is not None
    assert written.checkpoint == Checkpoint("42")
    assert await table.renew(lease) == await row(table)
    assert (await row(table)).checkpoint == Checkpoint("42")


async def test_writes_with_an_earlier_acquisition_of_the_same_owner_are_refused(table: LeaseTable) -> None:
    """A delayed write must not be taken for a current one."""
    first = await held(table)
    released = await table.release(first)
    assert released is not None
    second = await table.take(released, "one", "t2")
    assert await table.renew(first) is None
    assert await table.checkpoint(first, Checkpoint("1")) is None
    assert await table.release(first) is None
    assert await row(table) == second


async def test_renew_writes_the_throughput_when_it_is_known(table: LeaseTable) -> None:
    """Otherwise the last value stays."""
    lease = await held(table)
    written = await table.renew(msgspec.structs.replace(lease, throughput=3.25))
    assert written is not None
    assert written.throughput == 3.25
    again = await table.renew(msgspec.structs.replace(written, throughput=None))
    assert again is not None
    assert again.throughput == 3.25


async def test_writes_return_none_when_the_row_is_deleted(faulty: FaultyTable) -> None:
    """The KCL deletes the rows of ended shards."""
    table, lease = faulty.table, free()
    assert await table.take(lease, "one", "t") is None
    mine = msgspec.structs.replace(lease, owner="one", token="t")
    assert await table.renew(mine) is None
    assert await table.checkpoint(mine, Checkpoint("1")) is None
    assert await table.release(mine) is None
    assert await table.rows() == []


async def test_writes_are_refused_when_a_restored_row_has_the_counter_but_another_owner(faulty: FaultyTable) -> None:
    table = faulty.table
    await table.create(msgspec.structs.replace(free(), owner="before", token="t0", counter=2))
    ghost = msgspec.structs.replace(free(), owner="one", token="t1", counter=2)
    assert await table.renew(ghost) is None
    assert await table.checkpoint(ghost, Checkpoint("1")) is None
    assert await table.take(ghost, "one", "t2") is None
    assert (await row(table)).owner == "before"


async def test_remove_deletes_a_row_only_if_it_is_as_it_was_read(faulty: FaultyTable) -> None:
    """A heartbeat, another owner or another checkpoint since then keeps the row."""
    table = faulty.table
    mine = await held(table)
    beaten = await table.renew(mine)
    assert beaten is not None
    assert not await table.remove(mine)
    assert not await table.remove(msgspec.structs.replace(beaten, owner=None))
    assert not await table.remove(msgspec.structs.replace(beaten, checkpoint=Checkpoint(SHARD_END)))
    assert await row(table) == beaten
    assert await table.remove(beaten)
    assert await table.rows() == []
    assert not await table.remove(beaten), "there is none"
