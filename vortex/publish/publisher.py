"""The publisher: watches the logs, and when the frontier has passed a period, makes a plan and publishes it.

    plan.json -> decision files -> objects -> partition manifests -> hour manifests -> done.json -> clean-up

Each step puts what is missing and compares what exists, so any worker can finish a plan that another one began.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import msgspec

from vortex import metrics
from vortex.core.compression import Compression
from vortex.core.dedup.index import FINGERPRINT_BYTES
from vortex.core.fleet.balance import Roster
from vortex.core.layout import hour_of
from vortex.core.log.rules import BrokenLog, SegmentHeader, StreamState, advanced
from vortex.core.log.sealing import seal
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.memory import ROOM_MOST
from vortex.core.model import HOUR_MS
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.bounds import resolvers
from vortex.core.publish.contents import done, period_counts
from vortex.core.publish.plan import (
    LogView,
    Plan,
    Rules,
    propose,
)
from vortex.core.publish.ranges import ranges_of, takers
from vortex.core.publish.shares import Worth, shared_out
from vortex.core.wording import counted
from vortex.log.store import LogStore
from vortex.ports import Clock, Meter, NotFound, Offload, Scratch, Stream
from vortex.publish.cleanup import Cleaner
from vortex.publish.copies import Copier, NoScratch
from vortex.publish.dedup import Deduplicator, Resolver, shards_needed
from vortex.publish.forgetting import Forgetter
from vortex.publish.hours import Hours
from vortex.publish.known_logs import Indexes, KnownLogs, needed_views
from vortex.publish.object_writer import ObjectWriter
from vortex.publish.published_keys import KeyCache
from vortex.publish.ranges import Ranges
from vortex.publish.sharing import Sharing
from vortex.under_way import BytesUnderWay

log = logging.getLogger(__name__)


_LOOKED_AT = 1.5
"""Periods after which all logs are read to their ends, though no plan is possible. Plans are about a period apart."""


@dataclass(frozen=True, slots=True)
class PublishRules:
    """Sizes in bytes, times in milliseconds; `keep_ms` is how long a published segment is kept.

    `range_bytes` is the minimum compressed size of a range, and `part_rows` the minimum rows of a part; less is
    not worth sharing. A range by hash, and the ids of a part, have at least `piece_bytes` of each segment on average,
    since each reads all segments; of a part less where its keys do not fit into the memory for keys otherwise.
    `keys_bytes` is that memory, for the fingerprints of published keys. `copy_bytes` is the memory for copies of
    segments, at most a quarter of the room for large work; more goes to the scratch folder. `index_bytes` is the memory
    for indexes of segments that wait to be published.
    """

    period_ms: int
    target: int
    keep_ms: int
    max_delay_ms: int | None = None
    range_bytes: int = 256 * 1024 * 1024
    part_rows: int = 1 << 18
    window_ms: int = HOUR_MS
    reach_ms: int = 24 * HOUR_MS
    keys_bytes: int = 1 << 30
    copy_bytes: int = 64 * 1024 * 1024
    index_bytes: int = 128 * 1024 * 1024
    compression: Compression = Compression.GZIP
    piece_bytes: int = 16 * 1024 * 1024
    bundle: int = 0
    """Partitions with less compressed bytes in a period are put together; 0: none."""

    @property
    def interval_s(self) -> float:
        """Seconds without a plan after which the next worker plans."""
        return max(30.0, self.period_ms / 1000)


@dataclass(slots=True)
class PublisherStatus:
    """What the outside may know; times in epoch milliseconds."""

    frontier: int | None = None
    holder: str = ""
    upto: int | None = None
    last_plan: int = -1
    closed_hour: int | None = None
    unpublished_since: int | None = None
    plans: bool = False
    """Whether this process plans and has looked, so that it knows the three above."""
    working_on: int | None = None
    lz4: bool = False


@dataclass(slots=True)
class PublisherPorts:
    """What the publisher needs from the world. Without `stream`, plans keep every shard that ever was."""

    log_store: LogStore
    clock: Clock
    meter: Meter
    offload: Offload
    owner: str
    scratch: Scratch = field(default_factory=NoScratch)
    stream: Stream | None = None
    room: BytesUnderWay = field(default_factory=lambda: BytesUnderWay(ROOM_MOST))
    """For objects that are made and put, and for other large work of the process."""
    trim: Callable[[], None] = lambda: None
    """Gives free memory back to the system."""


class Publisher:
    """Publishes a stream. Raises ForeignObject, BrokenLog, CorruptSegment, OtherVersion, which need operator action.

    In a fleet the first of the `roster` plans. The others only publish the ranges that a plan assigns to them, and read
    only the logs for those. The n-th worker plans after 2n intervals without progress.
    """

    def __init__(
        self,
        state: StreamState,
        rules: PublishRules,
        ports: PublisherPorts,
        roster: Callable[[], Roster] = Roster,
    ) -> None:
        self.status = PublisherStatus()
        self._state, self._rules, self._ports, self._roster = state, rules, ports, roster
        writer = ObjectWriter(ports.log_store, ports.meter, ports.offload)
        self._sharing = Sharing(ports.clock, ports.owner)
        self._ranges = Ranges(
            ports.log_store,
            ports.offload,
            writer,
            self._sharing,
            lambda: Copier(ports.log_store, ports.offload, ports.scratch, self._copy_bytes()),
            ports.room,
            ports.trim,
        )
        keys = KeyCache(
            ports.log_store, ports.offload, rules.keys_bytes, lambda: ports.meter.add(metrics.DECIDED_READS)
        )
        resolver = Resolver(ports.log_store, ports.offload, keys, ports.trim)
        self.dedup = Deduplicator(resolver, ports.log_store, ports.clock, ports.meter, self._sharing)
        self._moved: tuple[int, bool] = (-1, True)
        self._moved_at = ports.clock.monotonic()
        self._logs: KnownLogs | None = None
        self._hours = Hours(ports.log_store, state, ports.offload)
        self._forgetter = Forgetter(ports.log_store, ports.clock, ports.stream)
        self._cleaner = Cleaner(ports.log_store, ports.clock, rules.period_ms, rules.keep_ms, self._forgetter)

    # The loop's step.

    async def step(self, *, thorough: bool = False) -> bool:
        """Look once, and publish one plan if the frontier has moved. Returns whether to call again at once.

        `thorough`: read every log, not only those that hold the frontier.
        """
        log_store = self._ports.log_store
        plan = await log_store.last_plan(self._state)
        finished = plan.k < 0 or await log_store.is_done(plan.k)
        self.status.lz4 = plan.lz4
        planning = thorough or self._plans(plan.k, finished)
        try:
            if not planning:
                self.status.frontier, self.status.holder, self.status.unpublished_since = None, "", None
                self.status.plans = False
                return not finished and await self._help(plan)
            more = await self._step(plan, finished, thorough)
        except (
            BrokenLog,
            CorruptSegment,
            OtherVersion,
            NotFound,
        ) as problem:  # a late put may have recreated a cleaned-up segment
            self._logs = None
            newest = await log_store.last_plan(self._state)
            if newest.k != plan.k or (plan.k >= 0 and await log_store.is_done(plan.k) != finished):
                return True  # another process published and cleaned up what this one was reading
            if isinstance(problem, NotFound):
                raise BrokenLog(str(problem)) from problem
            raise
        self._moved_at = self._ports.clock.monotonic()
        return more

    async def clean_on(self) -> None:
        """Delete what published plans leave behind, beside the steps, until cancelled."""
        await self._cleaner.run()

    def leave(self) -> None:
        """This process stops while others continue: leave the remaining work to them."""
        self._sharing.leaving = True

    @property
    def left(self) -> bool:
        """Whether `leave` was called."""
        return self._sharing.leaving

    def _copy_bytes(self) -> int:
        return min(self._rules.copy_bytes, self._ports.room.limit // 4)

    def _plans(self, k: int, finished: bool) -> bool:
        """Whether this worker plans and finishes plans: the first does, another one after a time without progress."""
        if (k, finished) != self._moved:
            self._moved, self._moved_at = (k, finished), self._ports.clock.monotonic()
        rank = self._roster().rank
        return self._ports.clock.monotonic() - self._moved_at >= 2 * rank * self._rules.interval_s

    async def _help(self, plan: Plan) -> bool:
        """Do this worker's parts and ranges of another worker's plan. Always False: nothing more to do at once."""
        log_store, me = self._ports.log_store, self._ports.owner
        mine = ranges_of(plan, me)
        parts = [part for part, taker in enumerate(plan.resolvers) if taker == me]
        left = [await log_store.has_range_done(plan.k, number) for number in mine]
        left += [await log_store.has_decided(plan.k, part) for part in parts]
        if not all(left):
            kept = Indexes(self._rules.index_bytes).kept
            whole = await needed_views(log_store, plan, [], shards_needed(plan, parts), kept)
            known = await self.dedup.own(plan, whole, lambda: self._roster().workers, kept)
            views = await needed_views(log_store, plan, mine, [], kept, known)
            if mine and (decisions := await self.dedup.awaited(plan, views)) is not None:
                await self._ranges.own(plan, views, decisions.dropped)
        return False

    async def _step(self, plan: Plan, finished: bool, thorough: bool) -> bool:
        logs = await self._refresh(plan, finished, thorough)
        if not finished:
            return await self._carry_out(plan, logs.views_for(plan))
        await self._push_laggards(logs)
        proposed = propose(plan, logs.views, self._planning())
        if proposed is not None:
            proposed = await self._shared_out(self._forgetter.without_forgotten(proposed, logs.views), logs)
        self._note(logs)
        if proposed is None:
            self._cleaner.note(logs.plan, logs.views)
            return False
        won = await self._ports.log_store.put_plan(proposed)
        if msgspec.json.encode(won) != msgspec.json.encode(proposed):
            return True  # another planner's: it is taken up by the next step
        logs.plan = won
        return await self._carry_out(won, logs.views_for(won))

    async def _shared_out(self, plan: Plan, logs: KnownLogs) -> Plan:
        """The plan in as many ranges as its bytes and the workers are worth; who takes which, and which part."""
        workers = self._roster().workers
        plan = msgspec.structs.replace(plan, lz4=self._ranges.touched())
        if len(workers) < 2:
            return plan
        if plan.parts > 1:
            chosen = resolvers(workers, plan.parts, logs.plan.resolvers)
            plan = msgspec.structs.replace(plan, resolvers=chosen)
        worth = Worth(len(workers), plan.target, self._rules.range_bytes, self._rules.piece_bytes)
        plan = await self._ports.offload(shared_out, plan, logs.views_for(plan), worth)
        if plan.ranges == 1:
            return plan
        return msgspec.structs.replace(plan, takers=takers(workers, self._ports.owner, plan.ranges))

    def _planning(self) -> Rules:
        rules = self._rules
        workers = len(self._roster().workers)
        return Rules(
            rules.target,
            rules.window_ms,
            rules.reach_ms,
            rules.part_rows,
            max(1, workers),
            rules.compression,
            piece_rows=rules.piece_bytes // KEY_BYTES,
            keys=int(rules.keys_bytes / FINGERPRINT_BYTES),
            bundle=rules.bundle,
        )

    async def unpublished_end(self) -> int | None:
        """For draining: the bound that publishes everything in the logs; None if everything is published.

        That is the end of the last period with data, or of its hour if that hour is over.
        """
        while await self.step(thorough=True):
            pass
        assert self._logs is not None
        logs, plan = self._logs, self._logs.plan
        periods = [p for v in logs.views.values() for h in v.headers for p in h.footer.periods]
        last = max((p for p in periods if p >= plan.upto), default=None)
        if last is None:
            return None
        hour_end = hour_of(last) + HOUR_MS
        return hour_end if hour_end <= self._ports.clock.now_ms() else last + self._rules.period_ms

    @property
    def unpublished(self) -> list[str]:
        """The shards with data that is not published, at the last look."""
        return self._logs.unpublished if self._logs is not None else []

    async def finish(self) -> int:
        """Close and publish everything in the logs of a stream that is no longer read. Returns the last plan's end."""
        end = await self.unpublished_end()
        if end is not None:
            assert self._logs is not None
            for view in self._logs.views.values():
                if view.newest is not None and not view.newest.ended and view.newest.closed_before < end:
                    await self.advance(view.headers[-1], end)
            while await self.step(thorough=True):
                pass
        plan = await self._ports.log_store.last_plan(self._state)
        if end is not None and plan.upto < end:
            raise BrokenLog(f"{self._ports.log_store.root}: shard {self.status.holder} has no log to close")
        return plan.upto

    async def _refresh(self, plan: Plan, finished: bool, thorough: bool) -> KnownLogs:
        """Update the known logs: new plans, new segments, new children."""
        now, logs = self._ports.clock.monotonic(), self._logs
        if logs is None or logs.plan.k != plan.k:
            views = logs.views if logs else {}
            indexes = Indexes(self._rules.index_bytes)
            indexes.count(views)
            logs = KnownLogs(self._ports.log_store, plan, now, indexes=indexes)
            await logs.draw(plan.shards, views, finished)
            self._logs = logs  # only when it is whole: a plan must not be published from a part of its segments
        else:
            await logs.look_on(thorough, now, _LOOKED_AT * self._rules.period_ms / 1000)
        await logs.join_children()
        return logs

    # Publishing a plan.

    async def _carry_out(self, plan: Plan, views: Mapping[str, LogView]) -> bool:
        """Publish objects and hours, and write the done document. False if this process stops before."""
        begun = self._ports.clock.monotonic()
        self.status.working_on = plan.k
        decisions = await self.dedup.all(plan, views, lambda: self._roster().workers)
        if decisions is None:
            return False
        published = await self._ranges.all(plan, views, decisions.dropped, lambda: self._roster().workers)
        if published is None:
            return False
        periods = period_counts(plan, views, published, decisions.periods)
        document = done(plan, published, periods, decisions.digests)
        if (closed := await self._hours.close(plan, document)) is not None:
            self.status.closed_hour = closed
        await self._ports.log_store.put_done(document)
        if self._logs is not None:
            self._logs.forget_published(plan)
        self.status.working_on, self.status.last_plan, self.status.upto = None, plan.k, plan.upto
        meter, totals = self._ports.meter, document.totals
        meter.add(metrics.OBJECTS_PUBLISHED, totals["objects"])
        meter.add(metrics.ROWS, sum(counts.published for counts in periods.values()), outcome="published")
        meter.add(metrics.ROWS, sum(counts.dropped for counts in periods.values()), outcome="dropped")
        meter.observe(metrics.PUBLISH_SECONDS, self._ports.clock.monotonic() - begun)
        log.info(
            "published plan %d: %s, %s, %d dropped",
            plan.k,
            counted(totals["objects"], "object"),
            counted(totals["rows"], "row"),
            totals["dropped"],
        )
        return True

    # A shard that lags for hours.

    async def _push_laggards(self, logs: KnownLogs) -> None:
        """With `hours.max_delay`: advance the bound of a log that has held the frontier for longer than that."""
        if self._rules.max_delay_ms is None:
            return
        least = self._ports.clock.now_ms() - self._rules.max_delay_ms
        least -= least % self._rules.period_ms
        for head in await logs.lagging(least):
            log.warning("shard %s lags; closing hours without it (hours.max_delay)", head.shard)
            await self.advance(head, least)

    async def advance(self, head: SegmentHeader, closed_before: int) -> bool:
        """Append the segment that only moves `closed_before`; False where another segment came first."""
        footer = advanced(head, closed_before, owner=self._ports.owner, created=self._ports.clock.now_ms())
        return await self._ports.log_store.commit(head.shard, seal(footer))

    # Metrics.

    def _note(self, logs: KnownLogs) -> None:
        at = logs.frontier()
        status = self.status
        status.frontier, status.holder = at if at else (None, "")
        status.last_plan, status.upto = logs.plan.k, logs.plan.upto
        status.unpublished_since, status.plans = logs.unpublished_since, True
        if status.closed_hour is None and logs.plan.k >= 0 and logs.plan.upto - HOUR_MS >= self._state.first_hour:
            status.closed_hour = hour_of(logs.plan.upto) - HOUR_MS
