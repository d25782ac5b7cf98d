"""An object store in memory: put-if-absent, listings in key order, times from the given clock."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

from vortex.core.model import ObjectInfo
from vortex.ports import Clock, NotFound

Before = Callable[[str, str], Awaitable[None]]
"""`before(operation, key)` is awaited before every call; it may wait or raise."""


async def _nothing_before(operation: str, key: str) -> None:
    """Nothing goes wrong."""


class MemoryStore:
    """An ObjectStore. Tests may read and change `objects`."""

    def __init__(self, clock: Clock, before: Before = _nothing_before) -> None:
        self.objects: dict[str, bytes] = {}
        self._clock = clock
        self.before = before
        self._keys: list[bytes] = []
        self._modified: dict[str, int] = {}

    @property
    def url(self) -> str:
        """A placeholder URL."""
        return "memory://store"

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port."""
        await self.before("put", key)
        return self.put_now(key, body)

    def put_now(self, key: str, body: bytes) -> bool:
        """Apply a put at once: for requests that take effect after their reply."""
        if key in self.objects:
            return False
        self.objects[key] = bytes(body)
        self._modified[key] = self._clock.now_ms()
        insort(self._keys, key.encode())
        return True

    async def get(self, key: str) -> bytes:
        """See the port."""
        await self.before("get", key)
        return self._read(key)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        await self.before("get", key)
        return self._read(key)[offset : offset + length]

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""
        await self.before("get", key)
        body = self._read(key)
        return body[max(0, len(body) - length) :], len(body)

    def _read(self, key: str) -> bytes:
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(f"{key}: no such object") from None

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port."""
        await self.before("list", prefix)
        begin = bisect_right(self._keys, max(start_after.encode(), prefix.encode()[:-1]))
        for raw in self._keys[begin:]:
            key = raw.decode()
            if key > start_after and key.startswith(prefix):
                yield ObjectInfo(key, len(self.objects[key]), self._modified[key])
            elif raw > prefix.encode() and not key.startswith(prefix):
                return

    async def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        last = ""
        async for info in self.list(prefix):
            name, slash, _ = info.key[len(prefix) :].partition("/")
            if slash and name != last:
                last = name
                yield name

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port."""
        for key in keys:
            await self.before("delete", key)
            if self.objects.pop(key, None) is not None:
                self._keys.remove(key.encode())
