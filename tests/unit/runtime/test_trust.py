"""Whole workers with wrong clocks: no hour closes early, and events are published in their hours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from simulation import vtime
from simulation.memstream import MemoryStream
from tests.faulty_stream import FaultyWorld
from vortex.core.layout import date_and_hour
from vortex.core.log.segment import parse_footer
from vortex.core.model import Page, ShardInfo, Start
from vortex.health import Health
from vortex.ports import Unavailable
from vortex.runtime.trust import TrustedClock, TrustedStream

HOUR = 3600
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def dated(off_ms: int) -> Callable[..., Any]:
    """A fault that moves the Date of a reply."""

    def fault(reply: Any, *about: Any) -> Any:
        if isinstance(reply, Page):
            return dataclasses.replace(reply, server_ms=reply.server_ms + off_ms)
        return reply + off_ms

    return fault


def wrong_dates(world: FaultyWorld, off_ms: int, times: int = 10**9, after: int = 0) -> None:
    for operation in ("read", "server_time"):
        world.faulty.on(operation, dated(off_ms), times, after)


def put(world: FaultyWorld, name: str) -> None:
    """Put an event whose time is now."""
    now = world.clock.epoch_ms + int(world.clock.monotonic() * 1000)
    world.stream.put(name, json.dumps({"c": "c", "t": "v", "id": name, "at": now}).encode())
    world.sent[name] += 1


def ahead(world: FaultyWorld) -> int:
    """How far any log's bound or watermark is ahead of the true time, in milliseconds."""
    now = world.clock.epoch_ms + int(world.clock.monotonic() * 1000)
    footers = [parse_footer(body, len(body), key)[0] for key, body in world.store.objects.items() if ".seg" in key]
    return max(max(footer.watermark, footer.closed_before) for footer in footers) - now


def misplaced(world: FaultyWorld) -> list[str]:
    """Published events that are in another hour than their own."""
    found = []
    for key in sorted(world.store.objects):
        if key.startswith("c="):
            for line in world.lines(key):
                date, hour = date_and_hour(json.loads(line)["at"])
                if f"/d={date}/h={hour}/" not in key:
                    found.append(f"{key}: {line!r}")
    return found


async def traffic(world: FaultyWorld, hours: int) -> None:
    """Some events, with idle time in between."""
    for number in range(hours * 2):
        put(world, f"id{len(world.sent)}-{number}")
        await world.clock.sleep(HOUR / 2)


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS, HOUR_MS])
@pytest.mark.parametrize("after", [0, 1, 2, 100])
def test_a_single_wrong_date_closes_no_hour_early(off_ms: int, after: int) -> None:
    """On an idle shard it once closed the next 48 hours for good, and the next event was late."""

    async def scenario() -> None:
        world = FaultyWorld(shards=2, poll_s=20, look_s=60)
        for operation in ("read", "server_time"):
            world.faulty.on(operation, dated(off_ms), 1, after)
        worker = await world.begin()
        await world.clock.sleep(HOUR)
        assert ahead(world) <= 0
        await traffic(world, 3)
        await world.clock.sleep(HOUR)
        await worker.kill()
        assert misplaced(world) == []
        assert ahead(world) <= 0
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS, 3 * HOUR_MS, -3 * HOUR_MS])
def test_dates_that_are_wrong_for_hours_close_no_hour_early_and_misplace_no_event(off_ms: int) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=2, poll_s=20, look_s=60)
        wrong_dates(world, off_ms)
        worker = await world.begin()
        await traffic(world, 5)
        assert "clock" in world.health.report()
        assert "Dates of the service's last" in world.health.report()["clock"]
        assert ahead(world) <= 0
        wrong_dates(world, 0)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert "clock" not in world.health.report()
        assert misplaced(world) == []
        assert world.gaps() == []
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS, 3 * HOUR_MS, -3 * HOUR_MS])
def test_a_wrong_local_clock_closes_no_hour_early_and_misplaces_no_event(off_ms: int) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=2, poll_s=20, look_s=60)
        world.clock.skew_ms, world.stream.skew_ms = off_ms, -off_ms  # the stream uses the same clock
        worker = await world.begin()
        await traffic(world, 5)
        which = "ahead of" if off_ms > 0 else "behind"
        assert f"the local clock is {abs(off_ms) // (DAY_MS if abs(off_ms) >= 2 * DAY_MS else HOUR_MS)}" in (
            trouble := world.health.report()["clock"]
        )
        assert which in trouble
        assert ahead(world) <= 0
        world.clock.skew_ms = world.stream.skew_ms = 0  # the clock is corrected
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert "clock" not in world.health.report()
        assert misplaced(world) == []
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS])
def test_latest_loses_no_event_when_dates_are_wrong(off_ms: int) -> None:
    """A start in the future would skip what arrives until then."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1, poll_s=20, look_s=60, start=Start.LATEST)
        wrong_dates(world, off_ms)
        worker = await world.begin()
        await traffic(world, 2)
        wrong_dates(world, 0)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("wrong", ["local", "dates"])
def test_a_clock_that_is_ahead_closes_no_period_by_max_delay(wrong: str) -> None:
    """`hours.max_delay` counts only by clocks that agree."""

    async def scenario() -> None:
        world = FaultyWorld(shards=2, poll_s=20, look_s=60, max_delay_ms=2 * HOUR_MS)
        if wrong == "local":
            world.clock.skew_ms, world.stream.skew_ms = DAY_MS, -DAY_MS
        else:
            wrong_dates(world, DAY_MS)
        worker = await world.begin()
        await traffic(world, 3)
        assert ahead(world) <= 0
        await worker.kill()
        assert misplaced(world) == []

    vtime.run(scenario())


@pytest.mark.parametrize("arrival", [1e300, -1e300, 0.0, -1.0, float("nan"), 4e9])
def test_an_impossible_arrival_time_closes_no_hour_early(arrival: float) -> None:
    async def scenario() -> None:
        world = FaultyWorld(shards=1, poll_s=20, look_s=60)

        def wrong_arrivals(page: Page, shard: str) -> Page:
            return dataclasses.replace(
                page, records=[record.__class__(record.sequence, arrival, record.data) for record in page.records]
            )

        worker = await world.begin()
        put(world, "first")
        await world.clock.sleep(600)
        world.faulty.on("read", wrong_arrivals, 100)
        put(world, "wrong arrival")
        await world.clock.sleep(600)
        await traffic(world, 2)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert ahead(world) <= 0
        assert misplaced(world) == []
        await world.verified()

    vtime.run(scenario())


def test_trusted_clock_returns_zero_before_the_first_reply_of_the_service() -> None:
    """With a wrong local clock a new process would otherwise close periods and delete segments until its first page."""

    async def scenario() -> None:
        world = FaultyWorld()
        trusted = TrustedClock(world.clock, world.health, vtime.NullMeter())
        assert trusted.now_ms() == 0
        assert await TrustedStream(world.stream, trusted).server_time() == trusted.now_ms()
        assert abs(trusted.now_ms() - world.clock.now_ms()) < 1000

    vtime.run(scenario())


def test_a_worker_misplaces_no_event_after_the_machine_was_suspended() -> None:
    """The monotonic clock stops; the wall clock and the Dates jump."""

    async def scenario() -> None:
        world = FaultyWorld(shards=1, poll_s=20, look_s=60)
        worker = await world.begin()
        await traffic(world, 1)
        world.clock.epoch_ms += 5 * HOUR_MS
        await traffic(world, 2)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert ahead(world) <= 0
        assert misplaced(world) == []
        await world.verified()

    vtime.run(scenario())


def test_listing_with_one_parent_of_a_merge_is_believed_only_after_three_replies() -> None:
    """Also at the first start, when two replies leave out the same shard: it would never be read, nor its child."""

    async def main() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=2)
        first, second = (shard.id for shard in stream.shards())
        stream.merge(first, second)
        whole = await stream.list_shards()
        replies = [[shard for shard in whole if shard.id != second]] * 2 + [whole] * 2 + [whole[:1] + whole[2:]] * 9

        async def list_shards() -> list[ShardInfo]:
            return replies.pop(0)

        stream.list_shards = list_shards  # type: ignore[method-assign]
        trusted = TrustedStream(stream, TrustedClock(clock, Health(), vtime.NullMeter()))
        with pytest.raises(Unavailable, match="only one parent of shardId-000000000002 is listed"):
            await trusted.list_shards()
        assert await trusted.list_shards() == whole
        refused = 0
        while len(replies) > 2:
            try:
                assert len(await trusted.list_shards()) == 2
                break
            except Unavailable:
                refused += 1
                await clock.sleep(6)
        assert refused == 4, "that one is missing and that its sibling is there are confirmed one after the other"
        assert len(await trusted.list_shards()) == 2, "the next reply is believed at once"

    vtime.run(main())


@pytest.mark.parametrize(
    ("wrong", "replies"),
    [
        (lambda a, b: [with_parents(a, a.id), b], 2),
        (lambda a, b: [a, with_parents(b, a.id)], 2),
        (lambda a, b: [with_parents(a, b.id), with_parents(b, a.id)], 2),
        (lambda a, b: [a, msgspec.structs.replace(b, start_sequence="1")], 1),
    ],
    ids=["a child of itself", "a child of an open shard", "children of each other", "one with another field"],
)
def test_wrong_first_listing_starts_no_stream_without_a_shard(
    wrong: Callable[[ShardInfo, ShardInfo], list[ShardInfo]], replies: int
) -> None:
    """A shard that counts as a child of another is no root, and its events would never be read."""

    async def main() -> None:
        clock = vtime.VirtualClock()
        stream = MemoryStream(clock, shards=2)
        whole = await stream.list_shards()
        left = [wrong(whole[0], whole[1])] * replies

        async def list_shards() -> list[ShardInfo]:
            return left.pop() if left else whole

        stream.list_shards = list_shards  # type: ignore[method-assign]
        trusted = TrustedStream(stream, TrustedClock(clock, Health(), vtime.NullMeter()))
        with pytest.raises(Unavailable, match=r"two replies differ|is a child of itself or of an open shard"):
            await trusted.list_shards()
        assert await trusted.list_shards() == whole

    vtime.run(main())


def with_parents(shard: ShardInfo, *parents: str) -> ShardInfo:
    """The shard as a child of others."""
    return msgspec.structs.replace(shard, parents=parents)
