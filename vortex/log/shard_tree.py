"""The family of shards: which are live, which have ended, which may begin (a child: once its parents' logs end)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping

from vortex.core.fleet.lease import Lease
from vortex.core.log.rules import BrokenLog, StreamState
from vortex.core.log.segment import Footer
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.publish.plan import Plan, PlanShard, live_and_retired
from vortex.log.store import LogStore
from vortex.ports import NotFound, Stream
from vortex.retry import Retry

log = logging.getLogger(__name__)


class ShardTree:
    """What is known of a stream's shards: the live ones, and of those that have ended which children they have."""

    def __init__(self, state: StreamState, log_store: LogStore, stream: Stream, retry: Retry) -> None:
        self.live: dict[str, ShardInfo] = {}
        self.ended: dict[str, tuple[str, ...]] = {}
        self._state, self._log_store, self._stream, self._retry = state, log_store, stream, retry
        self._roots = {root.shard.id: root.shard for root in state.roots}
        self._positions = {root.shard.id: root.position for root in state.roots}
        self._listed: set[str] = set()
        self._absent: set[str] = set()
        """Parents that are not listed: they lay before the start."""

    def ready(self, shard: ShardInfo) -> bool:
        """Whether it may be read: a root, or every parent has ended, or lay before the start (not live, not listed)."""
        return shard.id in self._roots or all(
            parent in self.ended or (parent not in self.live and parent not in self._listed) for parent in shard.parents
        )

    def begins(self, shard: str) -> Position:
        """Where a shard without a log begins: a root as fixed at the first start, a child at its oldest record."""
        return self._positions.get(shard) or Position(Start.TRIM_HORIZON)

    async def succeed(self, shard: str, footer: Footer) -> list[ShardInfo]:
        """The shard has ended, its log's last segment is `footer`; the children that are live from now on."""
        self._end(shard, footer)
        log.info("shard %s has ended; children: %s", shard, [child.id for child in footer.children])
        await self.list()
        born = [child for child in footer.children if child.id not in self.live and child.id not in self.ended]
        self.live.update((child.id, child) for child in born)
        return born

    async def list(self) -> None:
        """Ask the stream which shards it still lists: what it lists and nobody has ended is waited for."""
        self._listed = {s.id for s in await self._retry("list shards", self._stream.list_shards)}

    # From the logs: everything, at the price of a look at each.

    async def survey(self) -> None:
        """The live shards; read again where others published and cleaned up what was about to be read."""
        while True:
            plan = await self._log_store.last_plan(self._state)
            try:
                return await self._look_over(plan)
            except (BrokenLog, NotFound) as problem:
                if (await self._log_store.last_plan(self._state)).k == plan.k:
                    raise BrokenLog(str(problem)) from problem

    async def _look_over(self, plan: Plan) -> None:
        """The live shards: roots and plan, and the children that ended logs name, down to the youngest."""
        live, gone = live_and_retired(plan)
        found: dict[str, ShardInfo] = {}
        await self.list()
        infos = dict(self._roots)
        for parent in sorted({p for entry in live.values() for p in entry.parents if p in gone}):
            head = await self._log_store.head(parent, gone[parent])
            infos.update((child.id, child) for child in head.footer.children)
        ended: dict[str, tuple[str, ...]] = dict.fromkeys(gone, ())
        headers = await asyncio.gather(*(self._log_store.newest(shard, entry) for shard, entry in live.items()))
        todo = list(zip(live, headers, strict=True))
        while todo:
            shard, newest = todo.pop()
            if newest is None or not newest.footer.ended:
                if shard in infos:
                    found[shard] = infos[shard]
                    continue
                # Known to the plan by name alone: its parents are among the logs still to be looked at.
                if not todo:
                    raise BrokenLog(f"shard {shard}: in the plan, but no log names it as a child")
                todo.insert(0, (shard, newest))
                continue
            ended[shard] = tuple(child.id for child in newest.footer.children)
            for child in newest.footer.children:
                if child.id not in infos and child.id not in gone:  # a child may be gone before all is published of it
                    infos[child.id] = child
                    if child.id not in live:
                        todo.append((child.id, await self._log_store.newest(child.id, None)))
        self.live, self.ended = found, ended

    # From the lease table: cheap, and as true as its rows.

    async def learn(self, rows: Iterable[Lease]) -> None:
        """What the last plan and the rows tell, without a look at the logs; a survey where they leave something open.

        A row may be of the past (a table that was restored), never of the future: a shard that has ended shows as live,
        is taken, and its log says the rest. Rows of other shards are left alone.
        """
        plan = await self._log_store.last_plan(self._state)
        try:
            complete = await self._follow(plan, {row.key: row for row in rows})
        except (BrokenLog, NotFound):
            complete = False  # others published, and cleaned up, what was about to be read
        if not complete:
            await self.survey()
        elif self._strangers() or any(not self.ready(shard) for shard in self.live.values()):
            await self.list()
            self._absent |= self._strangers()

    def _strangers(self) -> set[str]:
        """Parents of live shards of which nothing is known: they wait for their own parents, or are long gone."""
        children = [shard for shard in self.live.values() if shard.id not in self._roots]
        parents = {parent for shard in children for parent in shard.parents}
        return parents - self.ended.keys() - self.live.keys() - self._listed - self._absent

    async def _follow(self, plan: Plan, rows: Mapping[str, Lease]) -> bool:
        """From the roots and the plan down to the youngest children; False where a shard is known by name alone."""
        live, gone = live_and_retired(plan)
        for shard in gone:
            self._end(shard)  # its children are in the plan
        todo, seen = [*self._roots, *live], set[str]()
        while todo:
            shard = todo.pop()
            if shard in seen or shard in gone:
                continue
            seen.add(shard)
            row = rows.get(shard)
            if shard not in self.ended and row is not None and row.checkpoint.ended:
                await self._believe(shard, row, live.get(shard))
            if shard in self.ended:
                todo += self.ended[shard]
                continue
            info = self.live.get(shard) or self._roots.get(shard) or _told_by(row)
            if info is None:
                return False
            self.live[shard] = info
        return True

    async def _believe(self, shard: str, row: Lease, entry: PlanShard | None) -> None:
        """A row says that the shard has ended. Its log is asked where that is not all: where the row names no children
        (the table was restored, and mended since), and of a root: a KCL application may have read it to its end before.
        """
        if row.children and shard not in self._roots:
            self.live.pop(shard, None)
            self.ended[shard] = row.children
            return
        head = await self._log_store.newest(shard, entry)
        if head is not None and head.footer.ended:
            self._end(shard, head.footer)
            self.live.update((child.id, child) for child in head.footer.children if child.id not in self.ended)

    def _end(self, shard: str, footer: Footer | None = None) -> None:
        self.live.pop(shard, None)
        if footer is not None:
            self.ended[shard] = tuple(child.id for child in footer.children)
        else:
            self.ended.setdefault(shard, ())


def _told_by(row: Lease | None) -> ShardInfo | None:
    """The shard as its row describes it, where it does."""
    if row is None or row.start_hash is None or row.end_hash is None or not row.parents:
        return None
    return ShardInfo(row.key, row.parents, row.start_hash, row.end_hash)
