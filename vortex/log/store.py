"""The state folder of a stream, read and written through the object store: shard logs, plans, stream.json.

Shared by ingest, publisher, fleet and commands. It decides nothing; the rules are in `core`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace

import msgspec

from vortex.core.documents import done_of, plan_of, range_done_of, state_of
from vortex.core.log.index import sizes_of
from vortex.core.log.rules import (
    BrokenLog,
    SegmentHeader,
    SegmentRef,
    StreamState,
    check_follows,
    log_start,
    segment_key,
    segment_number,
)
from vortex.core.log.segment import SEGMENT_TRAILER, Folder, Footer, Sealed, check_ids, parse_footer
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.contents import Done
from vortex.core.publish.plan import LogView, Plan, PlanShard, initial_plan
from vortex.core.publish.ranges import RangeDone
from vortex.log.dedup_files import PARALLEL, DedupFiles
from vortex.log.objects import TAIL
from vortex.ports import NotFound, ObjectStore
from vortex.retry import Retry

_TAIL_WITH_IDS = 2 * 1024 * 1024
"""The most that is read of a segment to have its ids with its footer: `_HEADERS` of them are read at a time."""
_HEADERS = 48
"""Footers that are read at a time: they are small, and a planner of 10,000 shards reads hundreds a second."""
_IDS = 96
"""Blocks of ids that are read at a time: they are small, and all of a plan's are in memory together."""
_FOUND = 8
"""Segments of a log that are found before two are read at a time, and so on: a look finds few, and misses only one."""
_FOLDERS = 200_000


Kept = Callable[[SegmentHeader], SegmentHeader]


def _without_ids(head: SegmentHeader) -> SegmentHeader:
    return replace(head, ids=None)


class LogStore(DedupFiles):
    """Typed access to `<root>/`. Reads are retried until the store answers; chains are checked."""

    def __init__(self, store: ObjectStore, root: str, retry: Retry) -> None:
        super().__init__(store, root, retry.of("store"))
        self._ids_gate = asyncio.Semaphore(_IDS)
        self._header_gate = asyncio.Semaphore(_HEADERS)
        self._folders: dict[str, Folder] = {}
        """Folders of footers, deduplicated: footers name the same ones again and again, which would fill memory."""
        self._newest: Plan | None = None
        self._done = -1

    # Documents.

    async def state(self) -> StreamState | None:
        """`stream.json`, or None before the first start."""
        name = f"{self.root}/stream.json"
        return await self._objects.document(name, lambda body: state_of(body, name))

    async def begin(self, state: StreamState) -> StreamState:
        """Write `stream.json` if it is absent. Returns its content then."""
        await self._objects.put(f"{self.root}/stream.json", msgspec.json.encode(state))
        found = await self.state()
        assert found is not None
        return found

    async def plan(self, k: int) -> Plan | None:
        """Plan k, or None."""
        key = self._plan_key(k, "plan")
        return await self._objects.document(key, lambda body: plan_of(body, k, key))

    async def put_plan(self, plan: Plan) -> Plan:
        """Put the plan if its number is free. Returns the plan with that number, perhaps another worker's."""
        await self._objects.put(self._plan_key(plan.k, "plan"), msgspec.json.encode(plan))
        found = await self.plan(plan.k)
        assert found is not None
        return found

    async def done(self, k: int) -> Done | None:
        """The done document of plan k, or None."""
        key = self._plan_key(k, "done")
        return await self._objects.document(key, lambda body: done_of(body, k, key))

    async def put_done(self, document: Done) -> None:
        """Put the done document if absent. Raises BrokenLog if a different one exists."""
        key = self._plan_key(document.k, "done")
        body = msgspec.json.encode(document)
        if not await self._objects.put(key, body) and await self._objects.get(key) != body:
            raise BrokenLog(f"{key}: exists with different content")

    async def is_done(self, k: int) -> bool:
        """Whether plan k is done. A positive answer is cached, for earlier plans too."""
        if k > self._done and await self._objects.exists(self._plan_key(k, "done")):
            self._done = k
        return k <= self._done

    async def has_range_done(self, k: int, number: int) -> bool:
        """Whether a range of plan k is done."""
        return await self._objects.exists(self._plan_key(k, f"done-{number}"))

    async def range_done(self, k: int, number: int) -> RangeDone:
        """The result of a range of plan k. Raises NotFound."""
        key = self._plan_key(k, f"done-{number}")
        done = await self._objects.document(key, lambda body: range_done_of(body, k, number, key))
        if done is None:
            raise NotFound(f"{key}: no such object")
        return done

    async def put_range_done(self, done: RangeDone) -> None:
        """Put the document of a range if absent; another worker's differs at most in the compression of objects."""
        await self._objects.put(self._plan_key(done.k, f"done-{done.range}"), msgspec.json.encode(done))

    async def last_plan(self, state: StreamState) -> Plan:
        """The last plan, or `initial_plan`. Plans are never deleted and have no holes."""
        known = self._newest
        k = await self._last_k(-1 if known is None else known.k)
        if k >= 0 and (known is None or known.k != k):
            self._newest = await self.plan(k)
        return self._newest or initial_plan(state)

    async def _last_k(self, low: int) -> int:
        """Gallop, then bisect: plans are kept forever, so a listing would grow without limit."""
        step = 1
        while await self._exists(low + step):
            low, step = low + step, step * 2
        high = low + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if await self._exists(middle) else (low, middle)
        return low

    async def _exists(self, k: int) -> bool:
        return await self._objects.exists(self._plan_key(k, "plan"))

    def _plan_key(self, k: int, name: str) -> str:
        return f"{self.root}/plans/{k:010d}/{name}.json"

    # Shard logs.

    async def commit(self, shard: str, sealed: Sealed) -> bool:
        """Put the segment if its number is free. True if this segment is there then, False if another one is.

        After a lost reply the own write looks like another's until the digests are compared.
        """
        key = segment_key(self.root, shard, sealed.footer.n)
        created = await self.retry(f"commit {key}", lambda: self.store.put_if_absent(key, sealed.body))
        try:
            return created or (await self.head(shard, sealed.footer.n)).digest == sealed.digest
        except NotFound:
            return False  # another segment was there and is cleaned up: the log is far ahead

    async def numbers(self, shard: str, after: int) -> list[int]:
        """The numbers of the segments after `after`, in order, as listed."""

        async def listing() -> list[int]:
            start = segment_key(self.root, shard, after) if after >= 0 else ""
            found = self.store.list(f"{self.root}/shards/{shard}/", start)
            return [n async for info in found if (n := segment_number(info.key)) is not None]

        return await self.retry(f"list log of {shard}", listing)

    async def head(self, shard: str, n: int) -> SegmentHeader:
        """Segment n, without its ids. Raises NotFound, CorruptSegment, OtherVersion."""
        return _without_ids(await self._head(shard, n))

    async def _head(self, shard: str, n: int, ids_bytes: int = 0) -> SegmentHeader:
        """The same, with the ids if the end of the segment holds them, of which `ids_bytes` more are read."""
        key = segment_key(self.root, shard, n)

        async def read() -> tuple[Footer, str, bytes | None]:
            tail, size = await self._objects.end(key, SEGMENT_TRAILER, min(TAIL + ids_bytes, _TAIL_WITH_IDS))
            footer, digest = parse_footer(tail, size, key)
            return footer, digest, _ids_in(tail, size, footer, key)

        async with self._header_gate:
            footer, digest, ids = await self._objects.checked(f"read {key}", read)
        if len(self._folders) > _FOLDERS:
            self._folders.clear()
        footer.folders = [self._folders.setdefault(folder.path, folder) for folder in footer.folders]
        return SegmentHeader(shard, n, digest, footer, sizes_of(footer), ids=ids)

    async def walk(self, before: SegmentRef, *, index: bool = True) -> list[SegmentHeader]:
        """All segments after `before`, in order, with a checked chain. Raises BrokenLog.

        Without `index` they have no indexes of members: a shard that is far behind has thousands of segments.
        """
        numbers = await self.numbers(before.shard, before.n)
        if numbers != list(range(before.n + 1, before.n + 1 + len(numbers))):
            raise BrokenLog(f"log of {before.shard}: after segment {before.n} come {numbers[:5]}…: a hole")

        async def one(n: int) -> SegmentHeader:
            head = await self.head(before.shard, n)
            return head if index else head.without_index()

        headers = list(await asyncio.gather(*map(one, numbers)))
        for earlier, later in zip([before, *headers], headers, strict=False):
            check_follows(earlier, later, self.root)
        return headers

    async def follow(
        self, before: SegmentRef, kept: Kept = _without_ids, upto: int | None = None
    ) -> list[SegmentHeader]:
        """The same as `walk`, but reads the next numbers until one is missing, since a listing costs as much as a put.
        A hole looks like the end here; resuming a log uses `walk`, which finds it.

        `kept` is called with each header as soon as it is read: it drops the ids for which there is no memory. With
        `upto` it ends with the first segment that is closed before that, and asks for no further one.
        """
        headers: list[SegmentHeader] = []
        while not (headers and upto is not None and headers[-1].footer.closed_before >= upto):
            ahead = min(1 + len(headers) // _FOUND, PARALLEL)
            found = await asyncio.gather(*(self._at(before.shard, before.n + 1 + i, kept) for i in range(ahead)))
            for head in found:
                if head is None:
                    return headers
                check_follows(before, head, self.root)
                headers.append(head)
                before = head
        return headers

    async def _at(self, shard: str, n: int, kept: Kept) -> SegmentHeader | None:
        try:
            return kept(await self._head(shard, n))
        except NotFound:
            return None

    async def back_from(self, shard: str, first: int, to: int, digest: str, ids_bytes: int = 0) -> list[SegmentHeader]:
        """Segments first..to, checked backwards from the digest of `to`. Raises BrokenLog, NotFound.

        With `ids_bytes` so much more is read of each, and where this holds the ids, these come with the header.
        """

        async def one(n: int) -> SegmentHeader:
            head = await self._head(shard, n, ids_bytes)
            return head if ids_bytes else _without_ids(head)

        headers = list(await asyncio.gather(*map(one, range(first, to + 1))))
        wanted = digest
        for head in reversed(headers):
            if head.digest != wanted:
                raise BrokenLog(f"{segment_key(self.root, shard, head.n)}: differs from the one that the plan names")
            wanted = head.footer.prev
        return headers

    async def view(self, shard: str, entry: PlanShard, *, index: bool = True) -> LogView:
        """The planner's view of a log: from `next` of the plan's entry (or `to`) to the head; `index` as for `walk`.

        Raises BrokenLog if the log ends before the segments of a plan: state was lost, which needs operator action.
        """
        headers: list[SegmentHeader] = []
        if entry.to >= 0:
            try:
                headers = await self.back_from(shard, min(entry.next, entry.to), entry.to, entry.digest)
            except NotFound as problem:
                raise BrokenLog(
                    f"log of {shard}: {problem}; a plan includes segment {entry.to}, so state was lost. Restore it; "
                    "starting over would lose or repeat data"
                ) from None
        return LogView(headers + await self.walk(headers[-1] if headers else log_start(shard), index=index))

    async def newest(self, shard: str, entry: PlanShard | None) -> SegmentHeader | None:
        """The last segment of a log, walked from the last plan's `to`; None if the log has not started.

        Of a shard that plans have forgotten only the last segment is left, which ended the log, and perhaps segments
        of delayed puts. Raises BrokenLog for any other log that is not whole.
        """
        if entry is not None and entry.to >= 0:
            view = await self.view(shard, msgspec.structs.replace(entry, next=entry.to), index=False)
            return view.headers[-1]
        try:
            walked = await self.walk(log_start(shard), index=False)
        except BrokenLog:
            last = await self._last(shard) if entry is None else None
            if last is None or not last.footer.ended:
                raise
            return last
        return walked[-1] if walked else None

    async def _last(self, shard: str) -> SegmentHeader | None:
        """The segment with the greatest number, unchecked; None if there is none."""
        numbers = await self.numbers(shard, -1)
        return (await self.head(shard, numbers[-1])).without_index() if numbers else None

    async def ids(self, head: SegmentHeader) -> bytes:
        """The id block of a segment, checked."""
        footer = head.footer
        if not footer.ids:
            return b""
        if head.ids is not None:
            return head.ids
        offset, length = footer.ids_range
        key = segment_key(self.root, head.shard, head.n)

        async def read() -> bytes:
            return check_ids(footer, await self.store.get_range(key, offset, length), key)

        async with self._ids_gate:
            return await self._objects.checked(f"read ids {key}", read)

    async def range(self, shard: str, n: int, offset: int, length: int) -> bytes:
        """A range of a segment's data. Raises CorruptSegment if it is too short."""
        key = segment_key(self.root, shard, n)

        async def read() -> bytes:
            data = await self.store.get_range(key, offset, length)
            if len(data) != length:
                raise CorruptSegment(f"{key}: {len(data)} bytes at {offset}, not {length}")
            return data

        async with self._gate:
            return await self._objects.checked(f"read {key}", read)

    async def drop(self, shard: str, numbers: Iterable[int]) -> None:
        """Delete segments (clean-up)."""
        keys = [segment_key(self.root, shard, n) for n in numbers]
        if keys:
            await self.retry(f"clean up log of {shard}", lambda: self.store.delete(keys))


def _ids_in(tail: bytes, size: int, footer: Footer, key: str) -> bytes | None:
    """The id block of a segment of `size` bytes, if `tail`, its last bytes, holds all of it: in small segments it does,
    and a request is saved.
    """
    offset, length = footer.ids_range
    begin = offset - (size - len(tail))
    if not length or begin < 0:
        return None
    return check_ids(footer, tail[begin : begin + length], key)
