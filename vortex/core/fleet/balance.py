"""Balance: which worker should work on which shard, decided from the lease table as one worker has seen it.

Every worker decides for itself and takes at most its fair share; the table's conditional writes settle races. A steal
always reduces the larger of two loads, so the fleet reaches a stable state from any start. The rules are those of the
KCL's lease taker, with loads instead of counts.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import xxhash

from vortex.core.fleet.lease import Lease, beats_together

MAX_WEIGHT = 16
"""Maximum weight of a hot shard; an ordinary shard has weight 1."""
SOON = 0.1
"""Fraction of the failover time to wait before the next look while the fleet is not balanced."""
BEATS = 3
"""Heartbeats per failover time."""
ROUND = 10
"""Failover times in which a worker renews each of its leases once."""
STANDS = 3 * ROUND
"""Failover times after which a lease is free though its owner lives: the owner does not know of it."""
_FULL_PACE_ROWS = 125
_CHANGE = 1.5
_LEAST_KBPS = 1.0


class Seen(NamedTuple):
    """A lease as last read, and for how many seconds of the observer's clock its owner has shown no life."""

    lease: Lease
    unchanged_for_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now: free or expired leases to take, and at most one lease to steal from a live worker."""

    take: tuple[Lease, ...] = ()
    steal: Lease | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """The workers, ordered by the smallest shard id that each owns. The first plans; `rank` is this worker's place."""

    workers: tuple[str, ...] = ()
    rank: int = 0


def look_every(rows: int, failover_s: float) -> float:
    """Seconds between two looks at a table of this many rows.

    A look reads the whole table, so its cost grows with the rows: up to 125 rows four times per failover time, then
    less often, down to once in two failover times (the KCL's pace).
    """
    return failover_s * min(2.0, max(0.25, 0.25 * rows / _FULL_PACE_ROWS))


def look_again(seen: Sequence[Seen], held: Container[str], failover_s: float) -> float:
    """Seconds until the next look of a balanced fleet: earlier if another worker's lease is about to expire."""
    pauses = [look_every(len(seen), failover_s)]
    for one in seen:
        if (
            one.lease.owner is not None
            and one.lease.key not in held
            and failover_s / 2 < one.unchanged_for_s < failover_s
        ):
            pauses.append(failover_s - one.unchanged_for_s)
    return max(SOON * failover_s, min(pauses))


def shown_life(rows: Sequence[Seen], failover_s: float) -> list[Seen]:
    """The rows, with the time since their owners showed life; before, since each row's own counter changed.

    An owner whose leases beat together lives if any of their counters moves.
    """
    youngest: dict[str | None, float] = {}
    for one in rows:
        if beats_together(one.lease):
            owner = one.lease.owner
            youngest[owner] = min(one.unchanged_for_s, youngest.get(owner, one.unchanged_for_s))
    return [
        one._replace(unchanged_for_s=youngest[one.lease.owner])
        if beats_together(one.lease) and one.unchanged_for_s < STANDS * failover_s
        else one
        for one in rows
    ]


def beat_alone(seen: Iterable[Seen], me: str, failover_s: float) -> bool:
    """Whether a live worker is of a program that judges each lease by its own counter, as older versions do."""
    return any(
        one.lease.owner not in (None, me) and not beats_together(one.lease) and one.unchanged_for_s < failover_s
        for one in seen
    )


def reported_throughput(before: float | None, measured: float) -> float:
    """The throughput to report, in KB/s. Changes only if it differs by half, so that loads stay stable."""
    measured = max(measured, _LEAST_KBPS)
    if before is not None and before / _CHANGE <= measured <= before * _CHANGE:
        return before
    return measured


def weights(leases: Iterable[Lease]) -> dict[str, int]:
    """The weight of each shard: 1, or more if its throughput is well above the mean."""
    rates = {lease.key: lease.throughput for lease in leases}
    known = [rate for rate in rates.values() if rate is not None]
    mean = sum(known) / len(known) if known else 0.0
    if mean <= 0:
        return dict.fromkeys(rates, 1)
    return {key: min(MAX_WEIGHT, max(1, round((rate or 0.0) / mean))) for key, rate in rates.items()}


def decide(seen: Sequence[Seen], me: str, held: Set[str], failover_s: float) -> Decision:
    """What `me` does about the shards that may be worked on now (`seen` has only these); it holds the shards `held`.

    A worker without leases first takes one, which shows it to others that start at the same time. After that it takes
    up to four times what it holds, up to its fair share. Nothing is stolen while any lease is free.
    """
    weight = weights(one.lease for one in seen)
    loads: dict[str, int] = {me: 0}
    free: list[Lease] = []
    for one in seen:
        owner = owner_of(one, me, held, failover_s)
        if owner is None:
            free.append(one.lease)
        else:
            loads[owner] = loads.get(owner, 0) + weight[one.lease.key]
    fair = -(-sum(weight.values()) // len(loads))
    if not free:
        return Decision(steal=_steal(seen, me, held, failover_s, loads, weight))
    chosen: list[Lease] = []
    load = loads[me]
    for lease in sorted(free, key=lambda lease: _order(me, lease.key)):
        if load >= fair or len(chosen) >= max(1, 4 * len(held)):
            break
        chosen.append(lease)
        load += weight[lease.key]
    return Decision(take=tuple(chosen))


def begin_at(me: str, count: int) -> int:
    """The index at which `me` starts in a list of this length, so that workers using one list rarely collide."""
    return _order(me, "") % count if count else 0


def owner_of(one: Seen, me: str, held: Container[str], failover_s: float) -> str | None:
    """The owner of the shard; None if its lease is free or expired. For own leases `held` decides, not the table."""
    lease = one.lease
    if lease.key in held:
        return me
    if lease.owner is None or lease.owner == me or one.unchanged_for_s >= failover_s:
        return None
    return lease.owner


def _steal(
    seen: Sequence[Seen], me: str, held: Set[str], failover_s: float, loads: dict[str, int], weight: dict[str, int]
) -> Lease | None:
    """The heaviest shard of the most loaded owner whose move leaves `me` with less load than that owner has now."""
    best: tuple[int, int, int, str] | None = None
    found: Lease | None = None
    for one in seen:
        owner = owner_of(one, me, held, failover_s)
        key = one.lease.key
        if owner is None or owner == me or loads[me] + weight[key] >= loads[owner]:
            continue
        rank = (loads[owner], weight[key], _order(me, key), key)
        if best is None or rank > best:
            best, found = rank, one.lease
    return found


def roster(seen: Iterable[Seen], me: str, held: Set[str], failover_s: float) -> Roster:
    """The workers of live shards, including shards whose parents have not ended."""
    workers: dict[str, None] = {}
    for one in sorted(seen, key=lambda one: one.lease.key):
        if (owner := owner_of(one, me, held, failover_s)) is not None:
            workers[owner] = None
    order = tuple(workers)
    return Roster(order, order.index(me) if me in workers else len(order))


def _order(me: str, key: str) -> int:
    """An order of shards that differs between workers, so that concurrent workers rarely choose the same shard."""
    return xxhash.xxh3_64_intdigest(f"{me}\0{key}".encode())
