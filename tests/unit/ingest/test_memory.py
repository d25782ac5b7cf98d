"""The memory limit over all shards: which shard is asked to commit, and when reading waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from unittest.mock import patch

import pytest

from simulation import vtime
from tests.leased_fleet import FleetWorld, all_leave
from tests.loops import MINUTE, World
from vortex.core.log.segment import parse_footer
from vortex.core.memory import room_bytes
from vortex.ingest.memory import MemoryBudget


def test_budget_asks_the_largest_shard_to_commit_when_more_than_half_is_used() -> None:
    """Not the others: each of their segments would hold a single page."""

    async def scenario() -> None:
        budget = MemoryBudget(100)
        await budget.hold("small", 20)
        await budget.hold("large", 30)
        assert not budget.asks("large")  # just half
        await budget.hold("small", 21)
        assert [budget.asks(who) for who in ("large", "small", "unknown")] == [True, False, False]

    asyncio.run(scenario())


def test_budget_counts_bytes_being_committed_against_the_limit_only() -> None:
    """They are about to be freed, so no other shard has to commit for them."""

    async def scenario() -> None:
        budget = MemoryBudget(100)
        await budget.hold("large", 0, 60)
        await budget.hold("small", 30)
        assert (budget.used, budget.full, budget.asks("small"), budget.asks("large")) == (90, False, False, False)
        await budget.hold("small", 41)
        assert budget.full
        waiting = asyncio.ensure_future(budget.room())
        await asyncio.sleep(0)
        assert not waiting.done()
        await budget.hold("large", 0)
        await waiting

    asyncio.run(scenario())


def test_budget_used_is_the_sum_of_what_all_shards_hold() -> None:
    """However often a shard updates its number."""

    async def scenario() -> None:
        budget, held = MemoryBudget(1000), {}
        for step in range(200):
            who = str(step * 7 % 5)
            held[who] = (step * 31 % 97, step * 17 % 53)
            await budget.hold(who, *held[who])
            assert budget.used == sum(map(sum, held.values()))

    asyncio.run(scenario())


def test_pages_wait_for_room_in_order_and_only_those_that_fit_are_woken() -> None:
    """Nobody is admitted before who came earlier; a waiting reader that is cancelled takes no room."""

    async def scenario() -> None:
        budget = MemoryBudget(80)
        assert [budget.take(str(who), 1000) for who in range(8)] == [True] * 7 + [False]
        assert budget.used == 70, "an eighth of the limit each, and one is left free"
        waiting = {who: asyncio.ensure_future(budget.reserve(who, 5)) for who in ("a", "b", "c", "d")}
        await asyncio.sleep(0)
        waiting["b"].cancel()
        budget.page("0", 3)  # the reply is smaller than expected
        await asyncio.sleep(0)
        assert [who for who, task in waiting.items() if task.done()] == ["a", "b"]
        assert not budget.take("e", 1), "others wait"
        assert budget.take("a", 5), "it was reserved"
        budget.page("1", 0)
        await asyncio.gather(waiting["c"], waiting["d"])
        assert budget.used == 3 + 5 * 10 + 3 * 5
        for who in (*"023456", "a", "c", "d"):
            budget.page(who, 0)
        assert budget.used == 0

    asyncio.run(scenario())


def test_lines_of_a_page_count_in_its_stead() -> None:
    """They lie in its memory."""

    async def scenario() -> None:
        budget = MemoryBudget(100)
        budget.take("s", 12)
        budget.page("s", 40)
        await budget.hold("s", 30)
        assert budget.used == 40
        await budget.hold("s", 50)
        assert budget.used == 50
        budget.page("s", 0)
        assert budget.used == 50

    asyncio.run(scenario())


def test_shards_that_wait_for_room_for_lines_go_on_one_after_another() -> None:
    async def scenario() -> None:
        budget, order = MemoryBudget(10), list[str]()

        async def one(who: str) -> None:
            await budget.room()
            order.append(who)
            await budget.hold(who, 10)
            await asyncio.sleep(0)
            await budget.hold(who, 0)

        await budget.hold("large", 10)
        tasks = [asyncio.ensure_future(one(who)) for who in ("a", "b", "c")]
        await asyncio.sleep(0)
        assert order == []
        await budget.hold("large", 0)
        await asyncio.gather(*tasks)
        assert order == ["a", "b", "c"]

    asyncio.run(scenario())


def test_limit_follows_the_shards_at_their_tip_and_says_so() -> None:
    """Each counts once, until it leaves."""

    async def scenario() -> None:
        told = list[int]()
        budget = MemoryBudget(lambda shards, _: max(100, 60 * shards), told.append)
        assert budget.limit == 100
        for who in ("a", "b", "b", "c"):
            budget.at_tip(who)
        for who in ("c", "c", "unknown", "b", "a"):
            budget.leave(who)
        assert (budget.limit, told) == (100, [120, 180, 120, 100])

    asyncio.run(scenario())


def test_readers_that_wait_go_on_when_the_limit_rises_and_no_more_than_fit() -> None:
    async def scenario() -> None:
        budget = MemoryBudget(lambda shards, _: 80 + 24 * shards)
        for who in range(7):
            assert budget.take(str(who), 10)
        waiting = {who: asyncio.ensure_future(budget.reserve(who, 10)) for who in ("a", "b", "c")}
        await asyncio.sleep(0)
        budget.at_tip("0")
        await asyncio.sleep(0)
        assert [who for who, task in waiting.items() if task.done()] == ["a", "b"]
        assert budget.used == 90
        budget.leave("0")
        budget.page("1", 0)
        await asyncio.sleep(0)
        assert not waiting["c"].done(), "80 bytes of 80 are used"
        budget.page("2", 0)
        budget.page("3", 0)
        await waiting["c"]
        assert budget.used == 70

    asyncio.run(scenario())


def test_a_page_larger_than_a_lowered_limit_is_read_when_nothing_else_is_held() -> None:
    """And its lines are committed: at no limit does reading stop for good."""

    async def scenario() -> None:
        budget = MemoryBudget(lambda shards, _: 1 + 99 * shards)
        budget.at_tip("s")
        await budget.hold("s", 60)
        budget.leave("s")
        assert (budget.limit, budget.full, budget.asks("s")) == (1, True, True)
        page, lines = asyncio.ensure_future(budget.reserve("s", 1000)), asyncio.ensure_future(budget.room())
        await asyncio.sleep(0)
        assert not page.done() and not lines.done()
        await budget.hold("s", 0, 60)
        await asyncio.sleep(0)
        assert not page.done() and not lines.done(), "it is being committed"
        await budget.hold("s", 0)
        await asyncio.gather(page, lines)

    asyncio.run(scenario())


def test_memory_follows_the_leases_of_each_worker() -> None:
    """Up when a shard is read at its tip, down when it is given away; the sum is that of all shards."""

    async def main() -> None:
        world = FleetWorld(shards=6, limit_of=lambda shards, _: max(20_000, 10_000 * shards))
        first = await world.join()
        assert first.env.memory.limit == 20_000, "it has no shard yet"
        await world.run(60)
        assert first.env.memory.limit == 60_000
        second = await world.join()
        assert second.env.memory.limit == 20_000
        await world.run(120)
        assert [one.env.memory.limit for one in (first, second)] == [30_000, 30_000]
        await second.leave()
        assert second.env.memory.limit == 20_000
        await world.run(60)
        assert first.env.memory.limit == 60_000
        world.stream.split("shardId-000000000000", 1 << 120)
        await world.run(60)
        assert first.env.memory.limit == 70_000, "the parent has ended, its two children are read"
        assert first.env.room.limit == room_bytes(70_000)
        await all_leave([first])
        assert (first.env.memory.limit, first.env.memory.used) == (20_000, 0)

    vtime.run(main())


def test_a_shard_that_catches_up_adds_nothing_to_the_limit_until_it_is_at_its_tip() -> None:
    """Memory would not make it read faster."""

    async def scenario() -> None:
        world = World(shards=8, page_records=10, limit_of=lambda shards, _: 10_000 + 1000 * shards)
        for _ in range(120):
            for _ in range(8):
                world.put(f"id{len(world.sent)}")
            await world.clock.sleep(1)
        worker, seen = await world.begin(), list[int]()
        while worker.env.memory.limit < 18_000:
            behind = sum(one.status.behind_ms > 10_000 for one in worker.fleet.workers.values())
            seen.append(worker.env.memory.limit)
            assert worker.env.memory.limit <= 18_000 - 1000 * behind
            await world.clock.sleep(0.1)
        assert seen[:10] == [10_000] * 10
        await worker.kill()

    vtime.run(scenario())


@pytest.mark.parametrize("lost", [1, 12])
def test_used_memory_falls_below_a_lowered_limit_while_all_shards_read_on(lost: int) -> None:
    """However many shards a full worker loses at a moment. What is above the limit is at most a page a shard."""

    async def main() -> None:
        world = World(shards=4, limit_of=lambda shards, _: 2_000 * shards, every_s=10_000, page_records=10, poll_s=1)
        page, others = 10 * 200, [f"other {number}" for number in range(lost)]
        worker = await world.begin()
        memory = worker.env.memory
        for other in others:
            memory.at_tip(other)
        await traffic(world, 200)
        assert memory.limit == 2_000 * (4 + lost)
        assert 0.3 * memory.limit <= memory.used <= memory.limit + 4 * page
        for other in others:
            memory.leave(other)
        await traffic(world, 20)
        for _ in range(60):
            await traffic(world, 1)
            assert memory.used <= memory.limit + 4 * page
        read = sum(one.status.totals.events for one in worker.fleet.workers.values())
        assert read >= len(world.sent) - 100, "no shard waits for good"
        await worker.kill()

    vtime.run(main())


async def traffic(world: World, seconds: int) -> None:
    for _ in range(seconds):
        for _ in range(40):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(1)


def test_a_shard_commits_early_each_time_half_of_the_limit_is_used() -> None:
    """It never reads on until the limit blocks every shard."""

    async def scenario() -> None:
        world = World(shards=1, page_records=10, every_s=10_000, limit=6_000, keep_ms=10**10)
        for number in range(400):
            world.put(f"id{number}")
        with patch.object(MemoryBudget, "room", side_effect=AssertionError("the limit was reached")):
            worker = await world.begin()
            await world.clock.sleep(600)
            assert all(not task.done() for task in worker.tasks)
            await worker.kill()
        bodies = [(key, body) for key, body in world.store.objects.items() if key.endswith(".seg")]
        accepted = [parse_footer(body, len(body), key)[0].counts.accepted for key, body in sorted(bodies)]
        assert sum(accepted) >= 360, accepted
        assert max(accepted) <= 60, accepted

    vtime.run(scenario())


def test_idle_shards_are_asked_at_their_pace_however_many_there_are() -> None:
    """Reads under way are limited by the bytes that they may bring, not by a number."""

    async def scenario() -> None:
        world, calls = World(shards=200, poll_s=2, keep_ms=24 * 60 * MINUTE), Counter[str]()

        async def slow(operation: str, shard: str) -> None:
            calls[operation] += 1
            await world.clock.sleep(0.2)

        world.stream.before = slow
        worker = await world.begin()
        worker.tasks[1].cancel()  # nothing to publish
        await world.clock.sleep(30)
        calls.clear()
        await world.clock.sleep(20)
        assert calls == {"read": 200 * 10}
        worker.fleet.stop()
        await worker.tasks[0]

    vtime.run(scenario())
