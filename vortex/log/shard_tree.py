"""The tree of shards: which are live, which have ended, and which may start (a child after its parents' logs end)."""

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
from vortex.ports import NotFound, PortError, Stream
from vortex.retry import Retry

log = logging.getLogger(__name__)


class ShardTree:
    """The known shards of a stream: the live ones, and the ended ones with their children."""

    def __init__(self, state: StreamState, log_store: LogStore, stream: Stream, retry: Retry) -> None:
        self.live: dict[str, ShardInfo] = {}
        self.ended: dict[str, tuple[str, ...]] = {}
        self.named: set[str] = set()
        """The shards to which the last plan leads, its retired ones included; plans have forgotten all others that ever
        were, or do not know them yet."""
        self._state, self._log_store, self._stream, self._retry = state, log_store, stream, retry
        self._roots = {root.shard.id: root.shard for root in state.roots}
        self._positions = {root.shard.id: root.position for root in state.roots}
        self._listed: set[str] = set()
        self._absent: set[str] = set()
        """Parents that the stream does not list: they ended before the start."""

    def ready(self, shard: ShardInfo) -> bool:
        """Whether the shard may be read: it is a root, or every parent has ended or is unknown (not live, not listed,
        so it ended before the start).
        """
        return shard.id in self._roots or all(
            parent in self.ended or (parent not in self.live and parent not in self._listed) for parent in shard.parents
        )

    def begins(self, shard: str) -> Position:
        """Where a shard without a log starts: a root as fixed at the first start, a child at its oldest record."""
        return self._positions.get(shard) or Position(Start.TRIM_HORIZON)

    async def succeed(self, shard: str, footer: Footer) -> list[ShardInfo]:
        """The shard has ended with the segment `footer`. Returns the children that are live from now on."""
        self._end(shard, footer)
        log.info("shard %s has ended; children: %s", shard, [child.id for child in footer.children])
        await self.list()
        new = [child for child in footer.children if child.id not in self.live and child.id not in self.ended]
        self.live.update((child.id, child) for child in new)
        return new

    async def list(self) -> None:
        """List the stream's shards: a listed shard that has not ended is waited for."""
        self._listed = {s.id for s in await self._retry("list shards", self._stream.list_shards)}

    async def listed_now(self) -> set[str] | None:
        """The shards of one listing; None if there was no answer."""
        try:
            self._listed = {shard.id for shard in await self._stream.list_shards()}
        except PortError:
            return None
        return self._listed

    # From the logs: complete, but reads the head of each log.

    async def survey(self) -> None:
        """Find the live shards. Starts over if others published and cleaned up what it was about to read."""
        while True:
            plan = await self._log_store.last_plan(self._state)
            try:
                return await self._survey(plan)
            except (BrokenLog, NotFound) as problem:
                if (await self._log_store.last_plan(self._state)).k == plan.k:
                    raise BrokenLog(str(problem)) from problem

    async def _survey(self, plan: Plan) -> None:
        """Find the live shards: the roots, the plan's shards, and the children of ended logs, down to the youngest."""
        live, retired = live_and_retired(plan)
        found: dict[str, ShardInfo] = {}
        await self.list()
        infos = dict(self._roots)
        for parent in sorted({p for entry in live.values() for p in entry.parents if p in retired}):
            head = await self._log_store.head(parent, retired[parent])
            infos.update((child.id, child) for child in head.footer.children)
        ended: dict[str, tuple[str, ...]] = dict.fromkeys(retired, ())
        headers = await asyncio.gather(*(self._log_store.newest(shard, entry) for shard, entry in live.items()))
        todo = list(zip(live, headers, strict=True))
        while todo:
            shard, newest = todo.pop()
            if newest is None or not newest.footer.ended:
                if shard in infos:
                    found[shard] = infos[shard]
                    continue
                # The plan has only its name; one of the logs still to be read describes it as a child.
                if not todo:
                    raise BrokenLog(f"shard {shard}: is in the plan, but no log names it as a child")
                todo.insert(0, (shard, newest))
                continue
            ended[shard] = tuple(child.id for child in newest.footer.children)
            for child in newest.footer.children:
                if child.id not in infos and child.id not in retired:  # a child may be retired before its parent
                    infos[child.id] = child
                    if child.id not in live:
                        todo.append((child.id, await self._log_store.newest(child.id, None)))
        self.live, self.ended, self.named = found, ended, {*found, *ended}

    # From the lease table: cheaper, since most logs are not read.

    async def learn(self, rows: Iterable[Lease]) -> None:
        """Find the live shards from the last plan and the rows, without reading logs; `survey` if that is not enough.

        A row may be outdated (a restored table): an ended shard that shows as live is taken, and its log then shows the
        end. It may be ahead of the log if another application reads the stream, too: an end in a row counts only with
        the end in the log, which is read once for each such shard. Rows of unknown shards are ignored.
        """
        plan = await self._log_store.last_plan(self._state)
        try:
            complete = await self._follow(plan, {row.key: row for row in rows})
        except (BrokenLog, NotFound):
            complete = False  # others published and cleaned up what it was about to read
        if not complete:
            await self.survey()
        elif self._unknown_parents() or any(not self.ready(shard) for shard in self.live.values()):
            await self.list()
            self._absent |= self._unknown_parents()

    def _unknown_parents(self) -> set[str]:
        """Parents of live shards about which nothing is known: they wait for their own parents, or ended long ago."""
        children = [shard for shard in self.live.values() if shard.id not in self._roots]
        parents = {parent for shard in children for parent in shard.parents}
        return parents - self.ended.keys() - self.live.keys() - self._listed - self._absent

    async def _follow(self, plan: Plan, rows: Mapping[str, Lease]) -> bool:
        """Walk from the roots and the plan to the youngest children. False if only the name of a shard is known."""
        live, retired = live_and_retired(plan)
        for shard in [*retired, *self._roots]:
            if shard not in live:
                self._end(shard)  # its children are in the plan, or it was forgotten
        before, todo, seen = list(self.live), list(live), set[str]()
        while todo:
            several = [shard for shard in dict.fromkeys(todo) if shard not in seen and shard not in retired]
            seen.update(several)
            await asyncio.gather(*(self._end_by_row(shard, rows.get(shard), live.get(shard)) for shard in several))
            todo = [child for shard in several for child in self.ended.get(shard, ())]
            for shard in several:
                if shard in self.ended:
                    continue
                info = self.live.get(shard) or self._roots.get(shard) or _described_by(rows.get(shard))
                if info is None:
                    return False
                self.live[shard] = info
        for shard in before:
            if shard not in seen:
                self._end(shard)  # forgotten since this process looked last
        self.named = {*retired, *seen}
        return True

    async def _end_by_row(self, shard: str, row: Lease | None, entry: PlanShard | None) -> None:
        """The shard may have ended if its row says so, and its own log must say it, too.

        A KCL application that reads from the same table ends rows of shards whose events Vortex has not read.
        """
        if shard in self.ended or row is None or not row.checkpoint.ended:
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


def _described_by(row: Lease | None) -> ShardInfo | None:
    """The shard as its row describes it; None if the row is incomplete."""
    if row is None or row.start_hash is None or row.end_hash is None or not row.parents:
        return None
    return ShardInfo(row.key, row.parents, row.start_hash, row.end_hash)
