"""Publishes the ranges of a plan: this worker's own; the planner also publishes overdue ones of other workers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from vortex.core.log.rules import BrokenLog, SegmentHeader
from vortex.core.publish.contents import PublishedObject
from vortex.core.publish.members import Dropped, Listed, Members, listed, members_of
from vortex.core.publish.pieces import ObjectSpec
from vortex.core.publish.plan import LogView, Plan
from vortex.core.publish.ranges import range_done
from vortex.log.store import LogStore
from vortex.ports import Offload
from vortex.publish.copies import Copier, Copies
from vortex.publish.object_writer import ObjectWriter, batches
from vortex.publish.sharing import Doing, Sharing
from vortex.under_way import BytesUnderWay

_BATCHES = 6
"""Batches of objects that are written at a time."""
_TRIMMED_FROM = 64 * 1024 * 1024
"""Compressed bytes of a range from which free memory is given back first. Small plans may come every few seconds."""


class Ranges:
    """Publishes plans. A plan of one range needs no further documents; each of several leaves `done-<range>.json`."""

    def __init__(
        self,
        log_store: LogStore,
        offload: Offload,
        writer: ObjectWriter,
        sharing: Sharing,
        copier: Callable[[], Copier],
        room: BytesUnderWay,
        trim: Callable[[], None],
    ) -> None:
        """`copier` makes the copies of one range. `room`: compressed bytes of batches in memory, which are blobs and
        objects until the objects are made, then the objects. `trim` gives free memory back to the system.
        """
        self._log_store, self._offload, self._writer, self._sharing = log_store, offload, writer, sharing
        self._copier, self._room, self._trim = copier, room, trim
        self._large = self._touched = 0

    async def own(self, plan: Plan, views: Mapping[str, LogView], dropped: Dropped) -> None:
        """Publish the ranges that the plan assigns to this worker."""
        await self._sharing.own(plan.takers or (), self._doing(plan, views, dropped))

    async def all(
        self, plan: Plan, views: Mapping[str, LogView], dropped: Dropped, workers: Callable[[], Sequence[str]]
    ) -> list[PublishedObject] | None:
        """Every object of the plan, published with the help of other workers; None if this process stops before."""
        if plan.ranges == 1:
            return await self._publish(plan, views, dropped, 0)
        takers = plan.takers or (self._sharing.me,) * plan.ranges
        doing = self._doing(plan, views, dropped)
        if not await self._sharing.all(f"plan {plan.k}: range", takers, doing, workers):
            return None
        documents = [await self._log_store.range_done(plan.k, number) for number in range(plan.ranges)]
        return [published for document in documents for published in document.objects]

    def touched(self) -> bool:
        """Whether since the last call most large members had a line left out as a duplicate."""
        large, touched = self._large, self._touched
        self._large = self._touched = 0
        return 2 * touched > large

    def _doing(self, plan: Plan, views: Mapping[str, LogView], dropped: Dropped) -> Doing:
        async def has(number: int) -> bool:
            return await self._log_store.has_range_done(plan.k, number)

        async def do(number: int) -> None:
            published = await self._publish(plan, views, dropped, number)
            await self._log_store.put_range_done(range_done(plan.k, number, published))

        return has, do

    async def _publish(
        self, plan: Plan, views: Mapping[str, LogView], dropped: Dropped, number: int
    ) -> list[PublishedObject]:
        published: list[PublishedObject] = []
        read = await self._read_indexes(plan, views, number)
        members = await self._offload(members_of, plan, views, dropped, number, read)
        del read
        if members.nbytes >= _TRIMMED_FROM:
            await self._offload(self._trim)  # also what deciding left free
        copier, at = self._copier(), 0
        while at < len(members):
            async with copier.next_pass(members, at) as (copies, end):
                published += await self._write(plan, members.chunks(at, end), members, copies)
            at = end
        return published

    async def _read_indexes(
        self, plan: Plan, views: Mapping[str, LogView], number: int
    ) -> dict[tuple[str, int], Listed]:
        """The members of a range in the segments whose index is left out in `views`. Raises NotFound, BrokenLog."""

        async def one(head: SegmentHeader) -> Listed:
            whole = await self._log_store.head(head.shard, head.n)
            if whole.digest != head.digest:
                raise BrokenLog(f"segment {head.n} of {head.shard}: differs from the one that was planned")
            return await self._offload(listed, whole, plan, number)

        headers = [
            head
            for shard, entry in plan.shards.items()
            if shard in views
            for head in views[shard].between(entry.first, entry.to)
            if not head.has_index
        ]
        tables = await asyncio.gather(*map(one, headers))
        return {(head.shard, head.n): its for head, its in zip(headers, tables, strict=True)}

    async def _write(
        self, plan: Plan, chunks: Iterable[tuple[int, int]], members: Members, copies: Copies
    ) -> list[PublishedObject]:
        """Write the objects of some groups, a few batches at a time: one is put while the next one is built."""

        async def one(batch: Sequence[ObjectSpec]) -> list[PublishedObject]:
            size = sum(spec.length for spec in batch)
            async with self._room.of(2 * size) as give_back:
                return await self._writer.write(batch, plan, copies, lambda: give_back(size))

        published: list[PublishedObject] = []
        writing: deque[asyncio.Task[list[PublishedObject]]] = deque()
        try:
            for first, last in chunks:
                for batch in batches(await self._offload(members.objects, plan.target, first, last)):
                    while len(writing) >= _BATCHES:
                        published += await writing[0]
                        writing.popleft()
                    writing.append(asyncio.ensure_future(one(batch)))
                    self._note(batch)
            while writing:
                published += await writing[0]
                writing.popleft()
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
        return published

    def _note(self, specs: Sequence[ObjectSpec]) -> None:
        large = [piece for spec in specs for piece in spec.pieces if not piece.shares]
        self._large += len(large)
        self._touched += sum(len(piece.out) > 0 for piece in large)
