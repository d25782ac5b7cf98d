"""Curves of a stream that is split and merged again and again: what a plan and the lease table still hold of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from simulation import vtime
from tests.leased_fleet import FleetWorld, all_leave
from tests.loops import MINUTE

_RETENTION_MS = 120 * MINUTE
_EVERY_S = 1200
"""Seconds between two reshardings."""


@dataclass(frozen=True, slots=True)
class Left:
    """What is left some hours after the last resharding, and how many shards there ever were."""

    plan_bytes: int
    rows: int
    shards: int


def resharded(times: int) -> Left:
    """What is left after so many splits and merges in turn."""
    with _shards_may_go():
        return vtime.run(_resharded(times))


@contextmanager
def _shards_may_go() -> Iterator[None]:
    """Shards that ended longer ago than the retention are no longer listed. A worker asks again until that has lasted
    for a while, and says so: here that is no news.
    """
    logger = logging.getLogger("vortex.retry")

    def is_news(record: logging.LogRecord) -> bool:
        return "missing, but listed before" not in record.getMessage()

    logger.addFilter(is_news)
    try:
        yield
    finally:
        logger.removeFilter(is_news)


async def _resharded(times: int) -> Left:
    world = FleetWorld(shards=1, poll_s=60, look_s=120, every_s=60)
    world.stream.retention_ms = _RETENTION_MS
    member = await world.join()
    await world.clock.sleep(300)
    open_ = [world.stream.shards()[0].id]
    for _ in range(times):
        open_ = [world.stream.merge(*open_)] if len(open_) == 2 else list(world.stream.split(open_[0], 1 << 127))
        for shard in open_:
            world.put(f"id{len(world.sent)}", shard)
        await world.clock.sleep(_EVERY_S)
    await world.clock.sleep(2.5 * _RETENTION_MS / 1000)
    plan = await member.log_store.last_plan(member.state)
    rows = len(world.table.table)
    await all_leave([member])
    return Left(len(msgspec.json.encode(plan)), rows, len(world.stream.shards()))
