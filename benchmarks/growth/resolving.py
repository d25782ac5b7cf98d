"""Curves of deciding on duplicates: requests and CPU of one period, where shards and workers grow together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import vortex.publish.dedup
import vortex.publish.exchange
from benchmarks.growth.ground import PERIOD_MS, T0, CountingStore, Traffic, fill, full_segments
from benchmarks.growth.publishing import Sizes, publisher
from simulation import vtime
from vortex.core.fleet.balance import Roster
from vortex.core.log.rules import SegmentHeader
from vortex.log.store import LogStore
from vortex.publish.publisher import Publisher

COMMITS = 10
_TRAFFIC = Traffic(commits=COMMITS, partitions=30, size=1_800)
"""A thousandth of a shard at full rate: 30 rows in 30 seconds."""
_KEYS_BYTES = (1 << 30) * 2 // 13 // 1000
"""A thousandth of the memory for keys, for two plans: a window of an hour has thirteen."""
_STEPS = (
    (vortex.publish.dedup, ("plan_runs", "_rows_by_key", "resolve", "encode", "_keys_of", "_check", "_merged")),
    (vortex.publish.exchange, ("encode_group", "_by_key")),
)


@dataclass(slots=True)
class Resolved:
    """What deciding on one period took: CPU seconds; the requests for ids, decision files and exchanged ids; and for
    the footers, mostly with their ids, that workers without the planner's view of the logs read.
    """

    cpu_s: float = 0.0
    footers: int = 0
    ids: int = 0
    id_bytes: int = 0
    decisions: int = 0
    exchanged: int = 0
    exchanged_bytes: int = 0
    parts: int = 0
    segments: int = 0

    @property
    def requests(self) -> int:
        """All of them."""
        return self.footers + self.ids + self.decisions + self.exchanged


def resolved(shards: int, workers: int, keys_bytes: int = _KEYS_BYTES) -> Resolved:
    """What the second plan takes, whose keys are compared with those of the first.

    No ids come with a footer, as in segments of full size.
    """
    with full_segments():
        return vtime.run(_resolved(shards, workers, keys_bytes))


async def _resolved(shards: int, workers: int, keys_bytes: int) -> Resolved:
    store = CountingStore(vtime.VirtualClock(T0 + 3 * PERIOD_MS))
    state = fill(store, shards, _TRAFFIC, periods=2)
    later = {key: body for key, body in store.objects.items() if key.endswith(".seg") and int(key[-16:-4]) > COMMITS}
    for key in later:
        store.delete_now(key)
    names = tuple(f"w{at}" for at in range(workers))
    sizes = Sizes(part_rows=262, keys_bytes=keys_bytes)
    fleet = [publisher(store, state, sizes, name, Roster(rank=at, workers=names)) for at, name in enumerate(names)]
    await asyncio.gather(*(_until_done(store, one, 0) for one in fleet))
    for key, body in later.items():
        store.put_now(key, body)
    store.requests.clear()
    found = Resolved(segments=shards * COMMITS)
    with _measured(found):
        await asyncio.gather(*(_until_done(store, one, 1) for one in fleet))
    found.decisions = sum(number for what, number in store.requests.items() if what.endswith(" decision"))
    found.exchanged = sum(number for what, number in store.requests.items() if what.endswith(" exchange"))
    files = {key: len(body) for key, body in store.objects.items() if "/dedup/0000000001-" in key}
    found.exchanged_bytes = sum(size for key, size in files.items() if key.endswith("-ids"))
    found.parts = sum(not key.endswith("-ids") for key in files)
    return found


async def _until_done(store: CountingStore, one: Publisher, k: int) -> None:
    while not any(key.endswith(f"{k:010d}/done.json") for key in store.objects):
        if not await one.step():
            await asyncio.sleep(1)


@contextmanager
def _measured(found: Resolved) -> Iterator[None]:
    """Count requests for footers and ids, and the CPU of each step."""
    ids, back_from = LogStore.ids, LogStore.back_from

    async def counted(self: LogStore, head: SegmentHeader) -> bytes:
        found.ids += bool(head.footer.ids) and head.ids is None
        found.id_bytes += head.footer.ids_range[1]
        return await ids(self, head)

    async def looked(
        self: LogStore, shard: str, first: int, to: int, digest: str, ids_bytes: int = 0
    ) -> list[SegmentHeader]:
        headers = await back_from(self, shard, first, to, digest, ids_bytes)
        found.footers += len(headers)
        return headers

    def timed(step: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            begun = time.process_time()
            try:
                return step(*args)
            finally:
                found.cpu_s += time.process_time() - begun

        return run

    with ExitStack() as stack:
        stack.enter_context(patch.object(LogStore, "ids", counted))
        stack.enter_context(patch.object(LogStore, "back_from", looked))
        for module, names in _STEPS:
            for name in names:
                stack.enter_context(patch.object(module, name, timed(getattr(module, name))))
        yield
