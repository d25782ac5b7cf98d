"""Which shards may begin."""

from __future__ import annotations

from tests.leased_fleet import FleetWorld, all_leave, scenario


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
