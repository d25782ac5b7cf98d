"""The leases of one worker: which rows it believes, whether it may rely on them, and what it writes last."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

from simulation import vtime
from simulation.memtable import MemoryTable
from tests.leased_fleet import FleetWorld, all_leave, scenario
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.fleet.lease_holder import Leases
from vortex.health import Health
from vortex.ports import Unavailable
from vortex.retry import Retry

FAILOVER = 10.0


class Holder:
    """The leases of one worker that holds some rows of a table, whose calls a test may delay or refuse."""

    def __init__(self, rows: int) -> None:
        self.table = MemoryTable(before=self._before)
        for number in range(rows):
            self.table.table[f"s{number}"] = Lease(f"s{number}", None, 0, Checkpoint("TRIM_HORIZON"))
        self.clock, self.health = vtime.VirtualClock(), Health()
        self.delay: dict[str, float] = {}
        self.refused: set[str] = set()
        self.written: list[str] = []
        self.due = FAILOVER / 3
        retry = Retry(self.clock, vtime.NullMeter(), self.health, Random(1))
        self.leases = Leases(self.table, self.clock, retry, self.health, "me", lambda: "9f", FAILOVER, 1)

    async def _before(self, operation: str, key: str) -> None:
        if operation in ("renew", "checkpoint"):
            self.written.append(key)
        await self.clock.sleep(self.delay.get(key, 0.0))
        if key in self.refused:
            raise Unavailable(key, "throttled")

    async def taken(self) -> Holder:
        """With all rows held."""
        for row in list(self.table.table.values()):
            assert await self.leases.take(row)
        return self

    async def beats(self, number: int) -> list[tuple[str, bool]]:
        """So many heartbeats, and the leases that they lost."""
        lost = []
        for _ in range(number):
            await self.clock.sleep(self.due - self.clock.monotonic())
            lost += await self.leases.renew()
            self.due = max(self.due + FAILOVER / 3, self.clock.monotonic())
        return lost

    def steal(self, key: str) -> None:
        """Another worker takes it."""
        row: Any = self.table.table[key]
        self.table.table[key] = Lease(
            key, "other", row.counter + 1, row.checkpoint, token="other/1", previous_owner="me"
        )


def test_lease_holder_renews_each_lease_once_in_thirty_heartbeats() -> None:
    """One after the other."""

    async def main() -> None:
        holder = await Holder(60).taken()
        await holder.beats(30)
        assert sorted(holder.written) == sorted(holder.table.table)
        assert all(map(holder.leases.is_fresh, holder.table.table))

    scenario(main())


def test_lease_holder_tries_other_leases_while_some_cannot_be_renewed() -> None:
    """Some are refused, some get no reply in time: life shows by the others."""

    async def main() -> None:
        holder = await Holder(6).taken()
        holder.refused, holder.delay = {"s0", "s1"}, {"s2": 8.0, "s3": 8.0}
        for _ in range(20):
            await holder.beats(1)
            assert all(map(holder.leases.is_fresh, holder.table.table))
        assert "leases" not in holder.health.report()

    scenario(main())


def test_lease_holder_tries_its_only_lease_again_when_the_table_throttles() -> None:
    """Every second write is refused: life shows with each heartbeat, nevertheless."""

    async def main() -> None:
        holder = await Holder(1).taken()
        for _ in range(20):
            holder.refused = {"s0"}
            due, counter = holder.due, holder.table.table["s0"].counter
            beat = asyncio.ensure_future(holder.beats(1))
            await holder.clock.sleep(due - holder.clock.monotonic() + 0.1)
            holder.refused = set()
            assert await beat == []
            assert holder.table.table["s0"].counter == counter + 1
            assert holder.clock.monotonic() < due + FAILOVER / 6
        assert len(holder.written) == 40
        assert "leases" not in holder.health.report()

    scenario(main())


def test_lease_holder_does_not_rely_on_leases_after_a_silence() -> None:
    """Others may have taken some before the next heartbeat took effect, though it was sent in time."""

    async def main() -> None:
        holder = await Holder(40).taken()
        await holder.beats(1)
        first = sorted(holder.leases.held, key=lambda shard: holder.leases.held[shard].tried_at)[:2]
        holder.delay = dict.fromkeys(holder.table.table, 1.0)
        holder.due += 0.6 * FAILOVER
        assert await holder.beats(1) == []
        assert {shard for shard in holder.table.table if holder.leases.is_fresh(shard)} == set(first)
        holder.delay = {}
        holder.steal("s39")
        assert await holder.beats(1) == [("s39", False)], "its new owner does not wait"
        assert all(map(holder.leases.is_fresh, holder.leases.held))

    scenario(main())


def test_lease_holder_settles_what_a_look_does_not_show_as_held() -> None:
    """A stolen lease and a removed row are lost at once; a stale look changes nothing."""

    async def main() -> None:
        holder = await Holder(4).taken()
        await holder.beats(1)
        holder.table.stale = {}
        await holder.leases.look()
        assert await holder.leases.settle() == []
        holder.table.stale = None
        holder.steal("s1")
        del holder.table.table["s2"]
        await holder.leases.look()
        assert await holder.leases.settle() == [("s1", True), ("s2", True)]
        assert await holder.leases.settle() == []
        assert sorted(holder.leases.held) == ["s0", "s3"]

    scenario(main())


def test_lease_holder_releases_a_lease_at_its_last_checkpoint() -> None:
    """Which no heartbeat has written yet; but nothing follows SHARD_END."""

    async def main() -> None:
        holder = await Holder(2).taken()
        for shard in ("s0", "s1"):
            holder.leases.note(shard, Checkpoint("77"))
        await holder.leases.end("s1", ["s2", "s3"], [])
        for shard in ("s0", "s1"):
            await holder.leases.release(shard, holder.leases.held[shard].lease)
        rows = holder.table.table
        assert {shard: row.checkpoint.sequence for shard, row in rows.items()} == {"s0": "77", "s1": "SHARD_END"}
        assert {row.owner for row in rows.values()} == {None}
        assert rows["s1"].children == ("s2", "s3")

    scenario(main())


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
