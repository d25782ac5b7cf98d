"""A stream with wrong replies, and a world whose worker reads through it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from tests.loops import World
from vortex.core.ingest.pacing import MOST_RECORDS
from vortex.core.model import Page, Position, ShardInfo, StreamInfo
from vortex.ports import Stream


class FaultyStream:
    """A stream with some wrong replies: `on(operation, fault, times)` calls the fault with the true reply."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.injected: dict[str, int] = {}
        self._faults: dict[str, tuple[Callable[..., Any], int, int]] = {}

    def on(self, operation: str, fault: Callable[..., Any], times: int = 1, after: int = 0) -> None:
        self._faults[operation] = fault, times, after

    async def _reply(self, operation: str, call: Callable[[], Awaitable[Any]], *about: Any) -> Any:
        fault, times, after = self._faults.get(operation, (None, 0, 0))
        if fault is None or times == 0:
            return await call()
        if after:
            self._faults[operation] = fault, times, after - 1
            return await call()
        self._faults[operation] = fault, times - 1, 0
        self.injected[operation] = self.injected.get(operation, 0) + 1
        return fault(await call(), *about)

    async def describe(self) -> StreamInfo:
        found: StreamInfo = await self._reply("describe", self.stream.describe)
        return found

    async def server_time(self) -> int:
        found: int = await self._reply("server_time", self.stream.server_time)
        return found

    async def list_shards(self) -> list[ShardInfo]:
        found: list[ShardInfo] = await self._reply("list_shards", self.stream.list_shards)
        return found

    async def iterator(self, shard: str, position: Position) -> str | None:
        call = lambda: self.stream.iterator(shard, position)  # noqa: E731
        found: str | None = await self._reply("iterator", call, shard, position)
        return found

    async def read(self, shard: str, iterator: str, limit: int = MOST_RECORDS) -> Page:
        call = lambda: self.stream.read(shard, iterator, limit)  # noqa: E731
        found: Page = await self._reply("read", call, shard)
        return found


class FaultyWorld(World):
    """A world whose worker reads through a `FaultyStream`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.faulty = FaultyStream(self.stream)

    def seen_by(self, owner: str) -> Stream:
        return self.faulty

    def parent(self) -> str:
        return self.stream.shards()[0].id


def of_kinesis(listed: list[ShardInfo]) -> list[ShardInfo]:
    """A fault of `list_shards`: sequence numbers as long as those of Kinesis."""
    return [msgspec.structs.replace(shard, start_sequence=f"49{int(shard.start_sequence):054d}") for shard in listed]
