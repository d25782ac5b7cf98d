"""Which published shards a plan forgets, so that plans grow with the live shards and not with the age of the stream.

A shard that no plan names must stay what it is: ended long ago. So it is forgotten only when nothing can bring it back.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import NamedTuple

import msgspec

from vortex.core.log.segment import Footer
from vortex.core.publish.plan import LogView, Plan


class End(NamedTuple):
    """How a log ended: the children that its last segment names, and its `closed_before`."""

    children: tuple[str, ...]
    closed_before: int


def end_of(footer: Footer) -> End:
    """The end of a log whose last footer this is."""
    return End(tuple(child.id for child in footer.children), footer.closed_before)


def forgetting(
    plan: Plan, views: Mapping[str, LogView], ends: Mapping[str, End], absent: Container[str], age_ms: int
) -> Plan:
    """The plan without the retired shards that it may forget.

    `views` are the logs that the plan was made of, `ends` the ends of retired logs. `absent` are the retired shards of
    whose logs only the last segment is left, and which the stream does not list any more. A shard is forgotten if it is
    absent, ended `age_ms` before the plan's end, and

    - no live shard is its child: a child starts from, and is described by, the last segments of its parents; and
    - no log names it as a child, unless that log is forgotten, too: it would join the plan again, as a shard that has
      not begun.

    Nothing is forgotten while the end of a retired log is not known: it may name any child.
    """
    if not all(shard in ends for shard in plan.retired):
        return plan
    parents = {parent for entry in plan.shards.values() for parent in entry.parents}
    named = {child.id for view in views.values() if view.newest for child in view.newest.children}
    kept, left = set[str](), list[str]()
    for shard in plan.retired:
        old = shard in absent and ends[shard].closed_before + age_ms <= plan.upto
        if not old or shard in parents or shard in named:
            kept.add(shard)
            left.append(shard)
    while left:
        for child in ends[left.pop()].children:
            if child in plan.retired and child not in kept:
                kept.add(child)
                left.append(child)
    return msgspec.structs.replace(plan, retired={s: n for s, n in plan.retired.items() if s in kept})
