"""Whole workers under clocks that are wrong: no hour closes early, and events go to their hours."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from simulation import vtime
from tests.unit.ingest.test_ends import Lied
from vortex.core.layout import date_and_hour
from vortex.core.log.segment import parse_footer
from vortex.core.model import Page, Start
from vortex.runtime.trust import TrustedClock, TrustedStream

HOUR = 3600
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def dated(off_ms: int) -> Callable[..., Any]:
    """A reply whose Date is off."""

    def lie(reply: Any, *about: Any) -> Any:
        if isinstance(reply, Page):
            return dataclasses.replace(reply, server_ms=reply.server_ms + off_ms)
        return reply + off_ms

    return lie


def wrong_dates(world: Lied, off_ms: int, times: int = 10**9, after: int = 0) -> None:
    for operation in ("read", "server_time"):
        world.liar.on(operation, dated(off_ms), times, after)


def put(world: Lied, name: str) -> None:
    """An event with its own time, which is now."""
    now = world.clock.epoch_ms + int(world.clock.monotonic() * 1000)
    world.stream.put(name, json.dumps({"c": "c", "t": "v", "id": name, "at": now}).encode())
    world.sent[name] += 1


def ahead(world: Lied) -> int:
    """How far any log's bound or watermark is ahead of the true time, in milliseconds."""
    now = world.clock.epoch_ms + int(world.clock.monotonic() * 1000)
    footers = [parse_footer(body, len(body), key)[0] for key, body in world.store.objects.items() if ".seg" in key]
    return max(max(footer.watermark, footer.closed_before) for footer in footers) - now


def misplaced(world: Lied) -> list[str]:
    """Published events that lie in another hour than their own."""
    found = []
    for key in sorted(world.store.objects):
        if key.startswith("c="):
            for line in world.lines(key):
                date, hour = date_and_hour(json.loads(line)["at"])
                if f"/d={date}/h={hour}/" not in key:
                    found.append(f"{key}: {line!r}")
    return found


async def traffic(world: Lied, hours: int) -> None:
    """Some events, with silence in between."""
    for number in range(hours * 2):
        put(world, f"id{len(world.sent)}-{number}")
        await world.clock.sleep(HOUR / 2)


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS, HOUR_MS])
@pytest.mark.parametrize("after", [0, 1, 2, 100])
def test_one_wrong_date_closes_no_hour(off_ms: int, after: int) -> None:
    """On an idle shard it closed 48 hours that were still to come, for good; the next event was late."""

    async def scenario() -> None:
        world = Lied(shards=2, poll_s=20, look_s=60)
        for operation in ("read", "server_time"):
            world.liar.on(operation, dated(off_ms), 1, after)
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
def test_dates_that_are_wrong_for_hours_close_no_hour_and_misplace_nothing(off_ms: int) -> None:
    async def scenario() -> None:
        world = Lied(shards=2, poll_s=20, look_s=60)
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
def test_a_local_clock_that_is_wrong_closes_no_hour_and_misplaces_nothing(off_ms: int) -> None:
    async def scenario() -> None:
        world = Lied(shards=2, poll_s=20, look_s=60)
        world.clock.skew_ms, world.stream.skew_ms = off_ms, -off_ms  # the stream goes by the same clock
        worker = await world.begin()
        await traffic(world, 5)
        which = "ahead of" if off_ms > 0 else "behind"
        assert f"the local clock is {abs(off_ms) // (DAY_MS if abs(off_ms) >= 2 * DAY_MS else HOUR_MS)}" in (
            told := world.health.report()["clock"]
        )
        assert which in told
        assert ahead(world) <= 0
        world.clock.skew_ms = world.stream.skew_ms = 0  # somebody sets it right
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert "clock" not in world.health.report()
        assert misplaced(world) == []
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("off_ms", [2 * DAY_MS, -2 * DAY_MS])
def test_latest_loses_nothing_to_a_wrong_date(off_ms: int) -> None:
    """A start in the future would pass over what comes until then."""

    async def scenario() -> None:
        world = Lied(shards=1, poll_s=20, look_s=60, start=Start.LATEST)
        wrong_dates(world, off_ms)
        worker = await world.begin()
        await traffic(world, 2)
        wrong_dates(world, 0)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        await world.verified()

    vtime.run(scenario())


@pytest.mark.parametrize("wrong", ["local", "dates"])
def test_a_clock_that_is_ahead_pushes_no_shard(wrong: str) -> None:
    """`hours.max_delay` closes what holds everybody up for so long, by clocks that agree."""

    async def scenario() -> None:
        world = Lied(shards=2, poll_s=20, look_s=60, max_delay_ms=2 * HOUR_MS)
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
def test_an_arrival_of_nonsense_closes_no_hour(arrival: float) -> None:
    async def scenario() -> None:
        world = Lied(shards=1, poll_s=20, look_s=60)

        def odd(page: Page, shard: str) -> Page:
            return dataclasses.replace(
                page, records=[record.__class__(record.sequence, arrival, record.data) for record in page.records]
            )

        worker = await world.begin()
        put(world, "first")
        await world.clock.sleep(600)
        world.liar.on("read", odd, 100)
        put(world, "odd")
        await world.clock.sleep(600)
        await traffic(world, 2)
        await world.clock.sleep(2 * HOUR)
        await worker.kill()
        assert ahead(world) <= 0
        assert misplaced(world) == []
        await world.verified()

    vtime.run(scenario())


def test_nothing_is_over_before_the_service_has_been_heard() -> None:
    """A process that starts with a wrong clock would push shards and delete by it until its first page."""

    async def scenario() -> None:
        world = Lied()
        trusted = TrustedClock(world.clock, world.health, vtime.NullMeter())
        assert trusted.now_ms() == 0
        assert await TrustedStream(world.stream, trusted).server_time() == trusted.now_ms()
        assert abs(trusted.now_ms() - world.clock.now_ms()) < 1000

    vtime.run(scenario())


def test_a_suspended_machine_goes_on_where_it_was() -> None:
    """Its monotonic clock stood still: nothing is misplaced when wall clock and Dates jump."""

    async def scenario() -> None:
        world = Lied(shards=1, poll_s=20, look_s=60)
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
