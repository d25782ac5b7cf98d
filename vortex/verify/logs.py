"""The check of the shard logs: every byte of each segment, and that segments follow each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from vortex.core.invariants import Invariant
from vortex.core.log.rules import BrokenLog, SegmentHeader, check_follows, segment_key
from vortex.core.log.segment import Counts, check_blob, decompress, member_offsets
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.plan import LogView, PlanShard
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.verify.report import Progress, Report

_PARALLEL = 16
_INDEX_BYTES = 128 * 1024 * 1024
"""Bytes of the segments' indexes that are kept; those of other segments are read again for the plans that need them."""
_SUMMED = ("events", "accepted", "filtered", "rejected", "late", "early", "untimed", "bytes")


class LogProof:
    """Checks the logs of one stream, as far as they still exist."""

    def __init__(self, log_store: LogStore, report: Report, progress: Progress) -> None:
        self._log_store, self._report, self._progress = log_store, report, progress
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._room = _INDEX_BYTES

    async def views(self, live: Mapping[str, PlanShard]) -> dict[str, LogView]:
        """The logs in the store, checked; `live` are the shards of the last plan."""
        store, root = self._log_store.store, self._log_store.root
        views: dict[str, LogView] = {}
        shards = [name async for name in store.list_folders(f"{root}/shards/")]
        for number, shard in enumerate(shards):
            self._progress("logs", number, len(shards))
            try:
                headers = await self._chain(shard)
            except CorruptSegment as problem:
                self._report.fault(Invariant.WHOLE_LOGS, shard, str(problem))
                continue
            views[shard] = LogView(headers)
            entry = live.get(shard)
            needed = min(entry.next, max(entry.to, 0)) if entry else headers[-1].n
            if headers[0].n > needed:
                self._report.fault(
                    Invariant.WHOLE_LOGS,
                    shard,
                    f"the log starts at segment {headers[0].n}; segment {needed} is still needed",
                )
        for shard, entry in live.items():
            if entry.to >= 0 and shard not in views:
                self._report.fault(
                    Invariant.WHOLE_LOGS, shard, f"has no log, though a plan includes its segment {entry.to}"
                )
        self._progress("logs", len(shards), len(shards))
        return views

    async def _chain(self, shard: str) -> list[SegmentHeader]:
        """The segments from the head back as long as each follows the previous; older ones may be cleaned up."""
        numbers = await self._log_store.numbers(shard, -1)

        async def one(n: int) -> SegmentHeader | None:
            async with self._gate:
                try:
                    return await self._checked(shard, n)
                except NotFound:
                    return None  # cleaned up since it was listed

        headers = [head for head in await asyncio.gather(*(one(n) for n in numbers)) if head is not None]
        chain = headers[-1:]
        for earlier in reversed(headers[:-1]):
            later = chain[-1]
            if earlier.n != later.n - 1 or earlier.digest != later.footer.prev:
                self._report.notes.append(f"{shard}: segments up to {earlier.n} are left over, and nothing reads them")
                break
            try:
                check_follows(earlier, later, self._log_store.root)
            except BrokenLog as problem:
                self._report.fault(Invariant.WHOLE_LOGS, shard, str(problem))
            self._no_writing_back(earlier, later)
            chain.append(earlier)
        return chain[::-1]

    async def _checked(self, shard: str, n: int) -> SegmentHeader:
        """A segment whose bytes, digests and sums are checked."""
        head = await self._log_store.head(shard, n)
        footer, key = head.footer, segment_key(self._log_store.root, shard, n)
        body = await self._log_store.range(shard, n, 0, footer.data_bytes) if footer.data_bytes else b""
        await self._log_store.ids(head)
        rows, rejected, at, text = 0, 0, -1, b""
        members = footer.member_rows
        places = zip(members.tolist(), *(column.tolist() for column in member_offsets(members)), strict=True)
        for (folder, _, offset, length, count, raw, digest), begin, whole in places:
            if offset != at:
                at, text = offset, decompress(check_blob(body[offset : offset + length], digest, key), key)
            lines = text[begin : begin + raw]
            if len(text) != whole or lines.count(b"\n") != count or lines[-1:] != b"\n":
                self._report.fault(
                    Invariant.SUMS_AGREE, key, f"the member at byte {offset} holds other rows than its index says"
                )
            if footer.folders[folder].rejected:
                rejected += 0 if footer.folders[folder].beside else count
            else:
                rows += count
        counts = footer.counts
        if counts.events != counts.accepted + counts.filtered + counts.rejected:
            self._report.fault(Invariant.SUMS_AGREE, key, "events is not the sum of accepted, filtered and rejected")
        if (rows, rejected) != (counts.accepted, counts.rejected):
            self._report.fault(
                Invariant.SUMS_AGREE, key, f"holds {rows} lines and {rejected} rejections, which differ from its counts"
            )
        total = Counts()
        for some in footer.periods.values():
            total.add(some)
        if any(getattr(total, name) != getattr(counts, name) for name in _SUMMED):
            self._report.fault(Invariant.SUMS_AGREE, key, "the counts of its periods do not add up to its counts")
        self._report.count("segments")
        self._room -= len(footer.members)
        if self._room >= 0:
            return head
        return head.without_index()

    def _no_writing_back(self, earlier: SegmentHeader, later: SegmentHeader) -> None:
        closed = [p for p in later.footer.periods if p < earlier.footer.closed_before]
        if closed:
            key = segment_key(self._log_store.root, later.shard, later.n)
            self._report.fault(
                Invariant.WHOLE_LOGS, key, f"contains rows of period {min(closed)}, which was already closed"
            )
