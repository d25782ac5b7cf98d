"""One shard's commits: drafts become segments of its log, one at a time, each upon the one before it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from vortex import metrics
from vortex.core.ingest.shard_state import Draft, ShardIngest
from vortex.core.log.rules import SegmentHeader, SegmentRef
from vortex.core.log.segment import Footer
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.resume import LostRace
from vortex.log.store import LogStore
from vortex.ports import Clock, Meter, Offload

_SURE_FOR = 60.0
"""Seconds without a commit after which the log is listed beyond the next one."""


class Commits:
    """Seals and puts what a shard's ingest cuts. At most one segment is in flight, while the next is being built."""

    def __init__(
        self,
        shard: str,
        *,
        log_store: LogStore,
        clock: Clock,
        meter: Meter,
        offload: Offload,
        memory: MemoryBudget,
        on_commit: Callable[[Footer], None],
        lz4: Callable[[], bool],
    ) -> None:
        """`on_commit` hears of every segment in the log; `lz4`: whether large members are to be LZ4, too."""
        self._shard = shard
        self._log_store, self._clock, self._meter = log_store, clock, meter
        self._offload, self._memory, self._on_commit, self._lz4 = offload, memory, on_commit, lz4
        self._put: asyncio.Task[None] | None = None
        self._sure_at = 0.0
        self.head: SegmentRef
        """What the log ends with, as far as this worker knows."""
        self.in_flight = 0
        """Bytes of memory that the segment in flight takes."""

    def resume(self, head: SegmentRef, looked_at: float) -> None:
        """Go on upon `head`, which the log ended with at `looked_at` (monotonic seconds) or later."""
        self.head, self._sure_at, self.in_flight = head, looked_at, 0

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
        """Start to commit what was just cut from `ingest`. Nothing else may be in flight (`settle`)."""
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
        """Whatever ends the work: nothing of it goes on running."""
        if self._put is not None:
            put, self._put = self._put, None
            put.cancel()
            await asyncio.gather(put, return_exceptions=True)
        self.in_flight = 0
        await self._memory.hold(self._shard, 0)

    async def _commit(self, draft: Draft, ingest: ShardIngest) -> None:
        begun = self._clock.monotonic()
        sealed = await self._offload(draft.seal, self.head.digest, self._lz4())
        if not await self._log_store.commit(self._shard, sealed):
            raise LostRace
        if await self._overtaken(sealed.footer):
            raise LostRace
        self._sure_at = self._clock.monotonic()
        # Its index, which may be of thousands of partitions, nobody asks this one for.
        told = msgspec.structs.replace(sealed.footer, folders=[], members=b"")
        self.head = SegmentHeader(self._shard, sealed.footer.n, sealed.digest, told)
        self.in_flight = 0
        await self._memory.hold(self._shard, ingest.buffered)
        self._meter.add(metrics.COMMITS, result="committed")
        self._meter.observe(metrics.COMMIT_SECONDS, self._clock.monotonic() - begun)
        self._meter.observe(metrics.SEGMENT_BYTES, len(sealed.body))
        self._on_commit(sealed.footer)

    async def _overtaken(self, footer: Footer) -> bool:
        """Whether the log goes on after this segment: who sleeps while others commit and clean up finds its n free.

        What it puts there is read by nobody; but an end that is none must not start the children. So an end is always
        looked beyond, other segments after a long time without a commit.
        """
        if not footer.ended and self._clock.monotonic() - self._sure_at <= _SURE_FOR:
            return False
        return bool(await self._log_store.numbers(self._shard, footer.n))
