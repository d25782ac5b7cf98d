"""A drain takes every record that Kinesis had accepted when it began, and ends under constant traffic."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from simulation import vtime
from tests.faulty_stream import FaultyWorld
from tests.loops import Drainer
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import HASH_KEYS, Page, Position, Start
from vortex.ports import InvalidPosition, IteratorExpired, NotFound, Stream, Unavailable
from vortex.verify.store import verify_store

Fault = Callable[[Page, str], Page]
EVER = 10**9
CLOCKS_MS = [0, 3_600_000, -3_600_000]
"""Errors of the local clock."""
TIMES: dict[str, Callable[[float, int], float]] = {
    "true": lambda at, sequence: at,
    "soon": lambda at, sequence: at + 200,
    "never": lambda at, sequence: at + 1e6,
    "long_ago": lambda at, sequence: 0.0,
    "backwards": lambda at, sequence: at - sequence * 0.01,
    "whole_seconds": lambda at, sequence: float(int(at) + 1),
}
"""Arrival times, by the true time and the sequence number."""


def never_behind(times: str = "true") -> Fault:
    """As moto answers before the last page if records came at the same time, and other emulators before any."""

    def fault(page: Page, shard: str) -> Page:
        records = [
            msgspec.structs.replace(each, arrival=TIMES[times](each.arrival, int(each.sequence)))
            for each in page.records
        ]
        return dataclasses.replace(page, records=records, behind_ms=0)

    return fault


def world_of(clock_ms: int = 0, **more: Any) -> FaultyWorld:
    """A world whose local clock is wrong by `clock_ms`."""
    world = FaultyWorld(shards=1, page_records=50, **more)
    world.clock.skew_ms, world.stream.skew_ms = clock_ms, -clock_ms
    return world


def put(world: FaultyWorld, number: int) -> None:
    for _ in range(number):
        world.put(f"id{len(world.sent)}")


async def drain(world: FaultyWorld, within_s: float = 60) -> list[str]:
    """The ids that a drain publishes, in order of name."""
    worker = await world.begin(Drainer)
    async with asyncio.timeout(within_s):
        await asyncio.gather(*worker.tasks)
    assert (await verify_store(world.store)).faults == []
    assert world.gaps() == []
    return sorted(json.loads(line)["id"] for line in world.lines("c="))


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("clock_ms", CLOCKS_MS)
def test_drain_takes_what_was_put_before_when_no_reply_shows_a_lag(clock_ms: int, times: str) -> None:
    """Three pages of records that came in the second before. It once ended after the second one."""

    async def scenario() -> None:
        world = world_of(clock_ms)
        world.faulty.on("read", never_behind(times), EVER)
        await world.clock.sleep(0.7)
        put(world, 150)
        assert await drain(world) == sorted(world.sent)

    vtime.run(scenario())


class Busy:
    """A stream in which a record arrives before each reading."""

    def __init__(self, world: FaultyWorld, stream: Stream) -> None:
        self._world, self._stream = world, stream

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        put(self._world, 1)
        return await self._stream.read(shard, iterator, limit)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@pytest.mark.parametrize("behind", [True, False])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("clock_ms", CLOCKS_MS)
def test_drain_ends_with_all_that_was_put_before_when_traffic_is_constant(
    clock_ms: int, times: str, behind: bool
) -> None:
    """No page is empty. Whether replies show a lag does not matter."""

    async def scenario() -> None:
        world = world_of(clock_ms)
        lag: Fault = lambda page, shard: dataclasses.replace(never_behind(times)(page, shard), behind_ms=200 * behind)  # noqa: E731
        world.faulty.on("read", lag, EVER)
        world.faulty.stream = Busy(world, world.stream)
        await world.clock.sleep(0.7)
        put(world, 300)
        before = set(world.sent)
        found = await drain(world)
        assert before <= set(found) <= set(world.sent)
        assert len(found) == len(set(found))

    vtime.run(scenario())


@pytest.mark.parametrize("behind_ms", [0, 200])
@pytest.mark.parametrize("every_s", [0.5, 0.9, 1.5, 2.0, 3.0, 4.9, 7.0])
def test_drain_ends_when_records_come_about_as_often_as_pages(every_s: float, behind_ms: int) -> None:
    """What an iterator LATEST brings has often been read already. It was put after the drain began nevertheless."""

    async def scenario() -> None:
        world = world_of()
        world.faulty.on("read", lambda page, shard: dataclasses.replace(page, behind_ms=behind_ms), EVER)
        put(world, 120)
        before = set(world.sent)

        async def produce() -> None:
            while True:
                await world.clock.sleep(every_s)
                put(world, 1)

        producer = asyncio.create_task(produce())
        assert before <= set(await drain(world, within_s=20))
        producer.cancel()

    vtime.run(scenario())


def test_drain_ends_soon_when_the_shard_is_empty() -> None:
    async def scenario() -> None:
        world = world_of()
        began = world.clock.monotonic()
        assert await drain(world) == []
        assert world.clock.monotonic() - began < 5

    vtime.run(scenario())


def test_drain_takes_a_record_that_is_readable_a_second_after_it_was_put() -> None:
    """Kinesis accepts a record a little before GetRecords brings it."""

    async def scenario() -> None:
        world = world_of()
        asyncio.get_running_loop().call_later(1.0, put, world, 3)
        assert await drain(world) == ["id0", "id1", "id2"]

    vtime.run(scenario())


@pytest.mark.parametrize(
    ("at", "times"), [*((at, 1) for at in range(8)), *((at, times) for at in (0, 8, 12, 15) for times in (2, 3, 4, 5))]
)
@pytest.mark.parametrize("lags", [True, False])
def test_drain_takes_what_was_put_before_when_some_replies_are_empty(at: int, times: int, lags: bool) -> None:
    """Three in a row, without a lag, once ended it. `lags`: whether the other replies show one."""

    async def scenario() -> None:
        world = world_of()
        empty: Fault = lambda page, shard: dataclasses.replace(page, records=[], iterator=kept[0], behind_ms=0)  # noqa: E731
        kept: list[str | None] = [None]
        read = world.stream.read

        async def remember(shard: str, iterator: str, *more: Any) -> Page:
            kept[0] = iterator
            page = await read(shard, iterator, *more)
            return page if lags else never_behind()(page, shard)

        world.stream.read = remember  # type: ignore[assignment, method-assign]
        world.faulty.on("read", empty, times, at)
        put(world, 1000)
        assert await drain(world) == sorted(world.sent)
        assert world.faulty.injected["read"] == times

    vtime.run(scenario())


@pytest.mark.parametrize("times", [3, 9])
def test_drain_takes_what_was_put_before_when_the_first_replies_after_a_while_are_empty(times: int) -> None:
    """No record was read, so there is none to check the replies by."""

    async def scenario() -> None:
        world = world_of()
        read, kept = world.stream.read, ""

        async def slow(shard: str, iterator: str, *more: Any) -> Page:
            nonlocal kept
            if not kept:
                await world.clock.sleep(2.5)  # beyond the time for records that are readable late
            kept = iterator
            return await read(shard, iterator, *more)

        world.stream.read = slow  # type: ignore[assignment, method-assign]
        empty: Fault = lambda page, shard: dataclasses.replace(page, records=[], iterator=kept, behind_ms=0)  # noqa: E731
        world.faulty.on("read", empty, times, 0)
        put(world, 100)
        assert await drain(world) == sorted(world.sent)

    vtime.run(scenario())


@pytest.mark.parametrize("refused", [True, False])
def test_drain_ends_soon_when_the_last_record_has_expired(refused: bool) -> None:
    """An iterator at it brings nothing, or is refused."""

    async def scenario() -> None:
        world = world_of()
        put(world, 1)
        assert len(await drain(world)) == 1
        empty = world.stream.iterator

        async def iterator(shard: str, position: Position) -> str | None:
            if position.kind is not Start.AT_SEQUENCE_NUMBER:
                return await empty(shard, position)
            if refused:
                raise InvalidPosition("expired")
            return await empty(shard, Position(Start.LATEST))

        world.stream.iterator = iterator  # type: ignore[assignment, method-assign]
        began = world.clock.monotonic()
        assert len(await drain(world)) == 1
        assert world.clock.monotonic() - began < 8

    vtime.run(scenario())


@pytest.mark.parametrize(
    "problem", [Unavailable("throttled"), NotFound("shard"), IteratorExpired("old"), None], ids=str
)
def test_drain_ends_when_some_iterators_for_later_records_are_refused(problem: Exception | None) -> None:
    async def scenario() -> None:
        world = world_of()
        busy = Busy(world, world.stream)
        refusals = [2]

        async def iterator(shard: str, position: Position) -> str | None:
            if position.kind is Start.LATEST and refusals[0]:
                refusals[0] -= 1
                if problem is not None:
                    raise problem
                return None
            return await world.stream.iterator(shard, position)

        busy.iterator = iterator  # type: ignore[attr-defined]
        world.faulty.stream = busy
        put(world, 300)
        before = set(world.sent)
        assert before <= set(await drain(world))
        assert refusals == [0]

    vtime.run(scenario())


def test_drain_reads_the_children_when_two_empty_pages_come_before_the_end_of_a_shard() -> None:
    async def scenario() -> None:
        world, shown = world_of(), 0
        read = world.stream.read

        async def late_end(shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
            nonlocal shown
            page = await read(shard, iterator, limit)
            if page.iterator is not None or shown == 2 or limit == 1:
                return page
            shown += 1
            return dataclasses.replace(page, iterator=iterator, children=(), behind_ms=0)

        world.stream.read = late_end  # type: ignore[assignment, method-assign]
        put(world, 1000)  # reading them takes longer than the drain waits for late records
        world.stream.split(world.stream.shards()[0].id, HASH_KEYS // 2)
        put(world, 40)
        assert await drain(world) == sorted(world.sent)
        assert shown == 2

    vtime.run(scenario())
