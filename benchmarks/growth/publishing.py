"""Curves of publishing: what listing the objects of a plan takes."""

from __future__ import annotations

import time

from benchmarks.growth.ground import PERIOD_MS, T0, folders, segment
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import Cell
from vortex.core.publish.members import members_of
from vortex.core.publish.plan import LogView, Plan, PlanShard


def views_of(number: int, members: int) -> tuple[Plan, dict[str, LogView]]:
    """A plan of so many segments with so many members each, ten segments a shard."""
    cells = {Cell(folder, T0): [b'{"id":1}'] for folder in folders(members)}
    sealed = segment("shardId", 0, "", T0 + PERIOD_MS, cells)
    views = {}
    for shard in range(-(-number // 10)):
        several = min(10, number - 10 * shard)
        name = f"shardId-{shard:012d}"
        views[name] = LogView([SegmentHeader(name, n, sealed.digest, sealed.footer) for n in range(several)])
    entries = {name: PlanShard(first=0, to=len(view.headers) - 1) for name, view in views.items()}
    return Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=entries, target=64 << 20), views


def listed(segments: int, members: int = 2000) -> tuple[float, int]:
    """CPU seconds in which the objects of a plan are listed, and how many pieces they have."""
    plan, views = views_of(segments, members)
    begun, pieces = time.process_time(), 0
    ordered = members_of(plan, views, {})
    for first, last in ordered.chunks():
        pieces += sum(len(spec.pieces) for spec in ordered.objects(plan.target, first, last))
    return time.process_time() - begun, pieces
