"""One limit over all shards: who is asked to commit, and that pressure is met before anybody has to wait."""

from __future__ import annotations

import asyncio
from unittest.mock import patch

from simulation import vtime
from tests.loops import World
from vortex.core.log.segment import parse_footer
from vortex.ingest.memory import MemoryBudget


def test_the_largest_is_asked_once_half_is_taken() -> None:
    """Not the others: each of their segments would be a page."""

    async def scenario() -> None:
        budget = MemoryBudget(100)
        await budget.hold("small", 20)
        await budget.hold("large", 30)
        assert not budget.asks("large")  # just half
        await budget.hold("small", 21)
        assert [budget.asks(who) for who in ("large", "small", "unheard of")] == [True, False, False]

    asyncio.run(scenario())


def test_what_is_being_committed_counts_against_the_limit_alone() -> None:
    """It is on its way out: nobody else has to commit for it, but there is no room for more than the limit."""

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


def test_what_is_used_is_what_all_hold_now() -> None:
    """However often each says anew what it holds."""

    async def scenario() -> None:
        budget, held = MemoryBudget(1000), {}
        for step in range(200):
            who = str(step * 7 % 5)
            held[who] = (step * 31 % 97, step * 17 % 53)
            await budget.hold(who, *held[who])
            assert budget.used == sum(map(sum, held.values()))

    asyncio.run(scenario())


def test_pressure_is_met_again_and_again_before_the_limit_is_reached() -> None:
    """A shard that has committed early commits early once more; it does not read on until nobody may read."""

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
