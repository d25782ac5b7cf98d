"""Verification while the store is being written."""

from __future__ import annotations

import asyncio

from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE, World
from vortex.verify.store import verify_store


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
