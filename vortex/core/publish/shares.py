"""How a plan is shared out: into how many ranges it is cut, and which of them publishes a member.

A folder lies in the range of its hash. A large folder is shared by segments instead: each range has the folder's
members of some consecutive segments, and makes its own objects of them. So several workers publish one folder, and each
reads only its own segments for it.

The plan says all of this, so an object is a function of the plan and the logs, whoever makes it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from vortex.core.publish.plan import SHARED_VERSION, LogView, Plan, planned_bytes

_LEAST_STRIDE = 1000


@dataclass(frozen=True, slots=True)
class Worth:
    """When it is worth sharing a plan among `workers`. All in compressed bytes.

    A range has at least `range_bytes`, and at least `piece_bytes` of each segment on average: each range reads each
    segment anew, so ranges of small segments would cost more requests than they are worth.
    """

    workers: int
    target: int
    range_bytes: int
    piece_bytes: int


def hash_ranges(plan: Plan) -> int:
    """The number of ranges in which the folders that are not shared lie: the first of the plan's ranges."""
    return plan.hashed or plan.ranges


def shared_range(plan: Plan, segment: tuple[str, int]) -> int:
    """The range that has the members of shared folders in a segment (shard, n)."""
    return bisect_right(plan.cuts, segment)


def mask(plan: Plan, number: int, segment: tuple[str, int], hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which members of a segment (shard, n) belong to range `number` of the plan, by the hashes of their folders."""
    bits = hash_ranges(plan).bit_length() - 1
    mine = hashes >> np.uint64(64 - bits) == np.uint64(number) if bits else np.full(len(hashes), number == 0)
    if not plan.shared:
        return mine
    shared = np.isin(hashes, np.array(plan.shared, dtype=np.uint64))
    return np.where(shared, shared_range(plan, segment) == number, mine)


def first_segments(plan: Plan, number: int) -> dict[str, int]:
    """By shard, the first segment that the range needs; shards without one are left out.

    A range that has folders by their hash needs all segments.
    """
    if number < hash_ranges(plan):
        return {shard: entry.first for shard, entry in plan.shards.items()}
    first: dict[str, int] = {}
    for shard, entry in plan.shards.items():
        for n in range(entry.first, entry.to + 1):
            if shared_range(plan, (shard, n)) == number:
                first[shard] = n
                break
    return first


def part_stride(plan: Plan) -> int:
    """Part numbers of a shared folder's objects begin at this times the number of the range.

    A power of ten that is not less than the number of the plan's segments: an object has a member of one at least.
    """
    segments = sum(entry.to + 1 - entry.first for entry in plan.shards.values())
    stride = _LEAST_STRIDE
    while stride < segments:
        stride *= 10
    return stride


def listings(plan: Plan) -> Iterator[tuple[Plan, int]]:
    """The plan and a range, for as few ranges as together have all objects of the plan."""
    if not plan.shared and not plan.bundle:
        yield msgspec.structs.replace(plan, ranges=1, hashed=0), 0
        return
    for number in range(plan.ranges):
        yield plan, number


def range_count(size: int, workers: int, enough: int) -> int:
    """How many ranges for `size` compressed bytes: a power of two, at most one per worker, each at least `enough`."""
    most = min(workers, size // max(1, enough))
    return 1 << max(0, most.bit_length() - 1)


def shared_out(plan: Plan, views: Mapping[str, LogView], worth: Worth) -> Plan:
    """The plan, cut into as many ranges as its bytes are worth."""
    size = planned_bytes(plan, views)
    heavy = _heavy(plan, views)
    enough = max(worth.range_bytes, worth.piece_bytes * _segments(plan, views))
    ranges, shared = _shared(heavy, worth)
    inside = sum(size for _, some in heavy for folder, size in some.items() if folder in shared)
    hashed = range_count(max(0, size - inside), worth.workers, enough)
    if not shared:
        return msgspec.structs.replace(plan, ranges=hashed)
    ranges = max(ranges, hashed)
    weights = [max(0.0, size / ranges - (max(0, size - inside) / hashed if at < hashed else 0)) for at in range(ranges)]
    return msgspec.structs.replace(
        plan,
        ranges=ranges,
        hashed=hashed,
        shared=tuple(sorted(shared)),
        cuts=_cuts([(place, sum(some.get(f, 0) for f in shared)) for place, some in heavy], weights),
        version=max(plan.version, SHARED_VERSION),
    )


Heavy = list[tuple[tuple[str, int], dict[int, int]]]
"""By segment (shard, n), in order: the folders that have a large part of it, by hash, and their bytes."""


def _heavy(plan: Plan, views: Mapping[str, LogView]) -> Heavy:
    found: Heavy = []
    for shard, entry in sorted(plan.shards.items()):
        for head in views[shard].between(entry.first, entry.to) if shard in views else ():
            sizes: dict[int, int] = {}
            for period, folder, size in head.heavy.tolist():
                if plan.after <= period < plan.upto:
                    sizes[folder] = sizes.get(folder, 0) + size
            found.append(((shard, head.n), sizes))
    return found


def _segments(plan: Plan, views: Mapping[str, LogView]) -> int:
    """The number of segments that have a part of the plan."""
    return sum(
        any(plan.after <= one.period < plan.upto for one in head.sizes)
        for shard, entry in plan.shards.items()
        if shard in views
        for head in views[shard].between(entry.first, entry.to)
    )


def _shared(heavy: Heavy, worth: Worth) -> tuple[int, frozenset[int]]:
    """The number of ranges that share large folders, and these folders: each has an object's size for each range."""
    totals: dict[int, int] = {}
    for _, sizes in heavy:
        for folder, size in sizes.items():
            totals[folder] = totals.get(folder, 0) + size
    ranges = 1 << (max(1, worth.workers).bit_length() - 1)
    while ranges > 1:
        chosen = frozenset(folder for folder, size in totals.items() if size >= ranges * worth.target)
        if chosen and sum(totals[folder] for folder in chosen) >= ranges * worth.range_bytes:
            return ranges, chosen
        ranges //= 2
    return 1, frozenset()


def _cuts(sizes: list[tuple[tuple[str, int], int]], weights: list[float]) -> tuple[tuple[str, int], ...]:
    """The first segment of each range but the first, so that they have sizes in proportion to the weights."""
    ends = np.cumsum([size for _, size in sizes])
    wanted = np.cumsum(weights)[:-1] / max(sum(weights), 1e-9) * ends[-1]
    (shard, n), _ = sizes[-1]
    places = [*(place for place, _ in sizes), (shard, n + 1)]
    # The segment in whose middle a cut would be belongs to the range before it, unless it lies mostly behind.
    middles = ends - np.array([size for _, size in sizes]) / 2
    return tuple(places[at] for at in np.searchsorted(middles, wanted).tolist())
