"""The logs as a planner knows them: the last plan, and the segments of each live log from that plan on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from vortex.core.log.rules import SegmentHeader, SegmentRef, log_start
from vortex.core.publish.plan import (
    LogView,
    Plan,
    PlanShard,
    frontier,
    holders,
    live_and_retired,
    with_children,
)
from vortex.core.publish.shares import first_segments
from vortex.log.store import Kept, LogStore


@dataclass(slots=True)
class Indexes:
    """Keeps the indexes of segments, and their ids where these are known, up to `most` bytes.

    Of other segments they are read when a plan is published, each worker its range.
    """

    most: int = 128 * 1024 * 1024
    held: int = 0

    def kept(self, head: SegmentHeader) -> SegmentHeader:
        """A new segment, with its index while there is room."""
        if self.held > self.most // 2:
            head = replace(head, ids=None)  # indexes come first: without them a footer is read again
        size = _index_bytes(head)
        if self.held + size > self.most:
            return head.without_index()
        self.held += size
        return head

    def count(self, views: Mapping[str, LogView]) -> None:
        """Count what is held now."""
        self.held = sum(_index_bytes(head) for view in views.values() for head in view.headers)


def _index_bytes(head: SegmentHeader) -> int:
    return len(head.footer.members) + 8 * len(head.footer.folders) + len(head.ids or b"")


@dataclass(slots=True)
class KnownLogs:
    """The planner's view of the logs, kept between looks: only new segments are read."""

    log_store: LogStore
    plan: Plan
    walked_at: float
    """When all logs were last read; monotonic seconds."""
    views: dict[str, LogView] = field(default_factory=dict)
    indexes: Indexes = field(default_factory=Indexes)

    async def look_on(self, thorough: bool, now: float, age_s: float) -> None:
        """Read new segments. While one log still holds the frontier, the others are not read.

        Once a log does not hold it any more, the others are read as far as that one is closed: no plan gets further. So
        they are not asked for segments that are not there yet. With `thorough`, or `age_s` after the last look at all
        logs, each is read to its end.
        """
        held = [shard for shard in holders(self.plan, self.views) if shard in self.views]
        due = now - self.walked_at >= age_s  # the age of unpublished data is a metric
        if not (thorough or due):
            left, some, read, upto = held, 1, set(held), None
            while left:
                await self._read_on(left[:some], upto)
                if not set(left[:some]).isdisjoint(holders(self.plan, self.views)):
                    return
                upto = self._closed(held[: len(held) - len(left) + some])
                left, some = left[some:], 4 * some
            if holders(self.plan, self.views):
                return  # a child without a log
            await self._read_on([shard for shard in self.views if shard not in read], upto)
        else:
            await self._read_on(list(self.views))
        self.walked_at = now

    def _closed(self, shards: Iterable[str]) -> int | None:
        """Before what all of these logs are closed; None if all have ended."""
        footers = (self.views[shard].newest for shard in shards)
        return min((one.closed_before for one in footers if one is not None and not one.ended), default=None)

    async def _read_on(self, shards: Iterable[str], upto: int | None = None) -> None:
        """Read logs on to their ends, or until they are closed before `upto`."""
        log_store, plan, kept = self.log_store, self.plan, self.indexes.kept
        open_ = [shard for shard in shards if upto is None or not _is_closed(self.views[shard], upto)]
        fresh = await asyncio.gather(*(log_store.follow(_end_of(s, self.views[s], plan), kept, upto) for s in open_))
        for shard, headers in zip(open_, fresh, strict=True):
            self.views[shard].headers += headers

    async def lagging(self, least: int) -> list[SegmentHeader]:
        """The ends of the open logs that hold the frontier and are closed before less than `least`.

        They are read on first: while one log holds the frontier, a look leaves the others where the last plan ended.
        """
        bound = min(least, self.plan.upto + 1)

        def lags(view: LogView) -> bool:
            return view.newest is not None and not view.newest.ended and view.newest.closed_before < bound

        await self._read_on([shard for shard, view in self.views.items() if lags(view)])
        return [view.headers[-1] for view in self.views.values() if lags(view)]

    async def draw(self, shards: Mapping[str, PlanShard], old: Mapping[str, LogView], finished: bool) -> None:
        """Build the views, from known segments or the store: from `next` for a finished plan, else all of the plan."""
        log_store = self.log_store

        async def one(shard: str, entry: PlanShard) -> LogView:
            begin = min(
                entry.next if finished else entry.first, entry.to
            )  # `first` is after `to` if there are no new segments
            view = old.get(shard)
            at = next((h for h in view.headers if h.n == entry.to), None) if view and entry.to >= 0 else None
            if view is None or at is None or at.digest != entry.digest or view.headers[0].n > begin:
                whole = await log_store.view(shard, msgspec.structs.replace(entry, next=begin))
                return LogView(list(map(self.indexes.kept, whole.headers)))
            headers = [head for head in view.headers if head.n >= begin]
            return LogView(headers + await log_store.follow(headers[-1], self.indexes.kept))

        views = await asyncio.gather(*(one(shard, entry) for shard, entry in shards.items()))
        self.views.update(zip(shards, views, strict=True))

    async def join_children(self) -> None:
        """Add the children of ended logs, and their children."""
        while True:
            live, retired = live_and_retired(self.plan)
            shards = with_children(live, retired, self.views)
            new = {shard: entry for shard, entry in shards.items() if shard not in self.views}
            if not new:
                return
            await self.draw(new, {}, True)

    def views_for(self, plan: Plan) -> dict[str, LogView]:
        """The views of the logs of a plan."""
        return {shard: self.views.get(shard, LogView()) for shard in plan.shards}

    def frontier(self) -> tuple[int, str] | None:
        """The frontier, and the shard that holds it; None if no log is open."""
        live, retired = live_and_retired(self.plan)
        return frontier(with_children(live, retired, self.views), self.views)

    @property
    def unpublished_since(self) -> int | None:
        """When the oldest segment with an unpublished period was created; None if there is none."""
        segments = [head.footer for view in self.views.values() for head in view.headers]
        waiting = [one.created for one in segments if any(period >= self.plan.upto for period in one.periods)]
        return min(waiting, default=None)

    @property
    def unpublished(self) -> list[str]:
        """The shards with an unpublished period."""
        upto = self.plan.upto
        return sorted(
            shard
            for shard, view in self.views.items()
            if any(period >= upto for head in view.headers for period in head.footer.periods)
        )

    def forget_published(self, plan: Plan) -> None:
        """Drop segments that no later plan needs; `to` stays, since the walk continues from it."""
        if self.plan.k != plan.k:
            return
        for shard, entry in plan.shards.items():
            view = self.views.get(shard)
            if view is None:
                continue
            keep = min(entry.next, entry.to)
            view.headers = [head for head in view.headers if head.n >= keep]
        live, _ = live_and_retired(plan)
        self.indexes.count(self.views)
        self.views = {shard: view for shard, view in self.views.items() if shard in live}


async def needed_views(
    log_store: LogStore,
    plan: Plan,
    ranges: Sequence[int],
    whole: Iterable[str],
    kept: Kept,
    known: Mapping[str, LogView] | None = None,
) -> dict[str, LogView]:
    """The logs of another worker's plan, from the first segments on that these ranges need; those in `whole` entirely.

    What `known` has is not read again. Raises NotFound, BrokenLog.
    """
    wanted = [first_segments(plan, number) for number in ranges]
    wanted.append({shard: plan.shards[shard].first for shard in whole})
    first = {shard: min(some[shard] for some in wanted if shard in some) for shard in set().union(*wanted)}

    async def one(shard: str) -> LogView:
        begin, entry = first[shard], plan.shards[shard]
        if (there := (known or {}).get(shard)) and there.headers and there.headers[0].n <= begin:
            return LogView(there.between(begin, entry.to))
        return LogView(list(map(kept, await log_store.back_from(shard, begin, entry.to, entry.digest))))

    shards = sorted(first)
    return dict(zip(shards, await asyncio.gather(*map(one, shards)), strict=True))


def _is_closed(view: LogView, upto: int) -> bool:
    return view.newest is not None and view.newest.closed_before >= upto


def _end_of(shard: str, view: LogView, plan: Plan) -> SegmentRef:
    """Where the walk continues: the newest known segment, or the plan's `to`."""
    if view.headers:
        return view.headers[-1]
    entry = plan.shards.get(shard)
    return SegmentRef(shard, entry.to, entry.digest) if entry else log_start(shard)
