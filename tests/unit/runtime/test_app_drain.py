"""A drain of the whole program ends with an exit code when the state needs operator action, whatever it was doing."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any
from unittest.mock import patch

import pytest

from simulation import vtime
from simulation.memstream import StreamView
from simulation.process import Process
from simulation.world import World
from vortex.core.log.rules import BrokenLog
from vortex.core.model import Page
from vortex.log.shard_tree import ShardTree
from vortex.publish.publisher import Publisher


async def _ended(*, drain: bool) -> Process:
    """A process that ran for an hour in a world without faults."""
    world = World(1)
    world.conditions.end()
    process = Process(world, "p", world.usual, Random(1), 0, drain=drain)
    running = asyncio.ensure_future(process.run())
    await asyncio.wait([running], timeout=3600)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return process


async def _broken(*args: object) -> None:
    raise BrokenLog("state was lost")


@pytest.mark.parametrize(("part", "method"), [(Publisher, "unpublished_end"), (ShardTree, "survey")])
def test_drain_ends_with_lost_state_when_the_log_is_broken(part: type, method: str) -> None:
    """It does not wait for an end of reading that never comes."""
    with patch.object(part, method, _broken):
        assert vtime.run(_ended(drain=True)).outcome == "LOST_STATE"


@pytest.mark.parametrize("arrival", [None, 0])
def test_drain_ends_under_constant_traffic_also_when_arrival_times_are_impossible(arrival: int | None) -> None:
    """Each page has a new record. A time of 1970 never comes after the start of the drain."""

    async def scenario() -> str:
        world = World(1)
        world.conditions.end()
        read = StreamView.read

        async def busy(self: StreamView, *args: Any) -> Page:
            world.stream.put("key", b'{"c": "c", "t": "t", "id": "a"}', arrival)
            return await read(self, *args)

        process = Process(world, "p", world.usual, Random(1), 0, drain=True)
        with patch.object(StreamView, "read", busy):
            running = asyncio.ensure_future(process.run())
            await asyncio.wait([running], timeout=60)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        return process.outcome

    assert vtime.run(scenario()) == "OK"


def test_drain_ends_with_ok_when_the_store_is_intact() -> None:
    """The control for the test above."""
    assert vtime.run(_ended(drain=True)).outcome == "OK"
