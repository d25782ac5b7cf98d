"""Shards that plans have forgotten: planted bugs of forgetting, and workers that slept meanwhile."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

import pytest

from simulation import vtime
from tests.loops import MINUTE, Worker
from tests.loops import World as Stage
from tests.simulation.bugs_forgetting import (
    although_a_child_is_live,
    although_a_log_names_it,
    only_whole_logs_are_read,
    when_published,
)
from tests.simulation.planting import Bug, hunt
from vortex.core.invariants import Invariant
from vortex.core.log.segment import Sealed
from vortex.core.model import ShardInfo

VANISHING = ("stream.trim", "stream.split", "stream.merge")
FORGETS = f"{Invariant.WRITTEN_ONCE}.*: forgets"
FIRST, PARENT, LIVE = "shardId-000000000000", "shardId-000000000003", {"shardId-000000000004", "shardId-000000000005"}

BUGS = (
    Bug("when published", when_published, FORGETS, VANISHING),
    Bug("although a child is live", although_a_child_is_live, f"{FORGETS}.*is a parent of", VANISHING),
    Bug(
        "although a log names it",
        although_a_log_names_it,
        f"{FORGETS}.*names as a child",
        (*VANISHING, "traffic.idle"),
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_simulation_finds_a_shard_that_is_forgotten_too_early(bug: Bug) -> None:
    """With the expected message."""
    hunt(bug)


class Resharded(Stage):
    """A shard is split, its halves are merged, and that is split. `listed`: what the stream lists, if that is wrong."""

    def __init__(self) -> None:
        super().__init__(shards=1, every_s=30, poll_s=10, look_s=60)
        self.stream.retention_ms = 120 * MINUTE
        self.listing, self.listed = self.stream.list_shards, list[ShardInfo]()

    async def list_shards(self) -> list[ShardInfo]:
        return self.listed or await self.listing()

    async def traffic(self, minutes: int) -> None:
        for _ in range(minutes):
            self.put(f"id{len(self.sent)}")
            await self.clock.sleep(60)

    async def forget(self, worker: Worker) -> None:
        """Reshard, and go on until plans name nothing but the live shards and their parent."""
        halves = self.stream.split(FIRST, 1 << 127)
        await self.traffic(20)
        self.stream.merge(*halves)
        await self.traffic(20)
        self.stream.split(PARENT, 1 << 126)
        for _ in range(30):
            await self.traffic(10)
            plan = await worker.log_store.last_plan(worker.state)
            if {*plan.shards, *plan.retired} == {PARENT, *LIVE}:
                return
        raise AssertionError(f"plans still name {plan.retired}")

    async def rest(self, *workers: Worker) -> None:
        """Publish what is left, and check that everything is published once."""
        await self.clock.sleep(900)
        for worker in workers:
            for task in worker.tasks:
                task.cancel()
            await asyncio.gather(*worker.tasks, return_exceptions=True)
        await self.verified()


async def _slept_before_a_put() -> list[str]:
    """Which shards a worker gives up that sleeps before it commits, until its shard is forgotten."""
    world, awake = Resharded(), asyncio.Event()
    sleeper = await world.begin()
    put = sleeper.log_store.commit

    async def late(shard: str, sealed: Sealed) -> bool:
        await awake.wait()
        return await put(shard, sealed)

    await world.traffic(3)
    with patch.object(sleeper.log_store, "commit", late):
        await world.traffic(2)
        sleeper.tasks[1].cancel()  # another one publishes
        other = await world.begin()
        await world.forget(other)
        awake.set()
        await world.traffic(10)
        given_up = [*sleeper.fleet.given_up]
        assert given_up or set(sleeper.fleet.workers) == LIVE
        await world.rest(sleeper, other)
    return given_up


def test_worker_that_slept_until_its_shard_was_forgotten_reads_that_it_has_ended() -> None:
    """And so have its children; it goes on with the shards that are live. Without the rule it gives its shard up."""
    assert vtime.run(_slept_before_a_put()) == []
    with only_whole_logs_are_read():
        assert vtime.run(_slept_before_a_put()) == [FIRST]


def test_worker_does_not_read_a_forgotten_shard_that_a_stale_listing_shows() -> None:
    """It begins after the shard was forgotten, and is told for hours that this shard is open."""

    async def story() -> None:
        world = Resharded()
        stale = await world.stream.list_shards()
        other = await world.begin()
        await world.traffic(5)
        await world.forget(other)
        await other.kill()
        with patch.object(world.stream, "list_shards", world.list_shards):
            world.listed = stale
            late = await world.begin()
            await world.traffic(120)
            assert set(late.fleet.workers) == LIVE
            world.listed = []
            await world.rest(late)

    vtime.run(story())


def test_plan_forgets_nothing_that_the_stream_lists() -> None:
    """However long ago it ended."""

    async def story() -> None:
        world = Resharded()

        async def all_shards() -> list[ShardInfo]:
            return world.stream.shards()

        worker = await world.begin()
        await world.traffic(5)
        with patch.object(world.stream, "list_shards", all_shards), pytest.raises(AssertionError, match="still name"):
            await world.forget(worker)
        plan = await worker.log_store.last_plan(worker.state)
        assert set(plan.retired) >= {FIRST, PARENT}
        await world.rest(worker)

    vtime.run(story())
