"""Random rows of a plan, for tests of deduplication."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import numpy as np

from tests.native import without_native
from vortex.core.dedup.index import Fingerprints, Words, find, in_order
from vortex.core.dedup.rows import RUN, PlanRuns, Rows

Key = tuple[int, int]
Came = tuple[int, int]


def runs_of(rng: Random, number: int) -> PlanRuns:
    """Runs in the order in which segments come, with arrival times in any order."""
    table = np.zeros(number, dtype=RUN)
    for at in range(number):
        lo = rng.randrange(1000)
        table[at] = (at % 3, at, 0, lo, lo + rng.randrange(60), 0, 0)
    return PlanRuns(["a", "b", "c"], table, [], [])


def rows_of(rng: Random, runs: PlanRuns, number: int, pool: Sequence[Key]) -> Rows:
    """Sorted rows with keys from the pool."""
    of_run = sorted(rng.randrange(len(runs.table)) for _ in range(number))
    keys = [rng.choice(pool) for _ in range(number)]
    row = [rng.randrange(2**32) for _ in range(number)]
    return Rows(*_columns(keys), np.array(of_run, dtype=np.uint32), np.array(sorted(row), dtype=np.uint32))


def pool_of(rng: Random, number: int) -> list[Key]:
    """Keys, some of which share their first word."""
    keys = [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(number)]
    return keys + [(high, low ^ 1) for high, low in keys[: number // 4]]


def differing_look_up(rng: Random) -> str:
    """Sort random keys and look up others among them, in C and in Python; what differs, or an empty string."""
    pool = pool_of(rng, rng.randint(1, 300))
    if rng.random() < 0.5:
        pool = [(high & 0xFFFFFF, low & 1) for high, low in pool]
    some, others = ([rng.choice(pool) for _ in range(rng.randint(0, 600))] for _ in range(2))
    found = _looked_up(some, others)
    with without_native():
        return "" if found == _looked_up(some, others) else f"looking up {others} among {some}"


def _looked_up(some: Sequence[Key], others: Sequence[Key]) -> list[list[int]]:
    order = in_order(*_columns(some))
    keys, probes = _columns(sorted(some)), _columns(sorted(others))
    places = [find(*keys, *probes), find(*probes, *keys), Fingerprints(keys[0]).may_have(probes[0])]
    return [array.tolist() for array in (order, *places)]


def _columns(keys: Sequence[Key]) -> tuple[Words, Words]:
    high, low = (np.array([key[word] for key in keys], dtype=np.uint64) for word in (0, 1))
    return high, low
