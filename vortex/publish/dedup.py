"""Decides which rows are duplicates: one worker decides each part of a plan's keys, once, and writes a file.

Objects are made only after all files exist, and from the content of the files, never from memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vortex import metrics
from vortex.core.dedup.decided import Decided, encode
from vortex.core.dedup.groups import groups_of, has_groups
from vortex.core.dedup.index import FINGERPRINT_BYTES
from vortex.core.dedup.keys import KEY, Keys, bounds_of
from vortex.core.dedup.resolve import Bools, resolve
from vortex.core.dedup.rows import PlanRuns, Rows, plan_runs, rows_of, sorted_by_key
from vortex.core.log.rules import BrokenLog, SegmentHeader
from vortex.core.publish.members import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import Kept, LogStore
from vortex.ports import Clock, Meter, Offload
from vortex.publish.exchange import Exchange, PlanIds, Views, whole_views
from vortex.publish.object_writer import ForeignObject
from vortex.publish.published_keys import KeyCache
from vortex.publish.sharing import ASK_S, PATIENCE_S, Doing, Sharing

log = logging.getLogger(__name__)

_TRIMMED_FROM = 500_000
"""Rows of a plan from which free memory is given back first: a row takes about 100 bytes. Small plans may come every
few seconds.
"""


@dataclass(frozen=True, slots=True)
class Decisions:
    """The decisions on a whole plan: the dropped rows, their number by period, and the files' digests."""

    dropped: Dropped = field(default_factory=dict)
    periods: dict[int, int] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


class Resolver:
    """Computes the content of a plan's decision files from the logs and the earlier plans."""

    def __init__(
        self, log_store: LogStore, offload: Offload, keys: KeyCache, trim: Callable[[], None] = lambda: None
    ) -> None:
        """`trim` gives free memory back to the system."""
        self.keys, self.offload = keys, offload
        self._log_store, self._trim = log_store, trim

    async def ids(self, plan: Plan, views: Views) -> PlanIds:
        """The runs of the plan's segments in `views`, and the ids of these segments."""
        runs = await self.offload(plan_runs, plan, views)
        if int(runs.table["rows"].sum()) >= _TRIMMED_FROM:
            await self.offload(self._trim)  # what ingest left free between its pages is too small for large arrays
        headers = {(head.shard, head.n): head for head in runs.headers}
        blocks = await asyncio.gather(*map(self._log_store.ids, headers.values()))
        return runs, dict(zip(headers, blocks, strict=True))

    async def decide(self, plan: Plan, ids: PlanIds, part: int) -> tuple[bytes, Keys]:
        """The file of one part, and the keys that it publishes."""
        runs, blocks = ids
        del ids
        sorting = self.offload(_rows_by_key, runs, blocks, part, plan.parts)
        del blocks  # as large as the rows, and not needed by a single part any more
        return await self.decide_rows(plan, runs, await sorting, part)

    async def decide_rows(self, plan: Plan, runs: PlanRuns, rows: Rows, part: int) -> tuple[bytes, Keys]:
        """The same from the rows of the part, sorted by key. The caller keeps no reference to them."""
        dropped = await self._dropped(plan, runs, rows, part)
        body = await self.offload(encode, plan.k, part, plan.parts, runs, rows, dropped)
        count = len(rows) - int(np.count_nonzero(dropped))
        del rows, dropped
        return body, await self.offload(_keys_of, body, count, runs)

    async def _dropped(self, plan: Plan, runs: PlanRuns, rows: Rows, part: int) -> Bools:
        """Which rows of a part are dropped. Processes the keys in sub-ranges if memory is short."""
        several = self._sub_ranges(plan)
        dropped = []
        for number in range(part * several, (part + 1) * several):
            some = rows.between(*bounds_of(rows.high, number, plan.parts * several))
            known = await self.keys.among(plan.recent, number, plan.parts * several, some.high, some.low)
            dropped.append(await self.offload(resolve, some, runs.table, known, plan.window))
        return np.concatenate(dropped)

    def _sub_ranges(self, plan: Plan) -> int:
        """The number of sub-ranges of a part: several if even the fingerprints of its keys do not fit in memory."""
        rows = sum(one.rows for one in plan.recent) // plan.parts
        if rows * FINGERPRINT_BYTES <= self.keys.limit:
            return 1
        return 1 << (-(-2 * rows * KEY.itemsize // max(1, self.keys.limit)) - 1).bit_length()


def _rows_by_key(runs: PlanRuns, blocks: Mapping[tuple[str, int], bytes], part: int, parts: int) -> Rows:
    rows = rows_of(runs, blocks, part, parts)
    columns: list[NDArray[Any]] = [rows.high, rows.low, rows.run, rows.row]
    del rows
    return sorted_by_key(columns)


def _keys_of(body: bytes, count: int, runs: PlanRuns) -> Keys:
    """The keys that a file publishes."""
    keys = Keys.room(count, runs.table["lo"].copy(), runs.table["hi"].copy())
    keys.fill(np.frombuffer(body, dtype=KEY, count=count))
    return keys


class Deduplicator:
    """Decides the plans of one stream."""

    def __init__(self, resolver: Resolver, log_store: LogStore, clock: Clock, meter: Meter, sharing: Sharing) -> None:
        self._resolver, self._log_store, self._clock, self._meter, self._sharing = (
            resolver,
            log_store,
            clock,
            meter,
            sharing,
        )

    @property
    def keys(self) -> KeyCache:
        """The cache of published keys."""
        return self._resolver.keys

    async def own(
        self,
        plan: Plan,
        views: Views,
        workers: Callable[[], Sequence[str]],
        kept: Kept = SegmentHeader.without_index,
    ) -> Views:
        """Decide the parts that the plan assigns to this worker, and exchange its ids. `views` has at least
        `shards_needed`. Returns them with what was read; `kept` drops an index that has no room.
        """
        exchange = self._exchange(plan, views, kept)
        if await self._exchanged(plan, exchange, workers):
            await self._sharing.own(plan.resolvers, self._doing(plan, exchange))
        return exchange.views

    async def all(self, plan: Plan, views: Views, workers: Callable[[], Sequence[str]]) -> Decisions | None:
        """The decisions on the plan, made with the help of other workers; None if this process stops before."""
        takers = plan.resolvers or (self._sharing.me,) * plan.parts
        exchange = self._exchange(plan, views)
        if not await self._exchanged(plan, exchange, workers):
            return None
        if not await self._sharing.all(f"plan {plan.k}: part", takers, self._doing(plan, exchange), workers):
            return None
        return await decisions_on(plan, views, self._log_store, self._resolver.offload)

    def _exchange(self, plan: Plan, views: Views, kept: Kept = SegmentHeader.without_index) -> Exchange:
        return Exchange(plan, views, self._log_store, self._resolver.offload, self._resolver.ids, kept)

    async def _exchanged(self, plan: Plan, exchange: Exchange, workers: Callable[[], Sequence[str]]) -> bool:
        """Ensure that the ids of all groups are there, if this worker has a group or a part. False if it stops before.

        All these workers do so, and share out the groups of one that has left.
        """
        takers = groups_of(plan).takers if has_groups(plan) else ()
        if not takers or self._sharing.me not in {*takers, *plan.resolvers}:
            return True
        doing = exchange.has, exchange.put
        return await self._sharing.all(f"plan {plan.k}: ids of group", takers, doing, workers, together=True)

    async def awaited(self, plan: Plan, views: Views) -> Decisions | None:
        """Wait for the decisions on the plan; None if that takes too long, or this process stops."""
        until = self._clock.monotonic() + PATIENCE_S
        for part in range(plan.parts):
            while not await self._log_store.has_decided(plan.k, part):
                if self._sharing.leaving or self._clock.monotonic() >= until:
                    return None
                await self._clock.sleep(ASK_S)
        return await decisions_on(plan, views, self._log_store, self._resolver.offload, some=True)

    def _doing(self, plan: Plan, exchange: Exchange) -> Doing:
        """Checks and does the parts. Reads the ids only once for all parts of a worker."""
        read: list[PlanIds] = []

        async def ids() -> PlanIds:
            if not read:
                whole = await whole_views(plan, plan.shards, exchange.views, self._log_store)
                read.append(await self._resolver.ids(plan, whole))
            return read[0] if plan.parts > 1 else read.pop()

        async def decide(part: int, again: bool) -> tuple[bytes, Keys]:
            if again or not has_groups(plan):
                return await self._resolver.decide(plan, await ids(), part)
            return await self._resolver.decide_rows(plan, *await exchange.rows(part), part)

        async def has(part: int) -> bool:
            return await self._log_store.has_decided(plan.k, part)

        async def do(part: int) -> None:
            begun = self._clock.monotonic()
            await self._decide(plan, decide, part)
            self._meter.observe(metrics.RESOLVE_SECONDS, self._clock.monotonic() - begun)

        return has, do

    async def _decide(
        self, plan: Plan, decide: Callable[[int, bool], Awaitable[tuple[bytes, Keys]]], part: int
    ) -> None:
        """Write the file of one part. Raises ForeignObject if it exists with a decision that files do not confirm."""
        self.keys.forget(plan.since)
        for again in (False, True):
            body, keys = await decide(part, again)
            if await self._log_store.put_decided(plan.k, part, body):
                await self.keys.keep(plan.k, part, plan.parts, keys)
                return
            if not again:
                log.warning("plan %d, part %d: another decision exists; deciding again from files", plan.k, part)
                self.keys.forget()
        raise ForeignObject(
            f"{self._log_store.decided_key(plan.k, part)}: exists with a decision that does not follow from the "
            "logs and the earlier plans. Nothing was overwritten; publishing stopped"
        )


def shards_needed(plan: Plan, parts: Sequence[int]) -> list[str]:
    """The shards of which a worker needs the segments at hand to decide some parts: none where ids are exchanged."""
    return list(plan.shards) if parts and not has_groups(plan) else []


async def decisions_on(
    plan: Plan, views: Views, log_store: LogStore, offload: Offload, *, some: bool = False
) -> Decisions:
    """The decisions in all files of the plan. Raises NotFound, and BrokenLog if they are about other rows.

    With `some`, `views` has a part of the plan's segments: the files are compared with these.
    """
    if not plan.parts:
        return Decisions()
    files = await asyncio.gather(*(log_store.decided(plan.k, part) for part in range(plan.parts)))
    runs = await offload(plan_runs, plan, views)
    _check(plan, runs, files, views if some else None)
    dropped = await asyncio.gather(*map(log_store.dropped, files))
    periods: dict[int, int] = {}
    for file in files:
        for period, number in zip(file.runs["period"].tolist(), file.runs["dropped"].tolist(), strict=True):
            periods[period] = periods.get(period, 0) + number
    return Decisions(await offload(_merged, plan, dropped), periods, [file.digest for file in files])


def _check(plan: Plan, runs: PlanRuns, files: Sequence[Decided], views: Views | None) -> None:
    """Check that the files contain every row of the plan, or of these segments of it. Raises BrokenLog."""
    names = ["shard", "n", "period", "lo", "hi"]
    table = runs.table
    theirs = []
    for file in files:
        same = (file.parts, file.shards) == (plan.parts, runs.shards)
        its = file.runs[_within(file, views)] if same and views is not None else file.runs
        if not same or len(its) != len(table) or (its[names] != table[names]).any():
            raise BrokenLog(f"{file.name}: is about rows other than the plan's")
        theirs.append(its["rows"])
    rows = np.stack(theirs).sum(axis=0, dtype=np.int64)
    if wrong := np.flatnonzero(rows != table["rows"]).tolist():
        shard, n, period = (runs.shards[table["shard"][wrong[0]]], table["n"][wrong[0]], table["period"][wrong[0]])
        raise BrokenLog(
            f"plan {plan.k}: segment {n} of {shard} has {table['rows'][wrong[0]]} rows of period {period}, but "
            f"{rows[wrong[0]]} were decided; publishing stopped"
        )


def _within(file: Decided, views: Views) -> Bools:
    """Which runs of a file are of segments in `views`, which has each log from some segment on."""
    first = np.array([_first(views.get(shard)) for shard in file.shards], dtype=np.uint64)
    return np.asarray(file.runs["n"] >= first[file.runs["shard"]]) if len(first) else np.ones(len(file.runs), bool)


def _first(view: LogView | None) -> int:
    return view.headers[0].n if view and view.headers else 1 << 63


def _merged(
    plan: Plan, files: Iterable[Mapping[tuple[str, int], Sequence[NDArray[np.uint32]]]]
) -> dict[tuple[str, int], NDArray[np.int64]]:
    """The dropped rows of each segment from all files, sorted. Raises BrokenLog if a row is dropped twice."""
    found: dict[tuple[str, int], list[NDArray[np.uint32]]] = {}
    for file in files:
        for segment, rows in file.items():
            found.setdefault(segment, []).extend(rows)
    merged = {segment: np.sort(np.concatenate(several)).astype(np.int64) for segment, several in found.items()}
    if any((np.diff(rows) == 0).any() for rows in merged.values()):
        raise BrokenLog(f"plan {plan.k}: a row is dropped twice")
    return merged
