"""Resumes a shard from its log: at start, at a takeover, and after a lost race, always in the same way.

The log's last segment gives position, watermark and closed bound. Nothing else is needed; the filter starts empty.
"""

from __future__ import annotations

from dataclasses import dataclass

from vortex.core.ingest.policy import Policy
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.log.rules import (
    BrokenLog,
    SegmentHeader,
    SegmentRef,
    StreamState,
    child_position,
    child_state,
    first_footer,
    log_start,
)
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Footer
from vortex.core.model import ShardInfo
from vortex.core.publish.plan import Plan
from vortex.log.store import LogStore
from vortex.ports import Clock, NotFound, Offload, Stream
from vortex.retry import Retry


class LostRace(Exception):
    """Another worker has committed a segment with the same number."""


@dataclass(frozen=True, slots=True)
class Resumer:
    """Resumes the shards of a stream."""

    stream: Stream
    log_store: LogStore
    clock: Clock
    retry: Retry
    offload: Offload
    owner: str
    state: StreamState

    async def resume(self, shard: ShardInfo, policy: Policy) -> tuple[SegmentRef, ShardIngest]:
        """The last segment of the shard's log, and the state of the worker that wrote it, but with an empty filter.

        Raises BrokenLog if the log is broken, LostRace if another worker started the log at the same time.
        """
        while True:
            plan = await self.log_store.last_plan(self.state)
            head: SegmentRef | None = None
            try:
                if (last := plan.retired.get(shard.id)) is not None:
                    head = await self.log_store.head(shard.id, last)
                else:
                    newest = await self.log_store.newest(shard.id, plan.shards.get(shard.id))
                    head = newest or log_start(shard.id)
                if head.n < 0:
                    head = await self._begin(shard, head)
                return head, self._built(shard, head, policy)
            except (BrokenLog, NotFound) as problem:
                if not await self._moved_on(shard, plan, head):
                    raise BrokenLog(str(problem)) from None

    async def _moved_on(self, shard: ShardInfo, plan: Plan, head: SegmentRef | None) -> bool:
        """Whether others wrote, published and cleaned up during the read; then it is repeated."""
        newest = await self.log_store.last_plan(self.state)
        if newest.k != plan.k:
            return True
        numbers = await self.log_store.numbers(shard.id, head.n) if head is not None else []
        return bool(numbers)

    def _built(self, shard: ShardInfo, head: SegmentRef, policy: Policy) -> ShardIngest:
        if isinstance(head, SegmentHeader):
            start = (head.footer.position, head.footer.watermark, head.footer.closed_before)
        else:  # a root that was never read
            root = next(root for root in self.state.roots if root.shard.id == shard.id)
            start = (root.position, 0, self.state.closed_before)
        return ShardIngest(
            shard,
            policy,
            n=head.n,
            position=start[0],
            watermark=start[1],
            closed_before=start[2],
        )

    async def _begin(self, shard: ShardInfo, empty: SegmentRef) -> SegmentRef:
        """Write a child's empty segment 0, from its parents' last segments. A root needs none."""
        if any(root.shard.id == shard.id for root in self.state.roots):
            return empty
        listed = await self.retry("list shards", self.stream.list_shards)
        parents = await parent_ends(self.log_store, self.state, shard, listed)
        watermark, closed_before = child_state(parents)
        footer = first_footer(
            shard,
            child_position(parents),
            watermark,
            closed_before,
            owner=self.owner,
            created=self.clock.now_ms(),
        )
        sealed = seal(footer)
        if not await self.log_store.commit(shard.id, sealed):
            raise LostRace
        return SegmentHeader(shard.id, 0, sealed.digest, sealed.footer)


async def parent_ends(
    log_store: LogStore, state: StreamState, shard: ShardInfo, listed: list[ShardInfo]
) -> list[Footer]:
    """The last footers of a child's parents. Raises BrokenLog while a parent has not ended.

    A parent is ignored if it has no log, and is not a root, in the last plan, or listed: it ended before the start.
    """
    plan = await log_store.last_plan(state)
    awaited = {root.shard.id for root in state.roots} | set(plan.shards) | {s.id for s in listed}
    ends: list[Footer] = []
    for parent in shard.parents:
        retired_at = plan.retired.get(parent)
        head = (
            await log_store.head(parent, retired_at)
            if retired_at is not None
            else await log_store.newest(parent, plan.shards.get(parent))
        )
        if head is None and parent not in awaited:
            continue
        if head is None or not head.footer.ended:
            raise BrokenLog(f"shard {shard.id}: its parent {parent} has not ended yet")
        ends.append(head.footer)
    if not ends:
        raise BrokenLog(f"shard {shard.id}: none of its parents {list(shard.parents)} has a log")
    return ends
