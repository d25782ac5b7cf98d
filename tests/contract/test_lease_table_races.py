"""Races for leases, and replies that are lost: one suite for every lease table.

The fleet relies on each of these tests. They require the semantics of the KCL.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from tests.contract.leases import RACERS, FaultyTable, free, held, row
from vortex.core.fleet.lease import Checkpoint
from vortex.ports import LeaseTable, Unavailable

T = TypeVar("T")


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """Call as the fleet does: again while the outcome is unknown."""
    while True:
        with contextlib.suppress(Unavailable):
            return await call()


async def test_one_of_several_racing_takes_wins(table: LeaseTable) -> None:
    """For a free lease and an owned one. The counter increases by one."""
    await table.create(free())
    lease = free()
    for turn in range(5):
        won = await asyncio.gather(*(table.take(lease, f"w{n}", f"{turn}-{n}") for n in range(RACERS)))
        (winner,) = [taken for taken in won if taken is not None]
        assert winner == await row(table)
        assert winner.counter == turn + 1
        lease = winner


async def test_one_of_several_racing_creates_wins(table: LeaseTable) -> None:
    leases = [msgspec.structs.replace(free(), switches=n) for n in range(RACERS)]
    won = await asyncio.gather(*map(table.create, leases))
    assert won.count(True) == 1
    assert await row(table) == leases[won.index(True)]


async def test_one_of_a_racing_heartbeat_and_takes_wins(table: LeaseTable) -> None:
    """The call that returns a lease is the one that holds it."""
    lease = await held(table)
    for turn in range(10):
        written = await asyncio.gather(
            table.renew(lease), *(table.take(lease, f"w{n}", f"{turn}-{n}") for n in range(RACERS))
        )
        (winner,) = [one for one in written if one is not None]
        assert winner == await row(table)
        lease = winner


async def test_writes_succeed_when_their_replies_are_lost(faulty: FaultyTable) -> None:
    """KCL issues 2 and 59: the second attempt fails on the effect of the first, so it must read the row."""
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
    written = await retried(lambda: table.checkpoint(renewed, Checkpoint("42"), children=("a",)))
    assert written == await row(table)
    assert (written.checkpoint, written.children) == (Checkpoint("42"), ("a",))
    faulty.lost = 2
    released = await retried(lambda: table.release(written))
    assert released == await row(table)
    assert released.owner is None
    assert faulty.lost == 0


async def test_create_with_an_owner_succeeds_when_its_reply_is_lost(faulty: FaultyTable) -> None:
    """Its token proves it. Without an owner the call reports that the row exists."""
    lease = msgspec.structs.replace(free(), owner="one", token="t1")
    faulty.lost = 1
    assert await retried(lambda: faulty.table.create(lease))
    faulty.lost = 1
    assert not await retried(lambda: faulty.table.create(free("another")))


async def test_writes_return_none_when_the_reply_is_lost_and_the_lease_is_stolen(faulty: FaultyTable) -> None:
    """Between the write and the second attempt."""
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
