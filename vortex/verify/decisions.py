"""Proves what was decided on duplicates: plan by plan, where logs and files still tell; else by sums and digests.

A plan whose segments are all there, and whose files since..k-1 are, is decided again and compared. What neighbouring
plans published must not be near to each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vortex.core.dedup.decided import Decided, parse
from vortex.core.dedup.keys import Keys
from vortex.core.invariants import Invariant
from vortex.core.log.rules import BrokenLog
from vortex.core.log.segment import CorruptSegment, OtherVersion
from vortex.core.publish.bounds import Recent
from vortex.core.publish.contents import Done, Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.publish.dedup import Resolver, decisions_on
from vortex.publish.published_keys import KeyCache
from vortex.verify.published import Report

_KEYS_BYTES = 1 << 29
T = TypeVar("T")


async def _here(fn: Callable[..., T], /, *args: object) -> T:
    return fn(*args)


class DecisionProof:
    """The proof for one stream; `views` are its logs as far as they still exist."""

    def __init__(self, log_store: LogStore, views: Mapping[str, LogView], report: Report) -> None:
        self._log_store, self._views, self._report = log_store, views, report
        self._resolver = Resolver(log_store, _here, KeyCache(log_store, _here, _KEYS_BYTES))

    async def check(self, plans: Sequence[Plan], dones: Sequence[Done]) -> dict[int, Dropped]:
        """All plans, of which all but perhaps the last are done. The dropped rows by plan, where they are known."""
        dropped: dict[int, Dropped] = {}
        for plan in plans:
            if not plan.parts:
                dropped[plan.k] = {}
                continue
            files = await self._files(plan)
            if files is None:
                continue
            if plan.k < len(dones) and [file.digest for file in files] != dones[plan.k].decided:
                self._report.fault(Invariant.WRITTEN_ONCE, files[0].name, "is not the file that its plan was done with")
            self._resolver.keys.forget(plan.since)
            await self._check_neighbour(plan)
            if not self._whole(plan):
                continue
            try:
                dropped[plan.k] = (await decisions_on(plan, self._views, self._log_store, _here)).dropped
                await self._decide_again(plan, files)
            except NotFound:
                continue  # cleaned up since
            except (BrokenLog, CorruptSegment) as problem:
                self._report.fault(Invariant.SUMS_AGREE, files[0].name, str(problem))
        return dropped

    async def _files(self, plan: Plan) -> list[Decided] | None:
        """The plan's files, or None where they were cleaned up, or are not all there yet."""
        try:
            return [await self._log_store.decided(plan.k, part) for part in range(plan.parts)]
        except NotFound:
            return None
        except (CorruptSegment, OtherVersion) as problem:
            self._report.fault(Invariant.WRITTEN_ONCE, self._log_store.decided_key(plan.k, 0), str(problem))
            return None

    def _whole(self, plan: Plan) -> bool:
        """Whether all segments of the plan still exist."""
        return all(
            len(self._views.get(shard, LogView()).between(entry.first, entry.to)) == entry.to - entry.first + 1
            for shard, entry in plan.shards.items()
        )

    async def _decide_again(self, plan: Plan, files: Sequence[Decided]) -> None:
        ids = await self._resolver.ids(plan, self._views)
        for file in files:
            body, _ = await self._resolver.decide(plan, ids, file.part)
            if parse(body, len(body), file.name).digest != file.digest:
                self._report.fault(
                    Invariant.COMPLETE_AND_ONCE, file.name, "says something else than follows from logs and plans"
                )
        self._report.count("plans decided again")

    async def _check_neighbour(self, plan: Plan) -> None:
        """What this plan and the one before it published is not near to each other."""
        if not plan.recent or plan.recent[-1].k != plan.k - 1:
            return
        for part in range(plan.parts):
            try:
                mine = await self._resolver.keys.published(_as_recent(plan), part, plan.parts)
                before = await self._resolver.keys.published(plan.recent[-1], part, plan.parts)
            except NotFound:
                return
            except CorruptSegment as problem:
                self._report.fault(Invariant.WRITTEN_ONCE, self._log_store.decided_key(plan.k, part), str(problem))
                return
            if mine is not None and before is not None and _near(mine, before, plan.window):
                self._report.fault(
                    Invariant.COMPLETE_AND_ONCE,
                    self._log_store.decided_key(plan.k, part),
                    "publishes an id again that is near",
                )


def _as_recent(plan: Plan) -> Recent:
    return Recent(plan.k, plan.arrived[1], plan.parts, plan.rows)


def _near(one: Keys, other: Keys, window: int) -> bool:
    """Whether any key was published in both, of rows that are near."""
    common = np.intersect1d(one.high, other.high)
    for high in common.tolist():
        for a in _with(one, high):
            for b in _with(other, high):
                if a[0] == b[0] and a[1] - b[2] <= window and b[1] - a[2] <= window:
                    return True
    return False


def _with(keys: Keys, high: int) -> list[tuple[int, int, int]]:
    """The low words with this high word, and when they came."""
    first, last = np.searchsorted(keys.high, np.uint64(high)), np.searchsorted(keys.high, np.uint64(high), side="right")
    return [
        (int(keys.low[at]), int(keys.lo[keys.run[at]]), int(keys.hi[keys.run[at]]))
        for at in range(int(first), int(last))
    ]
