"""Where reading starts and resumes, and how records that can no longer be read are reported."""

from __future__ import annotations

import json

from simulation import vtime
from tests.loops import Worker, World
from vortex.core.model import Position, Start
from vortex.verify.store import verify_store


def test_latest_reads_children_of_a_split_before_the_start_from_their_tip() -> None:
    """A shard that was split before the first start ends without a record. Its children existed before the
    start, too.
    """

    async def scenario() -> None:
        world = World(shards=1, start=Start.LATEST)
        for _ in range(3):
            world.stream.put("x", b"{}")
        world.stream.split(world.stream.shards()[0].id, 1 << 127)
        for number in range(20):
            world.stream.put(f"old{number}", b"{}")
        await world.clock.sleep(60)
        worker = await world.begin()
        await world.clock.sleep(600)
        for number in range(20):
            world.put(f"new{number}")
        world.stream.split(world.stream.shards()[1].id, 1 << 126)
        await world.clock.sleep(3600)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_a_position_that_was_trimmed_is_reported_as_a_gap() -> None:
    """The worker was down for longer than the retention. It reports an error and continues to read."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        world.put("before")
        await world.clock.sleep(600)
        await worker.kill()
        world.put("lost")
        world.sent.pop("lost")
        await world.clock.sleep(30 * 3600)
        worker = await world.begin()
        world.put("after")
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert ["trimmed before they were read" in gap for gap in world.gaps()] == [True]
        await world.verified()

    vtime.run(scenario())


def test_a_child_that_is_read_after_its_retention_is_reported_as_a_gap() -> None:
    """Its oldest record is no longer its first one, and no reply says so."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        world.put("before")
        await world.clock.sleep(600)
        await worker.kill()
        world.stream.split(world.stream.shards()[0].id, 1 << 127)
        for _ in range(20):
            world.put(f"lost{len(world.sent)}")
            world.sent.popitem()
            await world.clock.sleep(60)
        await world.clock.sleep(23.9 * 3600)
        kept = [f"kept{number}" for number in range(20)]
        for name in kept:
            world.put(name)
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert sorted("may have been trimmed" in gap for gap in world.gaps()) == [False, True, True], (
            "the parent's gap is reported, too"
        )
        report = await verify_store(world.store)
        assert report.faults == []
        assert {json.loads(line)["id"] for line in world.lines("c=")} >= {"before", *kept}

    vtime.run(scenario())


def test_an_idle_shard_that_was_not_read_within_the_retention_is_reported_as_a_gap() -> None:
    """No record was ever read, so no position is older than the retention; some records may still be lost."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        worker = await world.begin()
        await world.clock.sleep(3600)
        await worker.kill()
        world.stream.put("lost", b"{}")
        await world.clock.sleep(30 * 3600)
        worker = await world.begin()
        world.put("after")
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert ["may have been trimmed" in gap for gap in world.gaps()] == [True]
        await world.verified()

    vtime.run(scenario())


async def split_and_forgotten(world: World, worker: Worker) -> None:
    """The worker stops. A record comes, the shard splits, and all that it has expires before anybody reads it."""
    await world.clock.sleep(600)
    await worker.kill()
    world.stream.put("lost", b"{}")
    await world.clock.sleep(1800)
    world.stream.split(world.stream.shards()[0].id, 1 << 127)
    await world.clock.sleep(24 * 3600 - 600)
    world.put("after")


def test_records_that_expired_after_the_last_one_read_are_reported_as_a_gap_when_the_shard_has_no_iterator() -> None:
    """Nothing is left of the shard, so there is no page with records, and its end is proved."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        world.stream.null_iterators = True
        worker = await world.begin()
        world.put("read")
        await split_and_forgotten(world, worker)
        faulty = world.stream.iterator

        async def without(shard: str, position: Position, caller: str = "") -> str | None:
            found = await faulty(shard, position, caller)
            return None if position.kind is Start.AFTER_SEQUENCE_NUMBER and shard == first else found

        first = world.stream.shards()[0].id
        world.stream.iterator = without  # type: ignore[method-assign]
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert len(world.gaps()) == 3, "its own gap, and those of its children, which may be as old"
        await world.verified()

    vtime.run(scenario())


def test_a_shard_that_ends_without_an_iterator_is_reported_as_a_gap() -> None:
    """It was closed, and all its records were trimmed before it was read, so there is no page."""

    async def scenario() -> None:
        world = World(shards=1, keep_ms=10**10)
        world.stream.null_iterators = True
        worker = await world.begin()
        await split_and_forgotten(world, worker)
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        assert len(world.gaps()) == 3, "its own gap, and those of its children, which may be as old"
        assert all("may have been trimmed" in gap for gap in world.gaps())
        await world.verified()

    vtime.run(scenario())


def test_an_iterator_that_falls_behind_the_retention_is_renewed() -> None:
    """A root without a log waits for its first read while its oldest records are trimmed. It must not get stuck."""

    async def scenario() -> None:
        world = World(shards=1)
        world.put("lost")
        world.sent.pop("lost")
        await world.clock.sleep(24 * 3600 - 30)
        world.put("kept")

        async def slowly(operation: str, shard: str) -> None:
            if operation == "read" and world.clock.monotonic() < 24 * 3600:
                await world.clock.sleep(60)

        world.stream.before = slowly
        worker = await world.begin()
        await world.clock.sleep(3 * 3600)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())
