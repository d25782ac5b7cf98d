"""The lease table of a simulated fleet, the view of each process, and its faults."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

from simulation import vtime
from simulation.faults import Conditions
from simulation.memtable import MemoryTable
from simulation.simstore import Gate
from vortex.core.fleet.lease import Checkpoint, Lease
from vortex.ports import Unavailable

T = TypeVar("T")

_HISTORY_S = 60.0
"""Seconds between snapshots."""
_RESTORED_S = 3600.0
_STALE = 3
"""Maximum age of a stale read, in snapshots."""


class SimTable(MemoryTable):
    """The table with its history: it may be restored, and reads may be stale."""

    def __init__(self) -> None:
        super().__init__()
        self.history: list[tuple[float, dict[str, Lease]]] = []
        self.cut: dict[str, float] = {}
        """By process, until when it cannot reach the table."""
        self.on_checkpoint: Callable[[Lease], None] = lambda row: None
        self.on_remove: Callable[[str], None] = lambda shard: None

    async def remember(self) -> None:
        """Record snapshots until cancelled."""
        while True:
            self.history.append((vtime.now(), self.snapshot()))
            await vtime.sleep(_HISTORY_S)

    def go_back(self) -> bool:
        """Restore the rows of an hour ago, or the first ones; False if there is no snapshot yet."""
        now = vtime.now()
        older = [rows for at, rows in self.history if at <= now - _RESTORED_S] or [rows for _, rows in self.history[:1]]
        if older:
            self.restore(older[-1])
        return bool(older)


class TableView:
    """The `LeaseTable` of one process."""

    def __init__(
        self, table: SimTable, owner: str, gate: Gate, conditions: Conditions, rng: Random, say: Callable[[str], None]
    ) -> None:
        self._table, self._owner, self._gate, self._conditions, self._rng = table, owner, gate, conditions, rng
        self._say = say

    async def ensure(self) -> None:
        """See the port."""
        await self._before("ensure", "")
        await self._after("ensure", "", "")

    async def rows(self) -> list[Lease]:
        """See the port; the rows may be stale."""
        await self._before("rows", "")
        rows = await self._table.rows()
        if self._conditions.occurs("table.stale", self._rng) and self._table.history:
            old = list(self._rng.choice(self._table.history[-_STALE:])[1].values())
            self._say(f"a stale read of the leases: {len(old)} of {len(rows)} rows")
            rows = old
        return await self._after("rows", "", rows)

    async def create(self, lease: Lease) -> bool:
        """See the port."""
        await self._before("create", lease.key)
        return await self._after("create", lease.key, await self._table.create(lease))

    async def renew(self, lease: Lease) -> Lease | None:
        """See the port."""
        await self._before("renew", lease.key)
        return await self._after("renew", lease.key, await self._table.renew(lease))

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """See the port."""
        await self._before("take", lease.key)
        found = await self._table.take(lease, owner, token)
        self._say(f"take lease of {lease.key} from {lease.owner} -> {found is not None}")
        return await self._after("take", lease.key, found)

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """See the port."""
        await self._before("checkpoint", lease.key)
        found = await self._table.checkpoint(lease, checkpoint, children=children)
        if found is not None:
            self._table.on_checkpoint(found)
        return await self._after("checkpoint", lease.key, found)

    async def release(self, lease: Lease) -> Lease | None:
        """See the port."""
        await self._before("release", lease.key)
        self._say(f"release lease of {lease.key}")
        return await self._after("release", lease.key, await self._table.release(lease))

    async def remove(self, lease: Lease) -> bool:
        """See the port."""
        await self._before("remove", lease.key)
        removed = await self._table.remove(lease)
        if removed:
            self._table.on_remove(lease.key)
        self._say(f"remove lease of {lease.key} -> {removed}")
        return await self._after("remove", lease.key, removed)

    async def _before(self, operation: str, key: str) -> None:
        await self._gate.gate(f"{operation} lease {key}")
        rng, conditions = self._rng, self._conditions
        await vtime.sleep(rng.uniform(0.001, 0.02))
        if conditions.occurs("table.slow", rng):
            await vtime.sleep(rng.choice((1.0, 5.0, 30.0)) * rng.random())
        if self._gate.halted:
            await self._gate.awake()
        if not conditions.ended and self._table.cut.get(self._owner, 0.0) > vtime.now():
            raise Unavailable(f"{operation} lease {key}: unreachable", "connection")
        if conditions.occurs("table.error", rng):
            raise Unavailable(f"{operation} lease {key}: throttled", "throttled")

    async def _after(self, operation: str, key: str, reply: T) -> T:
        await vtime.sleep(self._rng.uniform(0.001, 0.02))
        if self._gate.halted:
            await self._gate.awake()
        if self._conditions.occurs("table.lost_reply", self._rng):
            raise Unavailable(f"{operation} lease {key}: connection lost", "timeout")
        return reply
