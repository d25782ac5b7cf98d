"""Resuming a shard after a kill."""

from __future__ import annotations

import asyncio

import pytest

from simulation import vtime
from tests.loops import World
from tests.unit.ingest.slices import put_events

pytestmark = pytest.mark.usefixtures("small_slices")


def test_a_worker_that_is_killed_within_a_page_loses_nothing() -> None:
    """What it decoded and did not commit is read again, once."""

    async def scenario() -> None:
        world = World(shards=2, limit=60_000, every_s=10_000)
        for record in range(30):
            put_events(world, record, 150)
        for turn in range(6):
            worker = await world.begin()
            for _ in range(40 + 37 * turn):
                await asyncio.sleep(0)
            await worker.kill()
        worker = await world.begin()
        await world.clock.sleep(1500)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())
