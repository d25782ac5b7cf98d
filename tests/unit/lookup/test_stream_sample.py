"""Which records of a stream a sample reads."""

from __future__ import annotations

import asyncio

import pytest

from simulation import vtime
from simulation.memstream import MemoryStream
from vortex.lookup.stream_sample import recent_records, spread


async def read(stream: MemoryStream, records: int = 10) -> list[bytes]:
    """The data of the records."""
    shards = [shard.id for shard in await stream.list_shards()]
    return [record.data async for _, page in recent_records(stream, shards, records) for record in page]


@pytest.mark.parametrize(("age_s", "expected"), [(0, [b"old", b"new"]), (600, [b"new"])])
def test_recent_records_reads_what_arrived_in_the_last_minutes(age_s: int, expected: list[bytes]) -> None:
    async def main() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=1)
        await clock.sleep(7200)
        stream.put("a", b"old")
        await clock.sleep(age_s)
        stream.put("a", b"new")
        assert await read(stream) == expected

    vtime.run(main())


def test_recent_records_reads_the_oldest_records_when_nothing_is_recent() -> None:
    async def main() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=2)
        stream.put("a", b"1")
        await clock.sleep(7200)
        assert await read(stream) == [b"1"]
        assert await read(MemoryStream(clock)) == []

    vtime.run(main())


def test_recent_records_ends_when_it_has_enough() -> None:
    async def main() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=4)
        for number in range(40):
            stream.put(str(number), b"x")
        await asyncio.sleep(1)
        assert len(await read(stream, 1)) < 40

    vtime.run(main())


def test_spread_takes_shards_evenly() -> None:
    assert spread([str(n) for n in range(100)], 4) == ["0", "25", "50", "75"]
    assert spread(["a"], 4) == ["a"]
