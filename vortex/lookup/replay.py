"""Puts the original bytes of rejections back on the stream, each once."""

from __future__ import annotations

import asyncio
import gzip
from collections import Counter
from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass, field

from vortex.core.decode.codecs import format_name
from vortex.core.decode.events import EventReader
from vortex.core.decode.records import Records
from vortex.core.model import Record
from vortex.lookup.progress import Progress, silent
from vortex.lookup.receipts import Claim, Receipts, Standing
from vortex.lookup.rejections import Rejection
from vortex.ports import Clock, PutOutcome, PutResult, Sink

_BATCH, _BATCH_BYTES = 500, 4 << 20
"""Records and bytes of one PutRecords call: https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html."""
_USUAL_BYTES = 1_000_000
"""A stream accepts records of 1 MiB unless it is set up for more."""
_MOST_BYTES = 10 << 20
_PARALLEL = 16
_ROUNDS = 6
_PAUSE_S = 0.5
_NAMED = 20


@dataclass(slots=True)
class Replayed:
    """How many rejections ended how. `named` has some of each problem, with their places."""

    sent: int = 0
    before: int = 0
    still: Counter[str] = field(default_factory=Counter)
    """Those that the current settings still reject, by reason; they are not sent."""
    unknown: int = 0
    refused: int = 0
    too_large: int = 0
    missing: int = 0
    named: list[str] = field(default_factory=list)
    stopped: bool = False
    """Whether it was stopped before the end."""

    def name(self, one: Rejection, problem: str) -> None:
        """Remember a problem of a rejection."""
        if len(self.named) < _NAMED:
            self.named.append(f"{one.shard} {one.sequence} part {one.sub} ({one.where}): {problem}")


@dataclass(frozen=True, slots=True)
class _Ready:
    one: Rejection
    claim: Claim
    data: bytes


class Mended:
    """Which rejections the current settings accept."""

    def __init__(self, reader: EventReader) -> None:
        self._reader = reader

    def still_rejected(self, data: bytes) -> str:
        """The reason for which the settings reject all of it; empty if they accept an event of it."""
        events = self._reader.page(Records.of([Record("0", 0.0, data)]))
        return "" if len(events) or not events.rejected else str(events.rejected[0].reason)


class Replay:
    """One run. `keep_rejected`: also send what the settings still reject."""

    def __init__(
        self,
        receipts: Receipts,
        sink: Sink,
        mended: Mended,
        clock: Clock,
        *,
        keep_rejected: bool = False,
        resend_unknown: bool = False,
        progress: Progress = silent,
    ) -> None:
        self.result, self._stopping = Replayed(), False
        self._receipts, self._sink, self._mended, self._clock = receipts, sink, mended, clock
        self._keep_rejected, self._resend_unknown, self._progress = keep_rejected, resend_unknown, progress

    def stop(self) -> None:
        """End after the batch that is being sent. An attempt that is cut off has an unknown outcome."""
        self._stopping = True

    async def run(self, rejections: AsyncIterable[Rejection]) -> Replayed:
        """Send them, in batches. Raises PortError; everything that was sent until then has its receipt."""
        batch: list[tuple[Rejection, bytes]] = []
        size = seen = 0
        async for one in rejections:
            if self._stopping:
                self.result.stopped = True
                return self.result
            seen += 1
            data = self._sendable(one)
            if data is None:
                continue
            if batch and (len(batch) == _BATCH or size + len(data) > _BATCH_BYTES):
                await self._send(batch)
                batch, size = [], 0
                self._progress("rejections", seen)
            batch.append((one, data))
            size += len(data)
        await self._send(batch)
        self._progress("rejections", seen)
        return self.result

    def _sendable(self, one: Rejection) -> bytes | None:
        data = one.bytes
        if data is None:
            self.result.missing += 1
            self.result.name(one, "the bytes beside it are missing")
            return None
        reason = "" if self._keep_rejected else self._mended.still_rejected(data)
        if reason:
            self.result.still[reason] += 1
            return None
        data = packed(data)
        if len(data) > _MOST_BYTES:
            self.result.too_large += 1
            self.result.name(one, f"{len(data)} bytes do not fit into a record")
            return None
        return data

    async def _send(self, batch: Sequence[tuple[Rejection, bytes]]) -> None:
        """Claim each, send those that may be sent, and record what became of them."""
        gate = asyncio.Semaphore(_PARALLEL)

        async def claim(one: Rejection) -> Claim:
            async with gate:
                return await self._receipts.claim(one, self._clock.now_ms(), resend_unknown=self._resend_unknown)

        async def record(ready: _Ready, put: PutResult) -> None:
            async with gate:
                await self._record(ready, put)

        claims = await asyncio.gather(*(claim(one) for one, _ in batch))
        todo: list[_Ready] = []
        for (one, data), its in zip(batch, claims, strict=True):
            if its.standing is Standing.MINE:
                todo.append(_Ready(one, its, data))
            elif its.standing is Standing.SENT:
                self.result.before += 1
            else:
                self.result.unknown += 1
                self.result.name(one, "an earlier attempt has an unknown outcome")
        for large in (False, True):  # a record that the stream is not set up for refuses its whole call
            some = [ready for ready in todo if (len(ready.data) > _USUAL_BYTES) == large]
            for ready in [some] if some and not large else [[each] for each in some]:
                results = await self._put(ready)
                await asyncio.gather(*(record(each, put) for each, put in zip(ready, results, strict=True)))

    async def _put(self, ready: Sequence[_Ready]) -> list[PutResult]:
        """Put all of them; what was refused for the moment is put again."""
        results: dict[int, PutResult] = {}
        left = list(range(len(ready)))
        for attempt in range(_ROUNDS):
            puts = [(f"{ready[at].one.sequence}-{ready[at].one.sub}", ready[at].data) for at in left]
            results.update(zip(left, await self._sink.put(puts), strict=True))
            left = [at for at in left if results[at].outcome is PutOutcome.BUSY]
            if not left:
                break
            await self._clock.sleep(_PAUSE_S * 2**attempt)
        return [results[at] for at in range(len(ready))]

    async def _record(self, ready: _Ready, put: PutResult) -> None:
        match put.outcome:
            case PutOutcome.SENT:
                await self._receipts.sent(ready.one, ready.claim, put.detail)
                self.result.sent += 1
            case PutOutcome.UNKNOWN:
                self.result.unknown += 1
                self.result.name(ready.one, f"unknown outcome: {put.detail}")
            case _:
                await self._receipts.refused(ready.one, ready.claim, put.detail)
                self.result.refused += 1
                self.result.name(ready.one, put.detail)


def packed(data: bytes) -> bytes:
    """The bytes, or gzip of them if they are JSON too large for a usual record: they decode to the same events."""
    if len(data) > _USUAL_BYTES and format_name(data) == "JSON":
        return gzip.compress(data, 6, mtime=0)
    return data
