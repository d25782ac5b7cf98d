"""Reads a store and checks the invariants on it: logs, plans, objects, hours, and the sums between them.

The invariants are those of `vortex.core.invariants` that are `on_store`. The content of cleaned-up segments is not
compared. Plans are checked one after another, so what is in memory does not grow with their number, but for eight
bytes for each key.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray

from vortex.core.invariants import Invariant
from vortex.core.layout import HOURS, MANIFESTS, STATE, hour_of
from vortex.core.log.rules import Damaged, SegmentHeader, StreamState
from vortex.core.publish.contents import Done
from vortex.core.publish.plan import LogView, Plan, live_and_retired
from vortex.core.wording import counted
from vortex.log.store import LogStore
from vortex.ports import NotFound, ObjectStore, Scratch
from vortex.publish.copies import NoScratch
from vortex.retry import Once
from vortex.verify.decisions import DecisionProof
from vortex.verify.logs import LogProof
from vortex.verify.plans import PlanProof
from vortex.verify.published import ObjectProof
from vortex.verify.report import Progress, Report, unseen

T = TypeVar("T")
_ATTEMPTS = 3
"""Passes over a store that is being written to; keys written after the last pass are left to the next run."""
_AHEAD = 16
"""Plans whose documents are read at a time."""
_KEYS = 10_000
"""Keys that are looked up at a time."""
Span = tuple[int | None, int | None]
"""Epoch milliseconds: only what was published of periods from the first (its hour) to before the second is checked."""


async def verify_store(
    store: ObjectStore,
    stream: str = "",
    *,
    span: Span = (None, None),
    progress: Progress = unseen,
    scratch: Scratch | None = None,
) -> Report:
    """Check everything below the store's root. Work in progress of a running worker gives notes, never faults.

    A store without state is a fault, since nothing can be checked; so is a store of a stream other than `stream`. With
    a `span`, keys that belong to no plan are not looked for. Copies of segments are made in `scratch`, else in memory.
    Raises OtherVersion: a file of another format proves nothing, and is no fault.
    """
    for _ in range(_ATTEMPTS):
        check = _Check(store, span, progress, scratch or NoScratch())
        strays = await check.run(stream)
        if not check.streams:
            return check.report
        if not (strays or check.report.faults) or not any([await one.advanced() for one in check.streams]):
            break
    else:
        check.report.notes.append(
            f"written during this run, and not checked: {counted(len(strays), 'key')} {strays[:1]}"
        )
        return check.report
    own = (f"{STATE}/", f"{HOURS}/", f"{MANIFESTS}/")
    for key in strays:
        check.report.fault(
            Invariant.CLOSED_HOURS if key.startswith(own) else Invariant.WRITTEN_ONCE, key, "is named by no plan"
        )
    return check.report


class Keys:
    """A set of keys, by hashes of eight bytes each."""

    def __init__(self) -> None:
        self._hashes = array("Q")

    def add(self, keys: Iterable[str]) -> None:
        """Add keys."""
        self._hashes.extend(map(_hash, keys))

    def sorted(self) -> NDArray[np.uint64]:
        """The hashes in order, with repetitions."""
        return np.sort(np.frombuffer(self._hashes, dtype=np.uint64)) if self._hashes else np.empty(0, dtype=np.uint64)


def missing(keys: Sequence[str], among: NDArray[np.uint64]) -> list[str]:
    """The keys whose hashes are not in the sorted `among`."""
    hashes = np.array(list(map(_hash, keys)), dtype=np.uint64)
    places = np.minimum(np.searchsorted(among, hashes), max(0, len(among) - 1))
    there = among[places] == hashes if len(among) else np.zeros(len(keys), dtype=bool)
    return [key for key, found in zip(keys, there.tolist(), strict=True) if not found]


def _hash(key: str) -> int:
    """A hash of eight bytes. On a disk, a stray file may have a name that is not UTF-8."""
    return xxhash.xxh3_64_intdigest(key.encode("utf-8", "surrogateescape"))


class _Check:
    """One pass over the store."""

    def __init__(self, store: ObjectStore, span: Span, progress: Progress, scratch: Scratch) -> None:
        self.report = Report()
        self.streams: list[_Stream] = []
        self._store, self._span, self._progress, self._scratch = store, span, progress, scratch

    async def run(self, stream: str) -> list[str]:
        """Check all streams. Returns the keys that belong to no plan."""
        store, report = self._store, self.report
        names = [name async for name in store.list_folders(f"{STATE}/") if "@" in name]
        if not names:
            report.fault(
                Invariant.STATE_IS_THERE,
                store.url,
                f"holds no Vortex state, so there is nothing to verify; {await _contents(store)}",
            )
            return []
        if stream and all(name.rpartition("@")[0] != stream for name in names):
            report.fault(
                Invariant.STATE_IS_THERE, store.url, f"holds the state of {', '.join(names)}, not of stream {stream}"
            )
        keys = Keys()
        for name in names:
            one = _Stream(LogStore(store, f"{STATE}/{name}", Once()), report, keys, self._progress, self._scratch)
            self.streams.append(one)
            await one.verify(self._span)
        if self._span != (None, None):
            report.notes.append("keys that belong to no plan are only looked for without --since and --until")
            return []
        return await self._strays(keys.sorted())

    async def _strays(self, named: NDArray[np.uint64]) -> list[str]:
        strays: list[str] = []
        some: list[str] = []
        number = 0
        async for info in self._store.list(""):
            if not info.key.startswith(f"{STATE}/"):
                some.append(info.key)
            number += 1
            if len(some) == _KEYS:
                self._progress("keys", number, 0)
                strays += missing(some, named)
                some.clear()
        return strays + missing(some, named)


async def _contents(store: ObjectStore) -> str:
    async for info in store.list(""):
        return f"it holds other objects, such as {info.key}"
    return "it is empty"


async def _here(fn: Callable[..., T], /, *args: object) -> T:
    return fn(*args)


class _Stream:
    """The check of one stream."""

    def __init__(self, log_store: LogStore, report: Report, keys: Keys, progress: Progress, scratch: Scratch) -> None:
        """`keys` gets every key outside the state folder that belongs to a plan."""
        self._log_store, self._report, self._keys, self._progress = log_store, report, keys, progress
        self._scratch = scratch
        self._next = 0
        self._unfinished = False
        self._views: dict[str, LogView] = {}

    async def verify(self, span: Span) -> None:
        """Check the stream."""
        log_store, report = self._log_store, self._report
        try:
            state = await log_store.state()
            if state is None:
                report.fault(
                    Invariant.STATE_IS_THERE, f"{log_store.root}/stream.json", "is missing; the state was lost"
                )
                return
            await self._verify(state, span)
        except Damaged as problem:
            report.fault(Invariant.STATE_IS_THERE, log_store.root, str(problem))

    async def advanced(self) -> bool:
        """Whether there is a new plan since the plans were read, or the last one is done by now."""
        try:
            if await self._log_store.plan(self._next) is not None:
                return True
            return self._unfinished and await self._log_store.done(self._next - 1) is not None
        except Damaged:
            return False

    async def _verify(self, state: StreamState, span: Span) -> None:
        log_store, report = self._log_store, self._report
        last = await log_store.last_plan(state)
        self._next = last.k + 1
        first, end = await self._range(span)
        finished = last if await log_store.is_done(last.k) else await log_store.plan(last.k - 1)
        self._unfinished = last.k >= 0 and finished is not last
        live = live_and_retired(last)[0] if last.k >= 0 else {}
        self._views = await LogProof(log_store, report, self._progress).views(live)
        decisions = DecisionProof(log_store, report, finished.since if finished is not None else 0)
        objects = ObjectProof(log_store, report, _here, self._scratch)
        proof = PlanProof(log_store, state, self._views, report, hour_of(span[0]) if span[0] is not None else -(2**62))
        before, upto = None, state.closed_before if first == 0 else None
        repeated = Keys()
        for at in range(first, end, _AHEAD):
            numbers = range(at, min(end, at + _AHEAD))
            plans = await asyncio.gather(*map(log_store.plan, numbers))
            dones = await asyncio.gather(*map(log_store.done, numbers))
            for plan, document in zip(plans, dones, strict=True):
                if plan is None:
                    continue  # the store does not show it any more; the next plan tells
                self._progress("plans", plan.k - first, end - first)
                self._is_done(plan, document)
                proof.check(plan, before, upto)
                views = await self._views_of(plan)
                dropped = await decisions.check(plan, document, views)
                its = await objects.check(plan, document, views, dropped)
                repeated.add(its if document is not None else ())
                self._keys.add(its)
                self._keys.add(await proof.check_hours(plan, document))
                if document is not None:
                    proof.check_sums(plan, document)
                before, upto = plan, plan.upto
        self._progress("plans", end - first, end - first)
        report.count("plans", end - first)
        await self._report_repeated(repeated.sorted(), first, end)
        if self._unfinished:
            # The hours of the plan in progress are not known yet, so nothing there is a fault.
            for folder in (MANIFESTS, HOURS):
                self._keys.add([info.key async for info in log_store.store.list(f"{folder}/")])

    async def _range(self, span: Span) -> tuple[int, int]:
        """The plans that published something of the span: first and last (half-open)."""

        async def first_with(reached: Callable[[Plan], bool]) -> int:
            low, high = 0, self._next
            while low < high:
                middle = (low + high) // 2
                plan = await self._log_store.plan(middle)
                low, high = (low, middle) if plan is None or reached(plan) else (middle + 1, high)
            return low

        since, until = span
        first = 0 if since is None else await first_with(lambda plan: plan.upto > hour_of(since))
        end = self._next if until is None else await first_with(lambda plan: plan.after >= until)
        return first, max(first, end)

    def _is_done(self, plan: Plan, document: Done | None) -> None:
        if document is not None:
            return
        if plan.k == self._next - 1:
            self._report.notes.append(f"plan {plan.k} is in progress")
        else:
            self._report.fault(
                Invariant.WRITTEN_ONCE,
                f"{self._log_store.root}/plans",
                "a plan was made before the previous one was done",
            )

    async def _views_of(self, plan: Plan) -> dict[str, LogView] | None:
        """The plan's segments with their indexes; None unless all of them exist."""
        wanted = [(shard, n) for shard, entry in plan.shards.items() for n in range(entry.first, entry.to + 1)]
        for shard, entry in plan.shards.items():
            there = self._views.get(shard, LogView()).between(entry.first, entry.to)
            if len(there) != entry.to - entry.first + 1:
                return None

        async def whole(shard: str, n: int) -> SegmentHeader:
            (head,) = self._views[shard].between(n, n)
            return await self._log_store.head(shard, n) if not head.has_index else head

        try:
            headers = await asyncio.gather(*(whole(shard, n) for shard, n in wanted))
        except NotFound:
            return None  # cleaned up since
        views: dict[str, LogView] = {}
        for (shard, _), head in zip(wanted, headers, strict=True):
            views.setdefault(shard, LogView()).headers.append(head)
        return views

    async def _report_repeated(self, hashes: NDArray[np.uint64], first: int, end: int) -> None:
        """Report the keys that two plans published."""
        repeated = np.unique(hashes[1:][hashes[1:] == hashes[:-1]])
        seen: set[str] = set()
        for k in range(first, end) if len(repeated) else ():
            document = await self._log_store.done(k)
            keys = sorted({row.key for row in document.objects}) if document is not None else []
            for key in sorted(set(keys) - set(missing(keys, repeated))):
                if key in seen:
                    self._report.fault(Invariant.WRITTEN_ONCE, key, "is published by two plans")
                seen.add(key)
