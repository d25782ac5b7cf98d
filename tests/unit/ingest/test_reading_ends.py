"""No single wrong reply of the service ends a shard or makes a gap."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from simulation import vtime
from tests.faulty_stream import FaultyStream, FaultyWorld
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import Page, Position, ShardInfo, Start, StreamInfo
from vortex.ports import InvalidPosition, NotFound, Unavailable

HOUR = 3600
Fault = Callable[..., Awaitable[Any]]


def no_iterator(*reply: Any) -> None:
    return None


def refused(found: str, shard: str, position: Position) -> str:
    raise InvalidPosition(f"{shard}: {position}")


def missing(found: str, shard: str, position: Position) -> str:
    raise NotFound(shard)


def no_next(page: Page, shard: str) -> Page:
    return dataclasses.replace(page, iterator=None)


def nothing(page: Page, shard: str) -> Page:
    return Page([], None, 0, page.server_ms)


def halved(page: Page, shard: str) -> Page:
    return dataclasses.replace(page, records=page.records[: len(page.records) // 2], iterator=None)


def one_record(page: Page, shard: str) -> Page:
    """Ends at the record that a reading from the last record must bring: two such replies seem to prove each other."""
    return dataclasses.replace(page, records=page.records[:1], iterator=None)


async def split_unread(world: FaultyWorld) -> None:
    """A shard that was split with unread records, and whose children have records, too."""
    for number in range(200):
        world.put(f"before{number}")
    world.stream.split(world.parent(), 1 << 127)
    for number in range(100):
        world.put(f"after{number}")


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("operation", "fault"),
    [
        ("iterator", no_iterator),
        ("iterator", refused),
        ("iterator", missing),
        ("read", no_next),
        ("read", nothing),
        ("read", halved),
        ("read", one_record),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_split_shard_is_read_completely_when_replies_are_wrong(operation: str, fault: Fault, times: int) -> None:
    """A reply without an iterator once lost 300 of 300 events, and neither drain nor verify noticed."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1, page_records=60)
        await split_unread(world)
        world.faulty.on(operation, fault, times)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        read = set(worker.fleet.workers)
        await worker.kill()
        assert world.faulty.injected[operation] == times
        assert world.gaps() == []
        await world.verified()
        assert read == {s.id for s in world.stream.shards()[1:]}

    vtime.run(scenario())


@pytest.mark.parametrize(
    ("operation", "fault"),
    [("iterator", no_iterator), ("read", no_next), ("iterator", missing)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_open_shard_is_read_on_when_replies_are_wrong(operation: str, fault: Fault) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.put("one")
        world.faulty.on(operation, fault, 4)
        worker = await world.begin()
        await world.clock.sleep(600)
        world.put("two")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.faulty.injected[operation] == 4
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_a_shard_is_read_completely_when_every_reply_lacks_the_next_iterator() -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1, page_records=60)
        await split_unread(world)
        world.faulty.on("read", no_next, 60)
        worker = await world.begin()
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_shards_are_listed_again_when_an_ended_shard_is_listed_as_open() -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        await split_unread(world)

        def stale(listed: list[ShardInfo]) -> list[ShardInfo]:
            return [msgspec.structs.replace(info, end_sequence=None) for info in listed]

        world.faulty.on("list_shards", stale, 20)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.faulty.injected["list_shards"] == 20
        await world.verified()

    vtime.run(scenario())


def test_the_end_of_a_shard_is_confirmed_when_its_last_record_was_trimmed() -> None:
    """The shard is empty and was idle until it closed, so nothing is lost."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1, keep_ms=10**10, poll_s=120, look_s=600)
        world.put("old")
        worker = await world.begin()
        await world.clock.sleep(30 * HOUR)
        world.stream.split(world.parent(), 1 << 127)
        world.put("new")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_the_end_of_a_shard_is_confirmed_by_rereading_its_last_record_when_the_position_is_refused() -> None:
    """Kinesis refuses an iterator after the ending sequence number."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        await worker.kill()

        def after(found: str, shard: str, position: Position) -> str:
            return refused(found, shard, position) if position.kind is Start.AFTER_SEQUENCE_NUMBER else found

        world.stream.split(world.parent(), 1 << 127)
        world.put("two")
        world.faulty.on("iterator", after, 100)
        await world.begin()
        await world.clock.sleep(HOUR)
        await world.verified()

    vtime.run(scenario())


def test_a_shard_is_given_up_when_its_position_is_refused_repeatedly() -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.faulty.on("iterator", refused, 100)
        worker = await world.begin()
        await world.clock.sleep(600)
        assert list(worker.fleet.given_up) == [world.parent()]
        assert world.faulty.injected["iterator"] == 60

    vtime.run(scenario())


def test_a_shard_is_read_on_when_its_position_was_refused_for_minutes() -> None:
    """The service gave wrong replies for a while. The shard used to be given up after fifteen seconds."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.put("one")
        world.faulty.on("iterator", refused, 40)
        worker = await world.begin()
        await world.clock.sleep(600)
        assert worker.fleet.given_up == {}
        world.put("two")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def without_the_first(listed: list[ShardInfo]) -> list[ShardInfo]:
    return listed[1:]


def test_no_gap_is_reported_when_a_listing_lacks_a_shard() -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=2)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        world.faulty.on("list_shards", without_the_first, 4)
        world.faulty.on("iterator", missing, 4)
        await world.clock.sleep(600)
        world.put("two")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_a_shard_read_within_the_retention_is_waited_for_when_it_is_not_listed() -> None:
    """Shards are listed for as long as their records are kept."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        world.stream.split(world.parent(), 1 << 127)
        world.faulty.on("list_shards", without_the_first, 200)
        world.faulty.on("iterator", missing, 200)
        await world.clock.sleep(600)
        assert any("is not listed" in trouble for trouble in world.health.report().values())
        world.put("two")
        await world.clock.sleep(3 * HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_no_gap_is_reported_when_one_reply_has_a_shorter_retention() -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1, keep_ms=10**10)
        worker = await world.begin()
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.clock.sleep(2 * HOUR)

        def shorter(info: StreamInfo) -> StreamInfo:
            return dataclasses.replace(info, retention_ms=3_600_000)

        world.faulty.on("describe", shorter, 1, 2)
        worker = await world.begin()
        await world.clock.sleep(600)
        await worker.kill()
        assert world.faulty.injected["describe"] == 1
        assert world.gaps() == []

    vtime.run(scenario())


@pytest.mark.parametrize(
    "fault",
    [
        lambda page, _: dataclasses.replace(page, behind_ms=-1),
        lambda page, _: dataclasses.replace(page, behind_ms=10**15),
        lambda page, _: dataclasses.replace(page, records=list(page.records)[::-1]),
        lambda page, _: dataclasses.replace(page, records=[*page.records, *page.records]),
        lambda page, _: dataclasses.replace(
            page, records=[msgspec.structs.replace(record, sequence="x") for record in page.records]
        ),
    ],
    ids=["negative lag", "huge lag", "backwards", "twice", "no numbers"],
)
def test_a_page_is_read_again_when_it_is_inconsistent(fault: Fault) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        for number in range(20):
            world.put(f"id{number}")
        world.faulty.on("read", fault, 3)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.faulty.injected["read"] == 3
        await world.verified()

    vtime.run(scenario())


def test_an_iterator_is_replaced_when_it_always_fails() -> None:
    """Even if no reply says that it has expired."""
    asked: list[str] = []

    class JunkIterators(FaultyStream):
        async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
            asked.append(iterator)
            if iterator == "junk":
                raise Unavailable(f"read {shard}: 500", "server")
            return await super().read(shard, iterator, limit)

    async def scenario() -> None:
        world = FaultyWorld(shards=1)
        world.faulty = JunkIterators(world.stream)
        world.faulty.on("read", lambda page, _: dataclasses.replace(page, iterator="junk"), 1, 2)
        worker = await world.begin()
        await world.clock.sleep(60)
        assert 1 < asked.count("junk") < 10
        assert asked[-1] != "junk"
        await worker.kill()

    vtime.run(scenario())
