"""Shared by all shards of a process: the memory for uncommitted lines, and turns for decoding pages."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(slots=True)
class _Held:
    """Bytes of one shard's lines: those being gathered, and those being committed."""

    gathering: int = 0
    committing: int = 0


class MemoryBudget:
    """One limit for the uncommitted lines of all shards.

    At the limit, readers wait. At half of it, the shard that has gathered most is asked to commit. Under pressure
    readers block; nothing is dropped.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        """Bytes held by all shards; a running total, since every poll of every shard reads it."""
        self._gathering = 0
        self._held: dict[str, _Held] = {}
        self._room = asyncio.Condition()

    async def hold(self, who: str, gathering: int, committing: int = 0) -> None:
        """Set the bytes that `who` holds now."""
        async with self._room:
            before, self._held[who] = self._held.get(who, _Held()), _Held(gathering, committing)
            self.used += gathering + committing - before.gathering - before.committing
            self._gathering += gathering - before.gathering
            self._room.notify_all()

    def asks(self, who: str) -> bool:
        """Whether `who` should commit early: more than half of the limit is gathered, and nobody has gathered more.

        Only the largest is asked. If all committed, each segment would hold one or two pages, and publishing would have
        to recompress their lines. Bytes being committed do not count, since they are freed soon.
        """
        if self._gathering * 2 <= self.limit:
            return False
        mine = self._held.get(who, _Held()).gathering
        return mine >= max(held.gathering for held in self._held.values())

    @property
    def full(self) -> bool:
        """Whether all readers must wait."""
        return self.used >= self.limit

    async def room(self) -> None:
        """Wait until another shard has committed. The caller has already committed its own lines."""
        async with self._room:
            await self._room.wait_for(lambda: not self.full)


class Turns:
    """Turns for decoding pages: one shard at a time, in the order of requests.

    So only one decompressed record is in memory, not one per shard, and the event loop runs at most one decompression
    step before it handles other tasks.
    """

    def __init__(self, most_waiting: int = 8) -> None:
        """`most_waiting`: pages that may wait for their turn before readers pause."""
        self._turn = asyncio.Lock()
        self._most, self._waiting = most_waiting, 0
        self._fewer = asyncio.Event()
        self._fewer.set()

    async def few(self) -> None:
        """Wait while so many pages are waiting that another one would only use memory."""
        while not self._fewer.is_set():
            await self._fewer.wait()

    async def __aenter__(self) -> None:
        """Wait for the turn. Its holder awaits only the event loop, and releases the turn at the end of a record."""
        self._count(1)
        try:
            await self._turn.acquire()
        finally:
            self._count(-1)

    async def __aexit__(self, *_: object) -> None:
        """Pass the turn on."""
        self._turn.release()

    def _count(self, more: int) -> None:
        self._waiting += more
        if self._waiting < self._most:
            self._fewer.set()
        else:
            self._fewer.clear()
