"""The pace of reading."""

from __future__ import annotations

from itertools import pairwise

import pytest

from simulation import vtime
from tests.loops import World


def test_worker_reads_a_shard_once_a_second_at_the_tip_and_at_the_limit_behind_it() -> None:
    """With a backlog of many pages it reads as fast as Kinesis allows, and no call is refused."""

    async def scenario() -> None:
        world = World(shards=1)
        (shard,) = world.stream.shards()
        worker = await world.begin()
        for _ in range(600):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(0.1)
        calls = world.stream.calls[shard.id]
        assert 55 <= len(calls) <= 62
        await worker.kill()
        world.stream.page_records = 10
        for _ in range(2000):
            world.put(f"id{len(world.sent)}")
        await world.clock.sleep(5)  # a lag of more than a second
        worker, before = await world.begin(), len(calls)
        await world.clock.sleep(3600)
        await worker.kill()
        await world.verified()
        pauses = [later.at_s - earlier.at_s for earlier, later in pairwise(calls[before:])]
        behind = pauses[: pauses.index(next(pause for pause in pauses if pause > 0.9))]
        assert 200 <= len(behind) <= 235, "every page of the backlog, and those not committed before"
        assert max(behind) == pytest.approx(0.25)
        assert {call.outcome for call in calls} == {"ok"}

    vtime.run(scenario())
