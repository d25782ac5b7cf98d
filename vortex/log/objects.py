"""Objects of the store: each call is repeated until the store answers, and corrupt data are read again."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from vortex.core.log.rules import Damaged
from vortex.core.log.trailer import CorruptSegment, OtherVersion, Trailer
from vortex.ports import NotFound, ObjectStore
from vortex.retry import Retry

T = TypeVar("T")
log = logging.getLogger(__name__)

TAIL = 64 * 1024
"""Bytes that are read of the end of an object at first."""
PAUSES_S = (1.0, 5.0, 20.0, 60.0)
"""Pauses before corrupt data are read again: a proxy may have damaged them in transit, and may go on for a minute."""


class CheckedObjects:
    """Small objects, read and written whole, and any reading with a check."""

    def __init__(self, store: ObjectStore, retry: Retry) -> None:
        self.store = store
        self._retry = retry

    async def document(self, key: str, read: Callable[[bytes], T]) -> T | None:
        """Read and parse a document; None if it is missing. Raises Damaged if it is invalid."""

        async def look() -> T | None:
            try:
                return read(await self.store.get(key))
            except NotFound:
                return None
            except ValueError as problem:
                raise Damaged(
                    f"{key}: is damaged, or was written by something else: {problem}. Restore it in {self.store.url}; "
                    "starting over would lose or repeat data"
                ) from problem

        return await self.checked(f"get {key}", look)

    async def get(self, key: str) -> bytes | None:
        """The whole object, or None if it is missing."""

        async def read() -> bytes | None:
            try:
                return await self.store.get(key)
            except NotFound:
                return None

        return await self._retry(f"get {key}", read)

    async def exists(self, key: str) -> bool:
        """Whether the key exists, without reading the object."""

        async def look() -> bool:
            try:
                await self.store.get_tail(key, 1)
            except NotFound:
                return False
            return True

        return await self._retry(f"look for {key}", look)

    async def end(self, key: str, trailer: Trailer, first: int = TAIL) -> tuple[bytes, int]:
        """The trailer and the part that it describes, perhaps with more before them; and the size of the object.

        `first`: the bytes of the first read, which mostly is the only one.
        """
        tail, size = await self.store.get_tail(key, first)
        if (length := trailer.length(tail, key)) > len(tail) and len(tail) < size:
            tail, size = await self.store.get_tail(key, length)
        return tail, size

    async def put(self, key: str, body: bytes) -> bool:
        """Put a document if it is absent; false if another call has put one."""
        return await self._retry(f"put {key}", lambda: self.store.put_if_absent(key, body, "application/json"))

    async def checked(self, what: str, read: Callable[[], Awaitable[T]]) -> T:
        """Call `read`, which checks the data, and repeat it if they are corrupt. Raises what `read` raises last."""
        for pause in PAUSES_S:
            try:
                return await self._retry(what, read)
            except (CorruptSegment, OtherVersion, Damaged) as problem:
                await wait_to_read_again(self._retry, problem, pause)
        return await self._retry(what, read)


async def wait_to_read_again(retry: Retry, problem: object, seconds: float) -> None:
    """What was read is corrupt: say so, count it, and wait."""
    log.warning("%s; reading it again in %.0f s", problem, seconds)
    await retry.pause("corrupt", seconds)
