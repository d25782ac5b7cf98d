"""Curves of reading: the memory of shards that are behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest.mock import patch

from benchmarks.growth.ground import CALL_S, ROOT, CountingStore, Traffic, fill
from simulation import vtime
from simulation.memstream import MemoryStream
from tests.loops import World
from vortex.core.log.rules import SegmentHeader, SegmentRef
from vortex.core.log.segment import MEMBER
from vortex.ingest.memory import MemoryBudget
from vortex.log.store import LogStore
from vortex.ports import Stream
from vortex.retry import Once

PAGES = 10
"""The limit of memory in pages."""


@dataclass
class Peak:
    """The most bytes that were used, and the limit."""

    used: int = 0
    limit: int = 0


@contextmanager
def _watched() -> Iterator[Peak]:
    peak = Peak()
    page, hold = MemoryBudget.page, MemoryBudget.hold

    def watched_page(self: MemoryBudget, who: str, size: int) -> None:
        page(self, who, size)
        peak.used, peak.limit = max(peak.used, self.used), self.limit

    async def watched_hold(self: MemoryBudget, *args: Any) -> None:
        await hold(self, *args)
        peak.used = max(peak.used, self.used)

    with patch.object(MemoryBudget, "page", watched_page), patch.object(MemoryBudget, "hold", watched_hold):
        yield peak


class _Slow:
    """A stream whose calls take time."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def read(self, *args: Any) -> Any:
        await asyncio.sleep(CALL_S)
        return await self._stream.read(*args)


class _Behind(World):
    def seen_by(self, owner: str) -> Stream:
        return _Slow(super().seen_by(owner))


def behind(shards: int, records: int = 40, pages: int = 5) -> tuple[Peak, int]:
    """The peak of memory while so many shards catch up, and the bytes of a page."""
    return vtime.run(_behind(shards, records, pages))


async def _behind(shards: int, records: int, pages: int) -> tuple[Peak, int]:
    body = json.dumps({"c": "c", "t": "t", "id": "0000000", "x": "x" * 950})
    page = records * len(body)
    world = _Behind(shards=shards, limit=PAGES * page, page_records=records, poll_s=2.0)
    world.stream = MemoryStream(world.clock, shards=shards, page_records=records, random=Random(1), limits=False)
    world.store = CountingStore(world.clock)
    for at in range(shards * records * pages):
        world.stream.put(f"{at}", body.replace("0000000", f"{at:07d}").encode())
    with _watched() as peak:
        worker = await world.begin()
        while sum(one.status.totals.events for one in worker.fleet.workers.values()) < shards * records * pages:
            await world.clock.sleep(1)
        await worker.kill()
    return peak, page


def resumed(segments: int) -> tuple[int, int]:
    """The bytes of indexes in memory when a log of so many unpublished segments has been walked, and of all of them."""
    return vtime.run(_resumed(segments))


async def _resumed(segments: int) -> tuple[int, int]:
    store = CountingStore(vtime.VirtualClock())
    fill(store, 1, Traffic(commits=segments, partitions=50, size=5_000))
    held = 0
    walk = LogStore.walk

    async def watched(self: LogStore, before: SegmentRef, *, index: bool = True) -> list[SegmentHeader]:
        nonlocal held
        headers = await walk(self, before, index=index)
        held += sum(len(head.footer.members) for head in headers)
        return headers

    with patch.object(LogStore, "walk", watched):
        newest = await LogStore(store, ROOT, Once()).newest("shardId-000000000000", None)
    assert newest is not None and newest.n == segments
    return held, segments * 50 * MEMBER.itemsize
