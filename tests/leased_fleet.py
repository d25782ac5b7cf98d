"""A fleet over one lease table in memory, in virtual time: real loops of several workers, and who reads what."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any, cast

from simulation import vtime
from simulation.memstream import StreamView
from simulation.memtable import MemoryTable
from tests.loops import FAILOVER_S, Worker, World
from vortex.core.fleet.lease import SHARD_END
from vortex.core.log.rules import StreamState, stream_root
from vortex.core.model import Page, Position
from vortex.log.store import LogStore
from vortex.ports import LeaseTable, Stream, Unavailable
from vortex.retry import Once

FAILOVER = float(FAILOVER_S)


class WatchedStream:
    """The stream as one worker sees it; it records who reads which record, and when."""

    def __init__(self, view: StreamView, fleet: FleetWorld) -> None:
        self._view, self._fleet = view, fleet
        self.describe, self.server_time, self.list_shards = view.describe, view.server_time, view.list_shards

    async def iterator(self, shard: str, position: Position) -> str | None:
        return await self._view.iterator(shard, position)

    async def read(self, shard: str, iterator: str, limit: int = 10_000) -> Page:
        page = await self._view.read(shard, iterator, limit)
        now = self._fleet.clock.monotonic()
        self._fleet.read_at[shard].append(now)
        for record in page.records:
            self._fleet.reads[shard, record.sequence] += 1
            self._fleet.worst_lag = max(self._fleet.worst_lag, self._fleet.clock.now_ms() / 1000 - record.arrival)
        return page


class Link:
    """One worker's connection to the lease table, which can be cut."""

    def __init__(self, table: MemoryTable) -> None:
        self.table, self.cut = table, False

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            if self.cut:
                raise Unavailable(name, "connection")
            return await getattr(self.table, name)(*arguments, **options)

        return call


class FleetWorld(World):
    """A world with a lease table."""

    def seen_by(self, owner: str) -> Stream:
        return WatchedStream(self.stream.seen_by(owner), self)

    def table_of(self, owner: str) -> LeaseTable:
        return cast(LeaseTable, Link(self.table))

    def __post_init__(self) -> None:
        super().__post_init__()
        self.table = MemoryTable()
        self.reads: Counter[tuple[str, str]] = Counter()
        self.read_at: defaultdict[str, list[float]] = defaultdict(list)
        self.worst_lag = 0.0

    async def join(self) -> Member:
        """Another worker."""
        worker = await self.begin(Member)
        assert isinstance(worker, Member)
        return worker

    async def log_store_and_state(self) -> tuple[LogStore, StreamState]:
        """What a command reads the state with."""
        log_store = LogStore(
            self.store, stream_root(self.stream.name, (await self.stream.describe()).created_ms), Once()
        )
        state = await log_store.state()
        assert state is not None
        return log_store, state

    async def run(self, seconds: float, every: float = 1.0) -> None:
        """Traffic for so long."""
        for _ in range(int(seconds / every)):
            for _ in range(4):
                self.put(f"id{len(self.sent)}")
            await self.clock.sleep(every)

    def owners(self) -> Counter[str | None]:
        """How many live shards each worker owns."""
        return Counter(row.owner for row in self.table.table.values() if row.checkpoint.sequence != SHARD_END)

    def longest_silence(self, since: float) -> float:
        """The longest time that any shard was not read."""
        now = self.clock.monotonic()
        times = [[since, *(t for t in at if t > since), now] for at in self.read_at.values()]
        return max(late - early for several in times for early, late in pairwise(several))


class Member(Worker):
    """One worker of the fleet."""

    coordinated = True

    @property
    def owner(self) -> str:
        return self.env.owner

    @property
    def link(self) -> Link:
        return cast(Link, self.env.table)

    async def leave(self) -> None:
        """SIGTERM: commit, release, and go."""
        self.fleet.stop()
        await self.tasks[0]
        self.tasks[1].cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def scenario(main: Coroutine[Any, Any, None]) -> None:
    vtime.run(main)


async def all_leave(members: Sequence[Member]) -> None:
    """Stop one member after the other."""
    for member in members:
        await member.leave()


def documents(world: FleetWorld, name: str) -> list[dict[str, Any]]:
    """Every plan.json or done.json, in order."""
    found = sorted(key for key in world.store.objects if "/plans/" in key and key.endswith(f"/{name}.json"))
    return [json.loads(world.store.objects[key]) for key in found]


def planner(members: list[Member]) -> Member:
    return next(one for one in members if one.fleet.roster.rank == 0)
