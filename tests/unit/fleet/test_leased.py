"""A fleet over one lease table in memory, in virtual time: the real loops of several workers share the shards."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from typing import Any, cast

import pytest

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

    async def journal_and_state(self) -> tuple[LogStore, StreamState]:
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


def test_rolling_restart_pauses_reading_for_seconds_and_reads_nothing_twice() -> None:
    """A worker commits what it read before it releases a shard, so the next one continues there."""

    async def main() -> None:
        world = FleetWorld(shards=16)
        members = [await world.join() for _ in range(5)]
        await world.run(120)
        begun = world.clock.monotonic()
        for at in range(5):
            await members[at].leave()
            await world.run(5)
            members[at] = await world.join()
            await world.run(60)
        assert sorted(world.owners().values()) == [3, 3, 3, 3, 4]
        silence, lag = world.longest_silence(begun), world.worst_lag
        assert silence < 8, f"a shard was not read for {silence:.1f} s"
        assert lag < 10, f"a record was read {lag:.1f} s after it came"
        assert set(world.reads.values()) == {1}, "nothing is read twice"
        await world.clock.sleep(600)
        await all_leave(members)
        assert all(row.owner is None for row in world.table.table.values())
        await world.verified()

    scenario(main())


def test_fleet_reads_the_shards_of_a_dead_worker_after_the_failover_time() -> None:
    """Within the failover time and one look at the table."""

    async def main() -> None:
        world = FleetWorld(shards=8)
        members = [await world.join() for _ in range(3)]
        await world.run(60)
        died = world.clock.monotonic()
        await members[0].kill()
        await world.run(30)
        assert world.longest_silence(died) < FAILOVER + 5
        assert sorted(world.owners().values()) == [4, 4]
        await world.clock.sleep(600)
        await all_leave(members[1:])
        await world.verified()

    scenario(main())


def test_fleet_creates_child_leases_when_the_parents_end() -> None:
    """Through splits and a merge, with workers that come and go. Ended rows stay and name their children."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(30)
        first = world.stream.shards()[0]
        left, right = world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        await world.run(30)
        await members[0].kill()
        child = world.stream.merge(left, right)
        await world.run(60)
        members[0] = await world.join()
        await world.run(60)
        rows = world.table.table
        assert rows[first.id].checkpoint.sequence == SHARD_END
        assert rows[first.id].children == (left, right)
        assert rows[child].parents == (left, right)
        assert rows[child].checkpoint.numbered, "the checkpoint mirrors the committed position"
        assert {row.owner for row in rows.values() if row.checkpoint.ended} == {None}
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_fleet_holds_a_child_back_until_a_parent_without_a_lease_has_ended() -> None:
    """Resharded twice before the start: half of a split is merged with a root, which ends before the split does."""

    async def main() -> None:
        world = FleetWorld(shards=2)
        first, second = world.stream.shards()
        _, right = world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        world.stream.merge(right, second.id)
        world.stream.put("x", b'{"c": "a", "t": "v", "id": "x"}')
        world.sent["x"] += 1
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        assert [member.fleet.given_up for member in members] == [{}, {}]
        assert sorted(world.owners().values()) == [1, 1]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_fleet_continues_reading_while_the_lease_table_does_not_answer() -> None:
    """Leases only save effort. Without the table no worker can take a shard, so none releases one."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        begun = world.clock.monotonic()

        async def dead(operation: str, key: str) -> None:
            raise Unavailable(f"{operation} {key}", "throttled")

        async def well(operation: str, key: str) -> None:
            return None

        world.table.before = dead
        await world.run(120)
        assert world.longest_silence(begun) < 3
        assert "leases" in world.health.report()
        world.table.before = well
        await world.run(60)
        assert "leases" not in world.health.report()
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()
        assert set(world.reads.values()) == {1}

    scenario(main())


@pytest.mark.parametrize("rows", ["an hour ago", "none"])
def test_fleet_loses_no_event_when_the_lease_table_is_restored_or_emptied(rows: str) -> None:
    """Restored to a time before a split and with other owners, or emptied: the logs are authoritative."""

    async def main() -> None:
        world = FleetWorld(shards=3)
        members = [await world.join() for _ in range(2)]
        await world.run(60)
        before = world.table.snapshot() if rows == "an hour ago" else {}
        first = world.stream.shards()[0]
        world.stream.split(first.id, (first.start_hash + first.end_hash) // 2)
        await world.run(1200, every=5.0)
        await members[0].kill()
        members[0] = await world.join()
        await world.run(600, every=5.0)
        world.table.restore(before)
        await world.run(120)
        assert world.health.report() == {}
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_worker_without_the_lease_table_stops_a_shard_when_another_writes_its_log() -> None:
    """It reads until its commit fails because another worker has written that segment."""

    async def main() -> None:
        world = FleetWorld(shards=4)
        members = [await world.join() for _ in range(2)]
        await world.run(60)

        members[0].link.cut = True
        await world.run(200)
        assert list(world.owners()) == [members[1].owner]
        assert members[0].fleet.workers == {}, "it has lost every shard's log and waits for the table"
        members[0].link.cut = False
        await world.run(60)
        assert sorted(world.owners().values()) == [2, 2]
        await world.clock.sleep(600)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_workers_that_start_together_share_the_creation_of_leases() -> None:
    """On an empty table."""

    async def main() -> None:
        world = FleetWorld(shards=200)
        calls: Counter[str] = Counter()

        async def counted(operation: str, key: str) -> None:
            calls[operation] += 1
            await world.clock.sleep(0.005)

        world.table.before = counted
        members = [await world.join() for _ in range(5)]
        await world.clock.sleep(60)
        assert calls["create"] < 400
        assert set(world.owners().values()) == {40}
        await all_leave(members)

    scenario(main())
