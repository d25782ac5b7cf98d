"""Deciding what is a duplicate: each part of a plan's keys by one worker, once, in a file; then what all files say.

Objects are made only when every file is there, and of what the files say, never of memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vortex import metrics
from vortex.core.dedup.decided import Decided, encode, published
from vortex.core.dedup.index import FINGERPRINT_BYTES
from vortex.core.dedup.keys import KEY, Keys, bounds_of
from vortex.core.dedup.resolve import Bools, resolve
from vortex.core.dedup.rows import PlanRuns, Rows, plan_runs, rows_of
from vortex.core.log.rules import BrokenLog
from vortex.core.publish.contents import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.ports import Clock, Meter, Offload
from vortex.publish.object_writer import ForeignObject
from vortex.publish.published_keys import KeyCache
from vortex.publish.sharing import ASK_S, PATIENCE_S, Doing, Sharing

log = logging.getLogger(__name__)

Views = Mapping[str, LogView]
PlanIds = tuple[PlanRuns, dict[tuple[str, int], bytes]]
"""The runs of a plan, and the ids of its segments."""


@dataclass(frozen=True, slots=True)
class Decisions:
    """What was decided on all of a plan: the rows that are dropped, how many of each period, the files' digests."""

    dropped: Dropped = field(default_factory=dict)
    periods: dict[int, int] = field(default_factory=dict)
    digests: list[str] = field(default_factory=list)


class Resolver:
    """Works out what the files of a plan have to say, by the logs and the plans before."""

    def __init__(self, log_store: LogStore, offload: Offload, keys: KeyCache) -> None:
        self.keys, self.offload = keys, offload
        self._log_store = log_store

    async def ids(self, plan: Plan, views: Views) -> PlanIds:
        """The runs of a plan, and the ids of its segments."""
        runs = await self.offload(plan_runs, plan, views)
        headers = {(head.shard, head.n): head for head in runs.headers}
        blocks = await asyncio.gather(*map(self._log_store.ids, headers.values()))
        return runs, dict(zip(headers, blocks, strict=True))

    async def decide(self, plan: Plan, ids: PlanIds, part: int) -> tuple[bytes, Keys]:
        """The file of one part, and the keys that it publishes."""
        runs, blocks = ids
        rows = await self.offload(_rows_by_key, runs, blocks, part, plan.parts)
        dropped = await self._walked(plan, runs, rows, part)
        return await self.offload(_said, plan, part, runs, rows, dropped)

    async def _walked(self, plan: Plan, runs: PlanRuns, rows: Rows, part: int) -> Bools:
        """Which rows of a part are dropped; by one sub-range of the keys after the other, if need be."""
        several = self._sub_ranges(plan)
        dropped = []
        for number in range(part * several, (part + 1) * several):
            some = rows.between(*bounds_of(rows.high, number, plan.parts * several))
            known = await self.keys.among(plan.recent, number, plan.parts * several, some.high, some.low)
            dropped.append(await self.offload(resolve, some, runs.table, known, plan.window))
        return np.concatenate(dropped)

    def _sub_ranges(self, plan: Plan) -> int:
        """In how many sub-ranges to work through a part: several where even fingerprints of its keys find no room."""
        rows = sum(one.rows for one in plan.recent) // plan.parts
        if rows * FINGERPRINT_BYTES <= self.keys.limit:
            return 1
        return 1 << (-(-2 * rows * KEY.itemsize // max(1, self.keys.limit)) - 1).bit_length()


def _rows_by_key(runs: PlanRuns, blocks: Mapping[tuple[str, int], bytes], part: int, parts: int) -> Rows:
    return rows_of(runs, blocks, part, parts).by_key()


def _said(plan: Plan, part: int, runs: PlanRuns, rows: Rows, dropped: Bools) -> tuple[bytes, Keys]:
    """The file of a part, and the keys that it publishes."""
    kept = published(rows, dropped)
    keys = Keys(kept.high, kept.low, kept.run, runs.table["lo"].copy(), runs.table["hi"].copy())
    return encode(plan.k, part, plan.parts, runs, rows, dropped), keys


class Deduplicator:
    """Decides on the plans of one stream."""

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
        """What is in memory of published keys."""
        return self._resolver.keys

    async def own(self, plan: Plan, views: Views) -> None:
        """Decide on the parts that the plan gives this worker."""
        await self._sharing.own(plan.resolvers, self._doing(plan, views))

    async def all(self, plan: Plan, views: Views, workers: Callable[[], Sequence[str]]) -> Decisions | None:
        """What was decided on the plan, by the help of the others; None where this process left before the end."""
        takers = plan.resolvers or (self._sharing.me,) * plan.parts
        if not await self._sharing.all(f"plan {plan.k}: part", takers, self._doing(plan, views), workers):
            return None
        return await decisions_on(plan, views, self._log_store, self._resolver.offload)

    async def awaited(self, plan: Plan, views: Views) -> Decisions | None:
        """What was decided on the plan, as soon as it is; None where that takes too long, or this process leaves."""
        until = self._clock.monotonic() + PATIENCE_S
        for part in range(plan.parts):
            while not await self._log_store.has_decided(plan.k, part):
                if self._sharing.leaving or self._clock.monotonic() >= until:
                    return None
                await self._clock.sleep(ASK_S)
        return await decisions_on(plan, views, self._log_store, self._resolver.offload)

    def _doing(self, plan: Plan, views: Views) -> Doing:
        """A worker reads the ids once for all of its parts."""
        read: list[PlanIds] = []

        async def has(part: int) -> bool:
            return await self._log_store.has_decided(plan.k, part)

        async def do(part: int) -> None:
            begun = self._clock.monotonic()
            if not read:
                read.append(await self._resolver.ids(plan, views))
            await self._decide(plan, read[0], part)
            self._meter.observe(metrics.RESOLVE_SECONDS, self._clock.monotonic() - begun)

        return has, do

    async def _decide(self, plan: Plan, ids: PlanIds, part: int) -> None:
        """Put the file of one part. Raises ForeignObject where another stands there that does not follow from files."""
        self.keys.forget(plan.since)
        for again in (False, True):
            body, keys = await self._resolver.decide(plan, ids, part)
            if await self._log_store.put_decided(plan.k, part, body):
                await self.keys.keep(plan.k, part, plan.parts, keys)
                return
            if not again:
                log.warning("plan %d, part %d: another decision stands there; deciding again from files", plan.k, part)
                self.keys.forget()
        raise ForeignObject(
            f"{self._log_store.decided_key(plan.k, part)}: says something else than follows from the logs and the "
            "plans before. Nothing was overwritten; publishing has stopped"
        )


async def decisions_on(plan: Plan, views: Views, log_store: LogStore, offload: Offload) -> Decisions:
    """What all files of the plan say. Raises NotFound; BrokenLog where they are about other rows than the plan."""
    if not plan.parts:
        return Decisions()
    files = await asyncio.gather(*(log_store.decided(plan.k, part) for part in range(plan.parts)))
    runs = await offload(plan_runs, plan, views)
    _check(plan, runs, files)
    dropped = await asyncio.gather(*map(log_store.dropped, files))
    periods: dict[int, int] = {}
    for file in files:
        for period, number in zip(runs.table["period"].tolist(), file.runs["dropped"].tolist(), strict=True):
            periods[period] = periods.get(period, 0) + number
    return Decisions(await offload(_merged, plan, dropped), periods, [file.digest for file in files])


def _check(plan: Plan, runs: PlanRuns, files: Sequence[Decided]) -> None:
    """Every row of the plan is in one of the files. Raises BrokenLog."""
    names = ["shard", "n", "period", "lo", "hi"]
    table = runs.table
    for file in files:
        same = (file.parts, file.shards) == (plan.parts, runs.shards)
        if not same or len(file.runs) != len(table) or (file.runs[names] != table[names]).any():
            raise BrokenLog(f"{file.name}: is about other rows than the plan is")
    rows = np.stack([file.runs["rows"] for file in files]).sum(axis=0, dtype=np.int64)
    if odd := np.flatnonzero(rows != table["rows"]).tolist():
        shard, n, period = runs.shards[table["shard"][odd[0]]], table["n"][odd[0]], table["period"][odd[0]]
        raise BrokenLog(
            f"plan {plan.k}: segment {n} of {shard} has {table['rows'][odd[0]]} rows of period {period}, and "
            f"{rows[odd[0]]} were decided on; publishing has stopped"
        )


def _merged(
    plan: Plan, files: Iterable[Mapping[tuple[str, int], Sequence[NDArray[np.uint32]]]]
) -> dict[tuple[str, int], NDArray[np.int64]]:
    """The dropped rows of each segment, sorted, of all files. Raises BrokenLog where one is dropped twice."""
    found: dict[tuple[str, int], list[NDArray[np.uint32]]] = {}
    for file in files:
        for segment, rows in file.items():
            found.setdefault(segment, []).extend(rows)
    merged = {segment: np.sort(np.concatenate(several)).astype(np.int64) for segment, several in found.items()}
    if any((np.diff(rows) == 0).any() for rows in merged.values()):
        raise BrokenLog(f"plan {plan.k}: a row is dropped twice")
    return merged
