"""The in-memory Kinesis keeps the limits of the service on calls, bytes and records."""

from __future__ import annotations

import pytest

from simulation.memstream import PAGE_BYTES, MemoryStream
from tests.unit.simulation.memstreams import FIRST, HORIZON, ManualClock, begin
from vortex.ports import IteratorExpired, Unavailable

MIB = 1 << 20


async def throttled(stream: MemoryStream, token: str) -> bool:
    try:
        await stream.read(FIRST, token)
    except Unavailable as error:
        assert error.cause == "throttled"
        return True
    return False


async def test_read_is_throttled_beyond_five_calls_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    token = await begin(stream)
    assert [await throttled(stream, token) for _ in range(6)] == [False] * 5 + [True]
    clock.seconds += 0.9
    assert await throttled(stream, token)
    clock.seconds += 0.1
    assert not await throttled(stream, token)


async def test_read_is_never_throttled_at_an_even_pace_of_five_calls_a_second(
    stream: MemoryStream, clock: ManualClock
) -> None:
    token = await begin(stream)
    for _ in range(200):
        assert not await throttled(stream, token)
        clock.seconds += 0.2


async def test_iterator_is_throttled_beyond_five_calls_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(5):
        await stream.iterator(FIRST, HORIZON)
    with pytest.raises(Unavailable) as refused:
        await stream.iterator(FIRST, HORIZON)
    assert refused.value.cause == "throttled"
    clock.seconds += 1
    await stream.iterator(FIRST, HORIZON)


async def test_read_limits_are_per_shard(clock: ManualClock) -> None:
    stream = MemoryStream(clock, shards=2)
    tokens = [(info.id, await begin(stream, shard=info.id)) for info in stream.shards()]
    for _ in range(5):
        for shard, token in tokens:
            await stream.read(shard, token)


async def test_read_is_never_throttled_without_limits(clock: ManualClock) -> None:
    stream = MemoryStream(clock, limits=False)
    token = await begin(stream)
    assert not any([await throttled(stream, token) for _ in range(50)])


async def test_read_is_throttled_beyond_two_mebibytes_a_second(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(4):
        stream.put("key", bytes(MIB))
    token = await begin(stream)
    assert not await throttled(stream, token)  # 4 MiB: the quota of two seconds
    clock.seconds += 0.9
    assert await throttled(stream, token)
    clock.seconds += 0.2
    assert not await throttled(stream, token)


async def test_read_is_throttled_for_five_seconds_after_a_full_page(stream: MemoryStream, clock: ManualClock) -> None:
    for _ in range(11):
        stream.put("key", bytes(MIB))
    token = await begin(stream)
    page = await stream.read(FIRST, token)
    assert (len(page.records), page.size) == (10, PAGE_BYTES)
    assert page.behind_ms > 0
    assert page.iterator is not None
    clock.seconds += 4.9
    assert await throttled(stream, page.iterator)
    clock.seconds += 0.1
    assert len((await stream.read(FIRST, page.iterator)).records) == 1


async def test_read_loses_no_record_when_a_page_is_cut_by_size(stream: MemoryStream, clock: ManualClock) -> None:
    sizes = [9 * MIB, 2 * MIB, 10 * MIB, 1, 0]
    for size in sizes:
        stream.put("key", bytes(size))
    token = await begin(stream)
    pages: list[list[int]] = []
    for _ in range(3):
        page = await stream.read(FIRST, token)
        pages.append([len(record.data) for record in page.records])
        assert page.iterator is not None
        token = page.iterator
        clock.seconds += 6
    assert pages == [[9 * MIB], [2 * MIB], [10 * MIB]]
    assert [len(record.data) for record in (await stream.read(FIRST, token)).records] == [1, 0]


async def test_read_returns_at_most_ten_thousand_records(stream: MemoryStream) -> None:
    for _ in range(10_001):
        stream.put("key", b"")
    page = await stream.read(FIRST, await begin(stream))
    assert len(page.records) == 10_000
    assert page.iterator is not None
    assert len((await stream.read(FIRST, page.iterator)).records) == 1


async def test_iterators_expire_after_five_minutes(stream: MemoryStream, clock: ManualClock) -> None:
    token = await begin(stream)
    clock.seconds += 300
    page = await stream.read(FIRST, token)
    clock.seconds += 1
    with pytest.raises(IteratorExpired):
        await stream.read(FIRST, token)
    assert page.iterator is not None
    await stream.read(FIRST, page.iterator)  # each page has a new one
    assert [call.outcome for call in stream.calls[FIRST]] == ["ok", "ok", "expired", "ok"]
