"""Two stores and one lease table: the second store's workers refuse to start, and neither store loses an event."""

from __future__ import annotations

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from simulation.memstream import MemoryStream
from tests.leased_fleet import FleetWorld, Member, all_leave, scenario
from vortex.core.fleet.store_mark import ForeignTable
from vortex.runtime.assembly import loaded_state


class OtherStore(MemoryStore):
    url = "memory://other"


def beside(world: FleetWorld, *, table: bool = True) -> FleetWorld:
    """A deployment of the same stream with another store; with the same lease table, or its own."""
    other = FleetWorld(shards=world.shards)
    other.clock, other.stream, other.store = world.clock, world.stream, OtherStore(world.clock)
    if table:
        other.table = world.table
    other._starts = 10
    return other


async def refused(world: FleetWorld) -> str:
    """The message of a worker that does not start."""
    with pytest.raises(ForeignTable) as caught:
        await world.join()
    return str(caught.value)


def test_first_start_of_another_store_is_refused_and_leaves_table_and_store_untouched() -> None:
    async def main() -> None:
        world = FleetWorld(shards=4)
        member = await world.join()
        await world.run(60)
        other, rows = beside(world), world.table.snapshot()
        assert world.store.url in await refused(other)
        assert other.store.objects == {}
        assert {key: row.owner for key, row in world.table.table.items()} == {k: r.owner for k, r in rows.items()}
        await world.run(30)
        await member.leave()
        await world.begin()
        await world.clock.sleep(3600)
        await world.verified()

    scenario(main())


def test_start_is_refused_when_the_other_store_has_stopped_since() -> None:
    """Its checkpoints are not a KCL application's: `source.start` would be ignored. With another table it holds."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        member = await world.join()
        await world.run(60)
        await member.leave()
        assert "coordination.table" in await refused(beside(world))
        other = beside(world, table=False)
        other.sent = world.sent
        late = await other.join()
        assert not any(root.position.by_record for root in late.state.roots)
        await world.clock.sleep(3600)
        await late.leave()
        await other.begin()
        await world.clock.sleep(3600)
        await other.verified()

    scenario(main())


def test_first_start_of_another_stream_with_the_same_table_is_refused() -> None:
    """Its shards have the same names."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        member = await world.join()
        await world.run(20)
        other = FleetWorld(shards=2)
        other.clock, other.store, other.table = world.clock, OtherStore(world.clock), world.table
        other.stream = MemoryStream(world.clock, shards=2)
        assert (await other.stream.describe()).created_ms != (await world.stream.describe()).created_ms
        assert world.store.url in await refused(other)
        await member.kill()

    scenario(main())


def test_start_is_refused_when_the_store_has_a_state_but_the_table_serves_another() -> None:
    """As after a drain with `coordination.mode = "local"`."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        other = beside(world, table=False)
        await (await other.join()).leave()
        other.table = world.table
        member = await world.join()
        await world.run(10)
        late = await other.join()
        with pytest.raises(ForeignTable):
            await late.tasks[0]
        late.tasks[1].cancel()
        assert not any(row.owner == late.owner for row in world.table.table.values())
        await member.kill()

    scenario(main())


def test_worker_is_not_ready_when_rows_of_another_store_appear_later() -> None:
    """As when both start at the same time. What it holds is read on."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        member = await world.join()
        await world.run(20)
        other = beside(world, table=False)
        rival = await other.join()
        await world.clock.sleep(20)
        (key, mine), theirs = min(world.table.table.items()), other.table.table
        world.table.table[key] = theirs[key]
        await world.clock.sleep(30)
        assert OtherStore.url in world.health.report()["leases of another store"]
        assert world.table.table[key].owner == rival.owner
        world.table.table[key] = mine
        await world.clock.sleep(30)
        assert world.health.report() == {}
        await rival.kill()
        await member.kill()

    scenario(main())


def test_two_workers_of_one_store_start_first_at_the_same_time() -> None:
    """The second finds no state, then rows of the first that name its state."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        first: list[Member] = []

        async def meanwhile(operation: str, key: str) -> None:
            if operation == "rows" and world.table.before is meanwhile:
                world.table.before = unhindered
                first.append(await world.join())
                await world.clock.sleep(30)

        unhindered, world.table.before = world.table.before, meanwhile
        second = await world.join()
        assert second.state == first[0].state
        await world.run(60)
        await all_leave([first[0], second])
        await world.begin()
        await world.clock.sleep(3600)
        await world.verified()

    vtime.run(main())


def test_upgraded_fleet_takes_rows_without_a_name_and_names_its_store() -> None:
    async def main() -> None:
        world = FleetWorld(shards=4)
        member = await world.join()
        await world.run(30)
        await member.leave()
        marked = world.table.snapshot()
        world.table.restore({key: row.__replace__(store="") for key, row in marked.items()})
        assert "an earlier version" in await refused(beside(world))
        member = await world.join()
        await world.run(60)
        assert {row.store for row in world.table.table.values()} == {row.store for row in marked.values()} != {""}
        await member.kill()
        await loaded_state(world.environment())

    scenario(main())
