"""What workers write while they decide on a plan, in one folder: decisions, and the ids that they exchange."""

from __future__ import annotations

import asyncio

import numpy as np
from numpy.typing import NDArray

from vortex.core.dedup.decided import DECISION_TRAILER, Decided, parse
from vortex.core.dedup.groups import GROUP_TRAILER, GroupIds, read_group
from vortex.core.dedup.keys import Keys
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.plan import Plan
from vortex.log.objects import CheckedObjects
from vortex.ports import ObjectStore, Offload
from vortex.retry import Retry

DECIDED = "dedup"
_GROUP = "-ids"
PARALLEL = 32
"""Ranges and files that are read at a time."""


class DedupFiles:
    """Typed access to `<root>/dedup/`. Reads are retried until the store answers."""

    def __init__(self, store: ObjectStore, root: str, retry: Retry) -> None:
        self.store, self.root, self.retry = store, root, retry
        self._objects = CheckedObjects(store, retry)
        self._gate = asyncio.Semaphore(PARALLEL)

    def decided_key(self, k: int, part: int) -> str:
        """The key of the decision file of a part of plan k."""
        return f"{self.root}/{DECIDED}/{k:010d}-{part}"

    async def put_decided(self, k: int, part: int, body: bytes) -> bool:
        """Put the file if it is absent. True if it has these bytes then, False if others. Raises NotFound."""
        key = self.decided_key(k, part)
        created = await self.retry(f"put {key}", lambda: self.store.put_if_absent(key, body))
        return created or await self.retry(f"compare {key}", lambda: self.store.get(key)) == body

    async def has_decided(self, k: int, part: int) -> bool:
        """Whether there is a decision on a part of plan k."""
        return await self._objects.exists(self.decided_key(k, part))

    async def decided(self, k: int, part: int) -> Decided:
        """The decision file of a part of plan k, without its keys. Raises NotFound, CorruptSegment, OtherVersion."""
        key = self.decided_key(k, part)

        async def read() -> Decided:
            decided = parse(*await self._objects.end(key, DECISION_TRAILER), key)
            if (decided.k, decided.part) != (k, part):
                raise CorruptSegment(f"{key}: says that it is part {decided.part} of plan {decided.k}")
            return decided

        async with self._gate:
            return await self._objects.checked(f"read {key}", read)

    async def published(self, decided: Decided, first: int, last: int, keys: Keys, offload: Offload) -> None:
        """Fill `keys` with those in the buckets first..last (half-open) of the file.

        Raises NotFound, CorruptSegment.
        """

        def fill(block: bytes) -> None:
            keys.fill(decided.keys_in(block, first, last))

        async def read() -> None:
            await offload(fill, await self._block(decided, decided.bucket_bytes(first, last)))

        async with self._gate:
            await self._objects.checked(f"read keys {decided.name}", read)

    async def dropped(self, decided: Decided) -> dict[tuple[str, int], list[NDArray[np.uint32]]]:
        """The rows that the file drops, by segment. Raises NotFound, CorruptSegment."""

        async def read() -> dict[tuple[str, int], list[NDArray[np.uint32]]]:
            return decided.dropped_rows(await self._block(decided, decided.dropped_range))

        async with self._gate:
            return await self._objects.checked(f"read {decided.name}", read)

    async def _block(self, decided: Decided, place: tuple[int, int]) -> bytes:
        return await self.store.get_range(decided.name, *place) if place[1] else b""

    # Ids that the workers that decide exchange: in the same folder, so that clean-up finds them.

    def group_key(self, k: int, group: int) -> str:
        """The key of the ids of a group of plan k's shards."""
        return f"{self.decided_key(k, group)}{_GROUP}"

    async def put_group(self, k: int, group: int, body: bytes) -> None:
        """Put the ids of a group if they are absent."""
        key = self.group_key(k, group)
        await self.retry(f"put {key}", lambda: self.store.put_if_absent(key, body))

    async def has_group(self, k: int, group: int) -> bool:
        """Whether the ids of a group of plan k are there."""
        return await self._objects.exists(self.group_key(k, group))

    async def group_ids(self, plan: Plan, group: int, part: int) -> tuple[GroupIds, bytes]:
        """The id file of a group, and its rows of a part, checked. Raises NotFound, CorruptSegment, OtherVersion.

        Corrupt data are not read again: the caller has the segments, and waits for nothing.
        """
        key = self.group_key(plan.k, group)

        async def read() -> tuple[GroupIds, bytes]:
            tail, _ = await self._objects.end(key, GROUP_TRAILER)
            file = read_group(tail, plan, group, key)
            offset, length = file.range_of(part)
            block = await self.store.get_range(key, offset, length) if length else b""
            file.check(block, part)
            return file, block

        async with self._gate:
            return await self.retry(f"read {key}", read)

    async def decided_before(self, k: int, oldest_ms: int, undone: int) -> list[str]:
        """The keys of files to clean up: of plans before k, last written before `oldest_ms`; and id files of any age of
        plans before `undone`.
        """

        async def listing() -> list[str]:
            limit, end, found = self.decided_key(k, 0), self.decided_key(undone, 0), []
            async for info in self.store.list(f"{self.root}/{DECIDED}/"):
                if info.key >= end:
                    break
                if info.key.endswith(_GROUP) or (info.key < limit and info.modified_ms <= oldest_ms):
                    found.append(info.key)
            return found

        return await self.retry("list what was decided", listing)
