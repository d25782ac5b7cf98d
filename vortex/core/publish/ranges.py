"""The ranges of a plan: equal parts of the folders' hash space, which several workers publish in parallel.

Their number is fixed in the plan; their assignment is advice. Each range is a function of the plan and the logs, so any
worker can publish an overdue one, with the same result.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from vortex.core.publish.contents import PublishedObject, shares
from vortex.core.publish.plan import LogView, Plan


class RangeDone(msgspec.Struct, kw_only=True):
    """`done-<range>.json`: the objects of one range of a plan."""

    k: int
    range: int
    objects: list[PublishedObject]
    version: int = 1


def range_count(size: int, workers: int, enough: int) -> int:
    """How many ranges for `size` compressed bytes: a power of two, at most one per worker, each at least `enough`."""
    most = min(workers, size // max(1, enough))
    return 1 << max(0, most.bit_length() - 1)


def takers(workers: Sequence[str], me: str, ranges: int) -> tuple[str, ...]:
    """The worker of each range: the planner takes the first, then the others in turn."""
    order = [me, *(worker for worker in workers if worker != me)]
    return tuple(order[number % len(order)] for number in range(ranges))


def ranges_of(plan: Plan, me: str) -> list[int]:
    """The ranges that are assigned to `me`."""
    return [number for number, taker in enumerate(plan.takers or ()) if taker == me]


def shares_of(plan: Plan, views: Mapping[str, LogView], number: int) -> tuple[range, int]:
    """The shares of the hash space in which to process a range, and their total number: no share has many members."""
    total = max(plan.ranges, shares(plan, views))
    each = total // plan.ranges
    return range(number * each, (number + 1) * each), total
