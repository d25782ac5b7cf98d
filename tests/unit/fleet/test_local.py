"""The fleet of one process: draining."""

from __future__ import annotations

import asyncio

import pytest

from simulation import vtime
from tests.loops import Drainer, World


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
