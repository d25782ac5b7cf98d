"""First start: single wrong replies change nothing, and the state of another stream is refused."""

from __future__ import annotations

import dataclasses
from random import Random

import pytest

from simulation import vtime
from simulation.memstream import MemoryStream
from tests.faulty_stream import FaultyWorld, of_kinesis
from tests.loops import World
from vortex.config.loading import ConfigError
from vortex.config.settings import Settings
from vortex.core.layout import moment
from vortex.core.model import ShardInfo, StreamInfo
from vortex.runtime.first_start import ForeignState

HOUR = 3600


async def split_unread(world: FaultyWorld) -> None:
    """A shard that was split with unread records, and whose children have records, too."""
    for number in range(200):
        world.put(f"before{number}")
    world.stream.split(world.parent(), 1 << 127)
    for number in range(100):
        world.put(f"after{number}")


def without_the_first(listed: list[ShardInfo]) -> list[ShardInfo]:
    return listed[1:]


@pytest.mark.parametrize("after", [0, 1])
def test_first_start_finds_all_shards_when_a_listing_lacks_one(after: int) -> None:
    """A root that the first start omits is never read."""

    async def scenario() -> None:
        world = FaultyWorld(shards=2)
        for number in range(50):
            world.put(f"id{number}")
        world.faulty.on("list_shards", without_the_first, 1, after)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_first_start_finds_a_closed_root_when_a_listing_lacks_it() -> None:
    """The open shards cover all hash keys, so only another listing shows it."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        await split_unread(world)
        world.faulty.on("list_shards", without_the_first)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_single_wrong_creation_time_starts_no_new_stream() -> None:
    """Otherwise everything would be published again, under another root."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.put("one")
        await (await world.begin()).kill()

        def younger(info: StreamInfo) -> StreamInfo:
            return dataclasses.replace(info, created_ms=info.created_ms + 5_000_000)

        for after in (0, 1):
            world.faulty.on("describe", younger, 1, after)
            worker = await world.begin()
            await world.clock.sleep(1200)
            await worker.kill()
        assert len({key.split("/")[1] for key in world.store.objects if key.startswith("_vortex/")}) == 1
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("wrong_first", [False, True])
@pytest.mark.parametrize("off_ms", [5_000_000, -5_000_000])
def test_two_equal_wrong_creation_times_publish_nothing_twice(wrong_first: bool, off_ms: int) -> None:
    """The shards show that the state is that of this stream, whether it or the present reply has the wrong time."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)

        def wrong(info: StreamInfo) -> StreamInfo:
            return dataclasses.replace(info, created_ms=info.created_ms + off_ms)

        world.faulty.on("list_shards", of_kinesis, 10**6)
        for life in range(3):
            if wrong_first is (life == 0):
                world.faulty.on("describe", wrong, 2)
            world.put(f"event {life}")
            worker = await world.begin()
            await world.clock.sleep(600)
            await worker.kill()
        assert len({key.split("/")[1] for key in world.store.objects if key.startswith("_vortex/")}) == 1
        await world.verified()

    vtime.run(scenario())


def test_begin_refuses_the_state_of_another_stream() -> None:
    """Two live streams would write the same keys."""

    async def scenario() -> None:
        world = World()
        await (await world.begin()).kill()
        world.stream = MemoryStream(world.clock, name="other", random=Random(3))
        with pytest.raises(ForeignState, match="give each its own prefix"):
            await world.begin()

    vtime.run(scenario())


class FromTime(World):
    """Its settings name a time to start from."""

    at = ""

    def settings(self) -> Settings:
        """What a worker runs with."""
        settings = super().settings()
        return settings.model_copy(update={"source": settings.source.model_copy(update={"start": self.at})})


def test_first_start_refuses_a_time_in_the_future() -> None:
    """Its state would close every hour before that, for good. A later start does not look at it."""

    async def scenario() -> None:
        world = FromTime()
        world.at = f"{moment(world.clock.now_ms() + 2000):%FT%TZ}"
        with pytest.raises(ConfigError, match=r"source\.start \(or VORTEX_SOURCE__START\): .* is in the future; write"):
            await world.begin()
        assert not world.store.objects
        world.at = f"{moment(world.clock.now_ms() - 2000):%FT%TZ}"
        await (await world.begin()).kill()
        world.at = "9999-12-31T23:59:59Z"
        await (await world.begin()).kill()

    vtime.run(scenario())
