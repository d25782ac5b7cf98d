"""The workers that decide on a plan exchange ids: each reads those of a group of shards, once for all of them.

Without this, each part of the keys would read every segment, and requests would grow as segments times parts.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from numpy.typing import NDArray

from vortex.core.dedup.groups import (
    GROUP_TRAILER,
    GroupIds,
    encode_group,
    groups_of,
    merged,
    read_group,
    shards_of,
)
from vortex.core.dedup.rows import PlanRuns, Rows, sorted_by_key
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.trailer import CorruptSegment, OtherVersion
from vortex.core.native.contract import KEY_BYTES
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import Kept, LogStore
from vortex.ports import NotFound, Offload

log = logging.getLogger(__name__)

Views = Mapping[str, LogView]
PlanIds = tuple[PlanRuns, dict[tuple[str, int], bytes]]
"""The runs of a plan, and the ids of its segments."""


class Exchange:
    """The ids of one plan. `views` has some of its segments; others are read if they are needed, and then stay in
    `views` without their ids: the worker publishes objects of them.

    A file is a copy of what the segments say. So one that is missing, damaged, or of other segments is replaced by the
    segments, and never stops a plan.
    """

    def __init__(
        self,
        plan: Plan,
        views: Views,
        log_store: LogStore,
        offload: Offload,
        ids: Callable[[Plan, Views], Awaitable[PlanIds]],
        kept: Kept = SegmentHeader.without_index,
    ) -> None:
        """`ids` reads the runs and ids of the segments in some views; `kept` drops an index that has no room."""
        self.views = dict(views)
        self._plan, self._log_store = plan, log_store
        self._offload, self._ids, self._kept = offload, ids, kept

    async def has(self, group: int) -> bool:
        """Whether the ids of a group are there, or will not come: a worker of an earlier version decides without."""
        k, part = self._plan.k, group % self._plan.parts
        return await self._log_store.has_group(k, group) or await self._log_store.has_decided(k, part)

    async def put(self, group: int) -> bytes:
        """Read the ids of a group from its segments, and put them. Returns the file. Raises NotFound, BrokenLog."""
        shards = shards_of(self._plan, group)
        views = await whole_views(self._plan, shards, self.views, self._log_store, self._kept, with_ids=True)
        body = await self._offload(encode_group, self._plan, group, *await self._ids(self._plan, views))
        for shard, view in views.items():
            if view is not self.views.get(shard):
                self.views[shard] = LogView([replace(head, ids=None) for head in view.headers])
        await self._log_store.put_group(self._plan.k, group, body)
        return body

    async def rows(self, part: int) -> tuple[PlanRuns, Rows]:
        """The runs of the plan, and its rows in a part, sorted by key. Raises NotFound, BrokenLog."""
        found = await asyncio.gather(*(self._group(group, part) for group in range(len(groups_of(self._plan).shards))))
        files, blocks = [file for file, _ in found], [block for _, block in found]
        del found
        return await self._offload(_by_key, self._plan, files, blocks, part)

    async def _group(self, group: int, part: int) -> tuple[GroupIds, bytes]:
        name = self._log_store.group_key(self._plan.k, group)
        try:
            return await self._log_store.group_ids(self._plan, group, part)
        except NotFound:
            log.info("%s: is missing; reading the segments", name)
        except (CorruptSegment, OtherVersion, ValueError, struct.error) as problem:  # also of a faulty writer
            log.warning("%s; reading the segments", problem)
        body = await self.put(group)
        file = read_group(body[-GROUP_TRAILER.length(body, name) :], self._plan, group, name)
        begin, length = file.range_of(part)
        return file, body[begin : begin + length]


async def whole_views(
    plan: Plan,
    shards: Iterable[str],
    views: Views,
    log_store: LogStore,
    kept: Kept = SegmentHeader.without_index,
    *,
    with_ids: bool = False,
) -> dict[str, LogView]:
    """The views of some shards with all of the plan's segments: those in `views`, and read ones, of which `kept` drops
    the index if there is no room. Raises BrokenLog.

    `with_ids`: ids are wanted at once, so a footer is read together with them, which lie before it. How many these are
    is known on average only; where there are more, `LogStore.ids` reads them.
    """
    segments = sum(max(0, entry.to + 1 - entry.first) for entry in plan.shards.values())
    ids_bytes = 2 * KEY_BYTES * plan.rows // max(1, segments) if with_ids else 0

    async def one(shard: str) -> LogView:
        entry, view = plan.shards[shard], views.get(shard) or LogView()
        if len(view.between(entry.first, entry.to)) == max(0, entry.to + 1 - entry.first):
            return view
        headers = await log_store.back_from(shard, entry.first, entry.to, entry.digest, ids_bytes)
        return LogView([replace(kept(replace(head, ids=None)), ids=head.ids) for head in headers])

    names = list(shards)
    return dict(zip(names, await asyncio.gather(*map(one, names)), strict=True))


def _by_key(plan: Plan, files: list[GroupIds], blocks: list[bytes], part: int) -> tuple[PlanRuns, Rows]:
    runs, rows = merged(plan, files, blocks, part)
    columns: list[NDArray[Any]] = [rows.high, rows.low, rows.run, rows.row]
    del rows
    return runs, sorted_by_key(columns)
