"""Clean-up: deletes old segments and decision files that are no longer needed; never the last segment of a live log.

It runs beside publishing, at its own pace. What it works by may be outdated: what a plan does not need, no later plan
needs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from vortex.core.log.rules import LEAST_KEEP_MS, segment_key, segment_number
from vortex.core.periods import EARLIEST_MS
from vortex.core.publish.plan import LogView, Plan, unneeded
from vortex.log.store import LogStore
from vortex.ports import Clock
from vortex.publish.forgetting import Forgetter

_PARALLEL = 4
"""Logs that are listed at a time: publishing needs the connections more."""


class _Work(NamedTuple):
    """`needed`: each shard, the first segment that is still needed, and whether the shard is retired."""

    plan: Plan
    needed: list[tuple[str, int, bool]]


class Cleaner:
    """Runs at most once per period, and at most 24 times in the time that segments are kept."""

    def __init__(
        self, log_store: LogStore, clock: Clock, period_ms: int, keep_ms: int, forgetter: Forgetter | None = None
    ) -> None:
        """`forgetter` learns after each clean-up which retired shards have only their last segment left."""
        self._log_store, self._clock, self._period_ms = log_store, clock, period_ms
        self._keep_ms = max(keep_ms, LEAST_KEEP_MS)
        self._forgetter = forgetter
        self._cleaned_at: float | None = None
        self._work: _Work | None = None
        self._more = asyncio.Event()
        self._clean: set[str] = set()
        """Retired shards with only the last segment left."""
        self._old: dict[str, set[int]] = {}
        """Segments that were old in the last listing: a single listing may be wrong, so two must agree."""
        self._store_ms = EARLIEST_MS
        """The latest modification time in the store, which the store's own clock has reached."""

    @property
    def _oldest(self) -> int:
        """Newer objects are kept: they are not old by the store's clock, or not by the local clock."""
        return min(self._clock.now_ms(), self._store_ms) - self._keep_ms

    async def run(self) -> None:
        """Clean up what `note` received, until cancelled."""
        while True:
            await self._more.wait()
            self._more.clear()
            await self._clean_up()

    async def clean_up(self, plan: Plan, views: Mapping[str, LogView]) -> None:
        """`note`, and clean up at once."""
        self.note(plan, views)
        await self._clean_up()

    def note(self, plan: Plan, views: Mapping[str, LogView]) -> None:
        """Have what is no longer needed deleted: `plan` is the last done plan, `views` the live logs from it on."""
        now = self._clock.monotonic()
        every = max(self._period_ms, self._keep_ms / 24) / 1000
        if plan.k < 0 or (self._cleaned_at is not None and now - self._cleaned_at < every):
            return
        self._cleaned_at = now
        self._clean &= plan.retired.keys()
        self._work = _Work(plan, list(self._needed(plan, views)))
        self._more.set()

    def _needed(self, plan: Plan, views: Mapping[str, LogView]) -> Iterable[tuple[str, int, bool]]:
        for shard in [*plan.shards, *(s for s in plan.retired if s not in self._clean)]:
            view = views.get(shard)
            head = view.headers[-1].n if view and view.headers else plan.retired.get(shard)
            if head is None:
                entry = plan.shards[shard]
                head = entry.to
            yield shard, unneeded(shard, plan, head), shard in plan.retired

    async def _clean_up(self) -> None:
        work, self._work = self._work, None
        if work is None:
            return
        left = iter(work.needed)

        async def some() -> None:
            for shard, below, retired in left:
                await self._clean_log(shard, below, retired)

        await asyncio.gather(*(some() for _ in range(_PARALLEL)))
        await self._clean_decisions(work.plan)  # after the logs: listing them gives the store's time
        if self._forgetter is not None:
            await self._forgetter.look(work.plan, self._clean)

    async def _clean_decisions(self, plan: Plan) -> None:
        """Delete decision files that no plan needs any more, since no later plan is compared with them; and at once the
        id files of done plans. A worker that is late with such a plan finds its decision, or reads the segments.

        By listing, which also finds files that a delayed put created again.
        """
        log_store = self._log_store
        keys = await log_store.decided_before(plan.since, self._oldest, plan.k + 1)
        if keys:
            await log_store.retry("clean up decisions", lambda: log_store.store.delete(keys))

    async def _clean_log(self, shard: str, below: int, retired: bool) -> None:
        log_store = self._log_store

        async def old() -> tuple[list[int], int]:
            limit = segment_key(log_store.root, shard, below)
            numbers, young = [], 0
            async for info in log_store.store.list(f"{log_store.root}/shards/{shard}/"):
                self._store_ms = max(self._store_ms, info.modified_ms)
                if info.key >= limit:
                    continue  # newer ones tell the store's time
                n = segment_number(info.key)
                if n is not None and info.modified_ms <= self._oldest:
                    numbers.append(n)
                else:
                    young += 1
            return numbers, young

        numbers, young = await log_store.retry(f"list log of {shard}", old)
        before = self._old.get(shard, set())
        self._old[shard] = set(numbers) - before
        await log_store.drop(shard, [n for n in numbers if n in before])
        if retired and not young and not self._old[shard]:
            self._clean.add(shard)
            del self._old[shard]
