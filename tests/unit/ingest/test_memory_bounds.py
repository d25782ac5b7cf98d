"""What ingest holds never exceeds the limit by more than the pages of calls under way, whatever the records are."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import pytest

from simulation import vtime
from tests.loops import World
from vortex.core.log.segment import parse_footer
from vortex.ingest import commits, worker
from vortex.ingest.memory import MemoryBudget


def test_limit_counts_shards_at_their_tip_and_all_that_are_held() -> None:
    budget = MemoryBudget(lambda at_tip, held: 1000 + 100 * at_tip - held)
    limits = [budget.limit]
    for step in (budget.join, budget.at_tip, budget.at_tip, budget.behind, budget.behind, budget.at_tip, budget.leave):
        step("a")
        limits.append(budget.limit)
    assert limits == [1000, 999, 1099, 1099, 999, 999, 1099, 1000]


def test_shard_that_falls_behind_commits_for_the_share_that_it_loses_only_where_the_limit_is_exceeded() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(lambda at_tip, _: 100 * at_tip)
        for who in ("a", "b", "c"):
            budget.at_tip(who)
            await budget.hold(who, 80)
        assert budget.behind("a") and not budget.behind("a")
        await budget.hold("a", 0)
        await budget.hold("b", 10)
        assert (budget.behind("b"), budget.limit, budget.used) == (False, 100, 90)

    asyncio.run(scenario())


def test_worker_counts_every_shard_that_it_holds_from_its_resume_to_its_end() -> None:
    async def scenario() -> None:
        world = World(shards=8, page_records=10, limit_of=lambda at_tip, held: 10_000 + 1000 * at_tip - 10 * held)
        for number in range(2000):
            world.put(f"id{number}")
        await world.clock.sleep(500)
        one = await world.begin()
        await world.clock.sleep(1)
        assert one.env.memory.limit == 10_000 - 80, "all are behind"
        await world.clock.sleep(120)
        assert one.env.memory.limit == 18_000 - 80
        await one.kill()
        assert one.env.memory.limit == 10_000

    vtime.run(scenario())


def test_shards_that_fall_behind_lose_their_share_and_what_is_held_falls_below_the_lower_limit() -> None:
    """At once, not when they leave; and they have it again at their tip, with no change in between."""

    async def scenario() -> None:
        world = World(shards=2, page_records=2, every_s=10_000, limit_of=lambda at_tip, _: 8_000 + 16_000 * at_tip)
        one, told = await world.begin(), list[int]()
        memory = one.env.memory
        with patch.object(memory, "_resized", told.append):
            await traffic(world, 200, a_second=4)
            assert memory.limit == 40_000
            assert memory.used > 9_000
            await traffic(world, 100, a_second=60)
            assert min(shard.status.behind_ms for shard in one.fleet.workers.values()) > 60_000
            assert memory.limit == 8_000
            for _ in range(40):
                await traffic(world, 1, a_second=4)
                assert memory.used <= 8_000 + 2 * 200
            await world.clock.sleep(500)
            assert memory.limit == 40_000
        assert told == [24_000, 40_000, 24_000, 8_000, 24_000, 40_000]
        await one.kill()

    vtime.run(scenario())


@pytest.mark.parametrize(("shards", "limit"), [(8, 30_000), (200, 30_000), (200, 300_000)])
@pytest.mark.parametrize("record", [b"{}", b'{"c":"c","t":"v","id":"%d"}'])
def test_memory_exceeds_its_limit_by_the_calls_under_way_at_most_while_tiny_records_are_caught_up(
    shards: int, limit: int, record: bytes
) -> None:
    """A rejection takes 200 times the memory of its record, an event of 25 bytes twice that."""

    async def scenario() -> None:
        world = World(shards=shards, page_records=10, every_s=10_000, limit=limit, keep_ms=10**10)
        for number in range(20 * shards):
            world.stream.put(f"k{number}", record.replace(b"%d", b"%d" % number))

        async def slow(operation: str, shard: str) -> None:
            await world.clock.sleep(0.05 * (operation == "read"))

        world.stream.before = slow
        await world.clock.sleep(60)
        with most_over() as over:
            one = await world.begin()
            while sum(shard.status.totals.events for shard in one.fleet.workers.values()) < 20 * shards:
                await world.clock.sleep(1)
            await one.kill()
        assert over[0] <= 10 * 400 + 600, "the lines of a page"

    vtime.run(scenario())


@contextmanager
def most_over() -> Iterator[list[int]]:
    """The most bytes by which the limit was exceeded."""
    most, wake = [-(10**12)], MemoryBudget._wake

    def woken(self: MemoryBudget) -> None:
        wake(self)
        most[0] = max(most[0], self.used - self.limit)

    with patch.object(MemoryBudget, "_wake", woken):
        yield most


async def traffic(world: World, seconds: int, a_second: int) -> None:
    for _ in range(seconds):
        for _ in range(a_second):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(1)


def test_segment_is_cut_after_a_number_of_lines_however_small_they_are() -> None:
    async def scenario() -> None:
        world = World(shards=1, page_records=10, every_s=10_000, keep_ms=10**10)
        for number in range(300):
            world.put(f"id{number}")
        with patch.object(worker, "MOST_LINES", 50):
            one = await world.begin()
            await world.clock.sleep(500)
            await one.kill()
        bodies = [(key, body) for key, body in sorted(world.store.objects.items()) if key.endswith(".seg")]
        lines = [parse_footer(body, len(body), key)[0].counts.lines for key, body in bodies]
        assert sum(lines) == 300
        assert max(lines) == 50, lines

    vtime.run(scenario())


def test_segments_of_many_lines_are_sealed_one_after_another_and_small_ones_together() -> None:
    async def scenario(most: int) -> int:
        world, under_way, peak = World(shards=4, page_records=100, every_s=5), 0, 0

        async def offload(fn, *args):  # type: ignore[no-untyped-def]
            nonlocal under_way, peak
            if fn.__name__ != "seal":
                return fn(*args)
            under_way += 1
            peak = max(peak, under_way)
            await world.clock.sleep(0.5)
            under_way -= 1
            return fn(*args)

        for number in range(400):
            world.put(f"id{number}")
        with patch.object(commits, "MOST_LINES", most), patch.object(vtime, "in_place", offload):
            one = await world.begin()
            await world.clock.sleep(60)
            await one.kill()
        return peak

    assert vtime.run(scenario(10)) == 1
    assert vtime.run(scenario(1000)) == 4
