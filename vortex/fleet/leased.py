"""A fleet that shares shards by leases: this process runs the shards whose leases it holds.

Three kinds of tasks run concurrently and do not wait for each other: looking (read the table, take due leases),
heartbeats, and one task for each held shard: wait for the previous owner, work, create the children's rows, release.
Correctness comes from the shard logs: an error here may repeat work, but never produces a wrong file.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from asyncio import FIRST_COMPLETED
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vortex.core.fleet.balance import BEATS, SOON, Roster, Seen, begin_at, decide, look_again, owner_of, roster
from vortex.core.fleet.lease import Lease, checkpoint_of
from vortex.core.fleet.store_mark import ForeignTable
from vortex.core.log.segment import Footer
from vortex.core.model import ShardInfo
from vortex.fleet.fleet import GIVE_UP
from vortex.fleet.lease_holder import Leases, new_lease
from vortex.fleet.old_rows import OldRows
from vortex.health import Health
from vortex.ingest.worker import ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.ports import Clock

log = logging.getLogger(__name__)

_HANDOVERS = 16
"""Stolen shards that may wait for their previous owners, which learn of it from their next looks."""


@dataclass(slots=True)
class _Holding:
    """A held shard: its worker, and the task that runs it after the handover."""

    shard: ShardInfo
    lease: Lease
    worker: ShardWorker
    stolen: bool
    working: asyncio.Future[Footer | None] | None = None
    lost: bool = False


class LeasedFleet:
    """Takes leases, runs their shards, and releases them. After `stop`, `run` ends when all leases are released."""

    alone = False

    def __init__(
        self,
        shard_tree: ShardTree,
        leases: Leases,
        health: Health,
        clock: Clock,
        worker: Callable[[ShardInfo], ShardWorker],
    ) -> None:
        self.workers: dict[str, ShardWorker] = {}
        self.given_up: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.roster = Roster(rank=1)
        """The roster as last seen; before that an empty one, in which this worker does not plan."""
        self._shard_tree, self._leases, self._health, self._clock, self._make = (
            shard_tree,
            leases,
            health,
            clock,
            worker,
        )
        self._old_rows = OldRows(leases, shard_tree, clock)
        self._holdings: dict[str, _Holding] = {}
        self._tasks: dict[str, asyncio.Future[None]] = {}
        self._next_at: dict[str, float] = {}
        """For shards that ran here before: when they may be read again, in case they come back soon."""
        self._stopping = False
        self._looked = False
        """Whether a look has found that the table serves this store."""
        self._wake = asyncio.Event()
        self._begun = asyncio.Event()
        """Set when there is a new task to wait for."""

    async def run(self) -> None:
        """Run until `stop`, and until every shard is committed and released."""
        looking: asyncio.Future[None] = asyncio.ensure_future(self._look_on())
        beating: asyncio.Future[None] = asyncio.ensure_future(self._beat_on())
        try:
            while not looking.done() or self._tasks:
                self._begun.clear()
                begun: asyncio.Future[Any] = asyncio.ensure_future(self._begun.wait())
                waiting: list[asyncio.Future[Any]] = [begun, beating, *self._tasks.values()]
                try:
                    await asyncio.wait(waiting if looking.done() else [*waiting, looking], return_when=FIRST_COMPLETED)
                finally:
                    begun.cancel()
                for task in [each for each in (looking, beating) if each.done()]:
                    task.result()
                for shard in [shard for shard, task in self._tasks.items() if task.done()]:
                    self._tasks.pop(shard).result()
        finally:
            tasks = [looking, beating, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        """Take no more leases; commit and release every shard."""
        self._stopping = True
        self._wake.set()
        for holding in self._holdings.values():
            holding.worker.orders.stop.set()

    # Looking.

    async def _look_on(self) -> None:
        await self._leases.ensure()
        while not self._stopping:
            self._wake.clear()
            pause = await self._look()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._wake.wait()

    async def _look(self) -> float:
        """Read the table and act on it. Returns seconds until the next look."""
        leases, shard_tree = self._leases, self._shard_tree
        seen = await leases.look()
        rows = [one.lease for one in seen]
        for shard, awaited in await leases.settle():
            self._lose(self._holdings.get(shard), awaited)
        if leases.refusal:
            return self._refused()
        self._health.good("leases of another store")
        self._looked = True
        await shard_tree.learn(rows)
        known = {row.key for row in rows}
        if missing := [shard for shard in shard_tree.live.values() if shard.id not in known]:
            await leases.create(self._new_leases(missing))
            return SOON * leases.failover_s
        await self._tidy(seen)
        live = [one for one in seen if one.lease.key in shard_tree.live]
        self.owners = {one.lease.key: one.lease.owner or "" for one in live}
        self.roster = roster(live, leases.me, self._holdings.keys(), leases.failover_s)
        if self.roster.rank == 0:
            await self._old_rows.remove(seen)
        due = [one for one in live if self._may_run(one)]
        decision = decide(due, leases.me, self._holdings.keys(), leases.failover_s)
        await self._give_back([row for row in rows if row not in decision.take])
        waiting = sum(holding.stolen and holding.working is None for holding in self._holdings.values())
        steal = [] if waiting >= _HANDOVERS or decision.steal is None else [decision.steal]
        await asyncio.gather(*(self._take(lease, lease in steal) for lease in [*decision.take, *steal]))
        if decision.take or decision.steal:
            return SOON * leases.failover_s
        return look_again(seen, self._holdings, leases.failover_s)

    def _refused(self) -> float:
        """The table serves another store. A start ends before it writes anything; later, work that is held goes on."""
        if not self._looked:
            raise ForeignTable(self._leases.refusal)
        self._health.bad("leases of another store", self._leases.refusal)
        return self._leases.failover_s

    def _new_leases(self, missing: list[ShardInfo]) -> list[Lease]:
        """Rows to add, from a different first row for each worker, so that workers starting together share the work."""
        missing.sort(key=lambda shard: shard.id)
        first = begin_at(self._leases.me, len(missing))
        stream, begins = self._leases.stream, self._shard_tree.begins
        return [new_lease(shard, begins(shard.id), stream) for shard in missing[first:] + missing[:first]]

    async def _tidy(self, seen: list[Seen]) -> None:
        """Repair a row that shows an ended shard as live, as in a restored table; at most one row per call."""
        for one in seen:
            key = one.lease.key
            if key in self._shard_tree.ended and not one.lease.checkpoint.ended and key not in self._tasks:
                leases = self._leases
                if owner_of(one, leases.me, (), leases.failover_s) is None and await leases.take(one.lease):
                    held = leases.held[key].lease
                    await leases.end(key, self._shard_tree.ended[key], [])
                    await leases.release(key, held)
                return

    async def _give_back(self, rows: list[Lease]) -> None:
        """Release leases that this process does not know of, as in a restored table: its heartbeats would keep them."""
        leases = self._leases
        lost = [row for row in rows if row.owner == leases.me and row.key not in {*leases.held, *self._tasks}]
        await asyncio.gather(*(leases.release(row.key, row) for row in lost))

    def _may_run(self, one: Seen) -> bool:
        key = one.lease.key
        return key not in self.given_up and self._shard_tree.ready(self._shard_tree.live[key])

    async def _take(self, lease: Lease, stolen: bool) -> None:
        if self._stopping or lease.key in self._tasks or not await self._leases.take(lease):
            return
        shard = self._shard_tree.live[lease.key]
        log.info("shard %s: taken%s", shard.id, f" from {lease.owner}" if lease.owner else "")
        worker = self._make(shard)
        worker.orders.lease_is_fresh = lambda: self._leases.is_fresh(shard.id)
        worker.next_at = self._next_at.pop(shard.id, 0.0)
        holding = _Holding(shard, self._leases.held[shard.id].lease, worker, stolen)
        self._holdings[shard.id] = holding
        self._tasks[shard.id] = asyncio.ensure_future(self._hold(holding))
        self._begun.set()

    # Holding a shard.

    async def _hold(self, holding: _Holding) -> None:
        """Run one held shard from taking its lease to releasing it."""
        shard, leases = holding.shard.id, self._leases
        try:
            if holding.stolen:
                await leases.handed_over(shard, lambda: self._stopping or holding.lost)
                self._wake.set()  # the next steal waits for this one
            if not self._stopping and not holding.lost:
                footer = await self._work(holding)
                if footer is not None:
                    born = await self._shard_tree.succeed(shard, footer)
                    await leases.end(shard, [child.id for child in footer.children], self._new_leases(born))
                    self._wake.set()
        except GIVE_UP as problem:
            self.given_up[shard] = str(problem)
            self._health.bad(f"shard {shard}", f"given up: {problem}")
        finally:
            self._holdings.pop(shard)
        await leases.release(shard, holding.lease)

    async def _work(self, holding: _Holding) -> Footer | None:
        """Run the worker. None if it was stopped, or has lost its lease."""
        shard, working = holding.shard.id, asyncio.ensure_future(holding.worker.run())
        holding.working = working
        self.workers[shard] = holding.worker
        try:
            await asyncio.wait([working])
            return None if working.cancelled() else working.result()
        finally:
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)
            self.workers.pop(shard)
            self._next_at[shard] = holding.worker.next_at

    # Heartbeats.

    async def _beat_on(self) -> None:
        """Send heartbeats, independently of other tasks; stop the shards of lost leases."""
        every = self._leases.failover_s / BEATS
        due = self._clock.monotonic()
        while True:
            for shard, holding in self._holdings.items():
                self._leases.measure(shard, holding.worker.status.totals.bytes)
            for shard, awaited in await self._leases.renew():
                self._lose(self._holdings.get(shard), awaited)
            due = max(due + every, self._clock.monotonic())
            await self._clock.sleep(due - self._clock.monotonic())

    def _lose(self, holding: _Holding | None, awaited: bool) -> None:
        """Another worker has the lease. It waits for our last commit (`awaited`), or already works: stop at once."""
        if holding is None:
            return
        log.info("shard %s: another worker has taken the lease", holding.shard.id)
        holding.lost = True
        holding.worker.orders.stop.set()
        if not awaited and holding.working is not None:
            holding.working.cancel()

    def committed(self, footer: Footer) -> None:
        """A shard's log has advanced: the next heartbeat writes the checkpoint to its lease."""
        if not footer.ended:
            self._leases.note(footer.shard, checkpoint_of(footer.position))
