"""Bugs to plant in deduplication: most functions are contexts that have the bug."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

import vortex.core.dedup.decided
import vortex.core.dedup.groups
import vortex.core.dedup.keys
import vortex.core.dedup.rows
import vortex.core.ingest.shard_state
import vortex.core.publish.plan
import vortex.publish.dedup
import vortex.publish.publisher
from vortex.core.dedup.groups import encode_group
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import RUN, PlanRuns, Rows
from vortex.core.ingest.filter import Filter
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import Footer
from vortex.core.publish.plan import Plan
from vortex.ingest.worker import ShardWorker
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.publish.cleanup import Cleaner
from vortex.publish.dedup import Decisions, Deduplicator
from vortex.publish.exchange import Exchange
from vortex.publish.published_keys import KeyCache
from vortex.publish.publisher import Publisher
from vortex.publish.ranges import Ranges


def carried_out_with(change: Callable[[Publisher, Plan], Plan]) -> Any:
    carry_out = Publisher._carry_out

    async def changed(self: Publisher, plan: Plan, views: Any) -> bool:
        return await carry_out(self, change(self, plan), views)

    return patch.object(Publisher, "_carry_out", changed)


def since_goes_back() -> Any:
    return patch.object(vortex.core.publish.plan, "since", lambda before, recent, k, needed: max(0, before - 1))


def window_of(self: Publisher) -> int:
    """The window of a process with another setting than the processes before and after it."""
    return 0 if int(self._ports.owner.partition("-")[2]) % 2 else self._rules.window_ms


def own_since(self: Publisher, plan: Plan) -> Plan:
    needed = plan.arrived[0] - window_of(self)
    return msgspec.structs.replace(plan, recent=tuple(one for one in plan.recent if one.upto >= needed))


def objects_first() -> Any:
    async def none(self: Deduplicator, plan: Plan, views: Any, workers: Any) -> Decisions:
        return Decisions()

    return patch.object(Deduplicator, "all", none)


_NO_KEYS = Keys.room(0, np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def resolved_by(walk: Callable[..., Any]) -> Any:
    return patch.object(vortex.publish.dedup, "resolve", walk)


def without_own_rows(rows: Rows, runs: Any, known: Any, window: int) -> Any:
    dropped = resolve(rows, runs, known, window)
    for row in np.flatnonzero(dropped).tolist():
        dropped[row] = resolve(rows.between(row, row + 1), runs, known, window)[0]
    return dropped


def all_copies(rows: Rows, runs: Any, known: Any, window: int) -> Any:
    dropped = resolve(rows, runs, known, window)
    gone = {(high, low) for high, low in zip(rows.high[dropped].tolist(), rows.low[dropped].tolist(), strict=True)}
    keys = zip(rows.high.tolist(), rows.low.tolist(), strict=True)
    return np.array([key in gone for key in keys], dtype=bool)


def cleanup_since(since: Callable[[Publisher, Plan], int]) -> Any:
    note = Cleaner.note
    step = Publisher._step
    planner: list[Publisher] = []

    async def stepped(self: Publisher, *args: Any) -> bool:
        planner[:] = [self]
        return await step(self, *args)

    def lax(self: Cleaner, plan: Plan, views: Any) -> None:
        note(self, msgspec.structs.replace(plan, since=since(planner[0], plan)), views)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Publisher, "_step", stepped))
    stack.enter_context(patch.object(Cleaner, "note", lax))
    return stack


def by_own_window(self: Publisher, plan: Plan) -> int:
    needed = plan.arrived[0] - window_of(self)
    return max(plan.since, next((one.k for one in plan.recent if one.upto >= needed), plan.k))


def keys_of(kind: type[KeyCache]) -> Any:
    """Publishers get this cache; `vortex verify` has its own."""
    return patch.object(vortex.publish.publisher, "KeyCache", kind)


class ByNumber(KeyCache):
    def _covering(self, k: int, part: int, parts: int) -> Any:
        return next((keys for (one, _), keys in self._held.get(k, {}).items() if one == part), None)


class MissingIsEmpty(KeyCache):
    """Treats a missing file as empty."""

    async def _known(self, *asked: Any) -> Keys:
        try:
            return await super()._known(*asked)
        except NotFound:
            return _NO_KEYS


class Stale(KeyCache):
    async def _known(self, plan: Any, *asked: Any) -> Keys:
        if self._held and plan.k not in self._held:
            return _NO_KEYS
        return await super()._known(plan, *asked)


class BeyondSince(KeyCache):
    def forget(self, before: int | None = None) -> None:
        if before is None:
            super().forget()

    async def among(self, plans: Any, part: int, parts: int, *probes: Any) -> list[Keys]:
        """Also keys of older plans."""
        found = await super().among(plans, part, parts, *probes)
        since = min((plan.k for plan in plans), default=2**63)  # none: all are too old
        older = [self._covering(k, part, parts) for k in self._held if k < since]
        return found + [keys for keys in older if isinstance(keys, Keys)]


def filter_kept() -> Any:
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        old = getattr(self, "_ingest", None)
        await resume(self)
        if old is not None:
            self._ingest.filter = old.filter

    return patch.object(ShardWorker, "_resume", resumed)


def filter_outlives_its_process() -> Any:
    filters: dict[str, Filter] = {}
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        await resume(self)
        self._ingest.filter = filters.setdefault(self.shard.id, self._ingest.filter)

    return patch.object(ShardWorker, "_resume", resumed)


def arrived_without(which: Callable[[Any, Any], bool]) -> Any:
    arrived = vortex.core.publish.plan._arrived

    def lax(plan: Plan, last: Plan, views: Any) -> tuple[int, int]:
        def left(shard: str, entry: Any) -> bool:
            headers = views[shard].headers if shard in views else []
            return not which(entry, headers)

        chosen = {shard: entry for shard, entry in plan.shards.items() if left(shard, entry)}
        return arrived(msgspec.structs.replace(plan, shards=chosen), last, views)

    return patch.object(vortex.core.publish.plan, "_arrived", lax)


def idle(entry: Any, headers: Any) -> bool:
    return entry.to >= 0 and not any(h.n >= entry.first and h.footer and h.footer.counts.accepted for h in headers)


def not_started(entry: Any, headers: Any) -> bool:
    return bool(entry.to < 0)


def accepted_with_stale_memory() -> Any:
    put = LogStore.put_decided

    async def lax(self: LogStore, k: int, part: int, body: bytes) -> bool:
        await put(self, k, part, body)
        return True

    stack = contextlib.ExitStack()
    stack.enter_context(keys_of(Stale))
    stack.enter_context(patch.object(LogStore, "put_decided", lax))
    return stack


def own_parts(self: Publisher, plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, parts=2 * plan.parts) if plan.parts and self._ports.owner[1] == "1" else plan


def runs_by(key: Callable[[Any], Any]) -> Any:
    plan_runs = vortex.core.dedup.rows.plan_runs

    def lax(plan: Plan, views: Any) -> PlanRuns:
        runs = plan_runs(plan, views)
        order = sorted(range(len(runs.headers)), key=lambda at: key(runs.table[at].tolist()))
        headers, first = [runs.headers[at] for at in order], [runs.first[at] for at in order]
        return PlanRuns(runs.shards, runs.table[order], headers, first)

    return patch.object(vortex.publish.dedup, "plan_runs", lax)


def one_filter_for_all() -> Any:
    shared: list[Filter] = []

    def filter_of(horizon_ms: int) -> Filter:
        shared[:] = shared or [Filter(horizon_ms)]
        return shared[0]

    return patch.object(vortex.core.ingest.shard_state, "Filter", filter_of)


def arrival_as_a_point() -> Any:
    cut = ShardIngest.cut

    def lax(self: ShardIngest, *args: Any, **more: Any) -> Any:
        draft = cut(self, *args, **more)
        draft.footer.arrived = (draft.footer.arrived[1],) * 2
        return draft

    return patch.object(ShardIngest, "cut", lax)


def rows_of_all_periods() -> Any:
    of_segment = vortex.core.dedup.rows._of_segment

    def lax(head: SegmentHeader, plan: Plan) -> Any:
        return of_segment(head, msgspec.structs.replace(plan, after=-(2**60), upto=2**60))

    return patch.object(vortex.core.dedup.rows, "_of_segment", lax)


def overwritten() -> Any:
    put = LogStore.put_decided

    async def lax(self: LogStore, k: int, part: int, body: bytes) -> bool:
        await self.retry("overwrite", lambda: self.store.delete([self.decided_key(k, part)]))
        return await put(self, k, part, body)

    return patch.object(LogStore, "put_decided", lax)


def upto_of_the_first() -> Any:
    arrived = vortex.core.publish.plan._arrived

    def lax(plan: Plan, last: Plan, views: Any) -> tuple[int, int]:
        firsts = [
            next((h.footer.watermark for h in views[shard].headers if h.n >= entry.first), 0)
            for shard, entry in plan.shards.items()
            if shard in views
        ]
        return arrived(plan, last, views)[0], max(firsts, default=0)

    return patch.object(vortex.core.publish.plan, "_arrived", lax)


def done_first() -> Any:
    async def none(*args: Any) -> list[Any]:
        return []

    counts = vortex.publish.publisher.__dict__["period_counts"]

    def lax(plan: Plan, views: Any, published: Any, dropped: Any) -> Any:
        with patch.object(vortex.core.publish.contents, "BrokenLog", Warning):
            try:
                return counts(plan, views, published, dropped)
            except Warning:
                return {}

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Ranges, "all", none))
    stack.enter_context(patch.object(vortex.publish.publisher, "period_counts", lax))
    return stack


def boundary() -> Any:
    bounds = vortex.core.dedup.keys.bounds_of

    def lax(high: Any, part: int, parts: int) -> tuple[int, int]:
        begin, end = bounds(high, part, parts)
        return min(begin + (part > 0), end), end

    return patch.object(vortex.core.dedup.keys, "bounds_of", lax)


def rows_by_group() -> Any:
    """Shards of one group come before those of the next, whatever their names are."""
    return patch.object(vortex.core.dedup.groups, "_order", lambda table: np.arange(len(table)))


def exchanged_by_other_bits() -> Any:
    def lax(words: Any, parts: int) -> Any:
        return (words[:, 1].astype(np.uint64) % np.uint64(parts)).astype(np.uint16)

    return patch.object(vortex.core.dedup.groups, "_parts", lax)


def missing_ids_are_none() -> Any:
    """Nobody waits for them, either."""

    async def there(self: Exchange, group: int) -> bool:
        return True

    async def none(self: Exchange, group: int) -> bytes:
        runs = PlanRuns(sorted(self._plan.shards), np.zeros(0, dtype=RUN), [], [])
        return encode_group(self._plan, group, runs, {})

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Exchange, "has", there))
    stack.enter_context(patch.object(Exchange, "put", none))
    return stack


def ids_cleaned_once_decided() -> Any:
    """And not once the plan is done."""
    decided = Deduplicator.all

    async def early(self: Deduplicator, plan: Plan, views: Any, workers: Any) -> Any:
        found = await decided(self, plan, views, workers)
        log_store = self._log_store
        keys = await log_store.decided_before(0, 0, plan.k + 1)
        await log_store.retry("clean up", lambda: log_store.store.delete(keys))
        return found

    return patch.object(Deduplicator, "all", early)


def cleaned_by_an_unfinished_plan() -> Any:
    carry_out = Publisher._carry_out

    async def early(self: Publisher, plan: Plan, views: Any) -> bool:
        self._cleaner._cleaned_at = None
        await self._cleaner.clean_up(plan, views)
        return await carry_out(self, plan, views)

    return patch.object(Publisher, "_carry_out", early)


def proposed_before_done() -> Any:
    async def done(self: LogStore, k: int) -> bool:
        return True

    return patch.object(LogStore, "is_done", done)


def rejections_count() -> Any:
    def rows(self: Footer) -> Any:
        counts = self.member_rows["rows"].astype(np.int64)
        return np.cumsum(counts) - counts

    return patch.object(Footer, "first_rows", property(rows))


def rows_within_the_period() -> Any:
    real = Footer.first_rows.fget  # type: ignore[attr-defined]

    def rows(self: Footer) -> Any:
        first, periods = real(self), self.member_rows["period"]
        return first - first[np.searchsorted(periods, periods)] if len(first) else first

    return patch.object(Footer, "first_rows", property(rows))
