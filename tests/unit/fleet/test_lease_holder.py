"""A fleet on a lease table that is older than its stream, or was written by the KCL: which rows are believed."""

from __future__ import annotations

from tests.leased_fleet import FleetWorld, all_leave, scenario
from vortex.core.fleet.lease import Checkpoint, Lease


def test_fleet_ignores_rows_of_an_earlier_stream_of_the_same_name() -> None:
    """The shards have the same ids, but the rows are of ended shards and other parents."""

    async def life(world: FleetWorld, split: int) -> None:
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        left, right = world.stream.split(f"shardId-{split:012d}", 2**126 + split * 2**127)
        await world.run(60)
        world.stream.merge(left, right)
        await world.run(60)
        assert sorted(world.owners().values()) == [1, 1]
        await world.clock.sleep(2 * 3600)  # the second stream starts at a full hour
        await all_leave(members)

    async def main() -> None:
        world = FleetWorld(shards=2)
        await life(world, 0)
        world.stream.delete()
        await world.clock.sleep(2)
        world.stream.recreate(2)
        await life(world, 1)
        await world.verified()

    scenario(main())


def test_fleet_adds_its_stream_to_the_rows_of_a_kcl_application() -> None:
    """The other attributes of the rows stay."""

    async def main() -> None:
        world = FleetWorld(shards=3)
        for shard in world.stream.shards():
            await world.table.create(
                Lease(shard.id, "kcl-1", 9, Checkpoint("TRIM_HORIZON"), start_hash=shard.start_hash)
            )
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        rows = world.table.table
        assert {row.stream for row in rows.values()} == {members[0].state.created}
        assert [rows[shard.id].start_hash for shard in world.stream.shards()] == [
            shard.start_hash for shard in world.stream.shards()
        ]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())
