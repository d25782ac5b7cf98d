"""Commits that race: two workers on one shard, and bounds that others advance."""

from __future__ import annotations

from collections import Counter

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World


@pytest.mark.parametrize("survivor", [0, 1])
@pytest.mark.parametrize("limit", [1 << 30, 2000])
def test_two_workers_on_the_same_shards_publish_each_event_once(limit: int, survivor: int) -> None:
    """Both write every log. Each lost race is resumed from the log, also when memory is full."""

    async def scenario() -> None:
        world = World(limit=limit)
        workers = [await world.begin(), await world.begin()]
        for _ in range(60):
            for _ in range(40):
                world.put(f"id{len(world.sent)}")
            await world.clock.sleep(20)
        await workers[1 - survivor].kill()
        for _ in range(60):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(20)
        await world.clock.sleep(3600)
        await workers[survivor].kill()
        await world.verified()

    vtime.run(scenario())


def test_shard_catches_up_when_others_advance_its_bound() -> None:
    """They advance it every minute, and the shard would commit every two: without an early commit it loses
    every race.
    """

    async def scenario() -> None:
        world = World(shards=1, page_records=2, period_ms=MINUTE, every_s=120, max_delay_ms=20 * MINUTE)
        worker = await world.begin()
        world.put("first")
        await world.clock.sleep(600)
        await worker.kill()
        for _ in range(2000):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(2 * 3600)
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize(("keep_hours", "lists"), [(24, 0), (0, 2 * 24)])
def test_idle_shards_list_their_logs_only_if_clean_up_can_have_freed_a_number(keep_hours: int, lists: int) -> None:
    """Each commits once a period of five minutes; a listing costs as much as a put."""

    async def scenario() -> None:
        world, calls = World(shards=2, keep_ms=keep_hours * 60 * MINUTE), Counter[str]()

        async def count(operation: str, key: str) -> None:
            calls[operation + " segments" * ("/shards/" in key)] += 1

        worker = await world.begin()
        worker.tasks[1].cancel()  # planning and clean-up list logs, too
        await world.clock.sleep(900)
        assert isinstance(world.store, MemoryStore)
        world.store.before = count
        await world.clock.sleep(2 * 3600)
        assert calls["put segments"] == 2 * 24
        assert calls["list segments"] == lists
        worker.fleet.stop()
        await worker.tasks[0]

    vtime.run(scenario())
