"""Since which plan something may have been published that is near to a plan's rows: it says so, and all agree."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Recent(msgspec.Struct, frozen=True, array_like=True):
    """What a plan says of one before it: its number, the greatest watermark it reached, its parts and its rows."""

    k: int
    upto: int
    parts: int
    rows: int


def needed_from(arrived: tuple[int, int], window: int, reach: int) -> int:
    """Plans that reached no further than this have nothing near to a row of a plan that `arrived`, nor of a later one.

    A shard that was pushed on after days must not keep days of keys: what came more than `reach` before the newest
    counts as of then.
    """
    return max(arrived[0], arrived[1] - reach) - window


def since(before: int, recent: Sequence[Recent], k: int, needed: int) -> int:
    """The first plan whose keys plan k is held against; `before` is the plan's before, of which `recent` are all since.

    It never goes back, so what was cleaned up is never asked for again.
    """
    return max(before, next((one.k for one in recent if one.upto >= needed), k))


def parts_of(rows: int, workers: int, enough: int, before: int) -> int:
    """In how many parts of the keys to decide on so many rows: a power of two up to the number of workers; 0 for none.

    A part has `enough` rows at least. As many as the plan before had, where that is not far off: who decided on a part
    has its keys in memory.
    """
    if not rows:
        return 0
    most = 1 << (max(1, workers).bit_length() - 1)
    parts = min(most, 1 << max(0, (rows // max(1, enough)).bit_length() - 1))
    return before if before and before <= most and parts <= 2 * before and before <= 2 * parts else parts


def resolvers(workers: Sequence[str], parts: int, before: Sequence[str]) -> tuple[str, ...]:
    """Who takes which part: whoever took it of the plan before, if it is there still, else in turn. It is advice."""
    kept = {at: who for at, who in enumerate(before) if who in workers} if len(before) == parts else {}
    free = [who for who in sorted(workers) if who not in kept.values()] or sorted(workers)
    return tuple(kept.get(at) or free[at % len(free)] for at in range(parts if workers else 0))
