"""Finds the sends of an event in the stream, while that keeps them: exact sequence numbers, and filtered copies."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vortex.core.decode.events import EventReader
from vortex.core.decode.records import Records
from vortex.core.ingest.filter import HORIZON_MS
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import Footer
from vortex.core.model import Position
from vortex.lookup.answers import Copy, Fate
from vortex.lookup.logs import Logs
from vortex.lookup.objects import rows_with
from vortex.ports import InvalidPosition, IteratorExpired, NotFound, Stream, Unavailable

_T = TypeVar("_T")
_MOST_SEGMENTS = 40
_MOST_BYTES = 64 << 20
_EMPTY = 20
"""Empty pages in a row after which the records count as gone."""
_PAUSE_S = 0.25
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Send:
    """A record with the event: its sequence number and arrival (epoch milliseconds)."""

    sequence: str
    arrival: int


async def sends_in(
    stream: Stream, shard: str, footers: Sequence[Footer], key: bytes, reader: EventReader
) -> tuple[list[Send], bool]:
    """The records of these consecutive segments with the key, in order; and whether all records were read.

    Raises PortError.
    """
    found: list[Send] = []
    last, size = _number(footers[-1].position), 0
    if last < 0:
        return [], True
    async for records in _pages(stream, shard, footers[0].start):
        keys = reader.page(records)
        for at in rows_with(keys.keys.tobytes(), key):
            record = int(keys.record[at])
            if int(records.sequences[record]) <= last:
                found.append(Send(records.sequences[record], int(records.arrivals[record] * 1000)))
        size += len(records.data)
        if int(records.last) >= last:
            return found, True
        if size > _MOST_BYTES:
            return found, False
    return found, False


async def locate(
    stream: Stream,
    logs: Logs,
    head: SegmentHeader,
    copies: Sequence[Copy],
    key: bytes,
    reader: EventReader,
    window_ms: int,
) -> tuple[list[Copy], str]:
    """Give the copies of a segment, and of those after it within the filter's horizon, their sequence numbers.

    Returns the copies that the filter dropped there, and a note if the stream no longer has all records. Of the sends
    of one segment the first ones are those in the log: the filter drops repeated ones.
    """
    heads = await _within_horizon(logs, head, min(window_ms, HORIZON_MS))
    footers = [one.footer for one in heads]
    sends, whole = await sends_in(stream, head.shard, footers, key, reader)
    filtered: list[Copy] = []
    known = {(copy.shard, copy.sequence) for copy in copies}
    for footer in footers:
        begin, end = _number(footer.start), _number(footer.position)
        own = [send for send in sends if begin < int(send.sequence) <= end]
        accepted = [copy for copy in copies if (copy.shard, copy.segment) == (head.shard, footer.n)]
        for copy, send in zip(accepted, own, strict=False):
            copy.sequence, copy.arrival = send.sequence, send.arrival
        for send in own[len(accepted) :]:
            if (head.shard, send.sequence) not in known:
                filtered.append(Copy(Fate.FILTERED, shard=head.shard, sequence=send.sequence, arrival=send.arrival))
                filtered[-1].of = _original(copies)
    note = "" if whole else f"{head.shard}: the stream no longer has all records, or there are too many to search"
    return filtered, note


def _original(copies: Sequence[Copy]) -> str:
    published = next((copy for copy in copies if copy.object), None)
    return f"{published.object} line {published.line}" if published else ""


def _number(position: Position) -> int:
    return int(position.value) if position.by_record and position.value.isdecimal() else -1


async def _within_horizon(logs: Logs, head: SegmentHeader, horizon_ms: int) -> list[SegmentHeader]:
    """The segment and those after it in which the filter may have dropped a copy."""
    heads, upto = [head], head.footer.arrived[1] + horizon_ms
    while len(heads) < _MOST_SEGMENTS:
        after = await logs.head(head.shard, heads[-1].n + 1)
        if after is None or after.footer.arrived[0] > upto:
            break
        heads.append(after)
    while not heads[-1].footer.counts.filtered and len(heads) > 1:
        heads.pop()
    return heads


async def _pages(stream: Stream, shard: str, start: Position) -> AsyncIterator[Records]:
    """The pages with records from this position on; ends where the stream no longer has them, or at the tip."""
    try:
        iterator, empty = await _patiently(lambda: stream.iterator(shard, start)), 0
        while iterator is not None and empty < _EMPTY:
            asked = iterator
            page = await _patiently(lambda: stream.read(shard, asked))  # noqa: B023 - awaited at once
            iterator = page.iterator
            empty = 0 if len(page.records) else empty + 1
            if len(page.records):
                yield Records.of(page.records)
            elif not page.behind_ms:
                return
            await asyncio.sleep(_PAUSE_S)
    except (NotFound, InvalidPosition, IteratorExpired):
        return


async def _patiently(call: Callable[[], Awaitable[_T]]) -> _T:
    """Call again while the service is busy: a worker reads the same shard. Raises PortError."""
    for _ in range(_TRIES - 1):
        try:
            return await call()
        except Unavailable:
            await asyncio.sleep(_PAUSE_S)
    return await call()
