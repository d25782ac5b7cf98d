"""Decides when a drain has read a shard: every record that Kinesis had accepted when the drain began.

Neither MillisBehindLatest nor an arrival time proves it. moto reports 0 before the last page, other emulators always;
Kinesis promises neither accuracy nor order of arrival times, and clocks may be wrong. One of these does:

- the shard stays empty at its tip, as three pages in a row show; or
- with constant traffic, a record was read that was put later: one that an iterator LATEST brings.

Both count only `SETTLE_S` after the drain began: a record that a producer has just put may not be readable yet.
"""

from __future__ import annotations

from vortex.core.model import Position, Start
from vortex.ingest.reading import ITERATOR_LIFE_S, Reader
from vortex.ports import Clock, PortError, Stream

SETTLE_S = 2.0
"""Seconds after which a record that was put can be read. Usually it takes less than one:
https://docs.aws.amazon.com/streams/latest/dev/building-consumers.html"""
_EMPTY = 3
"""Empty pages at the tip in a row: one reply alone proves nothing, and two may come before the end of a shard."""
_LOOK_S = 5.0
"""Seconds between calls for a later record. They share the shard's five calls a second with its reading."""


class Backlog:
    """What one shard holds from before the drain, which begins now."""

    def __init__(self, shard: str, stream: Stream, clock: Clock, reader: Reader) -> None:
        """`reader` is that of the shard, whose limits it shares."""
        self._shard, self._stream, self._clock, self._reader = shard, stream, clock, reader
        self._settled = clock.monotonic() + SETTLE_S
        self._empty = 0
        self._later: int | None = None
        """The sequence number of a record that was put after the drain began."""
        self._iterator: str | None = None
        self._read_before = -1
        """The sequence number that was read when the iterator was made; -1: none."""
        self._since, self._looked_at = 0.0, -_LOOK_S

    async def is_read(self, position: Position, asked_at: float, *, empty: bool) -> bool:
        """Whether nothing of it is left after `position`, to which a page was read that was requested at `asked_at`.

        `empty`: the page has no records, and is not behind. `asked_at` is in monotonic seconds.
        """
        self._empty = self._empty + 1 if empty else 0
        if asked_at < self._settled:
            return False
        if self._empty >= _EMPTY or self._passed(position):
            return True
        if not empty and self._later is None and self._clock.monotonic() >= self._looked_at + _LOOK_S:
            await self._look(position)
        return False

    def _passed(self, position: Position) -> bool:
        return (
            self._later is not None
            and position.kind is Start.AFTER_SEQUENCE_NUMBER
            and int(position.value) >= self._later
        )

    async def _look(self, position: Position) -> None:
        """Look for a record that was put later. Failures do not matter: the next look may succeed."""
        try:
            if self._iterator is None or self._clock.monotonic() - self._since > ITERATOR_LIFE_S:
                self._iterator = await self._stream.iterator(self._shard, Position(Start.LATEST))
                self._read_before = int(position.value) if position.by_record else -1
            if self._iterator is not None:
                page = await self._reader.one_by(self._iterator)
                self._iterator, self._since = page.iterator, self._clock.monotonic()
                found = int(page.records[0].sequence) if page.records else -1
                if found > self._read_before:  # else the iterator is not one of LATEST
                    self._later = found
        except PortError:
            self._iterator = None
        self._looked_at = self._clock.monotonic()
