"""Reads and checks the JSON documents of the store: an invalid document must not lead to an invalid plan.

Each function takes the bytes of one document. All raise ValueError (or msgspec's subclasses of it) with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from vortex.core.log.rules import STATE_VERSION, StreamState
from vortex.core.log.trailer import Versioned, known_version
from vortex.core.model import Position, Start
from vortex.core.periods import EARLIEST_MS
from vortex.core.publish.contents import DONE_VERSION, OLDEST_DONE, Done
from vortex.core.publish.plan import Plan, PlanShard, read_plan
from vortex.core.publish.ranges import OLDEST_RANGE, RANGE_VERSION, RangeDone
from vortex.core.publish.shares import hash_ranges

_LATEST_MS = 253_402_300_799_999
"""The last supported time."""
_DIGITS = 200


def state_of(body: bytes, name: str) -> StreamState:
    """`stream.json`, named `name`. Raises OtherVersion, too."""
    _known(body, STATE_VERSION, STATE_VERSION, name)
    state = msgspec.json.decode(body, type=StreamState)
    names = [root.shard.id for root in state.roots]
    _claim(bool(names) and len(set(names)) == len(names), "its roots are none, or one comes twice")
    for root in state.roots:
        _claim("/" not in root.shard.id and bool(root.shard.id), f"{root.shard.id!r} names no shard")
        _claim(_meaningful(root.position), f"{root.position} is not a valid position in {root.shard.id}")
    _times(state.closed_before, state.first_hour)
    return state


def plan_of(body: bytes, k: int, name: str) -> Plan:
    """`plan.json` of plan `k`, named `name`. Raises OtherVersion, too."""
    plan = read_plan(body, name)
    _claim(plan.k == k, f"says that it is plan {plan.k}")
    _times(plan.after, plan.upto, *(entry.closed_before for entry in plan.shards.values()))
    _claim(plan.after <= plan.upto, "ends before it begins")
    _claim(plan.target > 0 and plan.small >= 0 and (plan.bundle or 0) >= 0, "has sizes below 0")
    _claim(plan.ranges > 0 and plan.ranges & (plan.ranges - 1) == 0, f"{plan.ranges} ranges are not a power of two")
    hashed, cuts = hash_ranges(plan), plan.cuts
    _claim(0 < hashed <= plan.ranges and hashed & (hashed - 1) == 0, f"{hashed} ranges by hash cannot be")
    _claim(len(cuts) == (plan.ranges - 1 if plan.shared else 0), f"{len(cuts)} cuts do not make {plan.ranges} ranges")
    _claim(list(cuts) == sorted(cuts), "has cuts out of order")
    _claim(all(0 <= folder < 1 << 64 for folder in plan.shared), "shares a folder whose hash cannot be")
    for shard, entry in plan.shards.items():
        _claim(_possible(entry), f"shard {shard}: {entry} cannot be")
    _claim(all(n >= 0 for n in plan.retired.values()), "has a last segment below 0")
    return plan


def done_of(body: bytes, k: int, name: str) -> Done:
    """`done.json` of plan `k`, named `name`. Raises OtherVersion, too."""
    _known(body, OLDEST_DONE, DONE_VERSION, name)
    done = msgspec.json.decode(body, type=Done)
    _claim(done.k == k, f"says that it is of plan {done.k}")
    _times(done.after, done.upto)
    return done


def range_done_of(body: bytes, k: int, number: int, name: str) -> RangeDone:
    """`done-<number>.json` of plan `k`, named `name`. Raises OtherVersion, too."""
    _known(body, OLDEST_RANGE, RANGE_VERSION, name)
    done = msgspec.json.decode(body, type=RangeDone)
    _claim((done.k, done.range) == (k, number), f"says that it is range {done.range} of plan {done.k}")
    return done


def _known(body: bytes, oldest: int, newest: int, name: str) -> None:
    known_version(msgspec.json.decode(body, type=Versioned).version, oldest, newest, name)


def _possible(entry: PlanShard) -> bool:
    numbers = entry.first >= 0 and entry.next >= 0 and entry.to >= -1 and entry.next <= entry.to + 1
    return numbers and bool(entry.digest) == (entry.to >= 0)


def _meaningful(position: Position) -> bool:
    """Whether the position has a valid value for its kind."""
    if position.kind in (Start.TRIM_HORIZON, Start.LATEST):
        return not position.value and not position.skip
    return position.value.isascii() and position.value.isdigit() and len(position.value) <= _DIGITS


def _times(*times: int) -> None:
    _all(EARLIEST_MS <= time <= _LATEST_MS for time in times)


def _all(claims: Iterable[bool]) -> None:
    _claim(all(claims), "has a time outside the calendar")


def _claim(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
