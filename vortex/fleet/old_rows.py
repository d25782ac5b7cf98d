"""Removes the rows of shards that plans have forgotten: each look at the lease table reads all of its rows."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from vortex.core.fleet.balance import Seen, owner_of
from vortex.fleet.lease_holder import Leases
from vortex.log.shard_tree import ShardTree
from vortex.ports import Clock, Denied, Unavailable

log = logging.getLogger(__name__)

_EVERY_S = 600.0
"""Seconds between listings, and for how long no listing may have a shard whose row is removed."""
_MOST = 100
"""Rows that are removed at a time."""


class OldRows:
    """A row is old if the last plan does not lead to its shard, nobody owns it, and the stream does not list the shard.

    A row that is removed too early costs little: the row of a live shard is created again. Rows of listed shards stay,
    because another application of this table would read those shards again.
    """

    def __init__(self, leases: Leases, shard_tree: ShardTree, clock: Clock) -> None:
        self._leases, self._shard_tree, self._clock = leases, shard_tree, clock
        self._absent: dict[str, float] = {}
        """By shard, since when no listing has had it; monotonic seconds."""
        self._next_at = 0.0
        self._denied = False

    async def remove(self, seen: Sequence[Seen]) -> None:
        """Remove old rows of those `seen`. The shard tree must have learned from these."""
        leases, named, now = self._leases, self._shard_tree.named, self._clock.monotonic()
        free = [one.lease for one in seen if owner_of(one, leases.me, leases.held, leases.failover_s) is None]
        unknown = {lease.key: lease for lease in free if lease.key not in named}
        self._absent = {shard: since for shard, since in self._absent.items() if shard in unknown}
        if not unknown or self._denied or now < self._next_at:
            return
        self._next_at = now + _EVERY_S
        listed = await self._shard_tree.listed_now()
        if listed is None:
            return
        self._absent = {shard: self._absent.get(shard, now) for shard in unknown if shard not in listed}
        old = [unknown[shard] for shard, since in self._absent.items() if now - since >= _EVERY_S]
        try:
            await leases.remove(old[:_MOST])
        except Unavailable:
            return
        except Denied as problem:
            self._denied = True
            log.warning("rows of shards that ended long ago stay in the lease table: %s", problem)
            return
        if len(old) > _MOST:
            self._next_at = now
