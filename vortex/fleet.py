"""Which shards run here. Local coordination: this one process runs every live shard, and follows splits and merges."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from vortex.core.model import ShardInfo
from vortex.core.publication import Plan, carried
from vortex.core.segment import CorruptSegment, Footer, NewerVersion
from vortex.core.shardlog import BrokenLog, StreamState
from vortex.ingest import ShardWorker
from vortex.journal import Journal
from vortex.ports import Clock, InvalidPosition, NotFound, Stream
from vortex.retry import Health, Retry

log = logging.getLogger(__name__)

_LOOK = 0.1  # seconds between two looks at whether all have drained

GIVE_UP = (BrokenLog, CorruptSegment, NewerVersion, InvalidPosition)
"""What makes a worker give its shard up: a person must look at it, and the other shards go on meanwhile."""


class LocalFleet:
    """Runs a worker for each live shard; a child begins when the logs of all its parents have ended."""

    def __init__(
        self,
        state: StreamState,
        journal: Journal,
        stream: Stream,
        retry: Retry,
        health: Health,
        clock: Clock,
        worker: Callable[[ShardInfo], ShardWorker],
        *,
        target: int,
    ) -> None:
        self.workers: dict[str, ShardWorker] = {}
        self.given_up: dict[str, str] = {}
        self._state, self._journal, self._stream, self._retry, self._health = state, journal, stream, retry, health
        self._clock = clock
        self._make = worker
        self._target = target
        self._ended: set[str] = set()
        self._waiting: dict[str, ShardInfo] = {}
        self._tasks: dict[asyncio.Task[Footer | None], str] = {}
        self._listed: set[str] = set()
        self._drain: asyncio.Future[int] | None = None
        self._stopping = False
        self._surveyed = False

    async def run(self, *, drain: bool = False) -> None:
        """Until every worker has stopped: by `stop`, by draining, or because all shards have ended."""
        if drain:
            self._drain = asyncio.get_running_loop().create_future()
        await self._survey()
        self._start_ready()
        self._surveyed = True
        try:
            while self._tasks:
                finished, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                for task in [task for task in self._tasks if task in finished]:  # in order: sets have none
                    await self._finished(task)
                self._start_ready()
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def stop(self) -> None:
        """Ask every worker to commit and stop."""
        self._stopping = True
        for worker in self.workers.values():
            worker.orders.stop.set()

    async def at_tip(self) -> None:
        """While draining: wait until every live shard has been read to its tip and waits for `finish`."""
        while not self._settled():
            await self._clock.sleep(_LOOK)

    def _settled(self) -> bool:
        if not self._surveyed or any(self._ready(shard) for shard in self._waiting.values()):
            return False
        return all(worker.orders.at_tip.is_set() for worker in self.workers.values())

    def finish(self, open_from: int) -> None:
        """Let drained workers write their last segment, closing what lies before `open_from`."""
        assert self._drain is not None
        self._drain.set_result(open_from)

    # The family of shards.

    async def _survey(self) -> None:
        """The live shards; read again where others published and cleaned up what was about to be read."""
        while True:
            plan = await self._journal.last_plan(self._state, self._target)
            try:
                return await self._look_over(plan)
            except (BrokenLog, NotFound) as problem:
                if (await self._journal.last_plan(self._state, self._target)).k == plan.k:
                    raise BrokenLog(str(problem)) from problem

    async def _look_over(self, plan: Plan) -> None:
        """The live shards: roots and plan, and the children that ended logs name, down to the youngest."""
        live, gone = carried(plan)
        self._waiting.clear()
        self._listed = {s.id for s in await self._retry("list shards", self._stream.list_shards)}
        infos = {root.shard.id: root.shard for root in self._state.roots}
        for parent in sorted({p for entry in live.values() for p in entry.parents if p in gone}):
            footer = (await self._journal.head(parent, gone[parent])).footer
            assert footer is not None
            infos.update((child.id, child) for child in footer.children)
        self._ended = set(gone)
        heads = await asyncio.gather(*(self._journal.newest(shard, entry) for shard, entry in live.items()))
        todo = list(zip(live, heads, strict=True))
        while todo:
            shard, head = todo.pop()
            footer = head.footer
            if footer is None or not footer.ended:
                if shard in infos:
                    self._waiting[shard] = infos[shard]
                    continue
                # Known to the plan by name alone: its parents are among the logs still to be looked at.
                if not todo:
                    raise BrokenLog(f"shard {shard}: in the plan, but no log names it as a child")
                todo.insert(0, (shard, head))
                continue
            self._ended.add(shard)
            for child in footer.children:
                if child.id not in infos and child.id not in gone:  # a child may be gone before all is published of it
                    infos[child.id] = child
                    if child.id not in live:
                        todo.append((child.id, await self._journal.newest(child.id, None)))

    def _ready(self, shard: ShardInfo) -> bool:
        """Whether every parent has ended, or lay before the start (no worker, not listed)."""
        unfinished = set(self._waiting) | set(self.workers) | self._listed
        return all(parent in self._ended or parent not in unfinished for parent in shard.parents)

    def _start_ready(self) -> None:
        if self._stopping:
            return
        roots = {root.shard.id for root in self._state.roots}
        for shard in [s for s in self._waiting.values() if s.id in roots or self._ready(s)]:
            del self._waiting[shard.id]
            worker = self._make(shard)
            worker.orders.drain = self._drain is not None
            worker.orders.finish = self._drain
            self.workers[shard.id] = worker
            task = asyncio.ensure_future(worker.run())
            self._tasks[task] = shard.id

    async def _finished(self, task: asyncio.Task[Footer | None]) -> None:
        shard = self._tasks.pop(task)
        try:
            await self._succeed(shard, task)
        finally:
            self.workers.pop(shard)

    async def _succeed(self, shard: str, task: asyncio.Task[Footer | None]) -> None:
        try:
            footer = task.result()
        except GIVE_UP as problem:
            self.given_up[shard] = str(problem)
            self._health.bad(f"shard {shard}", f"given up: {problem}")
            return
        if footer is None:
            return
        self._ended.add(shard)
        log.info("shard %s has ended; children: %s", shard, [child.id for child in footer.children])
        self._listed = {s.id for s in await self._retry("list shards", self._stream.list_shards)}
        for child in footer.children:
            if child.id not in self.workers and child.id not in self._ended:
                self._waiting.setdefault(child.id, child)
