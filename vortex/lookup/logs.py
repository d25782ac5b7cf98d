"""Finds the rows of a key: in the decision files of plans, which are sorted by key, and in logs that no plan covers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.decided import Decided
from vortex.core.dedup.keys import KEY, Keys
from vortex.core.log.rules import SegmentHeader, StreamState
from vortex.core.log.segment import Folder, Footer
from vortex.core.publish.plan import LogView, Plan, PlanShard, live_and_retired, with_children
from vortex.log.dedup_files import DECIDED
from vortex.log.store import LogStore
from vortex.lookup.objects import rows_with
from vortex.lookup.progress import Progress
from vortex.lookup.recent import RecentlyRead
from vortex.ports import NotFound

_T = TypeVar("_T")
_R = TypeVar("_R")
_PARALLEL = 16
_HEADS, _IDS_BYTES = 5000, 64 << 20
"""Segments without their data, and bytes of ids, that are kept."""
_LEAST_NEAR_MS = 3_600_000
_FILES_BYTES = 256 << 20
"""Bytes of decision files without their keys that are kept for the next search."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the key. `head` and `row` are None where its segment was cleaned up. It arrived in [lo, hi]."""

    shard: str
    n: int
    period: int
    lo: int
    hi: int
    head: SegmentHeader | None = None
    row: int | None = None
    folder: Folder | None = None
    plan: int | None = None
    dropped: bool = False

    @property
    def place(self) -> tuple[int, str, int, int]:
        """Its place in the order of decisions."""
        return self.period, self.shard, self.n, self.row or 0


@dataclass(slots=True)
class Logs:
    """The logs from the last plan on, and which decision files exist."""

    log_store: LogStore
    state: StreamState
    plan: Plan
    done: bool
    views: Mapping[str, LogView]
    parts: Mapping[int, int]
    """By plan, in how many parts it was decided; only plans whose files exist."""
    _files: RecentlyRead[tuple[int, int], Decided] = field(
        default_factory=lambda: RecentlyRead(_FILES_BYTES, lambda file: file.nbytes)
    )
    _heads: RecentlyRead[tuple[str, int], SegmentHeader | None] = field(
        default_factory=lambda: RecentlyRead(_HEADS, lambda head: 1)
    )
    _ids: RecentlyRead[tuple[str, int], bytes] = field(default_factory=lambda: RecentlyRead(_IDS_BYTES, len))

    @classmethod
    async def look(cls, log_store: LogStore, state: StreamState) -> Logs:
        """Read them. Raises NotFound, BrokenLog if they are cleaned up meanwhile."""
        plan = await log_store.last_plan(state)
        done = plan.k < 0 or await log_store.is_done(plan.k)
        views = await _views(log_store, plan, done)
        return cls(log_store, state, plan, done, views, await _parts(log_store))

    @property
    def published_upto(self) -> int:
        """Rows of periods before this are published."""
        return self.plan.upto if self.done else self.plan.after

    @property
    def oldest_plan(self) -> int:
        """The oldest plan with decision files."""
        return min(self.parts, default=self.plan.k + 1)

    # Rows that no plan covers, or only the last one.

    async def waiting(self, customer: str, key: bytes, progress: Progress) -> list[Row]:
        """The rows of the key in periods that are not published."""
        heads = [
            head
            for view in self.views.values()
            for head in view.headers
            if any(period >= self.published_upto for period in head.footer.periods) and _has(head.footer, customer)
        ]
        found: list[Row] = []
        for done, some in enumerate(_groups(heads)):
            rows = await asyncio.gather(*(self.rows_of(head, key) for head in some))
            found += [row for several in rows for row in several if row.period >= self.published_upto]
            progress("segments", min(len(heads), (done + 1) * _PARALLEL), len(heads))
        return found

    async def rows_of(self, head: SegmentHeader, key: bytes) -> list[Row]:
        """The rows of the key in a segment."""
        if not head.footer.ids:
            return []
        ids = await self._ids.get((head.shard, head.n), lambda: self.log_store.ids(head))
        rows = rows_with(ids, key)
        return [self._row(head, row) for row in rows]

    def _row(self, head: SegmentHeader, row: int) -> Row:
        footer = head.footer
        folder, period = member_of(footer, row)
        lo, hi = footer.arrived
        plan = self.plan.k if not self.done and self.plan.after <= period < self.plan.upto else None
        return Row(head.shard, head.n, period, lo, hi, head, row, folder, plan)

    async def all_kept(self, customer: str, key: bytes, progress: Progress) -> list[Row]:
        """The rows of the key in all segments that exist; for streams without deduplication, which have no files."""
        store, root = self.log_store.store, self.log_store.root
        found: list[Row] = []
        for shard in [name async for name in store.list_folders(f"{root}/shards/")]:
            numbers = await self.log_store.numbers(shard, -1)
            for done, some in enumerate(_groups(numbers)):
                for head in await asyncio.gather(*(self.head(shard, n) for n in some)):
                    if head is not None and _has(head.footer, customer):
                        found += await self._rows_or_none(head, key)
                progress(f"segments of {shard}", min(len(numbers), (done + 1) * _PARALLEL), len(numbers))
        return found

    async def head(self, shard: str, n: int) -> SegmentHeader | None:
        """A segment; None if it does not exist."""

        async def read() -> SegmentHeader | None:
            try:
                return await self.log_store.head(shard, n)
            except NotFound:
                return None

        return await self._heads.get((shard, n), read)

    async def _rows_or_none(self, head: SegmentHeader, key: bytes) -> list[Row]:
        try:
            return await self.rows_of(head, key)
        except NotFound:
            return []

    # Rows that plans decided on.

    async def decided(self, customer: str, key: bytes, progress: Progress) -> list[Row]:
        """The published rows of the key in plans whose files exist, and the dropped ones that are near them."""
        files: list[Decided] = []
        plans = sorted(self.parts)
        published: list[Row] = []
        for done, some in enumerate(_groups(plans)):
            for file, rows in await asyncio.gather(*(self._in_plan(k, key) for k in some)):
                if file is not None:
                    files.append(file)
                published += rows
            progress("plans", min(len(plans), (done + 1) * _PARALLEL), len(plans))
        dropped = await self._dropped(customer, key, files, published, progress) if published else []
        return sorted([*published, *dropped], key=lambda row: row.place)

    async def _in_plan(self, k: int, key: bytes) -> tuple[Decided | None, list[Row]]:
        high, low = np.frombuffer(key, dtype=">u8").astype(np.uint64)
        try:
            file = await self._file(k, int(high))
            (bucket,) = file.buckets_with(np.array([high])).tolist()
            keys = Keys.room(file.bucket_bytes(bucket, bucket + 1)[1] // KEY.itemsize, *file.times)
            await self.log_store.published(file, bucket, bucket + 1, keys, _in_place)
        except NotFound:
            return None, []
        runs = sorted({int(run) for run in keys.run[(keys.high == high) & (keys.low == low)]})
        return file, [row for run in runs for row in await self._published(file, run, key)]

    async def _file(self, k: int, high: int) -> Decided:
        part = _part(high, self.parts[k])
        file = await self._files.get((k, part), lambda: self.log_store.decided(k, part))
        if file.parts == self.parts[k]:
            return file
        part = _part(high, file.parts)  # some files are not written yet, or are cleaned up
        return await self._files.get((k, part), lambda: self.log_store.decided(k, part))

    async def _published(self, file: Decided, run: int, key: bytes) -> list[Row]:
        """The row of the run that was published; without its segment, what the file says of it."""
        at, n, period, lo, hi, _, dropped = file.runs[run].tolist()
        shard = file.shards[at]
        head = await self.head(shard, n)
        if head is not None:
            out = await self._out(file, shard, n) if dropped else frozenset[int]()
            rows = [row for row in await self._rows_or_none(head, key) if row.period == period and row.row not in out]
            if rows:
                return [replace(row, plan=file.k) for row in rows]
        return [Row(shard, n, period, lo, hi, plan=file.k)]

    async def _out(self, file: Decided, shard: str, n: int) -> frozenset[int]:
        dropped = await self.log_store.dropped(file)
        return frozenset(int(row) for rows in dropped.get((shard, n), []) for row in rows)

    async def _dropped(
        self, customer: str, key: bytes, files: Iterable[Decided], published: list[Row], progress: Progress
    ) -> list[Row]:
        """The dropped rows of the key: in runs with dropped rows that are near a published one."""
        found: list[Row] = []
        near = max(self.plan.window, _LEAST_NEAR_MS)  # the window may have been larger
        todo = [(file, run) for file in files for run in _near_runs(file, published, near)]
        for done, some in enumerate(_groups(todo)):
            for rows in await asyncio.gather(*(self._dropped_in(file, run, customer, key) for file, run in some)):
                found += rows
            progress("segments with duplicates", min(len(todo), (done + 1) * _PARALLEL), len(todo))
        return found

    async def _dropped_in(self, file: Decided, run: int, customer: str, key: bytes) -> list[Row]:
        at, n, period, *_ = file.runs[run].tolist()
        shard = file.shards[at]
        head = await self.head(shard, n)
        if head is None or not _has(head.footer, customer):
            return []
        rows = [row for row in await self._rows_or_none(head, key) if row.period == period]
        if not rows:
            return []
        out = await self._out(file, shard, n)
        return [replace(row, plan=file.k, dropped=True) for row in rows if row.row in out]


def _part(high: int, parts: int) -> int:
    """The number of the file that has this key."""
    return high >> (64 - (parts.bit_length() - 1)) if parts > 1 else 0


def _near_runs(file: Decided, published: Iterable[Row], window: int) -> Iterator[int]:
    runs = file.runs
    near: NDArray[np.bool_] = np.zeros(len(runs), dtype=np.bool_)
    for row in published:
        near |= (runs["lo"] - row.hi <= window) & (row.lo - runs["hi"] <= window)
    yield from np.flatnonzero(near & (runs["dropped"] > 0)).tolist()


def member_of(footer: Footer, row: int) -> tuple[Folder, int]:
    """The folder and the period of a row."""
    members = footer.member_rows
    accepted = np.flatnonzero(~footer.rejections)
    at = accepted[int(np.searchsorted(footer.first_rows[accepted], row, side="right")) - 1]
    return footer.folders[int(members["folder"][at])], int(members["period"][at])


def _has(footer: Footer, customer: str) -> bool:
    return any(folder.customer == customer and not folder.rejected for folder in footer.folders)


def _groups(several: list[_T]) -> Iterator[list[_T]]:
    for at in range(0, len(several), _PARALLEL):
        yield several[at : at + _PARALLEL]


async def _in_place(fn: Callable[..., _R], /, *args: object) -> _R:
    return fn(*args)


async def _views(log_store: LogStore, plan: Plan, done: bool) -> dict[str, LogView]:
    """Every live log, children included: from what the next plan needs on; of a plan in progress, all of it."""
    live, retired = live_and_retired(plan)
    if not done:
        live, retired = dict(plan.shards), dict(plan.retired)
    views: dict[str, LogView] = {}
    while True:
        shards = with_children(live, retired, views)
        new = [shard for shard in shards if shard not in views]
        if not new:
            return views
        read = await asyncio.gather(*(log_store.view(shard, _from(shards[shard], done)) for shard in new))
        views.update(zip(new, read, strict=True))


def _from(entry: PlanShard, done: bool) -> PlanShard:
    return entry if done else msgspec.structs.replace(entry, next=min(entry.first, max(entry.to, 0)))


async def _parts(log_store: LogStore) -> dict[int, int]:
    """By plan, the number of its decision files, a power of two."""
    found: dict[int, int] = {}
    async for info in log_store.store.list(f"{log_store.root}/{DECIDED}/"):
        k, _, part = info.key.rpartition("/")[2].partition("-")
        if k.isdecimal() and part.isdecimal():
            found[int(k)] = max(found.get(int(k), 1), int(part) + 1)
    return {k: 1 << (parts - 1).bit_length() for k, parts in found.items()}


async def plans_between(log_store: LogStore, last: Plan, since: int, until: int) -> AsyncIterator[Plan]:
    """The plans that publish a period of [since, until), in order. Plans are never deleted and have no holes."""
    low, high = 0, last.k + 1
    while low < high:
        middle = (low + high) // 2
        plan = await log_store.plan(middle)
        if plan is not None and plan.upto <= since:
            low = middle + 1
        else:
            high = middle
    for k in range(low, last.k + 1):
        plan = await log_store.plan(k)
        if plan is None or plan.after >= until:
            return
        yield plan
