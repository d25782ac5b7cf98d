"""The ranges of a plan, which several workers publish in parallel: who takes them, and what they leave.

What is in a range is fixed in the plan (`vortex.core.publish.shares`); its assignment is advice. Each range is a
function of the plan and the logs, so any worker can publish an overdue one, with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from vortex.core.publish.contents import PublishedObject
from vortex.core.publish.plan import Plan

RANGE_VERSION = 2
"""Version 2 has bundles; a range without one is of version 1."""
OLDEST_RANGE = 1


class RangeDone(msgspec.Struct, kw_only=True):
    """`done-<range>.json`: the objects of one range of a plan."""

    k: int
    range: int
    objects: list[PublishedObject]
    version: int = OLDEST_RANGE


def range_done(k: int, number: int, objects: list[PublishedObject]) -> RangeDone:
    """The document of a range."""
    bundled = any(one.bundled for one in objects)
    return RangeDone(k=k, range=number, objects=objects, version=RANGE_VERSION if bundled else OLDEST_RANGE)


def takers(workers: Sequence[str], me: str, ranges: int) -> tuple[str, ...]:
    """The worker of each range: the planner takes the first, then the others in turn."""
    order = [me, *(worker for worker in workers if worker != me)]
    return tuple(order[number % len(order)] for number in range(ranges))


def ranges_of(plan: Plan, me: str) -> list[int]:
    """The ranges that are assigned to `me`."""
    return [number for number, taker in enumerate(plan.takers or ()) if taker == me]
