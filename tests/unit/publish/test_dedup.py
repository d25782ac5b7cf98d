"""Deduplication by the publisher: the keys in memory, and the decision files in the store."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections import Counter
from random import Random
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, Worker, World
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.rows import RUN, PlanRuns
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import empty_footer
from vortex.core.model import Position, Start
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.plan import Plan
from vortex.log.store import LogStore
from vortex.publish.dedup import Resolver, log
from vortex.publish.object_writer import ForeignObject
from vortex.publish.published_keys import KeyCache
from vortex.retry import Once


async def traffic(world: World, seconds: int) -> None:
    """An event a second, each repeated after half a minute under another partition key."""
    for at in range(seconds):
        world.put(f"id{len(world.sent)}")
        again = f"id{max(0, len(world.sent) - 30)}"
        world.put(again, f"again {at}")
        await world.clock.sleep(1)


def test_publisher_publishes_a_copy_on_another_shard_once_and_reads_no_file_it_wrote() -> None:
    """A new worker reads the files."""

    async def scenario() -> None:
        world = World(shards=4, period_ms=MINUTE, window_ms=10 * MINUTE)
        worker, reads = await world.begin(), list[str]()
        worker.publisher.dedup.keys._on_read = lambda: reads.append("first")
        await traffic(world, 400)
        assert not reads
        keys = worker.publisher.dedup.keys
        assert 250 <= len(keys) <= 400
        assert keys.nbytes >= 20 * len(keys)
        await worker.kill()
        worker = await world.begin()
        worker.publisher.dedup.keys._on_read = lambda: reads.append("second")
        await traffic(world, 200)
        assert set(reads) == {"second"}
        await world.clock.sleep(1200)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_publisher_decides_by_sub_ranges_when_memory_is_too_small() -> None:
    """The outcome is the same."""

    async def scenario() -> None:
        world = World(shards=4, period_ms=MINUTE, window_ms=10 * MINUTE)
        worker = await world.begin()
        worker.publisher.dedup.keys.limit = 700
        await traffic(world, 500)
        assert worker.publisher.dedup.keys.nbytes <= 700
        await world.clock.sleep(1200)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def _empty(keys: Keys) -> Keys:
    none, small = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.uint32)
    return Keys(none, none, small, keys.lo, keys.hi)


def test_publisher_decides_again_from_files_when_its_memory_is_wrong() -> None:
    """Another worker decided first, and correctly."""

    async def scenario() -> None:
        world = World(shards=2, period_ms=MINUTE, window_ms=10 * MINUTE, look_s=2)
        wrong, right = await world.begin(), await world.begin()
        cache, log_store = wrong.publisher.dedup.keys, wrong.publisher._ports.log_store
        keep, put = cache.keep, log_store.put_decided

        async def late(k: int, part: int, body: bytes) -> bool:
            await world.clock.sleep(5)
            return await put(k, part, body)

        with (
            patch.object(cache, "keep", lambda k, part, parts, keys: keep(k, part, parts, _empty(keys))),
            patch.object(log_store, "put_decided", late),
            patch.object(log, "warning") as warned,
        ):
            await traffic(world, 400)
        assert warned.called
        await world.clock.sleep(1200)
        for worker in (wrong, right):
            await worker.kill()
        await world.verified()

    vtime.run(scenario())


async def _no(k: int, part: int) -> bool:
    return False


def test_publisher_stops_when_a_decision_file_holds_other_content() -> None:
    """The file is not overwritten, and nothing is published from it."""

    async def stopped(worker: Worker) -> str:
        with pytest.raises(ForeignObject) as problem:
            while True:
                await worker.publisher.step()
                await worker.world.clock.sleep(1)
        return str(problem.value)

    async def scenario() -> None:
        world = World(shards=2, period_ms=MINUTE, window_ms=10 * MINUTE)
        worker = await world.begin()
        worker.tasks[1].cancel()
        await traffic(world, 300)
        key = f"{worker.log_store.root}/dedup/0000000000-0"
        await world.store.put_if_absent(key, b"something else")
        with patch.object(worker.log_store, "has_decided", _no):  # it appears between the look and the put
            message = await stopped(worker)
        assert key in message and "publishing stopped" in message
        assert world.store.objects[key] == b"something else"
        assert not world.lines("c=")
        worker.tasks[0].cancel()
        await asyncio.gather(*worker.tasks, return_exceptions=True)

    vtime.run(scenario())


def test_publisher_publishes_every_copy_when_the_window_is_zero() -> None:
    """No decision file is written."""

    async def scenario() -> None:
        world = World(shards=2, period_ms=MINUTE, window_ms=0)
        worker = await world.begin()
        await traffic(world, 200)
        await world.clock.sleep(1200)
        await worker.kill()
        assert not [key for key in world.store.objects if "/dedup/" in key]
        found: Any = Counter(json.loads(line)["id"] for line in world.lines("c="))
        assert found == world.sent

    vtime.run(scenario())


@pytest.mark.parametrize("idle", [False, True], ids=["all shards busy", "one shard idle"])
def test_publisher_publishes_a_copy_once_when_no_worker_ran_for_longer_than_reach(idle: bool) -> None:
    """The plan after the outage spans 30 hours, and its first rows are near to those of the plan before. An idle shard
    is at its tip at once, while the other one catches up.
    """

    async def scenario() -> None:
        world = World(shards=2, window_ms=60 * MINUTE, poll_s=5)
        world.stream.retention_ms = 7 * 24 * 60 * MINUTE
        first, second = (shard.start_hash for shard in world.stream.shards())

        def put(name: str, at: int) -> None:
            world.stream.put(name, json.dumps({"c": "c", "t": "v", "id": name}).encode(), explicit_hash=at)
            world.sent[name] += 1

        worker = await world.begin()
        for number in range(10):
            put(f"id{number}", second if idle else first)
            await world.clock.sleep(60)
        await world.clock.sleep(900)
        await worker.kill()
        for number in range(10):
            put(f"id{number}", second)
            await world.clock.sleep(60)
        for hour in range(30):
            put(f"hour{hour}", first if hour % 2 and not idle else second)
            await world.clock.sleep(3600)
        worker = await world.begin()
        await world.clock.sleep(7200)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_deciding_takes_at_most_so_many_bytes_a_row() -> None:
    """Beside the ids as read: the rows (24 bytes) with the file (20 bytes), or their order and one column twice."""
    count, segments = 400_000, 10
    each = count // segments
    table = np.zeros(segments, dtype=RUN)
    table["n"], table["rows"] = np.arange(segments), each
    footer = empty_footer("s", 0, owner="", created=0, position=Position(Start.LATEST), watermark=0, closed_before=0)
    headers = [SegmentHeader("s", n, "", footer) for n in range(segments)]
    runs = PlanRuns(["s"], table, headers, [0] * segments)

    async def decided() -> int:
        log_store = LogStore(MemoryStore(vtime.VirtualClock()), "r", Once())
        resolver = Resolver(log_store, vtime.in_place, KeyCache(log_store, vtime.in_place, 1 << 20))
        plan = SimpleNamespace(k=0, parts=1, recent=(), window=1, since=0)
        blocks = {("s", n): Random(n).randbytes(KEY_BYTES * each) for n in range(segments)}
        tracemalloc.start()
        try:
            body, keys = await resolver.decide(cast(Plan, plan), (runs, blocks), 0)
            return tracemalloc.get_traced_memory()[1] if len(keys) == count and len(body) > 20 * count else -1
        finally:
            tracemalloc.stop()

    assert 40 * count < vtime.run(decided()) < 60 * count
