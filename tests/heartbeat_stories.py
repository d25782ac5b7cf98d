"""Stories of a fleet whose workers send one heartbeat for many leases. Each fails where a rule of it is broken.

There are more leases than a worker renews in the failover time, so a lease lives by the others of its owner.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, cast

import msgspec

from tests.leased_fleet import FAILOVER, FleetWorld, Member, all_leave
from vortex.core.fleet.balance import Seen
from vortex.core.fleet.lease import Lease
from vortex.fleet.lease_holder import Held, Leases
from vortex.ports import LeaseTable

SHARDS = 16

Story = Callable[[], Coroutine[Any, Any, None]]


class OlderLeases(Leases):
    """As of an older version: it renews each of its leases, and judges each lease by its own counter."""

    async def look(self) -> list[Seen]:
        seen = await super().look()
        now = self._clock.monotonic()
        return [one._replace(unchanged_for_s=now - self._counters[one.lease.key][1]) for one in seen]

    def _turn(self) -> list[tuple[str, Held]]:
        return list(self.held.items())

    def is_fresh(self, shard: str) -> bool:
        held = self.held.get(shard)
        return held is not None and self._clock.monotonic() - held.renewed_at < self.failover_s


class _OlderTable:
    """Its tokens do not name the owner."""

    def __init__(self, table: LeaseTable) -> None:
        self._table = table

    def __getattr__(self, name: str) -> Any:
        return getattr(self._table, name)

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        return await self._table.take(lease, owner, token.rpartition("/")[2])


async def join_older(world: FleetWorld) -> Member:
    """Another worker, of an older version."""
    member = await world.join()
    leases: Any = cast(Any, member.fleet)._leases
    leases.__class__, leases._table = OlderLeases, _OlderTable(leases._table)
    return member


async def begun(members: int) -> tuple[FleetWorld, list[Member], Counter[str]]:
    """A fleet that has shared out its shards, and its counted writes to the table."""
    world = FleetWorld(shards=SHARDS, poll_s=5)
    calls: Counter[str] = Counter()

    async def counted(operation: str, key: str) -> None:
        calls[operation] += 1

    joined = [await world.join() for _ in range(members)]
    world.table.before = counted
    await world.run(6 * FAILOVER)
    calls.clear()
    return world, joined, calls


async def ended(world: FleetWorld, members: list[Member]) -> None:
    """All is published once."""
    await world.clock.sleep(600)
    await all_leave(members)
    await world.verified()


async def rest() -> None:
    """Each row is written once in ten failover times, and nobody takes a lease."""
    world, members, calls = await begun(3)
    counters = {key: row.counter for key, row in world.table.table.items()}
    await world.clock.sleep(12 * FAILOVER)
    assert calls["take"] == 0, "a live lease was taken"
    assert calls["renew"] + calls["checkpoint"] <= 3 * (3 * 12 + 1)
    assert all(row.counter > counters[key] for key, row in world.table.table.items())
    await ended(world, members)


async def older_joins() -> None:
    """An older worker beside this version takes its share, and no more."""
    world, members, calls = await begun(2)
    members.append(await join_older(world))
    await world.run(8 * FAILOVER)
    calls.clear()
    counters = {key: row.counter for key, row in world.table.table.items()}
    await world.clock.sleep(3 * FAILOVER)
    assert calls["take"] == 0, "a live lease was taken"
    assert sorted(world.owners().values()) == [5, 5, 6]
    often = all(row.counter >= counters[key] + 6 for key, row in world.table.table.items())
    assert often, "an older worker finds leases expired"
    await members.pop().leave()
    await world.run(3 * FAILOVER)
    calls.clear()
    await world.clock.sleep(6 * FAILOVER)
    assert calls["take"] == 0, "a live lease was taken"
    assert calls["renew"] + calls["checkpoint"] <= 2 * (3 * 6 + 1), "each is renewed, though the older one is gone"
    await ended(world, members)


async def newer_joins() -> None:
    """A worker of this version beside older ones, which leave one after the other."""
    world = FleetWorld(shards=SHARDS, poll_s=5)
    members = [await join_older(world) for _ in range(2)]
    await world.run(3 * FAILOVER)
    for _ in range(2):
        members.append(await world.join())
        await world.run(4 * FAILOVER)
        await members.pop(0).leave()
        await world.run(3 * FAILOVER)
    assert set(world.reads.values()) == {1}, "a record was read twice"
    assert sorted(world.owners().values()) == [8, 8]
    await ended(world, members)


async def another_joins() -> None:
    """The owner of a lease learns from its next look that another worker has taken it, and hands it over."""
    world, members, _ = await begun(2)
    members.append(await world.join())
    await world.run(FAILOVER + 2)
    assert len(members[2].fleet.workers) >= 5, "a handover comes late"
    await world.run(5 * FAILOVER)
    assert sorted(world.owners().values()) == [5, 5, 6]
    assert set(world.reads.values()) == {1}, "a record was read twice"
    await ended(world, members)


async def one_dies() -> None:
    """All of its shards are read again after the failover time and a look."""
    world, members, _ = await begun(2)
    died = world.clock.monotonic()
    await members.pop(0).kill()
    await world.run(3 * FAILOVER)
    assert world.longest_silence(died) < FAILOVER + 9, "the shards of a dead worker are not read"
    assert set(world.owners().values()) == {SHARDS}
    await ended(world, members)


async def cut_off() -> None:
    """A worker that cannot reach the table loses all of its leases, and the others keep theirs."""
    world, members, calls = await begun(2)
    members[0].link.cut = True
    await world.run(2 * FAILOVER)
    assert world.owners() == {members[1].owner: SHARDS}
    assert calls["take"] == SHARDS // 2
    members[0].link.cut = False
    await world.run(6 * FAILOVER)
    assert sorted(world.owners().values()) == [SHARDS // 2, SHARDS // 2]
    await ended(world, members)


async def unknown_lease() -> None:
    """A restored table shows a lease with a worker that has given the shard up: its heartbeats would keep the row."""
    world, members, _ = await begun(2)
    shard, row = next((k, r) for k, r in world.table.table.items() if r.owner == members[0].owner)
    other = members[1].owner
    world.table.table[shard] = msgspec.structs.replace(row, owner=other, token=f"{other}/old")
    members[1].fleet.given_up[shard] = "its log is broken"  # type: ignore[index]
    since = world.clock.monotonic()
    await world.run(5 * FAILOVER)
    assert world.longest_silence(since) < 2 * FAILOVER, "a shard is not read"
    assert sorted(world.owners().values()) == [SHARDS // 2, SHARDS // 2]
    await ended(world, members)


async def shard_ends() -> None:
    """Nothing is written to the lease of an ended shard after SHARD_END."""
    world, members, _ = await begun(2)
    first = world.stream.shards()[0]
    world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
    ends: list[str] = []

    async def watched(operation: str, key: str) -> None:
        if key == first.id:
            ends.append(world.table.table[key].checkpoint.sequence)

    world.table.after = watched
    await world.run(3 * FAILOVER)
    at = ends.index("SHARD_END")
    assert set(ends[at:]) == {"SHARD_END"}, "an ended shard's lease goes back"
    await ended(world, members)
