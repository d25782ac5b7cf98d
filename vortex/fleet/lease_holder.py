"""The leases of one process: what it holds, what it saw of the others', and every write that it makes to the table.

Leases decide who should work, to save effort. While the table does not answer, the work goes on: a shard is let go of
when the table says that somebody else has it, or when its log does (`sure` tells how far a lease can be believed then).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from vortex.core.fleet.balance import Seen, told
from vortex.core.fleet.lease import SHARD_END, Checkpoint, Lease, checkpoint_of, of_earlier_stream
from vortex.core.model import Position, ShardInfo
from vortex.ports import Clock, Denied, LeaseTable, Unavailable
from vortex.retry import Health, Retry

log = logging.getLogger(__name__)

_PARALLEL = 16
_MEASURE_S = 60.0
"""Throughput is measured over so long."""
_ASK_S = 0.5
"""Between two looks at whether the one that a lease was taken from has released it."""


@dataclass(slots=True)
class Held:
    """One lease of this process: the row as last written, when that was, and what it is to say next."""

    lease: Lease
    renewed_at: float
    checkpoint: Checkpoint | None = None
    read_bytes: int = 0
    measured_bytes: int = 0
    measured_at: float = 0.0


class Leases:
    """Talks to the lease table in the name of `me`. Only the table's answer takes a lease out of `held`.

    `stream` is the creation time of the stream, epoch milliseconds.
    """

    def __init__(
        self,
        table: LeaseTable,
        clock: Clock,
        retry: Retry,
        health: Health,
        me: str,
        token: Callable[[], str],
        failover_s: float,
        stream: int,
    ) -> None:
        self.me, self.failover_s, self.stream = me, failover_s, stream
        self.held: dict[str, Held] = {}
        self._table, self._clock, self._health, self._token = table, clock, health, token
        self._retry = retry.of("lease table")
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._still: dict[str, tuple[int, float]] = {}
        """By shard: the counter last seen, and when it was seen first."""
        self._trouble = ""
        """What went wrong first, since heartbeats came through."""

    async def ensure(self) -> None:
        """Make the table where it is missing."""
        await self._retry("lease table", self._table.ensure)

    async def look(self) -> list[Seen]:
        """Every row, and for how long its counter has stood still by this process's own clock."""
        asked = self._clock.monotonic()
        rows = await self._retry("read leases", self._table.rows)
        answered = self._clock.monotonic()
        seen, still = [], {}
        for row in rows:
            if of_earlier_stream(row, self.stream):
                continue  # of an earlier stream of this name: to be created as if it were not there
            counter, since = self._still.get(row.key, (row.counter, answered))
            if counter != row.counter:
                since = answered
            still[row.key] = (row.counter, since)
            # The rows are at least as young as the question.
            seen.append(Seen(row, max(0.0, asked - since)))
        self._still = still
        return seen

    async def create(self, leases: list[Lease]) -> None:
        """Add rows, until somebody else is found to be adding them, too: then the next look tells what is missing."""
        for at in range(0, len(leases), _PARALLEL):
            several = leases[at : at + _PARALLEL]
            created = await asyncio.gather(*(self._create(lease) for lease in several))
            if not all(created):
                return

    async def _create(self, lease: Lease) -> bool:
        return await self._retry(f"create lease {lease.key}", lambda: self._table.create(lease))

    # Taking, and giving up.

    async def take(self, lease: Lease) -> bool:
        """Acquire it; False where somebody was faster."""
        token, ours = self._token(), msgspec.structs.replace(lease, stream=self.stream)
        asked = self._clock.monotonic()
        found = await self._retry(f"take lease {lease.key}", lambda: self._table.take(ours, self.me, token))
        if found is None:
            return False
        self.held[lease.key] = Held(found, asked, measured_at=asked)
        return True

    async def handed_over(self, shard: str, stopped: Callable[[], bool]) -> None:
        """Wait until the one that the lease was taken from has committed; for the failover time at most."""
        end = self._clock.monotonic() + self.failover_s
        while (held := self.held.get(shard)) is not None and held.lease.previous_owner is not None and not stopped():
            if self._clock.monotonic() >= end:
                log.warning(
                    "shard %s: %s did not give it up in time; its log decides", shard, held.lease.previous_owner
                )
                return
            await self._clock.sleep(_ASK_S)
            await self._write(shard, held)

    async def release(self, shard: str, lease: Lease) -> None:
        """Give it up; where it was taken from this process, tell the one who took it that all is committed."""
        self.held.pop(shard, None)
        await self._retry(f"release lease {shard}", lambda: self._table.release(lease))

    async def end(self, shard: str, children: Sequence[str], born: list[Lease]) -> None:
        """The shard has ended: rows for its children, then SHARD_END, so that no child is ever forgotten."""
        await asyncio.gather(*(self._create(lease) for lease in born))
        held = self.held.get(shard)
        if held is not None:
            names, end = tuple(children), Checkpoint(SHARD_END)
            await self._retry(f"end lease {shard}", lambda: self._table.checkpoint(held.lease, end, children=names))

    # Heartbeats.

    def sure(self, shard: str) -> bool:
        """Whether it is held, and was renewed so lately that nobody can have taken it for expired."""
        held = self.held.get(shard)
        return held is not None and self._clock.monotonic() - held.renewed_at < self.failover_s

    def note(self, shard: str, checkpoint: Checkpoint) -> None:
        """The shard's log has come so far: the next heartbeat says it."""
        if (held := self.held.get(shard)) is not None:
            held.checkpoint = checkpoint

    def measure(self, shard: str, read_bytes: int) -> None:
        """What was read of the shard so far, since it was taken."""
        if (held := self.held.get(shard)) is not None:
            held.read_bytes = read_bytes

    async def renew(self) -> list[tuple[str, bool]]:
        """One heartbeat for each lease; those that are lost, and whether its new owner waits for this process.

        It waits where the lease was taken from somebody who lived: who was renewing it all the time.
        """
        shards = list(self.held.items())
        lost = await asyncio.gather(*(self._heartbeat(shard, held) for shard, held in shards))
        oldest = min((held.renewed_at for held in self.held.values()), default=self._clock.monotonic())
        if self._clock.monotonic() - oldest > self.failover_s:
            self._health.bad("leases", f"the lease table does not answer; reading goes on: {self._trouble}")
        else:
            self._trouble = ""
            self._health.good("leases")
        return [one for one in lost if one is not None]

    async def _heartbeat(self, shard: str, held: Held) -> tuple[str, bool] | None:
        was_sure = self.sure(shard)
        async with self._gate:
            if await self._write(shard, held):
                return None
        if self.held.get(shard) is not held:
            return None  # released meanwhile
        del self.held[shard]
        return shard, was_sure

    async def _write(self, shard: str, held: Held) -> bool:
        """Renew, or checkpoint where there is news; whether it is still held, as far as is known."""
        asked, lease = self._clock.monotonic(), self._measured(held)
        news = held.checkpoint if held.checkpoint != lease.checkpoint else None
        try:
            if news is not None and lease.throughput == held.lease.throughput:
                found = await self._table.checkpoint(lease, news)
            else:
                found = await self._table.renew(lease)
        except (Unavailable, Denied) as problem:
            self._trouble = self._trouble or str(problem)
            return True  # the next heartbeat tries again; `sure` knows since when none has come through
        if found is not None:
            held.lease, held.renewed_at = found, asked
        return found is not None

    def _measured(self, held: Held) -> Lease:
        now = self._clock.monotonic()
        if (took := now - held.measured_at) < _MEASURE_S:
            return held.lease
        rate = (held.read_bytes - held.measured_bytes) / 1000 / took
        held.measured_at, held.measured_bytes = now, held.read_bytes
        return msgspec.structs.replace(held.lease, throughput=told(held.lease.throughput, rate))


def new_lease(shard: ShardInfo, begins: Position, stream: int) -> Lease:
    """The row of a shard that nobody has taken yet; `stream` is the stream's creation time."""
    return Lease(
        key=shard.id,
        owner=None,
        counter=0,
        checkpoint=checkpoint_of(begins),
        parents=shard.parents,
        start_hash=shard.start_hash,
        end_hash=shard.end_hash,
        stream=stream,
    )
