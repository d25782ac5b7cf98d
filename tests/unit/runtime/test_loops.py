"""The real loops over memory, in virtual time: hours of work in a second, every line accounted for."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine
from itertools import pairwise
from typing import Any

import pytest

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, Worker, World
from vortex import metrics
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


class Drainer(Worker):
    """Reads every shard to its tip, closes and publishes what it read, and ends."""

    drain = True

    def running(self) -> list[Coroutine[Any, Any, None]]:
        return [self._drain()]

    async def _drain(self) -> None:
        reading, draining = asyncio.ensure_future(self.fleet.run()), self.loops.draining
        assert draining is not None
        await draining.at_tip()
        draining.finish(await self.publisher.unpublished_end() or 0)
        await reading
        while await self.publisher.step():
            pass


@pytest.mark.parametrize("age_s", [0, 90, 900, 7200])
def test_drain_publishes_events_of_any_age(age_s: float) -> None:
    """At the tip the shard's bound follows the service's clock; uncommitted events hold it back."""

    async def scenario() -> None:
        world = World()
        for _ in range(20):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(age_s)
        worker = await world.begin(Drainer)
        await asyncio.gather(*worker.tasks)
        await world.verified()

    vtime.run(scenario())


def test_worker_reads_a_shard_once_a_second_at_the_tip_and_at_the_limit_behind_it() -> None:
    """With a backlog of many pages it reads as fast as Kinesis allows, and no call is refused."""

    async def scenario() -> None:
        world = World(shards=1)
        (shard,) = world.stream.shards()
        worker = await world.begin()
        for _ in range(600):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(0.1)
        calls = world.stream.calls[shard.id]
        assert 55 <= len(calls) <= 62
        await worker.kill()
        world.stream.page_records = 10
        for _ in range(2000):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(5)  # a lag of more than a second
        worker, before = await world.begin(), len(calls)
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()
        pauses = [later.at_s - earlier.at_s for earlier, later in pairwise(calls[before:])]
        behind = pauses[: pauses.index(next(pause for pause in pauses if pause > 0.9))]
        assert 200 <= len(behind) <= 235, "every page of the backlog, and those not committed before"
        assert max(behind) == pytest.approx(0.25)
        assert {call.outcome for call in calls} == {"ok"}

    vtime.run(scenario())


def test_verify_finds_no_fault_while_the_store_is_being_written() -> None:
    """What is published or cleaned up during the verification is not a fault."""

    async def scenario() -> None:
        world = World(period_ms=MINUTE, window_ms=5 * MINUTE)
        worker = await world.begin()

        async def slowly(operation: str, key: str) -> None:
            await world.clock.sleep(0.02)

        seen = MemoryStore(world.clock, slowly)
        vars(seen).update({name: part for name, part in vars(world.store).items() if name != "before"})

        async def look() -> list[int]:
            looks = []
            while True:
                report = await verify_store(seen)
                assert report.faults == []
                looks.append(report.checked.get("objects", 0))
                if len(looks) == 60:
                    return looks
                await world.clock.sleep(30 * world.rng.random())

        looking = asyncio.ensure_future(look())
        while not looking.done():
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(5)
        await worker.kill()
        looks = await looking
        assert looks[-1] > 10

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


def test_events_without_a_time_are_counted_as_untimed_in_metrics_and_manifests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each once."""
    counted: Counter[str] = Counter()

    def add(self: vtime.NullMeter, metric: metrics.CounterMetric, number: float = 1, **labels: str) -> None:
        if metric is metrics.EVENTS:
            counted[labels["outcome"]] += int(number)

    monkeypatch.setattr(vtime.NullMeter, "add", add)

    async def scenario() -> None:
        world = World()
        worker = await world.begin()
        for number in range(30):
            timed = {"at": world.clock.now_ms()} if number % 3 == 0 else {"at": "n/a"} if number % 3 == 1 else {}
            event = {"c": "a", "t": "v", "id": f"id{number}", **timed}
            world.stream.put("k", json.dumps(event).encode())
            await world.clock.sleep(60)
        await world.clock.sleep(2 * 3600)
        await worker.kill()
        counts = [json.loads(world.store.objects[key])["counts"] for key in world.store.objects if "_hours/" in key]
        assert sum(each["untimed"] for each in counts) == counted["untimed"] == 20
        assert sum(each["accepted"] for each in counts) == counted["accepted"] == 30

    vtime.run(scenario())
