"""Clean-up: deletes segments and decisions that nobody needs and that are old enough; never a head."""

from __future__ import annotations

from collections.abc import Mapping

from vortex.core.log.rules import segment_key, segment_number
from vortex.core.periods import EARLIEST_MS
from vortex.core.publish.plan import LogView, Plan, unneeded
from vortex.log.store import LogStore
from vortex.ports import Clock


class Cleaner:
    """Looks now and then: at most once a period, or a twenty-fourth of the time that segments are kept."""

    def __init__(self, log_store: LogStore, clock: Clock, period_ms: int, keep_ms: int) -> None:
        self._log_store, self._clock, self._period_ms, self._keep_ms = log_store, clock, period_ms, keep_ms
        self._cleaned_at: float | None = None
        self._clean: set[str] = set()
        """Gone shards of which only the last segment is left."""
        self._old: dict[str, set[int]] = {}
        """What was old when it was looked at last: one listing may be wrong, so that another has to say so, too."""
        self._store_ms = EARLIEST_MS
        """The latest time that the store gave to anything: its own clock has reached it."""

    @property
    def _oldest(self) -> int:
        """What was written later than this is kept: it is not old by the store's own clock, or not by the others."""
        return min(self._clock.now_ms(), self._store_ms) - self._keep_ms

    async def clean_up(self, plan: Plan, views: Mapping[str, LogView]) -> None:
        """Delete what nobody needs: `plan` is the last done one, `views` the live logs from it on."""
        now = self._clock.monotonic()
        every = max(self._period_ms, self._keep_ms / 24) / 1000
        if plan.k < 0 or (self._cleaned_at is not None and now - self._cleaned_at < every):
            return
        self._cleaned_at = now
        for shard in [*plan.shards, *(s for s in plan.gone if s not in self._clean)]:
            view = views.get(shard)
            head = view.headers[-1].n if view and view.headers else plan.gone.get(shard)
            if head is None:
                entry = plan.shards[shard]
                head = entry.to
            await self._clean_log(shard, unneeded(shard, plan, head), shard in plan.gone)
        await self._clean_decisions(plan.since)  # last, for the logs' listings tell the store's time

    async def _clean_decisions(self, since: int) -> None:
        """Those of plans that the last done one is not held against: no later one is.

        By listing, so that what a delayed put brought back is found, too.
        """
        log_store = self._log_store
        keys = await log_store.decided_before(since, self._oldest)
        if keys:
            await log_store.retry("clean up decisions", lambda: log_store.store.delete(keys))

    async def _clean_log(self, shard: str, below: int, gone: bool) -> None:
        log_store = self._log_store

        async def old() -> tuple[list[int], int]:
            limit = segment_key(log_store.root, shard, below)
            numbers, young = [], 0
            async for info in log_store.store.list(f"{log_store.root}/shards/{shard}/"):
                self._store_ms = max(self._store_ms, info.modified_ms)
                if info.key >= limit:
                    break
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
        if gone and not young and not self._old[shard]:
            self._clean.add(shard)
            del self._old[shard]
