"""Decides when a drain has read a shard: every record that Kinesis had accepted when the drain began.

Neither MillisBehindLatest nor an arrival time proves it. moto reports 0 before the last page, other emulators always;
Kinesis promises neither accuracy nor order of arrival times, and clocks may be wrong. One of these does:

- The shard stays empty at its tip: three pages in a row are empty, and then a second iterator brings the last record
  that was read, and nothing after it. If it does not bring that (it has expired, or none was read), there is nothing to
  check the replies by: then ten pages in a row must be empty.
- With constant traffic, a record was read that was put later: one that an iterator LATEST brings.

Both count only `SETTLE_S` after the drain began: a record that a producer has just put may not be readable yet.
"""

from __future__ import annotations

from vortex.core.model import Page, Position, Start
from vortex.ingest.reading import ITERATOR_LIFE_S, Reader
from vortex.ingest.status import ShardStatus
from vortex.ports import Clock, InvalidPosition, PortError, Stream, Unavailable

SETTLE_S = 2.0
"""Seconds after which a record that was put can be read. Usually it takes less than one:
https://docs.aws.amazon.com/streams/latest/dev/building-consumers.html"""
_EMPTY = 3
"""Empty pages at the tip in a row: one reply alone proves nothing, and two may come before the end of a shard."""
_EMPTY_UNCHECKED = 10
"""The same, where there is no record to check the replies by. While a drain waits for `SETTLE_S`, it reads as many."""
_LOOK_S = 5.0
"""Seconds between calls for a later record. They share the shard's five calls a second with its reading."""


class Backlog:
    """What one shard holds from before the drain, which begins now."""

    def __init__(self, shard: str, stream: Stream, clock: Clock, reader: Reader, status: ShardStatus) -> None:
        """`reader` is that of the shard, whose limits it shares. `status` is told what the drain waits for."""
        self._shard, self._stream, self._clock, self._reader, self._status = shard, stream, clock, reader, status
        self._settled = clock.monotonic() + SETTLE_S
        self._empty = 0
        self._unchecked: Position | None = None
        """The position of a record that a second iterator has not brought."""
        self._later: int | None = None
        """The sequence number of a record that was put after the drain began."""
        self._iterator: str | None = None
        self._read_before = -1
        """The sequence number that was read when the iterator was made; -1: none."""
        self._since, self._looked_at = 0.0, -_LOOK_S
        self._at: Position | None = None
        """The position at the page before."""
        self._error = ""
        """Why the last call with another iterator failed."""

    async def is_read(self, position: Position, asked_at: float, *, empty: bool) -> bool:
        """Whether nothing of it is left after `position`, to which a page was read that was requested at `asked_at`.

        `empty`: the page has no records, and is not behind. `asked_at` is in monotonic seconds.
        """
        self._empty = self._empty + 1 if empty else 0
        if asked_at < self._settled:
            return False
        if self._passed(position) or (self._empty >= _EMPTY and await self._is_empty_after(position)):
            return True
        if not empty and self._later is None and self._clock.monotonic() >= self._looked_at + _LOOK_S:
            await self._look(position)
        self._status.waits_for = self._waits_for(moved=empty or position != self._at)
        self._at = position
        return False

    def _waits_for(self, *, moved: bool) -> str:
        if self._error:
            return f"cannot look for records that came later: {self._error}"
        behind_ms = self._status.behind_ms
        return "" if moved or not behind_ms else f"empty pages say that it is {behind_ms / 1000:.0f} s behind"

    def _passed(self, position: Position) -> bool:
        return (
            self._later is not None
            and position.kind is Start.AFTER_SEQUENCE_NUMBER
            and int(position.value) >= self._later
        )

    async def _is_empty_after(self, position: Position) -> bool:
        """Whether the shard has nothing after `position`, after which `_EMPTY` pages or more were empty."""
        if not position.by_record or position == self._unchecked:
            return self._empty >= _EMPTY_UNCHECKED
        self._error, last = "", int(position.value)
        try:
            iterator = await self._stream.iterator(self._shard, Position(Start.AT_SEQUENCE_NUMBER, position.value))
            first = await self._one_by(iterator)
            second = await self._one_by(first.iterator)
        except InvalidPosition:
            self._unchecked = position
            return False
        except PortError as problem:
            self._ask_again(str(problem))
            return False
        found = {int(record.sequence) for page in (first, second) for record in page.records}
        if second.records or second.behind_ms or any(sequence > last for sequence in found):
            self._ask_again()
            return False
        if last not in found:
            self._unchecked = position
        return last in found

    def _ask_again(self, error: str = "") -> None:
        """Begin to count again, with a new iterator of the reader: its present one may be the cause."""
        self._empty, self._error = 0, error
        self._reader.restart()

    async def _look(self, position: Position) -> None:
        """Look for a record that was put later. A failure does not matter: the next look may succeed."""
        try:
            if self._iterator is None or self._clock.monotonic() - self._since > ITERATOR_LIFE_S:
                self._iterator = await self._stream.iterator(self._shard, Position(Start.LATEST))
                self._read_before = int(position.value) if position.by_record else -1
            page = await self._one_by(self._iterator)
            self._iterator, self._since, self._error = page.iterator, self._clock.monotonic(), ""
            found = int(page.records[0].sequence) if page.records else -1
            if found > self._read_before:  # else the iterator is not one of LATEST
                self._later = found
        except PortError as problem:
            self._iterator, self._error = None, str(problem)
        self._looked_at = self._clock.monotonic()

    async def _one_by(self, iterator: str | None) -> Page:
        if iterator is None:
            raise Unavailable("a reply without an iterator")
        return await self._reader.one_by(iterator)
