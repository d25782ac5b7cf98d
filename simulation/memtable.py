"""A lease table in memory, with hooks for faults: errors, lost replies, stale scans, a restored state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from vortex.core.fleet.lease import (
    Checkpoint,
    Lease,
    checkpointed,
    handed_over,
    of_earlier_stream,
    released,
    renewed,
    same_acquisition,
    taken,
)

Hook = Callable[[str, str], Awaitable[None]]
"""`hook(operation, key)` may wait or raise. `key` is empty for `ensure` and `rows`."""


async def _nothing(operation: str, key: str) -> None:
    """No fault."""


class MemoryTable:
    """A LeaseTable. Tests may read and change `table`; leases are immutable, so a shallow copy is a snapshot.

    `before` is awaited before an effect (if it raises, nothing happened), `after` between an effect and its reply (if
    it raises, the reply is lost). While `stale` is set, scans return it.
    """

    def __init__(self, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self.table: dict[str, Lease] = {}
        self.stale: dict[str, Lease] | None = None
        self.before = before
        self.after = after

    def snapshot(self) -> dict[str, Lease]:
        """The current rows: for `stale`, or to `restore` later."""
        return dict(self.table)

    def restore(self, rows: dict[str, Lease]) -> None:
        """Set the rows to those of a snapshot, as a point-in-time recovery does."""
        self.table = dict(rows)

    async def ensure(self) -> None:
        """See the port."""
        await self.before("ensure", "")
        await self.after("ensure", "")

    async def rows(self) -> list[Lease]:
        """See the port."""
        await self.before("rows", "")
        found = list((self.table if self.stale is None else self.stale).values())
        await self.after("rows", "")
        return found

    async def create(self, lease: Lease) -> bool:
        """See the port."""
        await self.before("create", lease.key)
        found = self.table.get(lease.key)
        created = found is None or of_earlier_stream(found, lease.stream)
        if created:
            self._write(lease)
        await self.after("create", lease.key)
        return created or (found is not None and bool(lease.token) and same_acquisition(lease, found))

    async def renew(self, lease: Lease) -> Lease | None:
        """See the port."""
        await self.before("renew", lease.key)
        found = self._mine(lease)
        if found is not None and found.counter == lease.counter:
            throughput = found.throughput if lease.throughput is None else lease.throughput
            found = self._write(msgspec.structs.replace(renewed(found), throughput=throughput))
        await self.after("renew", lease.key)
        return found

    async def take(self, lease: Lease, owner: str, token: str) -> Lease | None:
        """See the port."""
        await self.before("take", lease.key)
        found = self.table.get(lease.key)
        if found is not None and (found.counter, found.owner) == (lease.counter, lease.owner):
            ours = msgspec.structs.replace(found, stream=lease.stream or found.stream, store=lease.store or found.store)
            found = self._write(taken(ours, owner, token))
        elif found is not None and (found.owner, found.token) != (owner, token):
            found = None
        await self.after("take", lease.key)
        return found

    async def checkpoint(self, lease: Lease, checkpoint: Checkpoint, *, children: tuple[str, ...] = ()) -> Lease | None:
        """See the port."""
        await self.before("checkpoint", lease.key)
        found = self._mine(lease)
        if found is not None:
            found = self._write(checkpointed(found, checkpoint, children))
        await self.after("checkpoint", lease.key)
        return found

    async def release(self, lease: Lease) -> Lease | None:
        """See the port."""
        await self.before("release", lease.key)
        found = self.table.get(lease.key)
        if found is not None and same_acquisition(lease, found):
            found = self._write(released(found))
        elif found is not None and found.owner is not None:
            if found.previous_owner == lease.owner:
                self._write(handed_over(found))
            found = None
        await self.after("release", lease.key)
        return found

    async def remove(self, lease: Lease) -> bool:
        """See the port."""
        await self.before("remove", lease.key)
        found = self.table.get(lease.key)
        same = found is not None and (found.counter, found.owner, found.checkpoint.sequence) == (
            lease.counter,
            lease.owner,
            lease.checkpoint.sequence,
        )
        if same:
            del self.table[lease.key]
        await self.after("remove", lease.key)
        return same

    def _mine(self, lease: Lease) -> Lease | None:
        found = self.table.get(lease.key)
        return found if found is not None and same_acquisition(lease, found) else None

    def _write(self, lease: Lease) -> Lease:
        self.table[lease.key] = lease
        return lease
