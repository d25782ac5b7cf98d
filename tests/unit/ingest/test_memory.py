"""The memory limit over all shards: which shard is asked to commit, and when reading waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from unittest.mock import patch

from simulation import vtime
from tests.loops import MINUTE, World
from vortex.core.log.segment import parse_footer
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
        assert [budget.take(str(who), 1000) for who in range(9)] == [True] * 8 + [False]
        assert budget.used == 80, "an eighth of the limit each"
        waiting = {who: asyncio.ensure_future(budget.reserve(who, 5)) for who in ("a", "b", "c", "d")}
        await asyncio.sleep(0)
        waiting["b"].cancel()
        budget.page("0", 3)  # the reply is smaller than expected
        await asyncio.sleep(0)
        assert [who for who, task in waiting.items() if task.done()] == ["a", "b", "c"]
        assert not budget.take("e", 1), "others wait"
        assert budget.take("a", 5), "it was reserved"
        budget.page("1", 0)
        await waiting["d"]
        assert budget.used == 3 + 6 * 10 + 3 * 5
        for who in (*"0234567", "a", "c", "d"):
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
