"""What shards share in one process: the memory for lines that are not committed yet, and turns at working on pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(slots=True)
class _Held:
    """Bytes of one shard's lines: those that still gather, and those that are being committed."""

    gathering: int = 0
    committing: int = 0


class MemoryBudget:
    """One limit over all shards for lines that are not committed yet.

    A reader waits while the limit is reached. Long before that, whoever has gathered most is asked to commit: pressure
    blocks, it drops nothing.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Bytes held by all shards; counted along, for every poll of every shard asks."""
        self._gathering = 0
        self._held: dict[str, _Held] = {}
        self._room = asyncio.Condition()

    async def hold(self, who: str, gathering: int, committing: int = 0) -> None:
        """Say how many bytes `who` now holds."""
        async with self._room:
            before, self._held[who] = self._held.get(who, _Held()), _Held(gathering, committing)
            self.used += gathering + committing - before.gathering - before.committing
            self._gathering += gathering - before.gathering
            self._room.notify_all()

    def asks(self, who: str) -> bool:
        """Whether `who` should commit early: more than half of the limit gathers, and nobody has gathered more.

        One at a time, the largest: if all did, each segment would be a page or two, and what is published of them
        would have to be compressed afresh. What is being committed does not count, for it is on its way out.
        """
        if self._gathering * 2 <= self.limit:
            return False
        mine = self._held.get(who, _Held()).gathering
        return mine >= max(held.gathering for held in self._held.values())

    @property
    def full(self) -> bool:
        """Whether nobody may read on."""
        return self.used >= self.limit

    async def room(self) -> None:
        """Wait until somebody has committed. Whoever waits has committed what it held itself."""
        async with self._room:
            await self._room.wait_for(lambda: not self.full)


class Turns:
    """Who works on a page: one shard at a time, in the order in which they ask.

    So what a record is unfolded to is in memory once, not once a shard, and the loop is never busy with more than one
    step of that before it looks at anything else.
    """

    def __init__(self, most_waiting: int = 8) -> None:
        """`most_waiting`: pages that may wait for their turn before no more are read."""
        self._turn = asyncio.Lock()
        self._most, self._waiting = most_waiting, 0
        self._fewer = asyncio.Event()
        self._fewer.set()

    async def few(self) -> None:
        """Wait while so many pages wait that another one would only take memory."""
        while not self._fewer.is_set():
            await self._fewer.wait()

    async def __aenter__(self) -> None:
        """Wait for the turn. Whoever has it waits for nothing but the loop, and lets go where a record ends."""
        self._count(1)
        try:
            await self._turn.acquire()
        finally:
            self._count(-1)

    async def __aexit__(self, *_: object) -> None:
        """The next one's turn."""
        self._turn.release()

    def _count(self, more: int) -> None:
        self._waiting += more
        if self._waiting < self._most:
            self._fewer.set()
        else:
            self._fewer.clear()
