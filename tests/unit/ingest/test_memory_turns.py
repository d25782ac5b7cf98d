"""Decoding pages in slices: shards take turns, and a page that needs much memory is committed in parts."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections import Counter
from itertools import groupby

import pytest

from simulation import vtime
from tests.loops import Worker, World
from tests.unit.ingest.slices import put_events
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.log.segment import parse_footer
from vortex.ingest import worker as ingest_worker
from vortex.ingest.memory import Turns
from vortex.runtime.assembly import loaded_state

pytestmark = pytest.mark.usefixtures("small_slices")


def test_turns_are_granted_one_at_a_time_in_the_order_of_requests() -> None:
    """Also when a waiting task is cancelled."""

    async def scenario() -> None:
        turns, log = Turns(), list[str]()

        async def work(name: str) -> None:
            async with turns:
                for step in range(3):
                    log.append(f"{name}{step}")
                    await asyncio.sleep(0)

        tasks = [asyncio.ensure_future(work(name)) for name in "abcd"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert log == [f"{name}{step}" for name in "acd" for step in range(3)]

    asyncio.run(scenario())


def test_turns_few_waits_while_many_pages_wait() -> None:
    """Each waiting page is in memory."""

    async def scenario() -> None:
        turns = Turns(most_waiting=2)
        await turns.few()
        async with turns:
            waiting = [asyncio.ensure_future(turns.__aenter__()) for _ in range(2)]
            reading = asyncio.ensure_future(turns.few())
            for _ in range(5):
                await asyncio.sleep(0)
            assert not reading.done()
        await waiting[0]
        await reading
        await turns.__aexit__()
        await waiting[1]

    asyncio.run(scenario())


def test_a_page_over_the_memory_limit_is_committed_in_several_segments() -> None:
    """None of them is much larger than the limit; each event is published once."""

    async def scenario() -> None:
        world = World(shards=1, limit=60_000, every_s=10_000, keep_ms=1 << 40)
        for record in range(40):
            put_events(world, record, 200)
        worker = await world.begin()
        await world.clock.sleep(1200)
        await worker.kill()
        bodies = [(key, body) for key, body in world.store.objects.items() if key.endswith(".seg")]
        footers = [parse_footer(body, len(body), key)[0] for key, body in sorted(bodies)]
        assert max(footer.counts.accepted for footer in footers) <= 3 * 500
        assert sum(footer.counts.records > 0 for footer in footers) > 3
        await world.verified()

    vtime.run(scenario())


def test_shards_take_turns_at_record_boundaries() -> None:
    """Never two within a record, and no shard waits for the whole page of another."""
    seen: list[tuple[str, bool]] = []
    slices = ShardIngest.slices

    def watched(self: ShardIngest, page: object) -> object:
        for step in slices(self, page):  # type: ignore[arg-type]
            seen.append((self.shard.id, step is not None and step.whole))
            yield step

    async def scenario() -> None:
        world = World(shards=2, every_s=10_000)
        for record in range(24):
            put_events(world, record, 400)
        worker = await world.begin()
        await world.clock.sleep(30)
        await worker.kill()

    ShardIngest.slices = watched  # type: ignore[method-assign, assignment]
    try:
        vtime.run(scenario())
    finally:
        ShardIngest.slices = slices  # type: ignore[method-assign]
    runs = [[whole for _, whole in run] for _, run in groupby(seen, key=lambda one: one[0])]
    assert all(run[-1] for run in runs[:-1])
    assert Counter(shard for shard, _ in seen).keys() == {"shardId-000000000000", "shardId-000000000001"}
    assert len(runs) > 4


@pytest.mark.parametrize(("released_s", "read_s"), [(3, 4), (1000, 12)])
def test_a_large_record_waits_while_publishing_takes_the_memory(
    monkeypatch: pytest.MonkeyPatch, released_s: int, read_s: int
) -> None:
    """Then it goes on: a store that does not answer keeps objects in memory."""
    monkeypatch.setattr(ingest_worker, "_LARGE", 1 << 20)

    async def scenario() -> None:
        world = World(shards=1, every_s=1, keep_ms=1 << 40)
        put_events(world, 1, 200)
        event = json.dumps({"c": "c", "t": "v", "id": "large", "x": "x" * (3 << 20)}).encode()
        world.stream.put("large", gzip.compress(event, mtime=0))
        world.sent["large"] += 1
        env = world.environment()
        async with env.room.of(env.room.limit) as give_back:
            worker = Worker(world, env, *await loaded_state(env))
            asyncio.get_running_loop().call_later(released_s, give_back, env.room.limit)
            await world.clock.sleep(min(released_s, 10) - 1)
            assert committed(world) == 0
            await world.clock.sleep(read_s - min(released_s, 10) + 1)
            assert committed(world) == 201
            await worker.kill()

    vtime.run(scenario())


def committed(world: World) -> int:
    """The number of events in the logs."""
    bodies = [(key, body) for key, body in world.store.objects.items() if key.endswith(".seg")]
    return sum(parse_footer(body, len(body), key)[0].counts.accepted for key, body in bodies)
