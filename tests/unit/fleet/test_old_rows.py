"""Rows of shards that ended long ago leave the lease table."""

from __future__ import annotations

import logging
from typing import Any, cast

import pytest

from simulation import vtime
from simulation.memtable import MemoryTable
from tests.leased_fleet import FleetWorld, all_leave, scenario
from tests.loops import MINUTE
from vortex.core.fleet.balance import Seen
from vortex.core.fleet.lease import SHARD_END, Checkpoint, Lease
from vortex.fleet.lease_holder import Leases
from vortex.fleet.old_rows import OldRows
from vortex.log.shard_tree import ShardTree
from vortex.ports import Denied, Unavailable


class Ground:
    """A table with rows of two shards that no plan names; `listed` are the shards of the next listing."""

    def __init__(self) -> None:
        self.clock = vtime.VirtualClock()
        self.named, self.listed, self.listings = {"live"}, {"live"}, 0
        self.answer: Exception | None = None
        self.table = MemoryTable(before=self._before)
        for shard in ("live", "old", "older"):
            self.table.table[shard] = Lease(shard, None, 7, Checkpoint(SHARD_END))
        self.leases = Leases(
            self.table, self.clock, cast(Any, _Plain()), cast(Any, None), "me", lambda: "token", 10.0, 1
        )
        self.rows = OldRows(self.leases, cast(ShardTree, self), self.clock)

    async def _before(self, operation: str, key: str) -> None:
        if self.answer is not None and operation == "remove":
            raise self.answer

    async def listed_now(self) -> set[str] | None:
        self.listings += 1
        return self.listed

    async def after(self, seconds: float) -> set[str]:
        """The rows that are left after one more look."""
        await self.clock.sleep(seconds)
        await self.rows.remove([Seen(lease, 0.0) for lease in self.table.table.values()])
        return set(self.table.table)


class _Plain:
    def of(self, service: str) -> None:
        return None


EVERYTHING = {"live", "old", "older"}


def test_rows_are_removed_when_no_listing_has_had_their_shards_for_ten_minutes() -> None:
    async def main() -> None:
        ground = Ground()
        ground.listed |= {"old"}
        assert await ground.after(0) == EVERYTHING
        assert await ground.after(599) == EVERYTHING
        assert ground.listings == 1, "at most one listing in ten minutes"
        assert await ground.after(1) == {"live", "old"}
        ground.listed -= {"old"}
        assert await ground.after(600) == {"live", "old"}
        assert await ground.after(600) == {"live"}
        listings = ground.listings
        assert await ground.after(6000) == {"live"}
        assert ground.listings == listings, "no listing while no row can be old"

    vtime.run(main())


def test_row_that_is_owned_held_or_changed_meanwhile_stays() -> None:
    async def main() -> None:
        ground = Ground()
        ground.table.table["old"] = Lease("old", "another", 7, Checkpoint("1"))
        stale = [Seen(lease, 0.0) for lease in ground.table.table.values()]
        await ground.rows.remove(stale)
        await ground.clock.sleep(600)
        ground.table.table["older"] = Lease("older", None, 8, Checkpoint("1"))
        await ground.rows.remove(stale)
        assert set(ground.table.table) == EVERYTHING

    vtime.run(main())


def test_rows_stay_while_the_stream_or_the_table_does_not_answer() -> None:
    async def main() -> None:
        ground = Ground()
        ground.listed = cast(Any, None)
        for _ in range(3):
            assert await ground.after(600) == EVERYTHING
        ground.listed, ground.answer = {"live"}, Unavailable("remove", "throttled")
        for _ in range(3):
            assert await ground.after(600) == EVERYTHING
        ground.answer = None
        assert await ground.after(600) == {"live"}

    vtime.run(main())


def test_worker_that_may_not_remove_rows_says_so_once_and_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ground = Ground()
        ground.answer = Denied("dynamodb:DeleteItem: not authorized")
        for _ in range(4):
            assert await ground.after(600) == EVERYTHING

    with caplog.at_level(logging.WARNING):
        vtime.run(main())
    assert [record.message for record in caplog.records] == [
        "rows of shards that ended long ago stay in the lease table: dynamodb:DeleteItem: not authorized"
    ]


def test_table_of_a_fleet_holds_the_rows_of_listed_shards_and_of_parents_of_live_ones() -> None:
    """Through two splits and a merge, and a restore of the table to before them."""

    async def main() -> None:
        world = FleetWorld(shards=1, poll_s=10, look_s=60)
        world.stream.retention_ms = 120 * MINUTE
        members = [await world.join() for _ in range(2)]
        await world.run(600, every=30)
        before = world.table.snapshot()
        first, merged = "shardId-000000000000", "shardId-000000000003"
        halves = world.stream.split(first, 1 << 127)
        await world.run(1200, every=30)
        assert world.stream.merge(*halves) == merged
        await world.run(1200, every=30)
        children = world.stream.split(merged, 1 << 126)
        await world.run(3600, every=30)
        assert len(world.table.table) == 6
        await world.run(4 * 3600, every=60)
        assert set(world.table.table) == {merged, *children}
        world.table.restore(before)
        await world.run(3600, every=60)
        assert set(world.table.table) == set(children)
        assert all(row.owner is not None for row in world.table.table.values())
        assert [member.fleet.given_up for member in members] == [{}, {}]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())
