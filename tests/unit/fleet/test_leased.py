"""A fleet over one lease table in memory, in virtual time: the real loops of several workers share the shards."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.leased_fleet import FAILOVER, FleetWorld, all_leave, scenario
from vortex.core.fleet.lease import SHARD_END
from vortex.ports import Unavailable


def test_rolling_restart_pauses_reading_for_seconds_and_reads_nothing_twice() -> None:
    """A worker commits what it read before it releases a shard, so the next one continues there."""

    async def main() -> None:
        world = FleetWorld(shards=16)
        members = [await world.join() for _ in range(5)]
        await world.run(120)
        begun = world.clock.monotonic()
        for at in range(5):
            await members[at].leave()
            await world.run(5)
            members[at] = await world.join()
            await world.run(60)
        assert sorted(world.owners().values()) == [3, 3, 3, 3, 4]
        silence, lag = world.longest_silence(begun), world.worst_lag
        assert silence < 8, f"a shard was not read for {silence:.1f} s"
        assert lag < 10, f"a record was read {lag:.1f} s after it came"
        assert set(world.reads.values()) == {1}, "nothing is read twice"
        await world.clock.sleep(600)
        await all_leave(members)
        assert all(row.owner is None for row in world.table.table.values())
        await world.verified()

    scenario(main())


def test_fleet_reads_the_shards_of_a_dead_worker_after_the_failover_time() -> None:
    """Within the failover time and one look at the table."""

    async def main() -> None:
        world = FleetWorld(shards=8)
        members = [await world.join() for _ in range(3)]
        await world.run(60)
        died = world.clock.monotonic()
        await members[0].kill()
        await world.run(30)
        assert world.longest_silence(died) < FAILOVER + 5
        assert sorted(world.owners().values()) == [4, 4]
        await world.clock.sleep(600)
        await all_leave(members[1:])
        await world.verified()

    scenario(main())


def test_fleet_creates_child_leases_when_the_parents_end() -> None:
    """Through splits and a merge, with workers that come and go. Ended rows stay and name their children."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(30)
        first = world.stream.shards()[0]
        left, right = world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        await world.run(30)
        await members[0].kill()
        child = world.stream.merge(left, right)
        await world.run(60)
        members[0] = await world.join()
        await world.run(60)
        rows = world.table.table
        assert rows[first.id].checkpoint.sequence == SHARD_END
        assert rows[first.id].children == (left, right)
        assert rows[child].parents == (left, right)
        assert rows[child].checkpoint.numbered, "the checkpoint mirrors the committed position"
        assert {row.owner for row in rows.values() if row.checkpoint.ended} == {None}
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_fleet_continues_reading_while_the_lease_table_does_not_answer() -> None:
    """Leases only save effort. Without the table no worker can take a shard, so none releases one."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        begun = world.clock.monotonic()

        async def dead(operation: str, key: str) -> None:
            raise Unavailable(f"{operation} {key}", "throttled")

        async def well(operation: str, key: str) -> None:
            return None

        world.table.before = dead
        await world.run(120)
        assert world.longest_silence(begun) < 3
        assert "leases" in world.health.report()
        world.table.before = well
        await world.run(60)
        assert "leases" not in world.health.report()
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()
        assert set(world.reads.values()) == {1}

    scenario(main())


@pytest.mark.parametrize("rows", ["an hour ago", "none"])
def test_fleet_loses_no_event_when_the_lease_table_is_restored_or_emptied(rows: str) -> None:
    """Restored to a time before a split and with other owners, or emptied: the logs are authoritative."""

    async def main() -> None:
        world = FleetWorld(shards=3)
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        before = world.table.snapshot() if rows == "an hour ago" else {}
        first = world.stream.shards()[0]
        world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        await world.run(1200, every=5.0)
        await members[0].kill()
        members[0] = await world.join()
        await world.run(600, every=5.0)
        world.table.restore(before)
        await world.run(120)
        assert world.health.report() == {}
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_worker_without_the_lease_table_stops_a_shard_when_another_writes_its_log() -> None:
    """It reads until its commit fails because another worker has written that segment."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(60)

        members[0].link.cut = True
        await world.run(200)
        assert list(world.owners()) == [members[1].owner]
        assert members[0].fleet.workers == {}, "it has lost every shard's log and waits for the table"
        members[0].link.cut = False
        await world.run(60)
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_workers_that_start_together_share_the_creation_of_leases() -> None:
    """On an empty table."""

    async def main() -> None:
        world = FleetWorld(shards=200)
        calls: Counter[str] = Counter()

        async def counted(operation: str, key: str) -> None:
            calls[operation] += 1
            await world.clock.sleep(0.005)

        world.table.before = counted
        members = [await world.join() for _ in range(5)]
        await world.clock.sleep(60)
        assert calls["create"] < 400
        assert set(world.owners().values()) == {40}
        await all_leave(members)

    scenario(main())
