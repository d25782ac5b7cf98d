"""Resuming a shard from the log: at start, at a takeover, after a lost race. There is one way to begin, and no second.

The head tells position, watermark and bound; its `floors` name the segments whose ids make the window.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from vortex.core.ingestion import Policy, ShardIngest
from vortex.core.model import ShardInfo
from vortex.core.planning import Plan
from vortex.core.segment import Footer, seal
from vortex.core.shardlog import (
    BrokenLog,
    Head,
    Lineage,
    Remembered,
    StreamState,
    child_position,
    child_state,
    first_footer,
    merged_floors,
)
from vortex.core.window import KEY_BYTES, Window
from vortex.journal import Journal
from vortex.ports import Clock, NotFound, Offload, Stream
from vortex.retry import Retry


class LostRace(Exception):
    """Another worker committed the segment that this one meant to."""


@dataclass(frozen=True, slots=True)
class Resumer:
    """What it takes to resume any shard of a stream."""

    stream: Stream
    journal: Journal
    clock: Clock
    retry: Retry
    offload: Offload
    owner: str
    state: StreamState
    target: int

    async def resume(self, shard: ShardInfo, policy: Policy) -> tuple[Head, ShardIngest]:
        """The head of the shard's log, and the state that the worker which wrote it had (invariant I4).

        Raises BrokenLog where the log cannot be built on, LostRace where another worker began it.
        """
        while True:
            plan = await self.journal.last_plan(self.state, self.target)
            head: Head | None = None
            try:
                if (last := plan.gone.get(shard.id)) is not None:
                    head = await self.journal.head(shard.id, last)
                else:
                    head = await self.journal.newest(shard.id, plan.shards.get(shard.id))
                if head.n < 0:
                    head = await self._begin(shard, head)
                return head, await self._built(shard, head, policy)
            except (BrokenLog, NotFound) as problem:
                if not await self._moved_on(shard, plan, head):
                    raise BrokenLog(str(problem)) from None

    async def _moved_on(self, shard: ShardInfo, plan: Plan, head: Head | None) -> bool:
        """Whether others wrote, published and cleaned up while this one was reading: then it reads again."""
        newest = await self.journal.last_plan(self.state, self.target)
        if newest.k != plan.k:
            return True
        numbers = await self.journal.numbers(shard.id, head.n) if head is not None else []
        return bool(numbers)

    async def _built(self, shard: ShardInfo, head: Head, policy: Policy) -> ShardIngest:
        footer = head.footer
        if footer is None:  # a root that nobody has read yet
            root = next(root for root in self.state.roots if root.shard.id == shard.id)
            start = (root.position, 0, self.state.opens_from)
            window, lineage = Window(), Lineage()
        else:
            start = (footer.position, footer.watermark, footer.open_from)
            # Nothing is read upon an ended log, and what its window was made of may be cleaned up.
            window, lineage = (Window(), Lineage()) if footer.ended else await self._rebuild(shard, footer)
        return ShardIngest(
            shard,
            policy,
            n=head.n,
            position=start[0],
            watermark=start[1],
            open_from=start[2],
            window=window,
            lineage=lineage,
        )

    async def _begin(self, shard: ShardInfo, empty: Head) -> Head:
        """A child's empty segment 0, from its parents' last segments; a root needs none."""
        if any(root.shard.id == shard.id for root in self.state.roots):
            return empty
        listed = await self.retry("list shards", self.stream.list_shards)
        parents = await parent_ends(self.journal, self.state, shard, self.target, listed)
        watermark, open_from = child_state(parents)
        footer = first_footer(
            shard,
            child_position(parents),
            watermark,
            open_from,
            floors=merged_floors(parents),
            owner=self.owner,
            created=self.clock.now_ms(),
        )
        sealed = seal(footer)
        if not await self.journal.commit(shard.id, sealed):
            raise LostRace
        return Head(shard.id, 0, sealed.digest, sealed.footer)

    async def _rebuild(self, shard: ShardInfo, footer: Footer) -> tuple[Window, Lineage]:
        async def segments(name: str, first: int) -> list[Head]:
            numbers = await self.journal.numbers(name, first - 1)
            if name == shard.id:
                numbers = [n for n in numbers if n <= footer.n]
            if numbers != list(range(first, first + len(numbers))) or not numbers:
                raise BrokenLog(
                    f"log of {name}: segments from {first} on are needed for the window, found {numbers[:5]}"
                )
            return list(await asyncio.gather(*(self.journal.head(name, n) for n in numbers)))

        logs = await asyncio.gather(*(segments(name, first) for name, first in sorted(footer.floors.items())))
        heads = [head for several in logs for head in several]
        heads.sort(key=lambda head: (head.footer.watermark if head.footer else 0, head.shard, head.n), reverse=True)
        blocks = await asyncio.gather(*(self.journal.ids(head) for head in heads))
        return await self.offload(load_window, heads, blocks)


def load_window(heads: list[Head], blocks: list[bytes]) -> tuple[Window, Lineage]:
    """A window of id blocks, youngest first as `heads` are. Heavy: meant for a worker thread."""
    window = Window(sum(map(len, blocks)) // KEY_BYTES)
    remembered = []
    for head, block in zip(heads, blocks, strict=True):
        assert head.footer is not None
        remembered.append(Remembered(head.shard, head.n, head.footer.watermark, window.load(block)))
    return window, Lineage(remembered[::-1])


async def parent_ends(
    journal: Journal, state: StreamState, shard: ShardInfo, target: int, listed: list[ShardInfo]
) -> list[Footer]:
    """The last footers of a child's parents. Raises BrokenLog while any is not ended (I5).

    A parent without a log that is neither a root, nor in the last plan, nor listed any more, lay before the start:
    nothing of it is waited for.
    """
    plan = await journal.last_plan(state, target)
    awaited = {root.shard.id for root in state.roots} | set(plan.shards) | {s.id for s in listed}
    ends: list[Footer] = []
    for parent in shard.parents:
        gone = plan.gone.get(parent)
        head = (
            await journal.head(parent, gone)
            if gone is not None
            else await journal.newest(parent, plan.shards.get(parent))
        )
        if head.footer is None and parent not in awaited:
            continue
        if head.footer is None or not head.footer.ended:
            raise BrokenLog(f"shard {shard.id}: its parent {parent} has not ended yet")
        ends.append(head.footer)
    if not ends:
        raise BrokenLog(f"shard {shard.id}: none of its parents {list(shard.parents)} has a log")
    return ends
