"""Deciding on the rows of several plans in a row, against a loop over rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.random_rows import Came, Key, pool_of, rows_of, runs_of
from tests.unit.core.dedup.test_decided import keys_of
from vortex.core.dedup.decided import encode, parse
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.resolve import Bools, resolve
from vortex.core.dedup.rows import PlanRuns, Rows


def dropped_by_loop(rows: Rows, runs: PlanRuns, known: Sequence[Keys], window: int) -> list[bool]:
    """The rule, row by row."""
    published: dict[Key, list[Came]] = defaultdict(list)
    for keys in known:
        for high, low, run in zip(keys.high.tolist(), keys.low.tolist(), keys.run.tolist(), strict=True):
            published[high, low].append((int(keys.lo[run]), int(keys.hi[run])))
    dropped = []
    for high, low, run in zip(rows.high.tolist(), rows.low.tolist(), rows.run.tolist(), strict=True):
        lo, hi = int(runs.table["lo"][run]), int(runs.table["hi"][run])
        near = any(lo - b <= window and a - hi <= window for a, b in published[high, low])
        dropped.append(near)
        if not near:
            published[high, low].append((lo, hi))
    return dropped


def published_keys(rows: Rows, runs: PlanRuns, dropped: Bools) -> Keys:
    """The keys that a plan published, as memory holds them."""
    body = encode(0, 0, 1, runs, rows, dropped)
    found = parse(body, len(body), "x")
    return keys_of(found, body, 0, 1)


def in_plan_order(rows: Rows, dropped: Bools) -> list[bool]:
    """Which rows are dropped, in the order of `rows`; `dropped` is in key order."""
    keys = list(zip(rows.high.tolist(), rows.low.tolist(), strict=True))
    ordered = np.empty(len(dropped), dtype=np.bool_)
    ordered[sorted(range(len(keys)), key=keys.__getitem__)] = dropped
    return ordered.tolist()


@given(st.integers(0, 2**32), st.sampled_from([1, 30, 200, 1500]), st.integers(1, 3))
def test_resolve_drops_the_rows_that_the_rule_drops(seed: int, window: int, plans: int) -> None:
    """Over several plans, with keys that repeat within a plan and later, inside and outside the window."""
    rng = Random(seed)
    pool, known = pool_of(rng, rng.choice((2, 20, 200))), list[Keys]()
    for _ in range(plans):
        runs = runs_of(rng, rng.randint(1, 12))
        rows = rows_of(rng, runs, rng.randint(0, 120), pool)
        by_key = rows.by_key()
        dropped = resolve(by_key, runs.table, known, window)
        assert in_plan_order(rows, dropped) == dropped_by_loop(rows, runs, known, window)
        known.append(published_keys(by_key, runs, dropped))


def test_resolve_takes_no_quadratic_time_when_all_rows_have_one_key() -> None:
    """A constant id by mistake: many rows of few segments, of which the first is published."""
    runs = runs_of(Random(1), 10)
    runs.table["lo"], runs.table["hi"] = 0, 5
    number = 100_000
    same = np.zeros(number, dtype=np.uint64)
    run = np.sort(np.arange(number, dtype=np.uint32) % 10)
    dropped = resolve(Rows(same, same, run, run).by_key(), runs.table, [], 100)
    assert not dropped[0] and dropped[1:].all()
