"""Shared by all shards of a process: the memory for uncommitted lines, and turns for decoding pages."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

Limit = Callable[[int, int], int]
"""Bytes, by the number of shards at their tip and the number of all shards."""
_SPARE = 8
"""This part of the limit is left free by readers: lines of small events take more memory than their page."""
_CALLS = 8
"""A call under way takes this part of the limit at most, so that a small limit does not mean one call at a time."""


@dataclass(slots=True)
class _Held:
    """Bytes of one shard: lines being gathered, lines being committed, and the page that is read or worked through."""

    gathering: int = 0
    committing: int = 0
    page: int = 0


class MemoryBudget:
    """One limit for the uncommitted lines of all shards, and the pages from which they come.

    A page counts from before the call that brings it until its lines count. At the limit, readers wait in the order in
    which they came, and bytes that get free wake only those that have room. Lines may take many times the memory of
    their page, so at the limit shards also commit before the next record, one after another. The limit is exceeded at
    most by what the calls under way bring beyond what was expected, and by the lines of one step. At half of the limit,
    the shard that has gathered most is asked to commit. Under pressure readers block; nothing is dropped.

    The limit may follow the shards that are read at their tip. A lower one takes nothing back: readers wait, and shards
    commit early, until less is used. What waits has committed before, so it cannot be what the others wait for.
    """

    def __init__(self, limit: int | Limit, resized: Callable[[int], None] = lambda limit: None) -> None:
        """`resized` is called with each new limit."""
        self._limit_of: Limit = limit if callable(limit) else lambda at_tip, shards: limit
        self._resized = resized
        self._shards: set[str] = set()
        self._at_tip: set[str] = set()
        self.limit = self._limit_of(0, 0)
        self.used = 0
        """Bytes held by all shards; a running total, since every poll of every shard reads it."""
        self.lines = 0
        """The part of it that is lines."""
        self._gathering = 0
        self._held: dict[str, _Held] = {}
        self._readers: deque[tuple[str, int, asyncio.Future[None]]] = deque()
        self._workers: deque[asyncio.Future[None]] = deque()

    async def hold(self, who: str, gathering: int, committing: int = 0) -> None:
        """Set the bytes of lines that `who` holds now. New lines lie in its page, which counts for so much less."""
        held = self._held.setdefault(who, _Held())
        more = gathering + committing - held.gathering - held.committing
        out_of_page = min(held.page, max(0, more))
        held.page -= out_of_page
        self.used += more - out_of_page
        self.lines += more
        self._gathering += gathering - held.gathering
        held.gathering, held.committing = gathering, committing
        self._wake()

    def asks(self, who: str) -> bool:
        """Whether `who` should commit early: more than half of the limit is gathered, and nobody has gathered more.

        Only the largest is asked. If all committed, each segment would hold one or two pages, and publishing would have
        to recompress their lines. Bytes being committed do not count, since they are freed soon.
        """
        if self._gathering * 2 <= self.limit:
            return False
        mine = self._held.get(who, _Held()).gathering
        return mine >= max(held.gathering for held in self._held.values())

    # The limit.

    def join(self, who: str) -> None:
        """`who` is read from now on."""
        if who not in self._shards:
            self._shards.add(who)
            self._resize()

    def at_tip(self, who: str) -> None:
        """`who` is read at its tip: from now on the limit allows for what it gathers between two commits.

        A shard that catches up needs no more memory: it is read as fast as it can be, whatever its segments hold.
        """
        if who not in self._at_tip:
            self._at_tip.add(who)
            self.join(who)
            self._resize()

    def behind(self, who: str) -> bool:
        """`who` is far behind its tip. Whether it has to commit: the limit is lower without its share, and exceeded.

        So those commit whose share is gone, and not all at once.
        """
        if who not in self._at_tip:
            return False
        self._at_tip.remove(who)
        self._resize()
        return self.used >= self.limit

    def leave(self, who: str) -> None:
        """`who` is read no longer."""
        self._shards.discard(who)
        self._at_tip.discard(who)
        self._resize()

    def _resize(self) -> None:
        limit = self._limit_of(len(self._at_tip), len(self._shards))
        if limit != self.limit:
            self.limit = limit
            self._resized(limit)
            self._wake()

    # Pages.

    def take(self, who: str, size: int) -> bool:
        """Take up room for a page of about `size` bytes, if there is room or it was reserved; else False."""
        if not self._held.setdefault(who, _Held()).page:
            if self._readers or not self._admits(self._part(size)):
                return False
            self.page(who, self._part(size))
        return True

    async def reserve(self, who: str, size: int) -> None:
        """Wait for that room. The caller has committed its own lines, since others wait for them, too."""
        if self.take(who, size):
            return
        turn = asyncio.get_running_loop().create_future()
        self._readers.append((who, self._part(size), turn))
        try:
            await turn
        except asyncio.CancelledError:
            self.page(who, 0)
            raise

    def _admits(self, size: int) -> bool:
        return not self.used or self.used + size <= self.limit - self.limit // _SPARE

    def _part(self, size: int) -> int:
        return min(max(1, size), max(1, self.limit // _CALLS))

    def page(self, who: str, size: int) -> None:
        """Set the bytes of the page of `who`: as received, or 0 when its lines count instead."""
        held = self._held.setdefault(who, _Held())
        self.used += size - held.page
        held.page = size
        self._wake()

    # Lines.

    @property
    def full(self) -> bool:
        """Whether no more lines may come of the pages that are there: lines fill the memory alone, or together with
        pages while some of them are being committed.
        """
        return self.lines >= self.limit or (self.used >= self.limit and self.lines > self._gathering)

    def exceeded(self, who: str) -> bool:
        """Whether `who` has to commit now, since lines and pages together exceed the limit.

        Others may hold their lines for long, so it goes on without lines of its own.
        """
        own = self._held.get(who, _Held()).gathering
        return own > 0 and self.used >= self.limit <= _SPARE * self.lines

    async def room(self) -> None:
        """Wait until another shard has committed. The caller has already committed its own lines."""
        while self.full:
            turn = asyncio.get_running_loop().create_future()
            self._workers.append(turn)
            try:
                await turn  # the next one is woken when this one has counted its lines
            except asyncio.CancelledError:
                self._wake()
                raise

    def _wake(self) -> None:
        while self._workers and not self.full:
            turn = self._workers.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        while self._readers and self._admits(self._readers[0][1]):
            who, size, turn = self._readers.popleft()
            if not turn.done():
                held = self._held.setdefault(who, _Held())
                self.used += size - held.page
                held.page = size
                turn.set_result(None)


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
