"""Keeps what was read last, up to a size: a search for several events reads the same things again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class RecentlyRead(Generic[K, V]):
    """Values by key. The oldest ones go when the sum of `size_of` exceeds `limit`; one value is always kept."""

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit, self._size_of = limit, size_of
        self._held: OrderedDict[K, V] = OrderedDict()
        self._size = 0

    async def get(self, key: K, read: Callable[[], Awaitable[V]]) -> V:
        """The value, read if it is not held. Raises what `read` raises."""
        if key in self._held:
            self._held.move_to_end(key)
            return self._held[key]
        value = await read()
        if key not in self._held:  # nobody else has read it meanwhile
            self._size += self._size_of(value)
        self._held[key] = value
        while self._size > self._limit and len(self._held) > 1:
            self._size -= self._size_of(self._held.popitem(last=False)[1])
        return value
