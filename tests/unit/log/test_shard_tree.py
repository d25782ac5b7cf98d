"""Which shards may begin."""

from __future__ import annotations

import msgspec

from tests.leased_fleet import FleetWorld, all_leave, scenario
from vortex.core.fleet.lease import SHARD_END, Checkpoint


def test_fleet_holds_a_child_back_until_a_parent_without_a_lease_has_ended() -> None:
    """Resharded twice before the start: half of a split is merged with a root, which ends before the split does."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        first, second = world.stream.shards()
        _, right = world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        world.stream.merge(right, second.id)
        world.stream.put("x", b'{"c": "a", "t": "v", "id": "x"}')
        world.sent["x"] += 1
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        assert [member.fleet.given_up for member in members] == [{}, {}]
        assert sorted(world.owners().values()) == [1, 1]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_fleet_reads_a_child_to_its_end_though_another_application_has_ended_its_row() -> None:
    """A KCL application that was not stopped has read the child: its row names children, but the log has no end."""

    async def main() -> None:
        world = FleetWorld(shards=1)
        member = await world.join()
        await world.run(30)
        child, _ = world.stream.split(world.stream.shards()[0].id, 1 << 127)
        await world.run(60)
        await member.leave()
        await world.run(60)
        children = world.stream.split(child, 1 << 126)
        await world.run(60)
        row = world.table.table[child]
        ended = msgspec.structs.replace(
            row, owner=None, checkpoint=Checkpoint(SHARD_END), children=children, counter=row.counter + 5
        )
        world.table.table[child] = ended
        for shard, bounds in zip(children, ((0, (1 << 126) - 1), (1 << 126, (1 << 127) - 1)), strict=True):
            world.table.table[shard] = msgspec.structs.replace(
                ended,
                key=shard,
                parents=(child,),
                children=(),
                checkpoint=Checkpoint("TRIM_HORIZON"),
                start_hash=bounds[0],
                end_hash=bounds[1],
            )
        members = [await world.join() for _ in range(2)]
        await world.run(120)
        assert [member.fleet.given_up for member in members] == [{}, {}]
        await world.clock.sleep(3600)
        await all_leave(members)
        await world.verified()

    scenario(main())
