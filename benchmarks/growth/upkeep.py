"""Curves of what goes on beside publishing: clean-up."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.growth.ground import PERIOD_MS, ROOT, T0, CountingStore, Traffic, fill
from benchmarks.growth.publishing import Sizes, publisher
from simulation import vtime
from vortex.core.fleet.balance import Roster
from vortex.core.log.rules import LEAST_KEEP_MS


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Virtual seconds of the step in which clean-up is due, and of clean-up itself; its requests."""

    step_s: float
    clean_s: float
    lists: int
    deletes: int


def cleaned(shards: int, segments: int = 10) -> Cleaned:
    """What clean-up takes with so many shards, each with so many old segments."""
    return vtime.run(_cleaned(shards, segments))


async def _cleaned(shards: int, segments: int) -> Cleaned:
    clock = vtime.VirtualClock(T0 + 2 * PERIOD_MS)
    store = CountingStore(clock)
    state = fill(store, shards, Traffic(commits=segments, partitions=1, size=100))
    one = publisher(store, state, Sizes(), "me", Roster(("me",)), keep_ms=PERIOD_MS)
    assert await one.step()
    await clock.sleep((PERIOD_MS + LEAST_KEEP_MS) / 1000)
    cleaner = one._cleaner
    store.put_now(f"{ROOT}/shards/shardId-000000000000/0", b"")  # shows the time of the store
    store.requests.clear()
    begun = clock.monotonic()
    assert not await one.step()
    stepped = clock.monotonic()
    await cleaner._clean_up()
    for _ in range(2):  # two listings must agree
        cleaner._cleaned_at = None
        assert one._logs is not None
        await cleaner.clean_up(one._logs.plan, one._logs.views)
    assert sum(key.endswith(".seg") for key in store.objects) == shards
    return Cleaned(
        stepped - begun,
        clock.monotonic() - stepped,
        store.requests["list segment"],
        store.requests["delete segment"],
    )
