"""The fleet of one process: draining."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest

from simulation import vtime
from tests.faulty_stream import FaultyWorld
from tests.loops import Drainer, World
from vortex.core.model import Page, Position, Start
from vortex.ports import Unavailable


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


async def _lines(world: World, caplog: pytest.LogCaptureFixture, seconds: float) -> list[str]:
    """What a drain says within these seconds."""
    caplog.set_level("INFO", "vortex.fleet.local")
    worker = await world.begin(Drainer)
    await world.clock.sleep(seconds)
    for task in worker.tasks:
        task.cancel()
    await asyncio.gather(*worker.tasks, return_exceptions=True)
    return [record.getMessage() for record in caplog.records if record.name == "vortex.fleet.local"]


def test_drain_says_each_minute_what_it_waits_for_when_an_idle_shard_reports_a_lag(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        shard = world.parent()
        world.faulty.on("read", lambda page, shard: dataclasses.replace(page, behind_ms=5000), 10**9)
        waits = f"draining: 1 shard left ({shard}: empty pages say that it is 5 s behind)"
        assert await _lines(world, caplog, 190) == [waits] * 3

    vtime.run(scenario())


def test_drain_says_the_last_error_when_iterators_for_later_records_fail(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=2)
        iterator, read = world.stream.iterator, world.stream.read
        busy = world.parent()

        async def failing(shard: str, position: Position) -> str | None:
            if position.kind is Start.LATEST:
                raise Unavailable("GetShardIterator: status 500")
            return await iterator(shard, position)

        async def filled(shard: str, *more: Any) -> Page:
            if shard == busy:
                world.stream.put("k", b"{}", explicit_hash=0)
            return await read(shard, *more)

        world.stream.iterator = failing  # type: ignore[assignment, method-assign]
        world.stream.read = filled  # type: ignore[assignment, method-assign]
        said = f"draining: 1 shard left ({busy}: cannot look for records that came later: GetShardIterator: status 500)"
        assert await _lines(world, caplog, 130) == [said] * 2

    vtime.run(scenario())


def test_drain_says_how_far_the_shards_are_behind_and_names_the_worst_ones(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=8)
        first = {shard.id: shard.start_hash for shard in world.stream.shards()}
        shards, read = list(first), world.stream.read

        async def far_behind(shard: str, iterator: str, limit: int) -> Page:
            world.stream.put("k", b"{}", explicit_hash=first[shard])
            page = await read(shard, iterator, limit)
            records = page.records if limit > 1 else []  # nothing came later
            return dataclasses.replace(page, records=records, behind_ms=3_600_000 * (1 + shards.index(shard)))

        world.stream.read = far_behind  # type: ignore[assignment, method-assign]
        (line,) = await _lines(world, caplog, 61)
        assert line.startswith(f"draining: 8 shards left ({shards[7]}: 28,80")
        assert line.endswith("; 3 other shards)")

    vtime.run(scenario())
