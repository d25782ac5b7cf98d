"""The memory that lines take until they are committed: one limit over all shards."""

from __future__ import annotations

import asyncio


class MemoryBudget:
    """One limit over all shards for lines that are not committed yet.

    A reader waits while the limit is reached, and everybody with something to commit is asked to do so: pressure
    blocks, it drops nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: dict[str, int] = {}
        self._room = asyncio.Condition()

    @property
    def used(self) -> int:
        """Bytes held by all shards."""
        return sum(self._held.values())

    @property
    def short(self) -> bool:
        """Whether shards should commit early: more than half is taken."""
        return self.used * 2 > self.limit

    async def hold(self, who: str, size: int) -> None:
        """Say that `who` now holds `size` bytes."""
        async with self._room:
            self._held[who] = size
            self._room.notify_all()

    @property
    def full(self) -> bool:
        """Whether nobody may read on."""
        return self.used >= self.limit

    async def room(self) -> None:
        """Wait until somebody has committed. Whoever waits has committed what it held itself."""
        async with self._room:
            await self._room.wait_for(lambda: not self.full)
