"""Taking over a stream from a KCL application: what it processed is not read again, everything else is."""

from __future__ import annotations

import json

import pytest

from simulation import vtime
from tests.kpl import aggregate
from tests.loops import World
from vortex.core.decode.kpl import deaggregate
from vortex.core.fleet.lease import SHARD_END, TRIM_HORIZON, Checkpoint, Lease
from vortex.core.model import ShardInfo


class KclApplication:
    """A KCL application in a world: it processes a shard up to some sub-record, and leaves its lease rows."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._made = 0

    def put(self, shard: ShardInfo, number: int, *, subs: int = 0) -> None:
        """Events, plain or in aggregates of `subs`."""
        for _ in range(number):
            names = [f"id{self._made + n}" for n in range(max(subs, 1))]
            self._made += len(names)
            events = [json.dumps({"c": "a", "t": "v", "id": name}).encode() for name in names]
            data = aggregate(events) if subs else events[0]
            self.world.stream.put("key", data, explicit_hash=shard.start_hash)
            self.world.sent.update(names)

    def take(self, shard: ShardInfo, record: int, sub: int) -> Checkpoint:
        """Process all before the given record, and its sub-records 0..sub: they must not be read again."""
        read = self.world.stream.records(shard.id)[: record + 1]
        for each in read:
            subs = deaggregate(each.data) or [each.data]
            for event in subs[: sub + 1] if each is read[-1] else subs:
                del self.world.sent[json.loads(event)["id"]]
        return Checkpoint(read[-1].sequence, sub)

    async def leave(self, rows: dict[str, Checkpoint]) -> None:
        """The table of a worker that was killed."""
        for key, checkpoint in rows.items():
            await self.world.table.create(Lease(key, "kcl-1", 9, checkpoint))


@pytest.mark.parametrize("killed", [False, True])
def test_takeover_continues_each_shard_at_its_kcl_checkpoint(killed: bool) -> None:
    """Within an aggregate, after a plain record, at the start; also when the first worker dies early."""

    async def scenario() -> None:
        world = World(shards=3)
        kcl = KclApplication(world)
        first, second, third = world.stream.shards()
        for shard in (first, second, third):
            kcl.put(shard, 4, subs=5)
            kcl.put(shard, 4)
        rows = {
            first.id: kcl.take(first, 2, 1),
            second.id: kcl.take(second, 5, 0),
            third.id: Checkpoint(TRIM_HORIZON),
        }
        await kcl.leave(rows)
        worker = await world.begin()
        await world.clock.sleep(1)
        if killed:
            await worker.kill()
            worker = await world.begin()
        await world.clock.sleep(60)
        kcl.put(first, 3, subs=2)
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_takeover_of_a_merge_waits_for_the_parent_that_has_not_ended() -> None:
    """The child is read from its beginning."""

    async def scenario() -> None:
        world = World(shards=2)
        kcl = KclApplication(world)
        low, high = world.stream.shards()
        for shard in (low, high):
            kcl.put(shard, 6, subs=3)
        world.stream.merge(low.id, high.id)
        child = world.stream.shards()[-1]
        kcl.put(child, 5)
        kcl.take(low, 5, 2)
        rows = {low.id: Checkpoint(SHARD_END), high.id: kcl.take(high, 3, 1), child.id: Checkpoint(TRIM_HORIZON)}
        await kcl.leave(rows)
        worker = await world.begin()
        assert {root.shard.id for root in worker.state.roots} == {low.id, high.id}
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_takeover_starts_children_of_an_ended_shard_at_their_checkpoint_or_beginning() -> None:
    async def scenario() -> None:
        world = World(shards=1)
        kcl = KclApplication(world)
        (parent,) = world.stream.shards()
        kcl.put(parent, 3)
        kcl.take(parent, 2, 0)
        world.stream.split(parent.id, 2**127)
        left, right = world.stream.shards()[1:]
        kcl.put(left, 4, subs=2)
        kcl.put(right, 4, subs=2)
        await kcl.leave({parent.id: Checkpoint(SHARD_END), left.id: kcl.take(left, 1, 0)})
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_second_start_ignores_the_lease_table() -> None:
    """The log counts from then on."""

    async def scenario() -> None:
        world = World(shards=1)
        worker = await world.begin()
        world.put("before")
        await world.clock.sleep(120)
        await worker.kill()
        (shard,) = world.stream.shards()
        await KclApplication(world).leave({shard.id: Checkpoint("99999")})
        world.put("after")
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_takeover_ignores_the_table_of_an_earlier_stream_of_the_name() -> None:
    """The shards of that stream had the same ids."""

    async def scenario() -> None:
        world = World(shards=1)
        worker = await world.begin()
        world.put("old")
        await world.clock.sleep(600)
        await worker.kill()
        world.stream.delete()
        await world.clock.sleep(2)
        world.stream.recreate(1)
        await KclApplication(world).leave({"shardId-000000000000": Checkpoint("99999")})
        worker = await world.begin()
        world.put("new")
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())
