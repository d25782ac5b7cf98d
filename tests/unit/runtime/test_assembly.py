"""The real loops over memory, in virtual time: hours of work in a second, every line accounted for."""

from __future__ import annotations

import json
from collections import Counter

from simulation import vtime
from tests.loops import MINUTE, World
from vortex.verify.store import verify_store


def test_worker_publishes_each_event_once_through_a_split_a_merge_and_restarts() -> None:
    """Hours are closed and logs are cleaned up, whenever the worker is killed."""

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for minute in range(150):
            for _ in range(10):
                world.put(f"id{len(world.sent)}")
                if world.rng.random() < 0.3:
                    world.put(world.rng.choice(list(world.sent)[-50:]))
            if minute % 10 == 0:
                world.stream.put("x", b"{broken")
                world.broken += 1
            if minute == 20:
                shard = next(s for s in world.stream.shards() if s.end_sequence is None)
                world.stream.split(shard.id, (shard.start_hash + shard.end_hash) // 2)
            if minute == 60:
                halves = [s.id for s in world.stream.shards() if s.parents and s.end_sequence is None]
                world.stream.merge(halves[0], halves[1])
            if minute % 17 == 16:
                await world.clock.sleep(world.rng.random() * 60)
                await worker.kill()
                worker = await world.begin()
            await world.clock.sleep(60)
        await world.clock.sleep(3600 * 2)
        await worker.kill()
        await world.verified()
        hours = [key for key in world.store.objects if key.startswith("_hours/")]
        assert len(hours) >= 3
        segments = [key for key in world.store.objects if key.endswith(".seg")]
        assert len(segments) < 60, "published segments are cleaned up"

    vtime.run(scenario())


def test_worker_loses_nothing_when_memory_holds_only_two_pages() -> None:
    async def scenario() -> None:
        world = World(limit=20_000)
        for _ in range(3000):
            world.put(f"id{len(world.sent)}")
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_recreated_stream_publishes_above_the_periods_of_its_earlier_stream() -> None:
    """The rest of the earlier stream's logs is published first; no key is written twice."""

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for _ in range(20):
            world.put(f"old{len(world.sent)}")
            await world.clock.sleep(7)
        await world.clock.sleep(60)
        await worker.kill()
        world.stream.delete()
        await world.clock.sleep(2)
        world.stream.recreate(2)
        worker = await world.begin()
        for _ in range(20):
            world.put(f"new{len(world.sent)}")
            await world.clock.sleep(7)
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_worker_publishes_a_copy_again_only_beyond_the_window() -> None:
    """A split in between changes nothing."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10, window_ms=10 * MINUTE)
        worker = await world.begin()
        for _ in range(10):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(20)
        parent = world.stream.shards()[0].id
        world.stream.split(parent, 1 << 127)
        await world.clock.sleep(60)
        for name in list(world.sent):
            world.put(name)
        await world.clock.sleep(30 * 60)
        for name in list(world.sent):
            world.put(name)
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert (await verify_store(world.store)).faults == []
        assert set(Counter(json.loads(line)["id"] for line in world.lines("c=")).values()) == {2}

    vtime.run(scenario())
