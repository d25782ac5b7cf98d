"""Checks the deduplication decisions: each plan again if its logs and files still exist, else by sums and digests.

A plan is decided again, and compared, if all its segments exist and the decision files from plan `since` to k-1 exist;
so are the counts in its done document. In any case, keys of two consecutive plans must not be near each other,
and the files that the next plan needs must exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np

from vortex.core.dedup.decided import Decided, parse
from vortex.core.dedup.keys import Keys
from vortex.core.invariants import Invariant
from vortex.core.log.rules import BrokenLog
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.bounds import Recent
from vortex.core.publish.contents import Done, period_counts
from vortex.core.publish.members import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.publish.dedup import Decisions, Resolver, decisions_on
from vortex.publish.published_keys import KeyCache
from vortex.verify.report import Report

_KEYS_BYTES = 1 << 29
T = TypeVar("T")


async def _here(fn: Callable[..., T], /, *args: object) -> T:
    return fn(*args)


class DecisionProof:
    """Checks the decisions of one stream, plan by plan."""

    def __init__(self, log_store: LogStore, report: Report, kept: int) -> None:
        """`kept`: the first plan whose files the next plan needs."""
        self._log_store, self._report, self._kept = log_store, report, kept
        self._resolver = Resolver(log_store, _here, KeyCache(log_store, _here, _KEYS_BYTES))
        self._before: Plan | None = None

    async def check(self, plan: Plan, document: Done | None, views: Mapping[str, LogView] | None) -> Dropped | None:
        """Check a plan; `document` is None if it is in progress, `views` if its segments do not all exist any more.

        Returns the dropped rows, where known.
        """
        before, self._before = self._before, plan
        files = await self._files(plan, needed=document is not None and plan.k >= self._kept)
        if files is None:
            return None
        if document is not None and [file.digest for file in files] != document.decided:
            self._report.fault(
                Invariant.WRITTEN_ONCE, self._name(plan), "is not the file with which its plan was carried out"
            )
        self._resolver.keys.forget(plan.since)
        await self._check_published(plan, before)
        if views is None:
            return None
        dropped = None
        try:
            decisions = await decisions_on(plan, views, self._log_store, _here)
            dropped = decisions.dropped
            if document is not None:
                self._check_counts(plan, document, decisions, views)
            if files:
                await self._decide_again(plan, files, views)
        except NotFound:
            pass  # cleaned up since
        except (BrokenLog, CorruptSegment) as problem:
            self._report.fault(Invariant.SUMS_AGREE, self._name(plan), str(problem))
        return dropped

    def _name(self, plan: Plan, part: int = 0) -> str:
        return self._log_store.decided_key(plan.k, part)

    async def _files(self, plan: Plan, needed: bool) -> list[Decided] | None:
        """The plan's decision files; None if they were cleaned up or are not all written yet.

        `needed`: the next plan needs them, so they must not have been cleaned up.
        """
        part = 0
        try:
            files = []
            for part in range(plan.parts):
                files.append(await self._log_store.decided(plan.k, part))
            return files
        except NotFound:
            if needed:
                self._report.fault(
                    Invariant.WRITTEN_ONCE,
                    self._name(plan, part),
                    "is missing, but the next plan needs it",
                )
        except CorruptSegment as problem:
            self._report.fault(Invariant.WRITTEN_ONCE, self._name(plan, part), str(problem))
        return None

    def _check_counts(self, plan: Plan, document: Done, decisions: Decisions, views: Mapping[str, LogView]) -> None:
        """The counts of the done document must follow from segments and decision files. Raises BrokenLog."""
        if document.periods != period_counts(plan, views, document.objects, decisions.periods):
            self._report.fault(
                Invariant.SUMS_AGREE, f"plan {plan.k}", "done.json has other counts than follow from its segments"
            )

    async def _decide_again(self, plan: Plan, files: Sequence[Decided], views: Mapping[str, LogView]) -> None:
        ids = await self._resolver.ids(plan, views)
        for file in files:
            body, _ = await self._resolver.decide(plan, ids, file.part)
            if parse(body, len(body), file.name).digest != file.digest:
                self._report.fault(Invariant.COMPLETE_AND_ONCE, file.name, "differs from what the logs and plans give")
        self._report.count("plans decided again")

    async def _check_published(self, plan: Plan, last: Plan | None) -> None:
        """The keys that the plan published must be intact, and not near those of the plan before, whatever `since` is.

        Rows that arrived more than `reach` before the end of that plan may be near.
        """
        for part in range(plan.parts):
            try:
                mine = await self._resolver.keys.published(_as_recent(plan), part, plan.parts)
                before = None
                if last is not None and last.k == plan.k - 1:
                    before = await self._resolver.keys.published(_as_recent(last), part, plan.parts)
            except NotFound:
                return
            except CorruptSegment as problem:
                self._report.fault(Invariant.WRITTEN_ONCE, self._name(plan, part), str(problem))
                return
            if mine is not None and before is not None and _near(mine, before, plan.window, plan.after - plan.reach):
                self._report.fault(
                    Invariant.COMPLETE_AND_ONCE, self._name(plan, part), "publishes an id again within the window"
                )


def _as_recent(plan: Plan) -> Recent:
    return Recent(plan.k, plan.arrived[1], plan.parts, plan.rows)


def _near(one: Keys, other: Keys, window: int, compared: int) -> bool:
    """Whether both published a key in rows that are near each other. Rows of `one` count if they arrived from
    `compared` on.
    """
    common = np.intersect1d(one.high, other.high)
    for high in common.tolist():
        for a in _with(one, high):
            for b in _with(other, high):
                if a[0] == b[0] and a[1] >= compared and a[1] - b[2] <= window and b[1] - a[2] <= window:
                    return True
    return False


def _with(keys: Keys, high: int) -> list[tuple[int, int, int]]:
    """The keys with this high word, as (low word, lo, hi) with the arrival interval [lo, hi]."""
    first, last = np.searchsorted(keys.high, np.uint64(high)), np.searchsorted(keys.high, np.uint64(high), side="right")
    return [
        (int(keys.low[at]), int(keys.lo[keys.run[at]]), int(keys.hi[keys.run[at]]))
        for at in range(int(first), int(last))
    ]
