"""Reads one shard page by page within its limits, and confirms the end of a shard.

No single reply ends a shard: a reply without an iterator may come from a proxy, or may be truncated. A shard has ended
if both hold:

- the listing says that the shard is closed, and names children for all of its hash keys; and
- three readings from the last record each bring that record again, no other record, and then a page without a next
  iterator. (If no record was read, or the last one has expired: five readings bring no record at all.)

https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetShardIterator.html: a closed shard also has an iterator.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

from vortex.core.ingest.pacing import CALL_S, FIRST_RECORDS, FULL_PAUSE_S, PAGE_BYTES, next_call, next_limit
from vortex.core.model import Page, Position, ShardInfo, Start
from vortex.ingest.memory import MemoryBudget
from vortex.ports import Clock, InvalidPosition, IteratorExpired, Stream
from vortex.retry import Retry

ITERATOR_LIFE_S = 240.0
"""Seconds for which an iterator is used; Kinesis keeps it for 300."""
_FAILURES = 5
"""Failed calls in a row with one iterator, after which a new iterator is requested: the iterator may be the cause."""
_AT_TIP = 3
"""Empty pages at the tip, each with a next iterator, that show that the shard continues. One or two may precede an
end."""
_AGREEING = 3
"""Readings in a row that must bring the last record, and nothing after it. One may end too early, as the page before
it did."""
_EMPTY_READINGS = 5
"""Readings in a row that must find no record in an empty shard: there is no record to check the replies by."""
_EMPTY_AT_RECORD = 20
"""Empty pages where the last record should be, after which it counts as expired."""
_EMPTY = 1000
"""Empty pages, of a part of the shard without records, that are read to find its end."""


_LEAST_EXPECTED = 256 * 1024
"""Room for a page of a shard that had no records of late."""


class NoIterator(Exception):
    """A reply to GetShardIterator without an iterator. It proves nothing: a closed shard has one, too."""


class NoMemory(Exception):
    """There is no room for a page now: commit, wait for room (`MemoryBudget.reserve`), and read again."""


class _Found(Enum):
    """The result of a reading that is to prove an end."""

    LAST = auto()
    """The last record that was read, and then the end."""
    NOTHING = auto()
    """The end, without a record."""
    MORE = auto()
    """Other records."""
    NO_END = auto()
    """No end was found."""


class Reader:
    """Reads the pages of a shard. `read` gets a new iterator if there is none, or if it has expired."""

    def __init__(
        self, shard: str, stream: Stream, clock: Clock, retry: Retry, memory: MemoryBudget, poll_s: float
    ) -> None:
        """`memory` limits the pages of all shards; `poll_s` is the poll interval of a shard at its tip."""
        self.poll_s = poll_s
        self.next_at = 0.0
        """When the shard may be read again, and should be; monotonic seconds."""
        self.first = False
        """Whether the last page was the first one after `open`."""
        self._shard, self._stream, self._clock, self._retry, self._memory = shard, stream, clock, retry, memory
        self._iterator: str | None = None
        self._born = 0.0
        self._failed = 0
        self._fresh = False
        self._limit = FIRST_RECORDS
        self.expected = PAGE_BYTES
        """Bytes for which the next page needs room: as a shard at its tip has had of late, or a whole page."""

    async def rest(self) -> None:
        """Wait until the shard may be read again."""
        await self._clock.sleep(max(0.0, self.next_at - self._clock.monotonic()))

    def restart(self) -> None:
        """Make the next `read` start from its position."""
        self._iterator = None

    async def open(self, position: Position, *, gap_known: bool = False) -> None:
        """Continue at `position`. `gap_known`: it is already known that records before it may be missing.

        Raises NoIterator, NotFound if the shard does not exist, InvalidPosition if Kinesis refuses `position`.
        """
        self._iterator = await self._retry(
            f"iterator of {self._shard}", lambda: self._stream.iterator(self._shard, position)
        )
        self._born, self._failed, self._fresh = self._clock.monotonic(), 0, not gap_known
        if self._iterator is None:
            raise NoIterator(f"iterator of {self._shard}")

    async def read(self, position: Position) -> Page | None:
        """The next page, from `position` if there is no iterator. None if the iterator expired: call again.

        Raises what `open` raises, and NoMemory.
        """
        if self._iterator is None or self._old:
            await self.open(position)
        return await self._page(self._limit, self.poll_s, self._counted_call)

    async def one_by(self, iterator: str) -> Page:
        """A page of one record, with another iterator, within the shard's limits. Raises what `Stream.read` raises."""
        await self.rest()
        self.next_at = self._clock.monotonic() + FULL_PAUSE_S  # if its reply is lost, it may have been a full one
        page = await self._stream.read(self._shard, iterator, 1)
        self.next_at = next_call(self._clock.monotonic(), page.size, page.behind_ms, 0.0)
        return page

    async def proves_end(self, position: Position) -> bool:
        """Whether nothing is left after `position`: the last record's, or the shard's start if no record was read.

        Raises NotFound if the shard does not exist.
        """
        if position.by_record:
            last = Position(Start.AT_SEQUENCE_NUMBER, position.value)
            found = await self._found(last, int(position.value))
            for _ in range(_AGREEING - 1):
                if found is not _Found.LAST:
                    break
                found = await self._found(last, int(position.value))
            if found in (_Found.LAST, _Found.MORE):
                return found is _Found.LAST
            # That record may have expired; then a reading from the oldest record must find nothing.
            position = Position(Start.TRIM_HORIZON)
        for _ in range(_EMPTY_READINGS):
            if await self._found(position) is not _Found.NOTHING:
                return False
            await self._clock.sleep(1.0)
        return True

    async def _found(self, begin: Position, last: int = -1) -> _Found:
        """What a reading from `begin` finds; `last` is the sequence number of the last record read, -1 for none."""
        brought, empty, tip = False, 0, 0
        try:
            await self.open(begin)
        except (NoIterator, InvalidPosition):
            return _Found.NO_END
        while tip < _AT_TIP and empty < (_EMPTY if brought or last < 0 else _EMPTY_AT_RECORD):
            await self.rest()
            page = await self._page(max(self._limit, FIRST_RECORDS), 0.0, self._call)
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
        return self._clock.monotonic() - self._born > ITERATOR_LIFE_S

    async def _page(self, limit: int, tip_s: float, call: Callable[[str, int], Awaitable[Page]]) -> Page | None:
        iterator = self._iterator
        assert iterator is not None
        try:
            page = await self._retry(f"read {self._shard}", lambda: call(iterator, limit))
        except IteratorExpired:
            self._iterator, self.next_at = None, self._clock.monotonic() + CALL_S
            return None
        self._iterator, self._born = page.iterator, self._clock.monotonic()
        self.first, self._fresh = self._fresh, False
        # Set now, so that processing the page adds no delay.
        self.next_at = next_call(self._born, page.size, page.behind_ms, tip_s)
        self._limit = next_limit(self._limit, len(page.records), page.size)
        return page

    async def _call(self, iterator: str, limit: int) -> Page:
        # Retries may outlive the iterator; a call with an expired iterator is useless.
        if self._old or self._failed == _FAILURES:
            raise IteratorExpired(self._shard)
        # If this call is cancelled, its reply may have been a full one: pause as after a full page.
        self.next_at = self._clock.monotonic() + FULL_PAUSE_S
        self._failed += 1
        page = await self._stream.read(self._shard, iterator, limit)
        self._failed = 0
        return page

    async def _counted_call(self, iterator: str, limit: int) -> Page:
        """The same, within the limit of memory. Raises NoMemory."""
        memory, size = self._memory, 0
        if not memory.take(self._shard, self.expected):
            raise NoMemory(self._shard)
        try:
            page = await self._call(iterator, limit)
            size = page.size
            self.expected = min(PAGE_BYTES, max(_LEAST_EXPECTED, 2 * size))
            return page
        finally:
            memory.page(self._shard, size)


def following(shard: str, listed: list[ShardInfo]) -> tuple[ShardInfo, ...] | None:
    """The children of a shard if the listing says that it is closed and they cover all its hash keys; else None."""
    own = next((each for each in listed if each.id == shard), None)
    children = tuple(each for each in listed if shard in each.parents)
    if own is None or own.end_sequence is None:
        return None
    shared = (min(own.end_hash, each.end_hash) - max(own.start_hash, each.start_hash) + 1 for each in children)
    return children if sum(shared) == own.end_hash - own.start_hash + 1 else None
