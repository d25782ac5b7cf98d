"""Commits that race: two workers on one shard, and bounds that others advance."""

from __future__ import annotations

import asyncio
from collections import Counter
from unittest.mock import patch

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.core.log.segment import Sealed


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


async def _behind(records: int) -> World:
    """A shard of so many records in pages of two, whose reader has been away for two hours."""
    world = World(shards=1, page_records=2, period_ms=MINUTE, every_s=120, max_delay_ms=20 * MINUTE)
    worker = await world.begin()
    world.put("first")
    await world.clock.sleep(600)
    await worker.kill()
    for _ in range(records):
        world.put(f"id{len(world.sent)}")
    await world.clock.sleep(2 * 3600)
    return world


def test_shard_catches_up_when_others_advance_its_bound() -> None:
    """They advance it every minute, and the shard would commit every two: without an early commit it loses
    every race.
    """

    async def scenario() -> None:
        world = await _behind(2000)
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_shard_catches_up_when_pages_take_nearly_as_long_as_the_next_advance_of_its_bound() -> None:
    """It reads a page at once, and waits 50 s for the next. By then its segment number is taken."""

    async def scenario() -> None:
        world = await _behind(100)
        resumed = False

        async def slow(operation: str, shard: str) -> None:
            nonlocal resumed
            if operation == "read" and not resumed:
                await world.clock.sleep(50)
            resumed = operation == "iterator"

        world.stream.before = slow
        worker = await world.begin()
        await world.clock.sleep(6 * 3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize(("minutes", "lists"), [(5, 0), (15, 2 * 8)])
def test_idle_shards_list_their_logs_only_if_clean_up_can_have_freed_a_number(minutes: int, lists: int) -> None:
    """Each commits once a period; a listing costs as much as a put."""

    async def scenario() -> None:
        world, calls = World(shards=2, period_ms=minutes * MINUTE), Counter[str]()

        async def count(operation: str, key: str) -> None:
            calls[operation + " segments" * ("/shards/" in key)] += 1

        worker = await world.begin()
        worker.tasks[1].cancel()  # planning and clean-up list logs, too
        await world.clock.sleep(1800)
        assert isinstance(world.store, MemoryStore)
        world.store.before = count
        await world.clock.sleep(2 * 3600)
        assert calls["put segments"] == 2 * 120 // minutes
        assert calls["list segments"] == lists
        worker.fleet.stop()
        await worker.tasks[0]

    vtime.run(scenario())


def test_commit_loses_the_race_when_a_worker_that_keeps_segments_for_less_time_freed_its_number() -> None:
    """As while `commit.keep` is changed in a fleet, worker by worker."""

    async def scenario() -> None:
        world = World(shards=1, period_ms=MINUTE, every_s=1, keep_ms=24 * 60 * MINUTE)
        worker = await world.begin()
        await worker.kill()
        put, asleep, awake = worker.log_store.commit, asyncio.Event(), asyncio.Event()
        tried: list[tuple[int, bool]] = []

        async def late(shard: str, sealed: Sealed) -> bool:
            asleep.set()
            await awake.wait()
            tried.append((sealed.footer.n, await put(shard, sealed)))
            return tried[-1][1]

        sleeper = worker.loops.worker(world.stream.shards()[0])
        with patch.object(worker.log_store, "commit", late):
            sleeping = asyncio.ensure_future(sleeper.run())
            world.put("first")
            await asleep.wait()
            world.keep_ms = 0
            others = await world.begin()
            for there in (True, False):  # the segment appears, and is cleaned up
                while any(key.endswith("/000000000000.seg") for key in world.store.objects) is not there:
                    world.put(f"id{len(world.sent)}")
                    await world.clock.sleep(30)
            awake.set()
            while len(tried) < 2:
                world.put(f"id{len(world.sent)}")
                await world.clock.sleep(30)
            sleeping.cancel()
            await asyncio.gather(sleeping, return_exceptions=True)
        assert tried[0] == (0, True)
        assert tried[1][0] > 1, "a segment that is never read was taken for the log's last one"
        await world.clock.sleep(600)
        await others.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_backlog_is_committed_by_its_size_not_once_for_each_period() -> None:
    """Each page holds another period. Small segments would cost a put, and the publisher several requests, each."""

    async def scenario() -> None:
        world, calls = World(shards=1, page_records=20, window_ms=0), Counter[str]()

        async def count(operation: str, key: str) -> None:
            calls[operation + " segments" * ("/shards/" in key)] += 1

        for _ in range(24):
            for _ in range(20):
                world.put(f"id{len(world.sent)}")
            await world.clock.sleep(300)
        assert isinstance(world.store, MemoryStore)
        world.store.before = count
        worker = await world.begin()
        await world.clock.sleep(25)  # less than an interval between commits
        assert 1 < calls["put segments"] <= 4, "the first of the log, the backlog, and what the tip closes"
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())
