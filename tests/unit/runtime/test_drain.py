"""The program around its loops, where a person must look at the store: it ends and says so, whatever it was doing."""

from __future__ import annotations

import asyncio
from random import Random
from unittest.mock import patch

import pytest

from simulation import vtime
from simulation.process import Process
from simulation.world import World
from vortex.core.log.rules import BrokenLog
from vortex.log.shard_tree import ShardTree
from vortex.publish.publisher import Publisher


async def _ended(*, drain: bool) -> Process:
    """A process in a world without faults, after an hour."""
    world = World(1)
    world.weather.calm()
    process = Process(world, "p", world.usual, Random(1), 0, drain=drain)
    running = asyncio.ensure_future(process.run())
    await asyncio.wait([running], timeout=3600)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return process


async def _broken(*args: object) -> None:
    raise BrokenLog("state was lost")


@pytest.mark.parametrize(("part", "method"), [(Publisher, "unpublished_end"), (ShardTree, "survey")])
def test_a_drain_that_finds_state_lost_ends(part: type, method: str) -> None:
    """It does not wait for an end that nobody will tell."""
    with patch.object(part, method, _broken):
        assert vtime.run(_ended(drain=True)).outcome == "LOST_STATE"


def test_a_drain_of_a_whole_store_ends_well() -> None:
    """Else the test above would prove nothing."""
    assert vtime.run(_ended(drain=True)).outcome == "OK"
