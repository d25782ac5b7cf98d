"""Balance: who should work on which shard, told from the lease table as one worker has seen it.

Every worker decides for itself and takes at most what brings it to an equal share; the table's conditions settle races.
A steal makes the greater of two loads less, so from any start the fleet comes to rest, and then stays still. The rules
are those of the KCL's lease taker, with loads in place of counts
(https://github.com/awslabs/amazon-kinesis-client/blob/v2.x/amazon-kinesis-client/src/main/java/software/amazon/kinesis/leases/dynamodb/DynamoDBLeaseTaker.java).
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import xxhash

from vortex.core.fleet.lease import Lease

MAX_WEIGHT = 16
"""What a hot shard counts for at most, in ordinary ones."""
SOON = 0.1
"""Of the failover time: how long to wait before looking again while the fleet is not at rest."""
_FULL_PACE_ROWS = 125
_CHANGE = 1.5
_LEAST_KBPS = 1.0


class Seen(NamedTuple):
    """A lease as last read, and for how many seconds of the observer's own clock its counter has stood still."""

    lease: Lease
    unchanged_for_s: float


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now: free or expired leases to take, and at most one to take from somebody who lives."""

    take: tuple[Lease, ...] = ()
    steal: Lease | None = None


@dataclass(frozen=True, slots=True)
class Roster:
    """The workers in order of the least shard that each owns. The first one plans; `rank` is one's own place."""

    workers: tuple[str, ...] = ()
    rank: int = 0


def look_every(rows: int, failover_s: float) -> float:
    """Seconds between two looks at a table of so many rows.

    A look reads the whole table, so its price grows with the rows: up to 125 rows four times in a failover time, then
    the more seldom, down to once in two (the KCL's pace).
    """
    return failover_s * min(2.0, max(0.25, 0.25 * rows / _FULL_PACE_ROWS))


def look_again(seen: Sequence[Seen], held: Container[str], failover_s: float) -> float:
    """Seconds until the next look of a fleet at rest: earlier where somebody's lease is about to expire."""
    pauses = [look_every(len(seen), failover_s)]
    for one in seen:
        if (
            one.lease.owner is not None
            and one.lease.key not in held
            and failover_s / 2 < one.unchanged_for_s < failover_s
        ):
            pauses.append(failover_s - one.unchanged_for_s)
    return max(SOON * failover_s, min(pauses))


def told(before: float | None, measured: float) -> float:
    """The throughput to tell, in KB/s: a new one only where it differs by a half, so that loads keep still."""
    measured = max(measured, _LEAST_KBPS)
    if before is not None and before / _CHANGE <= measured <= before * _CHANGE:
        return before
    return measured


def weights(leases: Iterable[Lease]) -> dict[str, int]:
    """What each shard counts for: 1, or more where its throughput is well above the others' mean."""
    rates = {lease.key: lease.throughput for lease in leases}
    known = [rate for rate in rates.values() if rate is not None]
    mean = sum(known) / len(known) if known else 0.0
    if mean <= 0:
        return dict.fromkeys(rates, 1)
    return {key: min(MAX_WEIGHT, max(1, round((rate or 0.0) / mean))) for key, rate in rates.items()}


def decide(seen: Sequence[Seen], me: str, held: Set[str], failover_s: float) -> Decision:
    """What `me` does about the shards that may be worked on now (`seen` holds no others); `held` are its own.

    Who holds nothing takes one at first: that shows it to those who start at the same time. Then it takes up to four
    times what it holds, up to an equal share. Nothing is stolen while anything is free.
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
    """Where in a list of so many `me` begins, so that those who work through one list together seldom meet."""
    return _order(me, "") % count if count else 0


def owner_of(one: Seen, me: str, held: Container[str], failover_s: float) -> str | None:
    """Who works on the shard; None where its lease is free, or has expired. Of oneself one knows better."""
    lease = one.lease
    if lease.key in held:
        return me
    if lease.owner is None or lease.owner == me or one.unchanged_for_s >= failover_s:
        return None
    return lease.owner


def _steal(
    seen: Sequence[Seen], me: str, held: Set[str], failover_s: float, loads: dict[str, int], weight: dict[str, int]
) -> Lease | None:
    """The heaviest shard whose move leaves me with less than its owner has now, of the most loaded owner."""
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
    """The workers of live shards, those whose parents have not ended among them."""
    workers: dict[str, None] = {}
    for one in sorted(seen, key=lambda one: one.lease.key):
        if (owner := owner_of(one, me, held, failover_s)) is not None:
            workers[owner] = None
    order = tuple(workers)
    return Roster(order, order.index(me) if me in workers else len(order))


def _order(me: str, key: str) -> int:
    """An order of shards that differs from worker to worker, so that those who look at once seldom want the same."""
    return xxhash.xxh3_64_intdigest(f"{me}\0{key}".encode())
