"""The publisher: who plans, how often logs are read, and how segments are compressed."""

from __future__ import annotations

import asyncio
import json
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from simulation import vtime
from tests.leased_fleet import FleetWorld, all_leave, documents, planner, scenario
from tests.loops import MINUTE, Worker, World
from tests.published_store import published
from tests.unit.publish.test_dedup import traffic
from vortex import metrics
from vortex.core.compression import Compression
from vortex.core.log.rules import segment_key
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.model import HOUR_MS
from vortex.log.objects import PAUSES_S
from vortex.log.store import LogStore


def test_the_next_worker_of_the_roster_plans_when_the_planner_hangs() -> None:
    """Its leases stay alive while its publisher hangs; after two intervals the next worker plans."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1)
        members = [await world.join() for _ in range(3)]
        await world.run(300)
        hung = planner(members)
        hung.tasks[1].cancel()
        before = len(documents(world, "done"))
        await world.run(160)
        assert len(documents(world, "done")) > before
        await world.run(600)
        assert planner(members) is hung
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_requests_for_logs_grow_with_the_shards_when_the_frontier_is_stuck(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with shards times workers, even while nothing is published."""

    async def main() -> None:
        world = FleetWorld(shards=12, period_ms=MINUTE)
        members = [await world.join() for _ in range(6)]
        await world.run(120)
        looks = 0
        real = LogStore.follow

        async def counted(self: LogStore, *given: Any) -> Any:
            nonlocal looks
            looks += 1
            return await real(self, *given)

        monkeypatch.setattr(LogStore, "follow", counted)
        stuck = members[0].fleet.workers[next(iter(members[0].fleet.workers))]
        monkeypatch.setattr(stuck, "_due", lambda: False)
        await world.run(1200, every=5.0)
        # In twenty minutes the planner reads twelve logs a minute, and the five others together about as many.
        assert looks < 20 * 12 * 4
        monkeypatch.undo()
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_segments_use_lz4_while_most_members_lose_lines() -> None:
    """Their lines are then compressed with gzip only once. Gzip returns when the copies stop."""

    async def scenario() -> None:
        world = World(shards=4, period_ms=MINUTE, window_ms=10 * MINUTE, every_s=50)
        worker = await world.begin()

        def long(number: int, key: str) -> None:
            world.stream.put(key, json.dumps({"c": "c", "t": "v", "id": f"id{number}", "x": "x" * 9000}).encode())
            world.sent[f"id{number}"] += 1

        uses_lz4 = []
        for number in range(1200):
            long(number, f"k{number}")
            if number < 600:
                long(number, f"again {number}")
            await world.clock.sleep(1)
            uses_lz4.append(worker.publisher.status.lz4)
        assert not any(uses_lz4[:60]) and any(uses_lz4[300:600]) and not any(uses_lz4[-120:])
        await world.clock.sleep(1200)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_an_hour_has_the_compression_of_its_plans_whatever_the_settings_of_each_worker() -> None:
    """Workers with either setting take turns and run side by side. Manifests name Zstandard, and verify finds no fault.

    Members are large enough for blobs of their own, so that segments hold both compressions, too.
    """

    async def scenario() -> None:
        world = World(shards=2, period_ms=MINUTE, keep_ms=HOUR_MS)
        padding = "".join(Random(1).choices("0123456789abcdef", k=40_000))

        async def lives(worker: Worker, minutes: int) -> None:
            for _ in range(2 * minutes):
                name = f"id{len(world.sent)}"
                world.stream.put(name, json.dumps({"c": "c", "t": "v", "id": name, "x": padding}).encode())
                world.sent[name] += 1
                await world.clock.sleep(30)
            await worker.kill()

        for turn in range(12):
            world.compression = Compression.ZSTD if turn in (1, 2, 6, 7, 8, 9, 11) else Compression.GZIP
            await lives(await world.begin(), 25)
        second = await world.begin()
        world.compression = Compression.GZIP
        await asyncio.gather(lives(await world.begin(), 20), lives(second, 20))
        worker = await world.begin()
        await world.clock.sleep(7200)
        await worker.kill()
        await world.verified()
        endings: dict[str, set[str]] = {}
        for key in world.store.objects:
            if key.startswith("c="):
                endings.setdefault(key.rpartition("/")[0], set()).add(key.partition(".json.")[2])
        assert {"gz"} in endings.values() and {"zst"} in endings.values()
        assert all(len(several) == 1 for several in endings.values())
        named = [json.loads(body) for key, body in world.store.objects.items() if key.startswith("_hours/")]
        for hour in named:
            of_hour = {ending for row in hour["partitions"] for ending in endings[row["folder"]]}
            assert (hour["version"], hour.get("compression")) == ((2, "zstd") if "zst" in of_hour else (1, None))

    vtime.run(scenario())


def test_a_late_segment_in_place_of_a_cleaned_up_one_stops_no_worker() -> None:
    """A worker that reads it is executing a plan that is already done, so the content does not matter."""

    async def scenario() -> None:
        world = World(shards=1, period_ms=MINUTE, window_ms=10 * MINUTE, look_s=2)
        late, other = await world.begin(), await world.begin()
        ids = late.log_store.ids

        async def slow(head: Any) -> bytes:
            key = f"{late.log_store.root}/shards/{head.shard}/{head.n:012d}.seg"
            for _ in range(600):
                if key not in world.store.objects:
                    await world.store.put_if_absent(key, b"another's")
                    break
                await world.clock.sleep(1)
            return await ids(head)

        with patch.object(late.log_store, "ids", slow):
            await traffic(world, 300)
        await world.clock.sleep(1200)
        assert not any(task.done() for worker in (late, other) for task in worker.tasks)
        for worker in (late, other):
            await worker.kill()

    vtime.run(scenario())


class Persistent(Worker):
    """Its publisher is tried again after an error, as in a process."""

    failures = 0

    async def _publish(self) -> None:
        while True:
            try:
                await super()._publish()
            except (CorruptSegment, OtherVersion):
                self.failures += 1
                await self.world.clock.sleep(60)


@pytest.mark.parametrize("problem", [CorruptSegment, OtherVersion])
def test_a_plan_in_progress_is_published_whole_after_one_of_its_segments_could_not_be_read(
    problem: type[Exception],
) -> None:
    """What is known of the logs after a reading that failed is not enough to publish from."""

    async def scenario() -> None:
        world = World(shards=1, period_ms=MINUTE, every_s=10)

        async def stuck(operation: str, key: str) -> None:
            await world.clock.sleep(1e9 if operation == "put" and "/dedup/" in key else 0)

        world.store.before = stuck
        first = await world.begin()
        for number in range(300):
            world.put(f"id{number}")
            await world.clock.sleep(1)
        await first.kill()
        plan = await first.log_store.last_plan(first.state)
        ((shard, entry),) = plan.shards.items()
        assert entry.first < entry.next, "the plan has segments that no later plan needs"
        unreadable, left = segment_key(first.log_store.root, shard, entry.first), 1 + len(PAUSES_S)

        async def corrupt(operation: str, key: str) -> None:
            nonlocal left
            if operation == "get" and key == unreadable and left:
                left -= 1
                raise problem(key)

        world.store.before = corrupt
        second = await world.begin(Persistent)
        await world.clock.sleep(1200)
        assert getattr(second, "failures") == 1  # noqa: B009
        await second.kill()
        await world.verified()

    vtime.run(scenario())


class _Published(vtime.NullMeter):
    """How many objects were counted."""

    objects = 0.0

    def add(self, metric: metrics.CounterMetric, value: float = 1, **labels: str) -> None:
        """As the port."""
        super().add(metric, value, **labels)
        self.objects += value if metric is metrics.OBJECTS_PUBLISHED else 0


@pytest.mark.parametrize("bundle", [0, 1 << 20])
def test_publisher_counts_a_bundle_as_one_object(bundle: int) -> None:
    """However many partitions have lines in it."""
    meter = _Published()
    world = vtime.run(published(bundle=bundle, meter=meter))
    there = [key for key in world.store.objects if key.startswith(("c=", "_bundles/"))]
    assert 0 < meter.objects == len(there)
    assert bool(bundle) == all(key.startswith("_bundles/") for key in there)
