"""The commits of one shard: drafts become segments of its log, one at a time and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from vortex import metrics
from vortex.core.compression import Compression
from vortex.core.ingest.draft import Draft
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.log.rules import LEAST_KEEP_MS, SegmentHeader, SegmentRef
from vortex.core.log.segment import Footer
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.resume import LostRace
from vortex.log.store import LogStore
from vortex.ports import Clock, Meter, Offload
from vortex.under_way import BytesUnderWay

_CHECK_AFTER_S = LEAST_KEEP_MS / 1000 / 2
"""Seconds without a commit after which the log is listed past the new segment.

Others cannot have freed its number before segments are as old as they are kept. Half of that allows for other clocks.
"""

MOST_LINES = 1_000_000
"""Lines after which a segment is cut, however small they are."""
_LINE_BYTES = 72
"""Of a line, beside itself: its rows in the tables from which a segment is sealed."""


def sealing_room() -> BytesUnderWay:
    """Memory of a process for these tables: large segments of tiny events are sealed one after another."""
    return BytesUnderWay(MOST_LINES * _LINE_BYTES)


class Commits:
    """Seals and writes the drafts of a shard. At most one segment is in flight while the next one is built."""

    def __init__(
        self,
        shard: str,
        *,
        log_store: LogStore,
        clock: Clock,
        meter: Meter,
        offload: Offload,
        memory: MemoryBudget,
        sealing: BytesUnderWay,
        on_commit: Callable[[Footer], None],
        large: Callable[[], Compression | None],
    ) -> None:
        """`on_commit` is called for each committed segment; `large` says how to compress large members."""
        self._shard = shard
        self._log_store, self._clock, self._meter = log_store, clock, meter
        self._offload, self._memory, self._sealing = offload, memory, sealing
        self._on_commit, self._large = on_commit, large
        self._put: asyncio.Task[None] | None = None
        self._checked_at = 0.0
        self.head: SegmentRef
        """The last segment of the log, as far as this worker knows."""
        self.in_flight = 0
        """Bytes of memory of the segment in flight."""

    def resume(self, head: SegmentRef, looked_at: float) -> None:
        """Continue after `head`, which was the log's last segment at `looked_at` (monotonic seconds) or later."""
        self.head, self._checked_at, self.in_flight = head, looked_at, 0

    @property
    def busy(self) -> bool:
        """Whether a segment is in flight."""
        return self._put is not None and not self._put.done()

    @property
    def ended(self) -> Footer | None:
        """The log's last footer, if it ended the log."""
        head = self.head
        return head.footer if isinstance(head, SegmentHeader) and head.footer.ended else None

    async def begin(self, draft: Draft, ingest: ShardIngest) -> None:
        """Start to commit a draft just cut from `ingest`. No segment may be in flight (`settle`)."""
        self.in_flight = draft.buffered
        self._put = asyncio.ensure_future(self._commit(draft, ingest))
        await self._memory.hold(self._shard, 0, self.in_flight)

    async def settle(self) -> None:
        """Wait for the segment in flight. Raises LostRace, and what the store raises."""
        if self._put is not None:
            put, self._put = self._put, None
            try:
                await put
            finally:
                put.cancel()

    async def abandon(self) -> None:
        """Cancel the segment in flight and release its memory."""
        if self._put is not None:
            put, self._put = self._put, None
            put.cancel()
            await asyncio.gather(put, return_exceptions=True)
        self.in_flight = 0
        await self._memory.hold(self._shard, 0)

    async def _commit(self, draft: Draft, ingest: ShardIngest) -> None:
        begun = self._clock.monotonic()
        async with self._sealing.of(_LINE_BYTES * draft.footer.counts.lines):
            sealed = await self._offload(draft.seal, self.head.digest, self._large())
        if not await self._log_store.commit(self._shard, sealed):
            raise LostRace
        if await self._overtaken(sealed.footer):
            raise LostRace
        self._checked_at = self._clock.monotonic()
        # Keep the header without the index, which may have thousands of partitions and is not needed here.
        header_footer = msgspec.structs.replace(sealed.footer, folders=[], members=b"")
        self.head = SegmentHeader(self._shard, sealed.footer.n, sealed.digest, header_footer)
        self.in_flight = 0
        await self._memory.hold(self._shard, ingest.buffered)
        self._meter.add(metrics.COMMITS, result="committed")
        self._meter.observe(metrics.COMMIT_SECONDS, self._clock.monotonic() - begun)
        self._meter.observe(metrics.SEGMENT_BYTES, len(sealed.body))
        self._on_commit(sealed.footer)

    async def _overtaken(self, footer: Footer) -> bool:
        """Whether the log continues after this segment.

        A worker that pauses while others commit and clean up may find its segment number free again. Such a segment is
        never read, but a false end of shard would start the children too early. So the log is always listed past an end
        of shard, and past other segments after such a time without a commit that clean-up can have freed the number.
        """
        if not footer.ended and self._clock.monotonic() - self._checked_at <= _CHECK_AFTER_S:
            return False
        return bool(await self._log_store.numbers(self._shard, footer.n))
