"""Clean-up deletes only what is old by the local clock, by the service's clock and by the store's clock."""

from __future__ import annotations

import pytest

from simulation import vtime
from tests.loops import World
from vortex.core.model import ObjectInfo

KEEP_MS = 2 * 3_600_000


class SkewedStore:
    """A store's listing with times that are off."""

    def __init__(self, world: World, off_ms: int) -> None:
        self._list, self._off_ms = world.store.list, off_ms

    async def list(self, prefix: str, start_after: str = ""):  # type: ignore[no-untyped-def]
        async for info in self._list(prefix, start_after):
            yield ObjectInfo(info.key, info.size, info.modified_ms + self._off_ms)


async def segments_after(hours: float, world: World) -> tuple[int, int]:
    """How many segments the store holds, and how many were ever written, after so many hours of work."""
    worker = await world.begin()
    for number in range(int(hours * 12)):
        world.put(f"id{number}")
        await world.clock.sleep(300)
    await worker.kill()
    numbers = [int(key[-16:-4]) for key in world.store.objects if key.endswith(".seg")]
    return len(numbers), max(numbers) + 1


def test_cleanup_deletes_segments_when_they_are_old_by_all_clocks() -> None:
    async def scenario() -> None:
        there, written = await segments_after(5, World(shards=1, keep_ms=KEEP_MS, poll_s=30, look_s=120))
        assert written * 0.4 < there < written * 0.9

    vtime.run(scenario())


@pytest.mark.parametrize("off_hours", [48, -48])
def test_cleanup_deletes_nothing_early_when_the_local_clock_is_wrong(off_hours: int) -> None:
    async def scenario() -> None:
        world = World(shards=1, keep_ms=KEEP_MS, poll_s=30, look_s=120)
        world.clock.skew_ms = off_hours * 3_600_000
        world.stream.skew_ms = -world.clock.skew_ms
        world.store._clock = vtime.VirtualClock()  # the store's own
        there, written = await segments_after(2, world)
        assert there == written
        assert "clock" in world.health.report()

    vtime.run(scenario())


@pytest.mark.parametrize("off_hours", [48, -48, -480_000])
def test_cleanup_deletes_nothing_early_when_the_store_clock_is_wrong(
    off_hours: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        world = World(shards=1, keep_ms=KEEP_MS, poll_s=30, look_s=120)
        monkeypatch.setattr(world.store, "list", SkewedStore(world, off_hours * 3_600_000).list)
        there, written = await segments_after(2, world)
        assert there == written

    vtime.run(scenario())
