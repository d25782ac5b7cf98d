"""The keys that earlier plans published: read from their decision files, and cached in memory up to a limit.

A file never changes, so the cache is always valid. Keys of a decision are cached only after its file is known to be
written with the same content. The newest plans are cached completely, at 20 bytes per key; older ones as fingerprints,
at 3.3 bytes per key, which show where in the file to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from vortex.core.dedup.decided import Decided
from vortex.core.dedup.index import Fingerprints, Words
from vortex.core.dedup.keys import KEY, Keys
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.bounds import Recent
from vortex.log.store import LogStore
from vortex.ports import Offload

_READS = 2
"""Files that are processed concurrently: each may be in memory completely."""
_NEAR = 256 * 1024
"""Unwanted bytes between two wanted buckets that are read too, to save a request."""
_MOST = 8 * 2**20
"""Maximum bytes of one request."""
Range = tuple[int, int]
"""The number of a key range, and the number of equal ranges."""


class KeyCache:
    """Published keys by plan and range. `limit` is in bytes; `on_read` is called for each request."""

    def __init__(
        self, log_store: LogStore, offload: Offload, limit: int, on_read: Callable[[], None] = lambda: None
    ) -> None:
        self.limit = limit
        self._log_store, self._offload, self._on_read = log_store, offload, on_read
        self._held: dict[int, dict[Range, Keys | Fingerprints]] = {}
        self._decided: dict[tuple[int, int], Decided] = {}
        self._held_bytes = self._decided_bytes = 0
        """Counted on the way: a window of a week has thousands of plans, and each of them asks."""
        self._reading = asyncio.Semaphore(_READS)
        self._keeping = asyncio.Lock()

    def __len__(self) -> int:
        return sum(len(cached) for _, _, cached in self.held())

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self._held_bytes + self._decided_bytes

    def held(self) -> Iterator[tuple[int, Range, Keys | Fingerprints]]:
        """What is in memory: plan, range, keys."""
        for k, ranges in self._held.items():
            for place, cached in ranges.items():
                yield k, place, cached

    def forget(self, before: int | None = None) -> None:
        """Drop the keys of the plans before this one, or of all plans."""
        if before is None:
            self._held, self._decided = {}, {}
        else:
            self._held = {k: ranges for k, ranges in self._held.items() if k >= before}
            self._decided = {place: file for place, file in self._decided.items() if place[0] >= before}
        self._held_bytes = sum(cached.nbytes for _, _, cached in self.held())
        self._decided_bytes = sum(file.nbytes for file in self._decided.values())

    async def keep(self, k: int, part: int, parts: int, keys: Keys) -> None:
        """Cache what plan k published in a range, as in its file. Older plans shrink to make room.

        The keys are in memory of their own (`Keys.room`, `Keys.copy`).
        """
        async with self._keeping:
            self._hold(k, (part, parts), keys)
            for old, place, cached in self._by_age():
                if self.nbytes <= self.limit:
                    return
                if isinstance(cached, Keys):
                    fingerprints = await self._offload(Fingerprints, cached.high, *place)
                    if self._held.get(old, {}).get(place) is cached:  # and was not forgotten meanwhile
                        self._hold(old, place, fingerprints)
            for old, place, cached in self._by_age():
                if self.nbytes <= self.limit:
                    return
                del self._held[old][place]
                self._held_bytes -= cached.nbytes
            if self.nbytes > self.limit:
                self._decided, self._decided_bytes = {}, 0

    def _hold(self, k: int, place: Range, cached: Keys | Fingerprints) -> None:
        ranges = self._held.setdefault(k, {})
        before = ranges.get(place)
        self._held_bytes += cached.nbytes - (before.nbytes if before is not None else 0)
        ranges[place] = cached

    def _by_age(self) -> list[tuple[int, Range, Keys | Fingerprints]]:
        """What is in memory, the oldest plan first; nothing where there is room enough."""
        return sorted(self.held(), key=lambda row: row[0]) if self.nbytes > self.limit else []

    async def published(self, plan: Recent, part: int, parts: int) -> Keys | None:
        """All keys that a plan published in a range; None if the plan had nothing to decide.

        Raises NotFound, CorruptSegment.
        """
        if not plan.parts:
            return None
        found = self._covering(plan.k, part, parts)
        if isinstance(found, Keys):
            return found.within(part, parts)
        keys = await self._read(plan, part, parts)
        if found is None:
            await self.keep(plan.k, part, parts, keys)
        return keys

    async def among(self, plans: Iterable[Recent], part: int, parts: int, high: Words, low: Words) -> list[Keys]:
        """The keys that the plans published in a range and that are among the given sorted keys; perhaps more.

        Raises NotFound, CorruptSegment.
        """
        known = (self._known(plan, part, parts, high, low) for plan in plans if plan.parts)
        return list(await asyncio.gather(*known))

    async def _known(self, plan: Recent, part: int, parts: int, high: Words, low: Words) -> Keys:
        async with self._reading:
            found = self._covering(plan.k, part, parts)
            if isinstance(found, Keys):
                return found
            if isinstance(found, Fingerprints):
                wanted = high[await self._offload(found.may_have, high)]
                keys = await self._wanted(plan, part, parts, wanted)
            else:
                keys = await self._read(plan, part, parts)
                await self.keep(plan.k, part, parts, keys)
            return await self._offload(keys.among, high, low)  # a copy, so that the file's memory is freed

    def _covering(self, k: int, part: int, parts: int) -> Keys | Fingerprints | None:
        """The cached keys of a range, or of a larger range that contains it."""
        cached = self._held.get(k, {}).items()
        return next((held for (one, of), held in cached if of <= parts and part * of // parts == one), None)

    async def _read(self, plan: Recent, part: int, parts: int) -> Keys:
        """Read a range of a plan from its files."""
        files = [await self._file(plan, number) for number in _files(plan, part, parts)]
        whole = plan.parts > parts
        read = await self._load(
            [(one, *((0, len(one.buckets)) if whole else one.buckets_of(part, parts))) for one in files]
        )
        keys = read.within(part, parts)
        return keys if len(keys) == len(read) else await self._offload(keys.copy)

    async def _wanted(self, plan: Recent, part: int, parts: int, high: Words) -> Keys:
        """The buckets that may contain keys with these high words, of the files that contain a range."""
        files = [await self._file(plan, number) for number in _files(plan, part, parts)]
        return await self._load(
            [(one, *run) for one in files for run in _runs(one, one.buckets_with(high).tolist()) or [(0, 0)]]
        )

    async def _load(self, chosen: Sequence[tuple[Decided, int, int]]) -> Keys:
        """Read buckets first..last (half-open) of some files of one plan, in order. No key is copied twice."""
        lengths = [decided.bucket_bytes(first, last)[1] // KEY.itemsize for decided, first, last in chosen]
        keys, at = Keys.room(sum(lengths), *chosen[0][0].times), 0
        for decided, first, last in chosen:
            for one, next_ in _requests(decided, first, last):
                self._on_read()
                end = at + decided.bucket_bytes(one, next_)[1] // KEY.itemsize
                await self._log_store.published(decided, one, next_, keys.between(at, end), self._offload)
                at = end
        return keys

    async def _file(self, plan: Recent, number: int) -> Decided:
        """A decision file without its keys. Raises CorruptSegment if its number of parts differs from the plan's."""
        if (plan.k, number) not in self._decided:
            self._on_read()
            decided = await self._log_store.decided(plan.k, number)
            if decided.parts != plan.parts:
                raise CorruptSegment(
                    f"{decided.name}: is one of {decided.parts} parts, but plan {plan.k} has {plan.parts}"
                )
            if (plan.k, number) not in self._decided:  # nobody else has read it meanwhile
                self._decided_bytes += decided.nbytes
            self._decided[plan.k, number] = decided
        return self._decided[plan.k, number]


def _files(plan: Recent, part: int, parts: int) -> range:
    """The numbers of the files that contain a range."""
    first = part * plan.parts // parts
    return range(first, first + max(1, plan.parts // parts))


def _runs(decided: Decided, buckets: list[int]) -> list[tuple[int, int]]:
    """Runs of buckets, first..last (half-open), with small gaps."""
    ends = [0] + [
        at for at, (one, next_) in enumerate(pairwise(buckets), 1) if decided.bucket_bytes(one + 1, next_)[1] > _NEAR
    ]
    return [(buckets[begin], buckets[end - 1] + 1) for begin, end in pairwise([*ends, len(buckets)]) if begin < end]


def _requests(decided: Decided, first: int, last: int) -> Iterator[tuple[int, int]]:
    """The buckets first..last in runs of about `_MOST` bytes."""
    begin = first
    for at in range(first + 1, last + 1):
        if at == last or decided.bucket_bytes(begin, at + 1)[1] > _MOST:
            yield begin, at
            begin = at
