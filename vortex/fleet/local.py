"""A fleet of one process, without leases: it runs every live shard and follows splits and merges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from vortex.core.fleet.balance import Roster
from vortex.core.log.segment import Footer
from vortex.core.model import ShardInfo
from vortex.core.wording import counted
from vortex.fleet.fleet import GIVE_UP
from vortex.health import Health
from vortex.ingest.status import ShardStatus
from vortex.ingest.worker import ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.ports import Clock

_LOOK = 0.1  # seconds between checks whether all shards are drained
_SAY_S = 60.0
"""Seconds between lines about what is left to drain."""
_NAMED = 5
"""Shards that such a line names."""

log = logging.getLogger(__name__)


class LocalFleet:
    """Runs a worker for each live shard; a child starts when the logs of all its parents have ended."""

    alone = True

    def __init__(
        self,
        shard_tree: ShardTree,
        health: Health,
        clock: Clock,
        worker: Callable[[ShardInfo], ShardWorker],
        *,
        drain: bool = False,
    ) -> None:
        self.workers: dict[str, ShardWorker] = {}
        self.given_up: dict[str, str] = {}
        self.owners: dict[str, str] = {}
        self.roster = Roster()
        """Empty: this process plans and publishes everything."""
        self._shard_tree, self._health, self._clock, self._make = shard_tree, health, clock, worker
        self._waiting: dict[str, ShardInfo] = {}
        self._tasks: dict[asyncio.Task[Footer | None], str] = {}
        self._draining = drain
        self._drain: asyncio.Future[int] | None = None
        self._stopping = False
        self._surveyed = False

    async def run(self) -> None:
        """Run until every worker has stopped: by `stop`, by draining, or because all shards have ended."""
        if self._draining:
            self._drain = asyncio.get_running_loop().create_future()
        await self._shard_tree.survey()
        self._waiting = dict(self._shard_tree.live)
        self._start_ready()
        self._surveyed = True
        try:
            while self._tasks:
                finished, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._tasks if task in finished]:  # in a fixed order: `finished` is a set
                    await self._finished(task)
                self._start_ready()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Ask every worker to commit and to stop."""
        self._stopping = True
        for worker in self.workers.values():
            worker.orders.stop.set()

    def committed(self, footer: Footer) -> None:
        """Nothing to do: no other worker needs to know."""

    async def at_tip(self) -> None:
        """While draining: wait until every live shard is read to its tip and waits for `finish`."""
        said_at = self._clock.monotonic()
        while not self._settled():
            await self._clock.sleep(_LOOK)
            if self._clock.monotonic() >= said_at + _SAY_S:
                log.info("%s", self._left())
                said_at = self._clock.monotonic()

    def _left(self) -> str:
        """What a drain still has to read; first the shards that wait for something else than records, then by lag."""
        now = self._clock.monotonic()
        left = [worker.status for worker in self.workers.values() if not worker.orders.at_tip.is_set()]
        left.sort(key=lambda status: (not status.waits_for, -(status.lag_s(now) or 0.0), status.shard))
        named = [f"{status.shard}: {_where(status, now)}" for status in left[:_NAMED]]
        named += [counted(len(left) - _NAMED, "other shard")] if len(left) > _NAMED else []
        return f"draining: {counted(len(left), 'shard')} left ({'; '.join(named)})"

    def _settled(self) -> bool:
        if not self._surveyed or any(self._shard_tree.ready(shard) for shard in self._waiting.values()):
            return False
        return all(worker.orders.at_tip.is_set() for worker in self.workers.values())

    def finish(self, closed_before: int) -> None:
        """Let drained workers write their last segment and close the periods before `closed_before`."""
        assert self._drain is not None
        self._drain.set_result(closed_before)

    def _start_ready(self) -> None:
        if self._stopping:
            return
        for shard in [s for s in self._waiting.values() if self._shard_tree.ready(s)]:
            del self._waiting[shard.id]
            worker = self._make(shard)
            worker.orders.drain = self._draining
            worker.orders.finish = self._drain
            self.workers[shard.id] = worker
            task = asyncio.ensure_future(worker.run())
            self._tasks[task] = shard.id

    async def _finished(self, task: asyncio.Task[Footer | None]) -> None:
        shard = self._tasks.pop(task)
        try:
            footer = task.result()
            if footer is not None:
                self._waiting.update((child.id, child) for child in await self._shard_tree.succeed(shard, footer))
        except GIVE_UP as problem:
            self.given_up[shard] = str(problem)
            self._health.bad(f"shard {shard}", f"given up: {problem}")
        finally:
            self.workers.pop(shard)


def _where(status: ShardStatus, now: float) -> str:
    """What a drain of this shard waits for."""
    if status.waits_for:
        return status.waits_for
    lag_s = status.lag_s(now)
    return "no page yet" if lag_s is None else f"{lag_s:,.0f} s behind"
