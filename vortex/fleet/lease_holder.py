"""The leases of one process: those it holds, what it has seen of the others, and all its writes to the table.

Leases decide who should work, to save effort. While the table does not answer, the work continues. A process gives up a
shard only when the table, or the shard's log, shows another owner. `is_fresh` tells whether a lease is recent enough to
rely on while the table does not answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from vortex.core.fleet.balance import BEATS, ROUND, Seen, beat_alone, look_every, reported_throughput, shown_life
from vortex.core.fleet.lease import (
    SHARD_END,
    Checkpoint,
    Lease,
    checkpoint_of,
    of_earlier_stream,
    same_acquisition,
    shared_token,
)
from vortex.core.fleet.store_mark import StoreMark
from vortex.core.model import Position, ShardInfo
from vortex.health import Health
from vortex.ports import Clock, Denied, LeaseTable, Unavailable
from vortex.retry import Retry

log = logging.getLogger(__name__)

_PARALLEL = 16
_PATIENCE = 1 / 9
"""Part of the failover time after which a heartbeat without a success renews all leases."""
_OVERDUE = 2 * ROUND
"""Failover times after which a lease that could not be renewed in its turn is tried with every heartbeat."""
_MEASURE_S = 60.0
"""Seconds over which throughput is measured."""
_ASK_S = 0.5
"""Seconds between checks whether the previous owner of a lease has released it."""


@dataclass(slots=True)
class Held:
    """One lease of this process: the row as last written, when it was written, and what the next write adds to it."""

    lease: Lease
    renewed_at: float
    checkpoint: Checkpoint | None = None
    read_bytes: int = 0
    measured_bytes: int = 0
    measured_at: float = 0.0
    tried_at: float = 0.0


class Leases:
    """Reads and writes the lease table as worker `me`. Only an answer of the table removes a lease from `held`.

    `stream` is the creation time of the stream, epoch milliseconds. `mark` names the store in the rows.
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
        mark: StoreMark | None = None,
    ) -> None:
        self.me, self.failover_s, self.stream, self.mark = me, failover_s, stream, mark
        self.refusal = ""
        """Why the store must not use the table, by the last look; empty if it may."""
        self.held: dict[str, Held] = {}
        self._table, self._clock, self._health, self._token = table, clock, health, token
        self._retry = retry.of("lease table")
        self._gate = asyncio.Semaphore(_PARALLEL)
        self._counters: dict[str, tuple[int, float]] = {}
        """By shard: the counter last seen, and when it was first seen."""
        self._each = False
        """Whether to renew every lease: a program is there that does not know heartbeats of workers."""
        self._beat_at = clock.monotonic()
        """When the last write of any lease that succeeded was sent."""
        self._unbroken_since = self._beat_at
        """Since when such writes have followed each other within the failover time."""
        self._doubtful: set[str] = set()
        """Held leases that the last look did not show as held."""
        self._look_s = look_every(0, failover_s)
        self._trouble = ""
        """The first error since the last successful heartbeats."""

    async def ensure(self) -> None:
        """Create the table if it does not exist."""
        await self._retry("lease table", self._table.ensure)

    async def look(self) -> list[Seen]:
        """Every row, and for how long its owner has shown no life, by this process's clock."""
        asked = self._clock.monotonic()
        rows = await self._retry("read leases", self._table.rows)
        answered = self._clock.monotonic()
        seen, counters = [], {}
        for row in rows:
            if of_earlier_stream(row, self.stream):
                continue  # of an earlier stream of this name: created again as if missing
            counter, since = self._counters.get(row.key, (row.counter, answered))
            if counter != row.counter:
                since = answered
            counters[row.key] = (row.counter, since)
            # The answer is at least as recent as the request.
            seen.append(Seen(row, max(0.0, asked - since)))
        self._counters = counters
        self.refusal = self.mark.refusal(one.lease for one in seen) if self.mark is not None else ""
        self._look_s = look_every(len(seen), self.failover_s)
        self._each = beat_alone(seen, self.me, self.failover_s)
        found = {row.key: row for row in rows}
        self._doubtful = {
            shard
            for shard, held in self.held.items()
            if shard not in found or not same_acquisition(held.lease, found[shard])
        }
        return shown_life(seen, self.failover_s)

    async def create(self, leases: list[Lease]) -> None:
        """Add rows. Stops when another worker adds rows too; the next `look` then shows which are missing."""
        for at in range(0, len(leases), _PARALLEL):
            several = leases[at : at + _PARALLEL]
            created = await asyncio.gather(*(self._create(lease) for lease in several))
            if not all(created):
                return

    async def _create(self, lease: Lease) -> bool:
        return await self._retry(f"create lease {lease.key}", lambda: self._table.create(self._marked(lease)))

    def _marked(self, lease: Lease) -> Lease:
        """The row with the names of this stream and store."""
        store = self.mark.text if self.mark is not None else ""
        return msgspec.structs.replace(lease, stream=self.stream, store=store)

    async def remove(self, leases: Sequence[Lease]) -> None:
        """Delete rows that have not changed since `look` read them. Raises Unavailable, Denied."""

        async def one(lease: Lease) -> None:
            async with self._gate:
                await self._table.remove(lease)

        for problem in await asyncio.gather(*map(one, leases), return_exceptions=True):
            if problem is not None:
                raise problem

    # Taking and releasing.

    async def take(self, lease: Lease) -> bool:
        """Acquire a lease; False if another worker was faster."""
        token, ours = shared_token(self.me, self._token()), self._marked(lease)
        asked = self._clock.monotonic()
        found = await self._retry(f"take lease {lease.key}", lambda: self._table.take(ours, self.me, token))
        if found is None:
            return False
        self._showed_life(asked)
        self.held[lease.key] = Held(found, asked, measured_at=asked, tried_at=asked)
        return True

    async def handed_over(self, shard: str, stopped: Callable[[], bool]) -> None:
        """Wait until the previous owner has committed and released the lease.

        For the failover time and a look at most: the look tells the previous owner.
        """
        end = self._clock.monotonic() + self.failover_s + self._look_s
        while (held := self.held.get(shard)) is not None and held.lease.previous_owner is not None and not stopped():
            if self._clock.monotonic() >= end:
                log.warning(
                    "shard %s: %s did not release the lease in time; continuing from its log",
                    shard,
                    held.lease.previous_owner,
                )
                return
            await self._clock.sleep(_ASK_S)
            await self._write(shard, held)

    async def release(self, shard: str, lease: Lease) -> None:
        """Release a lease, at its last checkpoint.

        If another worker took it over, this tells that worker that everything is committed.
        """
        held = self.held.pop(shard, None)
        if held is not None and held.checkpoint not in (None, held.lease.checkpoint):
            with contextlib.suppress(Unavailable, Denied):  # an older checkpoint is as true
                await self._table.checkpoint(held.lease, held.checkpoint)
        await self._retry(f"release lease {shard}", lambda: self._table.release(lease))

    async def end(self, shard: str, children: Sequence[str], new: list[Lease]) -> None:
        """The shard has ended: create the `new` rows of its children, then write SHARD_END, so that none is lost."""
        await asyncio.gather(*(self._create(lease) for lease in new))
        held = self.held.get(shard)
        if held is not None:
            held.checkpoint = None  # nothing may be written after SHARD_END
            names, end = tuple(children), Checkpoint(SHARD_END)
            await self._retry(f"end lease {shard}", lambda: self._table.checkpoint(held.lease, end, children=names))

    # Heartbeats.

    def is_fresh(self, shard: str) -> bool:
        """Whether the lease is held and its owner showed life in time, so nobody can consider it expired."""
        held = self.held.get(shard)
        if held is None:
            return False
        now = self._clock.monotonic()
        if self._each:
            return now - held.renewed_at < self.failover_s
        if now - self._beat_at >= self.failover_s or held.renewed_at < self._unbroken_since:
            return False  # others may have found all leases expired, and this one has not been renewed since
        return now - held.renewed_at < _OVERDUE * self.failover_s

    def note(self, shard: str, checkpoint: Checkpoint) -> None:
        """The shard's log has advanced; the next heartbeat writes the checkpoint."""
        if (held := self.held.get(shard)) is not None:
            held.checkpoint = checkpoint

    def measure(self, shard: str, read_bytes: int) -> None:
        """Record the bytes read from the shard since it was taken."""
        if (held := self.held.get(shard)) is not None:
            held.read_bytes = read_bytes

    async def renew(self) -> list[tuple[str, bool]]:
        """Send a heartbeat. Returns the lost leases, and whether the new owner waits for this process.

        It renews some leases in turn, which shows life for all, and each lease in doubt. If none of these is renewed
        soon, it tries the others; where there are no others, these once more. The new owner waits if this process still
        showed life when the lease was taken.
        """
        begun = self._clock.monotonic()
        async with asyncio.TaskGroup() as group:
            beats = [group.create_task(self.settle()), group.create_task(self._beat(self._turn()))]
            await asyncio.wait(beats, timeout=_PATIENCE * self.failover_s)
            if self._beat_at < begun:
                rest = [(shard, held) for shard, held in self.held.items() if held.tried_at < begun]
                if not rest and all(beat.done() for beat in beats):
                    await self._clock.sleep(begun + _PATIENCE * self.failover_s - self._clock.monotonic())
                    rest = list(self.held.items())  # a table that throttles may refuse a worker's only lease thrice
                beats.append(group.create_task(self._beat(rest)))
        if self._trouble and not all(map(self.is_fresh, self.held)):
            self._health.bad("leases", f"the lease table does not answer; reading continues: {self._trouble}")
        else:
            self._trouble = ""
            self._health.good("leases")
        return [one for beat in beats for one in beat.result()]

    def _turn(self) -> list[tuple[str, Held]]:
        """The leases to renew next: some in turn, and each that others may consider expired."""
        held = sorted(self.held.items(), key=lambda one: one[1].tried_at)
        if self._each:
            return held
        fresh = {shard for shard in self.held if self.is_fresh(shard)}
        in_turn = [one for one in held if one[0] in fresh][: -(-len(held) // (ROUND * BEATS))]
        return [one for one in held if one[0] not in fresh] + in_turn

    async def settle(self) -> list[tuple[str, bool]]:
        """Renew the leases that the last look did not show as held. Returns the lost ones, as `renew`."""
        doubtful, self._doubtful = self._doubtful, set()
        return await self._beat([(shard, self.held[shard]) for shard in sorted(doubtful) if shard in self.held])

    async def _beat(self, several: Sequence[tuple[str, Held]]) -> list[tuple[str, bool]]:
        for _, held in several:
            held.tried_at = self._clock.monotonic()
        lost = await asyncio.gather(*(self._heartbeat(shard, held) for shard, held in several))
        return [one for one in lost if one is not None]

    async def _heartbeat(self, shard: str, held: Held) -> tuple[str, bool] | None:
        was_fresh = self.is_fresh(shard)
        async with self._gate:
            if await self._write(shard, held):
                return None
        if self.held.get(shard) is not held:
            return None  # released meanwhile
        del self.held[shard]
        return shard, was_fresh

    async def _write(self, shard: str, held: Held) -> bool:
        """Renew, or write a new checkpoint. Returns False if the lease is lost, True also if the table fails."""
        asked, lease = self._clock.monotonic(), self._measured(held)
        news = held.checkpoint if held.checkpoint != lease.checkpoint else None
        try:
            if news is not None and lease.throughput == held.lease.throughput:
                found = await self._table.checkpoint(lease, news)
            else:
                found = await self._table.renew(lease)
        except (Unavailable, Denied) as problem:
            self._trouble = self._trouble or str(problem)
            return True  # the next heartbeat tries again; `is_fresh` knows the last success
        if found is not None:
            held.lease, held.renewed_at = found, asked
            self._showed_life(asked)
        return found is not None

    def _showed_life(self, asked: float) -> None:
        """A write that was sent at `asked` has succeeded; at the latest now, others can see it."""
        if self._clock.monotonic() - self._beat_at >= self.failover_s:
            self._unbroken_since = asked
        self._beat_at = max(self._beat_at, asked)

    def _measured(self, held: Held) -> Lease:
        now = self._clock.monotonic()
        if (took := now - held.measured_at) < _MEASURE_S:
            return held.lease
        rate = (held.read_bytes - held.measured_bytes) / 1000 / took
        held.measured_at, held.measured_bytes = now, held.read_bytes
        return msgspec.structs.replace(held.lease, throughput=reported_throughput(held.lease.throughput, rate))


def new_lease(shard: ShardInfo, begins: Position, stream: int) -> Lease:
    """The row of a shard without an owner; `stream` is the stream's creation time, epoch milliseconds."""
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
