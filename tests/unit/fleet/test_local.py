"""The fleet of one process: draining."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from simulation import vtime
from tests.loops import Worker, World


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
