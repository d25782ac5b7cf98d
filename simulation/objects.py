"""The objects of a store in memory: by key, in key order, with the time of their last change."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator

from vortex.core.model import ObjectInfo
from vortex.ports import Clock, NotFound


class Objects:
    """Changes take effect at once. Tests may read `objects`, and change the bodies in it."""

    url = "memory://store"
    """A placeholder."""

    def __init__(self, clock: Clock) -> None:
        self.objects: dict[str, bytes] = {}
        self._clock = clock
        self._keys: list[bytes] = []
        self._modified: dict[str, int] = {}

    def put_now(self, key: str, body: bytes) -> bool:
        """Put if absent."""
        if key in self.objects:
            return False
        self.objects[key] = bytes(body)
        self._modified[key] = self._clock.now_ms()
        insort(self._keys, key.encode())
        return True

    def delete_now(self, key: str) -> bool:
        """Whether there was such an object."""
        if self.objects.pop(key, None) is None:
            return False
        del self._keys[bisect_left(self._keys, key.encode())]
        return True

    def body(self, key: str) -> bytes:
        """The object. Raises NotFound."""
        try:
            return self.objects[key]
        except KeyError:
            raise NotFound(f"{key}: no such object") from None

    def page(self, prefix: str, start_after: str = "", limit: int | None = None) -> list[ObjectInfo]:
        """One page of a listing."""
        after, first = start_after.encode(), prefix.encode()
        begin = bisect_right(self._keys, after) if after >= first else bisect_left(self._keys, first)
        found = []
        for raw in self._keys[begin : None if limit is None else begin + limit]:
            key = raw.decode()
            if not key.startswith(prefix):
                break
            found.append(ObjectInfo(key, len(self.objects[key]), self._modified[key]))
        return found


def tail_of(body: bytes, length: int) -> tuple[bytes, int]:
    """The last bytes, and the size of the whole, as `ObjectStore.get_tail` returns them."""
    return body[max(0, len(body) - length) :], len(body)


async def folders_of(listing: AsyncIterator[ObjectInfo], prefix: str) -> AsyncIterator[str]:
    """The next path segment after `prefix` of the listed keys, each once: for `ObjectStore.list_folders`."""
    last = ""
    async for info in listing:
        name, slash, _ = info.key[len(prefix) :].partition("/")
        if slash and name != last:
            last = name
            yield name
