"""One suite for every stream: memory, moto, and kinesis-local where shards split and merge."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from simulation.memstream import MemoryStream
from tests.harness import make_stream, wait_active
from vortex.adapters.clock import SystemClock
from vortex.adapters.kinesis.stream import open_kinesis_stream
from vortex.core.model import Position, Record, ShardInfo, Start
from vortex.ports import Denied, NotFound, Stream

OLDEST = Position(Start.TRIM_HORIZON)


@dataclass
class Subject:
    """A stream, and the operations of its producer and operator."""

    stream: Stream
    put: Callable[[str, bytes], str]
    split: Callable[[str, int], None]
    merge: Callable[[str, str], None]


def in_memory() -> Subject:
    """Without rate limits: these tests are not about pauses."""
    memory = MemoryStream(SystemClock(), shards=1, limits=False)

    def split(shard: str, at: int) -> None:
        memory.split(shard, at)

    def merge(first: str, second: str) -> None:
        memory.merge(first, second)

    return Subject(memory, lambda key, data: memory.put(key, data)[1], split, merge)


async def emulated(url: str, stack: AsyncExitStack) -> Subject:
    """Over the wire, through the real adapter."""
    name = f"c-{uuid.uuid4().hex[:8]}"
    kinesis: Any = await asyncio.to_thread(make_stream, url, name, 1)
    stream = await stack.enter_async_context(open_kinesis_stream(name, "us-east-1", url))

    def put(key: str, data: bytes) -> str:
        return str(kinesis.put_record(StreamName=name, PartitionKey=key, Data=data)["SequenceNumber"])

    def split(shard: str, at: int) -> None:
        kinesis.split_shard(StreamName=name, ShardToSplit=shard, NewStartingHashKey=str(at))
        wait_active(kinesis, name)

    def merge(first: str, second: str) -> None:
        kinesis.merge_shards(StreamName=name, ShardToMerge=first, AdjacentShardToMerge=second)
        wait_active(kinesis, name)

    return Subject(stream, put, split, merge)


@pytest.fixture(params=["memory", "moto", "kinesis-local"])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """A fresh stream of one shard."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield in_memory()
        else:
            url = request.getfixturevalue("moto_url" if request.param == "moto" else "kinesis_local_url")
            yield await emulated(url, stack)


@pytest.fixture(params=["memory", "kinesis-local"])
async def resharded(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    """A stream that splits and merges as Kinesis does (moto does not)."""
    async with AsyncExitStack() as stack:
        if request.param == "memory":
            yield in_memory()
        else:
            yield await emulated(request.getfixturevalue("kinesis_local_url"), stack)


async def read_all(stream: Stream, shard: str, position: Position) -> tuple[list[Record], tuple[ShardInfo, ...]]:
    """Every record from a position to the tip or the end, and the children at the end."""
    iterator = await stream.iterator(shard, position)
    records: list[Record] = []
    empty = 0
    while iterator is not None and empty < 2:
        page = await stream.read(shard, iterator)
        records += page.records
        empty = 0 if page.records or page.behind_ms else empty + 1
        if page.iterator is None:
            return records, page.children
        iterator = page.iterator
    return records, ()


async def one_shard(stream: Stream) -> str:
    """The only shard's id."""
    (shard,) = await stream.list_shards()
    return shard.id


async def test_read_returns_records_in_order_with_their_bytes(subject: Subject) -> None:
    """From the oldest; sequence numbers increase; arrival times are close to now."""
    sequences = [subject.put(f"k{n}", f"data {n}".encode() * n) for n in range(1, 20)]
    records, _ = await read_all(subject.stream, await one_shard(subject.stream), OLDEST)
    assert [r.data for r in records] == [f"data {n}".encode() * n for n in range(1, 20)]
    assert [r.sequence for r in records] == sequences
    assert sorted(sequences, key=int) == sequences
    assert all(abs(r.arrival - time.time()) < 60 for r in records)


async def test_iterator_starts_at_or_after_a_sequence_number(subject: Subject) -> None:
    sequences = [subject.put("k", str(n).encode()) for n in range(6)]
    shard = await one_shard(subject.stream)
    after, _ = await read_all(subject.stream, shard, Position(Start.AFTER_SEQUENCE_NUMBER, sequences[2]))
    at, _ = await read_all(subject.stream, shard, Position(Start.AT_SEQUENCE_NUMBER, sequences[2]))
    assert [r.data for r in after] == [b"3", b"4", b"5"]
    assert [r.data for r in at] == [b"2", b"3", b"4", b"5"]
    nothing, _ = await read_all(subject.stream, shard, Position(Start.AFTER_SEQUENCE_NUMBER, sequences[-1]))
    assert nothing == []


async def test_iterator_at_a_time_before_all_records_starts_at_the_oldest(subject: Subject) -> None:
    subject.put("k", b"x")
    long_ago = Position(Start.AT_TIMESTAMP, str(int(time.time() * 1000) - 3_600_000))
    records, _ = await read_all(subject.stream, await one_shard(subject.stream), long_ago)
    assert [r.data for r in records] == [b"x"]


async def test_describe_returns_retention_and_creation_time_and_server_time(subject: Subject) -> None:
    info = await subject.stream.describe()
    assert info.retention_ms == 86_400_000
    assert abs(info.created_ms - time.time() * 1000) < 120_000
    assert abs(await subject.stream.server_time() - time.time() * 1000) < 60_000
    (shard,) = await subject.stream.list_shards()
    assert (shard.parents, shard.start_hash, shard.end_hash) == ((), 0, 2**128 - 1)
    assert shard.end_sequence is None


async def test_iterator_raises_not_found_when_the_shard_is_unknown(subject: Subject) -> None:
    with pytest.raises(NotFound):
        await subject.stream.iterator("shardId-000000000099", OLDEST)


async def test_calls_are_denied_when_the_stream_is_missing(moto_url: str) -> None:
    """The message names it; the caller retries slowly."""
    async with open_kinesis_stream("no-such-stream", "us-east-1", moto_url) as stream:
        calls: list[Callable[[], Awaitable[object]]] = [stream.describe, stream.list_shards]
        for call in calls:
            with pytest.raises(Denied, match="no-such-stream"):
                await call()


async def test_split_ends_its_shard_and_returns_both_children(resharded: Subject) -> None:
    """All records before the split are read first; later ones are in the children."""
    parent = await one_shard(resharded.stream)
    before = [resharded.put(f"k{n}", str(n).encode()) for n in range(5)]
    await asyncio.to_thread(resharded.split, parent, 2**127)
    resharded.put("later", b"later")
    records, children = await read_all(resharded.stream, parent, OLDEST)
    assert [r.sequence for r in records] == before
    assert len(children) == 2
    assert all(child.parents == (parent,) for child in children)
    assert sorted((c.start_hash, c.end_hash) for c in children) == [(0, 2**127 - 1), (2**127, 2**128 - 1)]
    later = [r.data for c in children for r in (await read_all(resharded.stream, c.id, OLDEST))[0]]
    assert later == [b"later"]
    listed = {s.id: s for s in await resharded.stream.list_shards()}
    assert listed[parent].end_sequence is not None


async def test_last_record_of_a_closed_shard_is_read_again_and_then_its_end(resharded: Subject) -> None:
    """This confirms an end. A shard without records returns only its end."""
    parent = await one_shard(resharded.stream)
    last = [resharded.put(f"k{n}", b"x") for n in range(3)][-1]
    await asyncio.to_thread(resharded.split, parent, 2**127)
    for _ in range(2):
        records, children = await read_all(resharded.stream, parent, Position(Start.AT_SEQUENCE_NUMBER, last))
        assert [record.sequence for record in records] == [last]
        assert len(children) == 2
    halves = sorted(child.id for child in children)
    await asyncio.to_thread(resharded.merge, *halves)
    for half in halves:
        records, (child,) = await read_all(resharded.stream, half, OLDEST)
        assert (records, sorted(child.parents)) == ([], halves)


async def test_merge_ends_both_shards_and_returns_one_child_with_two_parents(resharded: Subject) -> None:
    """The last page of either parent has all of it."""
    root = await one_shard(resharded.stream)
    await asyncio.to_thread(resharded.split, root, 2**127)
    halves = sorted(s.id for s in await resharded.stream.list_shards() if s.parents)
    await asyncio.to_thread(resharded.merge, *halves)
    for half in halves:
        _, (child,) = await read_all(resharded.stream, half, OLDEST)
        assert sorted(child.parents) == halves
        assert (child.start_hash, child.end_hash) == (0, 2**128 - 1)
