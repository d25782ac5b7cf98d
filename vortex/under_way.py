"""Shares out memory for large work: publishing, and records that decompress to many megabytes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager


class BytesUnderWay:
    """Limits the bytes that are in memory at a time; something larger than the limit waits until it is alone."""

    def __init__(self, limit: int) -> None:
        self.limit, self._used = limit, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, size: int, patience_s: float | None = None) -> AsyncIterator[Callable[[int], None]]:
        """Wait for room, in the order of calls, and take it up. Yields what gives a part of it back early.

        After `patience_s` the room is taken up, whether it is there or not.
        """
        if self._waiting or not self._fits(size):
            await self._turn(size, patience_s)
        else:
            self._used += size
        left = size

        def give_back(part: int) -> None:
            nonlocal left
            left, self._used = left - part, self._used - part
            self._admit()

        try:
            yield give_back
        finally:
            give_back(left)

    async def _turn(self, size: int, patience_s: float | None) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((size, turn))
        try:
            await asyncio.wait((turn,), timeout=patience_s)
        except asyncio.CancelledError:
            if turn.done():
                self._used -= size
            raise
        else:
            if not turn.done():
                self._used += size
        finally:
            turn.cancel()
            self._admit()

    def resize(self, limit: int) -> None:
        """Change the limit. What is in memory stays; a lower limit makes those wait that come from now on."""
        self.limit = limit
        self._admit()

    def _fits(self, size: int) -> bool:
        return not self._used or self._used + size <= self.limit

    def _admit(self) -> None:
        while self._waiting:
            size, turn = self._waiting[0]
            if not turn.cancelled():
                if not self._fits(size):
                    return
                self._used += size
                turn.set_result(None)
            self._waiting.popleft()
