"""No single reply ends a shard, opens a gap or begins a stream anew."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest

from simulation import vtime
from tests.loops import World
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import Page, Position, ShardInfo, Start, StreamInfo
from vortex.ports import InvalidPosition, NotFound, Stream, Unavailable

HOUR = 3600
Lie = Callable[..., Awaitable[Any]]


class Liar:
    """A stream some of whose replies are made up: `on(operation, lie, times)`; a lie is given the true reply."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.told: dict[str, int] = {}
        self._lies: dict[str, tuple[Callable[..., Any], int, int]] = {}

    def on(self, operation: str, lie: Callable[..., Any], times: int = 1, after: int = 0) -> None:
        self._lies[operation] = lie, times, after

    async def _reply(self, operation: str, call: Callable[[], Awaitable[Any]], *about: Any) -> Any:
        lie, times, after = self._lies.get(operation, (None, 0, 0))
        if lie is None or times == 0:
            return await call()
        if after:
            self._lies[operation] = lie, times, after - 1
            return await call()
        self._lies[operation] = lie, times - 1, 0
        self.told[operation] = self.told.get(operation, 0) + 1
        return lie(await call(), *about)

    async def describe(self) -> StreamInfo:
        found: StreamInfo = await self._reply("describe", self.stream.describe)
        return found

    async def server_time(self) -> int:
        found: int = await self._reply("server_time", self.stream.server_time)
        return found

    async def list_shards(self) -> list[ShardInfo]:
        found: list[ShardInfo] = await self._reply("list_shards", self.stream.list_shards)
        return found

    async def iterator(self, shard: str, position: Position) -> str | None:
        call = lambda: self.stream.iterator(shard, position)  # noqa: E731
        found: str | None = await self._reply("iterator", call, shard, position)
        return found

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        call = lambda: self.stream.read(shard, iterator, limit)  # noqa: E731
        found: Page = await self._reply("read", call, shard)
        return found


class Lied(World):
    """A world whose worker reads through a `Liar`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.liar = Liar(self.stream)

    def seen_by(self, owner: str) -> Stream:
        return self.liar

    def parent(self) -> str:
        return self.stream.shards()[0].id


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


async def split_unread(world: Lied) -> None:
    """A shard that was split with records unread, and its children have some, too."""
    for number in range(200):
        world.put(f"before{number}")
    world.stream.split(world.parent(), 1 << 127)
    for number in range(100):
        world.put(f"after{number}")


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize(
    ("operation", "lie"),
    [
        ("iterator", no_iterator),
        ("iterator", refused),
        ("iterator", missing),
        ("read", no_next),
        ("read", nothing),
        ("read", halved),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_split_shard_is_read_whole_whatever_a_reply_says(operation: str, lie: Lie, times: int) -> None:
    """Of 300 events 300 were lost to a reply without an iterator, with drain and verify well."""

    async def scenario() -> None:
        world = Lied(shards=1, page_records=60)
        await split_unread(world)
        world.liar.on(operation, lie, times)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.liar.told[operation] == times
        assert world.gaps() == []
        await world.verified()
        assert {shard.id for shard in worker.shard_tree.live.values()} == {s.id for s in world.stream.shards()[1:]}

    vtime.run(scenario())


@pytest.mark.parametrize(
    ("operation", "lie"),
    [("iterator", no_iterator), ("read", no_next), ("iterator", missing)],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_an_open_shard_goes_on_whatever_a_reply_says(operation: str, lie: Lie) -> None:
    async def scenario() -> None:
        world = Lied(shards=1)
        world.put("one")
        world.liar.on(operation, lie, 4)
        worker = await world.begin()
        await world.clock.sleep(600)
        world.put("two")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.liar.told[operation] == 4
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_replies_that_always_leave_the_next_iterator_out_lose_nothing() -> None:
    async def scenario() -> None:
        world = Lied(shards=1, page_records=60)
        await split_unread(world)
        world.liar.on("read", no_next, 60)
        worker = await world.begin()
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_listing_that_shows_the_shard_as_open_is_asked_again() -> None:
    async def scenario() -> None:
        world = Lied(shards=1)
        await split_unread(world)

        def stale(listed: list[ShardInfo]) -> list[ShardInfo]:
            return [msgspec.structs.replace(info, end_sequence=None) for info in listed]

        world.liar.on("list_shards", stale, 20)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.liar.told["list_shards"] == 20
        await world.verified()

    vtime.run(scenario())


def test_an_end_after_its_last_record_was_trimmed_is_proved_by_an_empty_shard() -> None:
    """The record cannot come again; the shard was idle until it closed, and nothing is lost."""

    async def scenario() -> None:
        world = Lied(shards=1, keep_ms=10**10, poll_s=120, look_s=600)
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


def test_a_position_that_is_the_shards_ending_number_is_proved_by_reading_its_record_again() -> None:
    """Kinesis refuses to begin after it."""

    async def scenario() -> None:
        world = Lied(shards=1)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        await worker.kill()

        def after(found: str, shard: str, position: Position) -> str:
            return refused(found, shard, position) if position.kind is Start.AFTER_SEQUENCE_NUMBER else found

        world.stream.split(world.parent(), 1 << 127)
        world.put("two")
        world.liar.on("iterator", after, 100)
        await world.begin()
        await world.clock.sleep(HOUR)
        await world.verified()

    vtime.run(scenario())


def test_a_position_that_is_refused_for_good_gives_the_shard_up() -> None:
    async def scenario() -> None:
        world = Lied(shards=1)
        world.liar.on("iterator", refused, 100)
        worker = await world.begin()
        await world.clock.sleep(600)
        assert list(worker.fleet.given_up) == [world.parent()]
        assert world.liar.told["iterator"] == 5

    vtime.run(scenario())


def without_the_first(listed: list[ShardInfo]) -> list[ShardInfo]:
    return listed[1:]


@pytest.mark.parametrize("after", [0, 1])
def test_a_stream_begins_with_all_of_its_shards_though_a_listing_leaves_one_out(after: int) -> None:
    """A root that is forgotten at the first start is never read."""

    async def scenario() -> None:
        world = Lied(shards=2)
        for number in range(50):
            world.put(f"id{number}")
        world.liar.on("list_shards", without_the_first, 1, after)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_closed_root_is_not_forgotten_at_the_first_start() -> None:
    """The open shards have all hash keys then, so that only another listing tells."""

    async def scenario() -> None:
        world = Lied(shards=1)
        await split_unread(world)
        world.liar.on("list_shards", without_the_first)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


def test_a_shard_that_a_listing_leaves_out_is_no_gap() -> None:
    async def scenario() -> None:
        world = Lied(shards=2)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        world.liar.on("list_shards", without_the_first, 4)
        world.liar.on("iterator", missing, 4)
        await world.clock.sleep(600)
        world.put("two")
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_a_shard_that_cannot_be_gone_yet_is_waited_for_however_long_it_is_not_listed() -> None:
    """It was read minutes ago, and shards are listed for as long as records are kept."""

    async def scenario() -> None:
        world = Lied(shards=1)
        world.put("one")
        worker = await world.begin()
        await world.clock.sleep(600)
        world.stream.split(world.parent(), 1 << 127)
        world.liar.on("list_shards", without_the_first, 200)
        world.liar.on("iterator", missing, 200)
        await world.clock.sleep(600)
        assert any("is not listed" in trouble for trouble in world.health.report().values())
        world.put("two")
        await world.clock.sleep(3 * HOUR)
        await worker.kill()
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


def test_another_creation_time_for_once_does_not_begin_the_stream_anew() -> None:
    """All of it would be published a second time, below another root."""

    async def scenario() -> None:
        world = Lied(shards=1)
        world.put("one")
        await (await world.begin()).kill()

        def younger(info: StreamInfo) -> StreamInfo:
            return dataclasses.replace(info, created_ms=info.created_ms + 5_000_000)

        for after in (0, 1):
            world.liar.on("describe", younger, 1, after)
            worker = await world.begin()
            await world.clock.sleep(1200)
            await worker.kill()
        assert len({key.split("/")[1] for key in world.store.objects if key.startswith("_vortex/")}) == 1
        await world.verified()

    vtime.run(scenario())


def test_another_retention_for_once_is_no_gap() -> None:
    async def scenario() -> None:
        world = Lied(shards=1, keep_ms=10**10)
        worker = await world.begin()
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.clock.sleep(2 * HOUR)

        def shorter(info: StreamInfo) -> StreamInfo:
            return dataclasses.replace(info, retention_ms=3_600_000)

        world.liar.on("describe", shorter, 1, 2)
        worker = await world.begin()
        await world.clock.sleep(600)
        await worker.kill()
        assert world.liar.told["describe"] == 1
        assert world.gaps() == []

    vtime.run(scenario())


@pytest.mark.parametrize(
    "lie",
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
def test_a_page_that_makes_no_sense_is_asked_for_again(lie: Lie) -> None:
    async def scenario() -> None:
        world = Lied(shards=1)
        for number in range(20):
            world.put(f"id{number}")
        world.liar.on("read", lie, 3)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert world.liar.told["read"] == 3
        await world.verified()

    vtime.run(scenario())


def test_an_iterator_that_only_fails_is_left_for_a_new_one() -> None:
    """Though nobody says that it has expired."""
    asked: list[str] = []

    class Spoiled(Liar):
        async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
            asked.append(iterator)
            if iterator == "junk":
                raise Unavailable(f"read {shard}: 500", "server")
            return await super().read(shard, iterator, limit)

    async def scenario() -> None:
        world = Lied(shards=1)
        world.liar = Spoiled(world.stream)
        world.liar.on("read", lambda page, _: dataclasses.replace(page, iterator="junk"), 1, 2)
        worker = await world.begin()
        await world.clock.sleep(60)
        assert 1 < asked.count("junk") < 10
        assert asked[-1] != "junk"
        await worker.kill()

    vtime.run(scenario())
