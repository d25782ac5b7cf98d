"""An object store in memory that a test can delay or break: put-if-absent, listings in key order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from simulation.objects import Objects, folders_of, tail_of
from vortex.core.model import ObjectInfo
from vortex.ports import Clock

Before = Callable[[str, str], Awaitable[None]]
"""`before(operation, key)` is awaited before every call; it may wait or raise."""


async def _nothing_before(operation: str, key: str) -> None:
    """Nothing goes wrong."""


class MemoryStore(Objects):
    """An ObjectStore."""

    def __init__(self, clock: Clock, before: Before = _nothing_before) -> None:
        super().__init__(clock)
        self.before = before

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port."""
        await self.before("put", key)
        return self.put_now(key, body)

    async def get(self, key: str) -> bytes:
        """See the port."""
        await self.before("get", key)
        return self.body(key)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        await self.before("get", key)
        return self.body(key)[offset : offset + length]

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""
        await self.before("get", key)
        return tail_of(self.body(key), length)

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port."""
        await self.before("list", prefix)
        for info in self.page(prefix, start_after):
            yield info

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        return folders_of(self.list(prefix), prefix)

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port."""
        for key in keys:
            await self.before("delete", key)
            self.delete_now(key)
