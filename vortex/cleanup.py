"""Clean-up: deletes segments and decisions that nobody needs and that are old enough; never a head."""

from __future__ import annotations

from collections.abc import Mapping

from vortex.core.planning import LogView, Plan, unneeded
from vortex.core.shardlog import segment_key, segment_number
from vortex.journal import Journal
from vortex.ports import Clock


class Cleaner:
    """Looks now and then: at most once a period, or a twenty-fourth of the time that segments are kept."""

    def __init__(self, journal: Journal, clock: Clock, period_ms: int, keep_ms: int) -> None:
        self._journal, self._clock, self._period_ms, self._keep_ms = journal, clock, period_ms, keep_ms
        self._cleaned_at: float | None = None
        self._clean: set[str] = set()
        """Gone shards of which only the last segment is left."""

    async def clean_up(self, plan: Plan, views: Mapping[str, LogView]) -> None:
        """Delete what nobody needs: `plan` is the last done one, `views` the live logs from it on."""
        now = self._clock.monotonic()
        every = max(self._period_ms, self._keep_ms / 24) / 1000
        if plan.k < 0 or (self._cleaned_at is not None and now - self._cleaned_at < every):
            return
        self._cleaned_at = now
        await self._clean_decisions(plan.since)
        for shard in [*plan.shards, *(s for s in plan.gone if s not in self._clean)]:
            view = views.get(shard)
            head = view.heads[-1].n if view and view.heads else plan.gone.get(shard)
            if head is None:
                entry = plan.shards[shard]
                head = entry.to
            await self._clean_log(shard, unneeded(shard, plan, head), shard in plan.gone)

    async def _clean_decisions(self, since: int) -> None:
        """Those of plans that the last done one is not held against: no later one is.

        By listing, so that what a delayed put brought back is found, too.
        """
        journal = self._journal
        keys = await journal.decided_before(since, self._clock.now_ms() - self._keep_ms)
        if keys:
            await journal.retry("clean up decisions", lambda: journal.store.delete(keys))

    async def _clean_log(self, shard: str, below: int, gone: bool) -> None:
        journal = self._journal
        oldest = self._clock.now_ms() - self._keep_ms

        async def old() -> tuple[list[int], int]:
            limit = segment_key(journal.root, shard, below)
            numbers, young = [], 0
            async for info in journal.store.list(f"{journal.root}/shards/{shard}/"):
                if info.key >= limit:
                    break
                n = segment_number(info.key)
                if n is not None and info.modified_ms <= oldest:
                    numbers.append(n)
                else:
                    young += 1
            return numbers, young

        numbers, young = await journal.retry(f"list log of {shard}", old)
        await journal.drop(shard, numbers)
        if gone and not young:
            self._clean.add(shard)
