"""The keys that earlier plans published: read from their files, and kept in memory as far as there is room.

A file never changes, so what is kept of one is as good as the file. Nothing is kept of a decision before its file is
known to say the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from vortex.core.dedup.bounds import Recent
from vortex.core.dedup.keys import Keys, joined
from vortex.journal import Journal


class KeyCache:
    """By plan, ranges of its published keys; `limit` is in bytes."""

    def __init__(self, journal: Journal, limit: int, on_read: Callable[[], None] = lambda: None) -> None:
        self.limit = limit
        self._journal, self._on_read = journal, on_read
        self._held: dict[int, dict[tuple[int, int], Keys]] = {}
        """By plan and range: which of how many equal ranges of all keys."""

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(keys.nbytes for ranges in self._held.values() for keys in ranges.values())

    def __len__(self) -> int:
        return sum(len(keys) for ranges in self._held.values() for keys in ranges.values())

    def forget(self, before: int | None = None) -> None:
        """What plans before this one published; or all."""
        self._held = {} if before is None else {k: ranges for k, ranges in self._held.items() if k >= before}

    def keep(self, k: int, part: int, parts: int, keys: Keys) -> None:
        """Hold what plan k published in a range, if there is room. It must be as its file has it."""
        ranges = self._held.setdefault(k, {})
        if self._covering(ranges, part, parts) is None and self.nbytes + keys.nbytes <= self.limit:
            ranges[part, parts] = keys

    async def published(self, plan: Recent, part: int, parts: int) -> Keys | None:
        """What a plan published in a range; None where it had nothing to decide. Raises NotFound, CorruptSegment."""
        if not plan.parts:
            return None
        found = self._covering(self._held.get(plan.k, {}), part, parts)
        if found is None:
            found = await self._read(plan, part, parts)
            self.keep(plan.k, part, parts, found)
        return found

    def _covering(self, ranges: dict[tuple[int, int], Keys], part: int, parts: int) -> Keys | None:
        """The range out of a larger one, or put together of smaller ones, where those are all there."""
        for (one, of), keys in ranges.items():
            if of <= parts and part * of // parts == one:
                return keys if of == parts else keys.within(part, parts)
        for of in {of for _, of in ranges if of > parts}:
            several = of // parts
            pieces = [ranges.get((part * several + at, of)) for at in range(several)]
            if all(piece is not None for piece in pieces):
                return joined([piece for piece in pieces if piece is not None])
        return None

    async def _read(self, plan: Recent, part: int, parts: int) -> Keys:
        several = max(1, plan.parts // parts)
        first = part * plan.parts // parts

        async def one(number: int) -> Keys:
            journal = self._journal
            decided = await journal.decided(plan.k, number)
            mine = (part, parts) if plan.parts <= parts else (number, plan.parts)
            self._on_read()
            return await journal.published(decided, *mine)

        return joined(list(await asyncio.gather(*(one(number) for number in range(first, first + several)))))
