"""The ranges of a plan: equal parts of the folders' hash space, which several workers publish in parallel.

Their number is fixed in the plan; their assignment is advice. Each range is a function of the plan and the logs, so any
worker can publish an overdue one, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vortex.core.publish.contents import PublishedObject
from vortex.core.publish.plan import Plan

RANGE_VERSION = 1


class RangeDone(msgspec.Struct, kw_only=True):
    """`done-<range>.json`: the objects of one range of a plan."""

    k: int
    range: int
    objects: list[PublishedObject]
    version: int = RANGE_VERSION


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
