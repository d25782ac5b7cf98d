"""An object store whose writes may take effect long after their caller died.

`SimStore` is the actual state. A `StoreView` is one process's connection to it, with all its faults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from random import Random
from typing import Protocol

from simulation import vtime
from simulation.faults import Conditions
from simulation.objects import Objects, folders_of, tail_of
from vortex.core.log.segment import SEGMENT_TRAILER, VERSION
from vortex.core.log.trailer import OtherVersion
from vortex.core.model import ObjectInfo
from vortex.ports import Clock, Denied, NotFound, Unavailable

NEWER = VERSION + 1
"""The segment version that processes with the fault `process.version` write and others cannot read."""


class Gate(Protocol):
    """Stops the calls of a process that is paused or dead."""

    halted: bool
    """Whether `awake` must be called now."""

    async def gate(self, what: str) -> None:
        """Called before a call."""
        ...

    async def awake(self) -> None:
        """Called before a reply is delivered."""
        ...


class SimStore(Objects):
    """The objects, and callbacks on changes. Writes that have not arrived yet are in `on_the_wire`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.on_write: Callable[[str, bytes], None] = lambda key, body: None
        self.on_delete: Callable[[str], None] = lambda key: None
        self.on_the_wire: dict[int, tuple[asyncio.TimerHandle, str, bytes]] = {}
        self.troubles: dict[str, float] = {}
        """By name, until when (loop time) a fault of the whole store lasts."""
        self._sent = 0

    def put_now(self, key: str, body: bytes) -> bool:
        """Put if absent, and call `on_write`."""
        created = super().put_now(key, body)
        if created:
            self.on_write(key, body)
        return created

    def delete_now(self, key: str) -> bool:
        """Delete, and call `on_delete`."""
        deleted = super().delete_now(key)
        if deleted:
            self.on_delete(key)
        return deleted

    def send(self, key: str, body: bytes, delay: float) -> tuple[int, asyncio.Future[bool]]:
        """Send a write; the future gives its outcome."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[bool] = loop.create_future()
        self._sent += 1
        number = self._sent

        def land() -> None:
            del self.on_the_wire[number]
            created = self.put_now(key, body)
            if not outcome.done():
                outcome.set_result(created)

        self.on_the_wire[number] = (loop.call_later(delay, land), key, body)
        return number, outcome

    def lose(self, number: int) -> None:
        """Drop a write that has not arrived."""
        if (sent := self.on_the_wire.pop(number, None)) is not None:
            sent[0].cancel()

    def land_all(self) -> int:
        """Apply all writes that have not arrived. Returns their number."""
        late = list(self.on_the_wire.values())
        self.on_the_wire.clear()
        for handle, key, body in late:
            handle.cancel()
            self.put_now(key, body)
        return len(late)


class StoreView:
    """The `ObjectStore` of one process."""

    def __init__(
        self, store: SimStore, gate: Gate, conditions: Conditions, rng: Random, say: Callable[[str], None]
    ) -> None:
        self._store, self._gate, self._conditions, self._rng, self._say = store, gate, conditions, rng, say
        self.version = NEWER
        """The newest segment version that the process can read."""

    url = Objects.url

    async def put_if_absent(self, key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """See the port."""
        await self._before("put", key)
        rng, conditions = self._rng, self._conditions
        if self._in_trouble("disk_full"):
            raise Unavailable(f"put {key}: no space left", "disk_full")
        if conditions.occurs("store.conflict", rng):
            self._say(f"409 {key}")
            raise Unavailable(f"put {key}: 409", "conflict")
        if conditions.occurs("store.late_put", rng):
            delay = rng.choice((rng.uniform(20, 600), rng.uniform(600, 7200)))
            self._say(f"late by {delay:.0f} s: put {key}")
            self._store.send(key, bytes(body), delay)
            await vtime.sleep(10)
            if self._gate.halted:
                await self._gate.awake()
            raise Unavailable(f"put {key}: timed out", "timeout")
        lost = conditions.occurs("store.lost_reply", rng)
        number, outcome = self._store.send(key, bytes(body), rng.uniform(0.001, 0.05))
        survives = rng.random() < 0.5
        try:
            created = await outcome
            await vtime.sleep(rng.uniform(0.001, 0.03))
            if self._gate.halted:
                await self._gate.awake()
        except asyncio.CancelledError:
            if not survives:
                self._store.lose(number)
            raise
        if lost:
            self._say(f"reply lost: put {key} -> {created}")
            raise Unavailable(f"put {key}: connection lost", "timeout")
        self._say(f"put {key} -> {created}")
        return created

    async def get(self, key: str) -> bytes:
        """See the port."""
        return await self._get(key)

    async def get_range(self, key: str, offset: int, length: int) -> bytes:
        """See the port."""
        return (await self._get(key))[offset : offset + length]

    async def get_tail(self, key: str, length: int) -> tuple[bytes, int]:
        """See the port."""
        return tail_of(await self._get(key), length)

    async def _get(self, key: str) -> bytes:
        await self._before("get", key)
        body = self._store.objects.get(key)
        if self._gate.halted:
            await self._gate.awake()
        if body is None:
            raise NotFound(f"{key}: no such object")
        if self.version < NEWER and key.endswith(".seg") and SEGMENT_TRAILER.version(body) > self.version:
            raise OtherVersion(f"{key}: format version {NEWER}; this program knows {self.version}")
        return body

    async def list(self, prefix: str, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See the port. If slow, its pages show different moments, as in S3."""
        await self._before("list", prefix)
        slow = self._conditions.occurs("store.slow_list", self._rng)
        limit, after = (self._rng.randint(1, 4) if slow else 1000), start_after
        while True:
            rows = self._store.page(prefix, after, limit)
            for row in rows:
                yield row
            if len(rows) < limit:
                return
            after = rows[-1].key
            await vtime.sleep(self._rng.choice((0.05, 3.0)) if slow else 0.01)
            await self._before("list", prefix)

    def list_folders(self, prefix: str) -> AsyncIterator[str]:
        """See the port."""
        return folders_of(self.list(prefix), prefix)

    async def delete(self, keys: Iterable[str]) -> None:
        """See the port; a process may die, or a call may fail, in between."""
        for key in keys:
            await self._before("delete", key)
            self._say(f"delete {key}")
            self._store.delete_now(key)

    async def _before(self, operation: str, key: str) -> None:
        await self._gate.gate(f"{operation} {key}")
        rng, conditions = self._rng, self._conditions
        if self._in_trouble("denied"):
            raise Denied(f"{operation} {key}")
        if operation != "put":
            await vtime.sleep(rng.uniform(0.001, 0.05))
        if conditions.occurs("store.slow", rng):
            await vtime.sleep(rng.choice((1.0, 5.0, 60.0)) * rng.random())
        if self._gate.halted:
            await self._gate.awake()
        if conditions.occurs("store.error", rng):
            raise Unavailable(f"{operation} {key}: 503", "throttled")

    def _in_trouble(self, name: str) -> bool:
        return not self._conditions.ended and self._store.troubles.get(name, 0.0) > vtime.now()
