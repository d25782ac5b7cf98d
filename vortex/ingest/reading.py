"""One shard read page by page, within its limits; and the proof that nothing is left of it.

No single reply ends a shard: a reply without an iterator may be one that a proxy made up, or cut. What an end is:

- the listing says that the shard is closed, and names children for all of its hash keys; and
- a second reading, which begins with the last record that was read, brings that record again, no other one, and then
  a page without a next iterator. (Nothing was read, or that record is too old: five readings bring no record at all.)

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html: a closed shard has an iterator, too.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto

from vortex.core.ingest.pacing import CALL_S, FIRST_RECORDS, FULL_PAUSE_S, next_call, next_limit
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.ports import Clock, InvalidPosition, IteratorExpired, Stream
from vortex.retry import Retry

_ITERATOR_LIFE = 240.0
_FAILURES = 5
"""So many calls in a row fail with one iterator: perhaps it is at fault, and one that is asked for anew is not."""
_AT_TIP = 3
"""So many empty pages at the tip, each with a next iterator: the shard goes on. One or two come before an end, too."""
_EMPTY_READINGS = 5
"""So many readings in a row bring nothing of a shard that is empty: no record is there to tell a reply from a lie."""
_EMPTY_AT_RECORD = 20
"""So many empty pages where a record is to be: it is too old to be read again."""
_EMPTY = 1000
"""So many empty pages, of a part of the shard in which nothing was put, are read to find its end."""


class NoIterator(Exception):
    """A reply to GetShardIterator has none. It proves nothing: a closed shard has one, too."""


class _Found(Enum):
    """What a second reading brings."""

    LAST = auto()
    """The last record that was read, and then the end."""
    NOTHING = auto()
    """The end, and no record."""
    MORE = auto()
    """Other records."""
    NO_END = auto()
    """No end, at least not soon."""


class Reader:
    """Asks for a shard's pages. `read` makes an iterator where there is none, or none that lives."""

    def __init__(
        self, shard: str, stream: Stream, clock: Clock, retry: Retry, reads: asyncio.Semaphore, poll_s: float
    ) -> None:
        """`reads` bounds the calls under way over all shards; `poll_s` is how often a shard at its tip is asked."""
        self.poll_s = poll_s
        self.next_at = 0.0
        """When the shard may, or should, be asked again; monotonic seconds."""
        self.first = False
        """Whether the page read last was the first one from where it was asked to go on."""
        self._shard, self._stream, self._clock, self._retry, self._reads = shard, stream, clock, retry, reads
        self._iterator: str | None = None
        self._born = 0.0
        self._failed = 0
        self._fresh = False
        self._limit = FIRST_RECORDS

    async def rest(self) -> None:
        """Until the shard may be asked again."""
        await self._clock.sleep(max(0.0, self.next_at - self._clock.monotonic()))

    def restart(self) -> None:
        """The next page is read from the position that is given then."""
        self._iterator = None

    async def open(self, position: Position, *, told: bool = False) -> None:
        """Go on at `position`; `told`: it is known already that records may be missing before it.

        Raises NoIterator, NotFound where the shard has vanished, InvalidPosition where it refuses `position`.
        """
        self._iterator = await self._retry(
            f"iterator of {self._shard}", lambda: self._stream.iterator(self._shard, position)
        )
        self._born, self._failed, self._fresh = self._clock.monotonic(), 0, not told
        if self._iterator is None:
            raise NoIterator(f"iterator of {self._shard}")

    async def read(self, position: Position) -> Page | None:
        """The next page, from `position` where there is no iterator; None where that died: read again.

        Raises what `open` raises.
        """
        if self._iterator is None or self._old:
            await self.open(position)
        return await self._page(self._limit, self.poll_s)

    async def proves_end(self, position: Position) -> bool:
        """Whether nothing is left after `position`: the last record's, or where the shard begins where none was read.

        Raises NotFound where the shard has vanished.
        """
        if position.by_record:
            last = Position(Start.AT_SEQUENCE_NUMBER, position.value)
            if (found := await self._found(last, int(position.value))) in (_Found.LAST, _Found.MORE):
                return found is _Found.LAST
            # Perhaps that record is too old to be read again; then nothing at all may be there.
            position = Position(Start.TRIM_HORIZON)
        for _ in range(_EMPTY_READINGS):
            if await self._found(position) is not _Found.NOTHING:
                return False
            await self._clock.sleep(1.0)
        return True

    async def _found(self, begin: Position, last: int = -1) -> _Found:
        """What a reading from `begin` brings, where `last` was the last record read."""
        brought, empty, tip = False, 0, 0
        try:
            await self.open(begin)
        except (NoIterator, InvalidPosition):
            return _Found.NO_END
        while tip < _AT_TIP and empty < (_EMPTY if brought or last < 0 else _EMPTY_AT_RECORD):
            await self.rest()
            page = await self._page(max(self._limit, FIRST_RECORDS), 0.0)
            if page is None:
                return _Found.NO_END
            if page.records:
                if int(page.records[-1].sequence) > last or int(page.records[0].sequence) < last:
                    return _Found.MORE
                brought = True
            if page.iterator is None:
                return _Found.LAST if brought else _Found.NOTHING
            empty += not page.records
            tip += not page.records and page.behind_ms == 0
        return _Found.NO_END

    @property
    def _old(self) -> bool:
        return self._clock.monotonic() - self._born > _ITERATOR_LIFE

    async def _page(self, limit: int, tip_s: float) -> Page | None:
        iterator = self._iterator
        assert iterator is not None
        try:
            page = await self._retry(f"read {self._shard}", lambda: self._call(iterator, limit))
        except IteratorExpired:
            self._iterator, self.next_at = None, self._clock.monotonic() + CALL_S
            return None
        self._iterator, self._born = page.iterator, self._clock.monotonic()
        self.first, self._fresh = self._fresh, False
        # What is done with the page meanwhile delays nothing.
        self.next_at = next_call(self._born, page.size, page.behind_ms, tip_s)
        self._limit = next_limit(self._limit, len(page.records), page.size)
        return page

    async def _call(self, iterator: str, limit: int) -> Page:
        # Retries may outlive the iterator; an expired one is not worth a call.
        if self._old or self._failed == _FAILURES:
            raise IteratorExpired(self._shard)
        async with self._reads:
            # Should this call be given up half-way, its reply may have been a full one.
            self.next_at = self._clock.monotonic() + FULL_PAUSE_S
            self._failed += 1
            page = await self._stream.read(self._shard, iterator, limit)
            self._failed = 0
            return page


def following(shard: str, listed: list[ShardInfo]) -> tuple[ShardInfo, ...] | None:
    """The children of a shard that the listing says is closed, for all of its hash keys; None where it does not."""
    own = next((each for each in listed if each.id == shard), None)
    children = tuple(each for each in listed if shard in each.parents)
    if own is None or own.end_sequence is None:
        return None
    shared = (min(own.end_hash, each.end_hash) - max(own.start_hash, each.start_hash) + 1 for each in children)
    return children if sum(shared) == own.end_hash - own.start_hash + 1 else None
