"""Bounds of deduplication: from which plan on published rows may be near a plan's rows. Stored in the plan."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """An earlier plan as stored in a plan: its number, its largest watermark, its parts and its rows."""

    k: int
    upto: int
    parts: int
    rows: int


def needed_from(arrived: int, after: int, window: int, reach: int) -> int:
    """Plans whose largest watermark is below this have no row near this plan's or a later plan's; `arrived` is the
    earliest arrival of these.

    A shard that continues after days must not require days of keys: rows that arrived more than `reach` before `after`,
    the end of what earlier plans publish, count as arrived at that time. The newest arrival would not do: if no worker
    ran for days, this plan may span them, and its first rows are near to those of the plan before.
    """
    return max(arrived, after - reach) - window


def since(before: int, recent: Sequence[Recent], k: int, needed: int) -> int:
    """The first plan whose keys are compared with plan k. `before` is the value of the previous plan, and `recent` are
    the plans since then.

    It never decreases, so keys that were cleaned up are never needed again.
    """
    return max(before, next((one.k for one in recent if one.upto >= needed), k))


def power_up_to(most: int) -> int:
    """The greatest power of two that is not more; at least one."""
    return 1 << (max(1, most).bit_length() - 1)


def parts_of(rows: int, workers: int, enough: int, needed: int, before: int) -> int:
    """The number of parts in which to decide this many rows: a power of two up to the number of workers; 0 for no rows.

    A part has at least `enough` rows, except where there must be `needed` parts. Where more are needed than in the
    previous plan, they come at once: with too few, keys are read again for each plan. The number falls only where a
    quarter would do: the worker that decided a part has its keys in memory.
    """
    if not rows:
        return 0
    most = power_up_to(workers)
    parts = min(most, max(power_up_to(rows // max(1, enough)), power_up_to(2 * needed - 1)))
    return before if parts < before <= min(most, 2 * parts) else parts


def resolvers(workers: Sequence[str], parts: int, before: Sequence[str]) -> tuple[str, ...]:
    """The worker of each part: the same as in the previous plan if it still exists, else in turn. This is advice."""
    kept = {at: who for at, who in enumerate(before) if who in workers} if len(before) == parts else {}
    free = [who for who in sorted(workers) if who not in kept.values()] or sorted(workers)
    return tuple(kept.get(at) or free[at % len(free)] for at in range(parts if workers else 0))
