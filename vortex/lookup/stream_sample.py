"""Reads some records of a stream for a sample: recent ones if there are any, else the oldest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from vortex.core.model import Position, Record, Start
from vortex.ports import IteratorExpired, NotFound, Stream

RECENT_MS = 5 * 60_000
_SHARDS = 8
_PAGES = 6
"""Maximum pages of a shard: empty pages before the tip are normal."""
_PAUSE_S = 0.25
"""Kinesis allows five reads a second for each shard."""


async def recent_records(
    stream: Stream, shards: Sequence[str], records: int, limit: int = 2000
) -> AsyncIterator[tuple[str, Sequence[Record]]]:
    """Pages of at most `limit` records from some of the shards, until there are enough records. Raises PortError.

    Reads what arrived in the last minutes; if nothing did, from the oldest record on.
    """
    since = Position(Start.AT_TIMESTAMP, str(max(0, await stream.server_time() - RECENT_MS)))
    some = spread(shards, _SHARDS)
    found = 0
    for position in (since, Position(Start.TRIM_HORIZON)):
        for shard in some:
            async for page in _pages(stream, shard, position, limit):
                found += len(page)
                yield shard, page
                if found >= records:
                    return
        if found:
            return


async def _pages(stream: Stream, shard: str, position: Position, limit: int) -> AsyncIterator[Sequence[Record]]:
    """The first page with records, if there is one among the first pages."""
    try:
        iterator = await stream.iterator(shard, position)
        for _ in range(_PAGES):
            if iterator is None:
                return
            page = await stream.read(shard, iterator, limit)
            if len(page.records):
                yield page.records
                return
            iterator = page.iterator
            if not page.behind_ms:
                return
            await asyncio.sleep(_PAUSE_S)
    except (NotFound, IteratorExpired):  # the shard has just gone
        return


def spread(shards: Sequence[str], most: int) -> list[str]:
    """At most so many shards, evenly chosen."""
    step = max(1, len(shards) // most)
    return list(shards[::step])[:most]
