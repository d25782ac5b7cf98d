"""Whether the state of the stream is where a command looks for it."""

from __future__ import annotations

import dataclasses
import errno

import pytest

from simulation import vtime
from tests.faulty_stream import FaultyWorld, of_kinesis
from tests.loops import World
from tests.published_store import published
from vortex.commands.existing_state import NoState, existing_state, exit_code
from vortex.exits import Exit


def test_begun_names_the_stream_whose_state_it_finds_when_it_is_another() -> None:
    """With an exit code other than 0: no state, another stream's, an earlier stream's."""

    async def scenario() -> None:
        world = await published()
        info = await world.stream.describe()
        assert (await existing_state(world.store, info))[1].stream == info.name
        for other, code, message in (
            (dataclasses.replace(info, name="other"), Exit.LOST_STATE, f"holds the state of stream {info.name}"),
            (dataclasses.replace(info, created_ms=info.created_ms + 5000), Exit.FAILED, "an earlier stream"),
        ):
            with pytest.raises(NoState, match=message) as caught:
                await existing_state(world.store, other)
            assert caught.value.code == code
        with pytest.raises(NoState, match=r"start it with `vortex run`, or check store.url") as caught:
            await existing_state(World().store, info)
        assert caught.value.code == Exit.FAILED

    vtime.run(scenario())


def test_state_of_another_creation_time_is_found_by_the_shards() -> None:
    """The first start was told a wrong time. Sequence numbers of Kinesis are not used twice."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.faulty.on("list_shards", of_kinesis, 10**6)
        await (await world.begin()).kill()
        info = await world.stream.describe()
        other = dataclasses.replace(info, created_ms=info.created_ms + 5000)
        assert (await existing_state(world.store, other, world.faulty))[1].created == info.created_ms
        with pytest.raises(NoState, match="an earlier stream"):
            await existing_state(world.store, other, world.stream)

    vtime.run(scenario())


def test_exit_code_is_known_when_the_output_is_full_and_not_for_bugs() -> None:
    assert exit_code(OSError(errno.ENOSPC, "No space left on device")) is Exit.FAILED
    assert exit_code(OSError(errno.EBADF, "Bad file descriptor")) is None
