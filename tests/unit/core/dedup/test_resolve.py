"""Deciding on rows against a plain walk, and published keys out of files, whatever is kept of them in memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from vortex.core.dedup.decided import encode
from vortex.core.dedup.index import Fingerprints
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import RUN, PlanRuns, Rows
from vortex.core.log.segment import CorruptSegment
from vortex.core.publish.bounds import Recent
from vortex.log.store import LogStore
from vortex.publish.published_keys import KeyCache
from vortex.retry import Once

T = TypeVar("T")
Key = tuple[int, int]
Came = tuple[int, int]
ARRIVALS = st.tuples(st.integers(0, 30), st.integers(0, 6)).map(lambda came: (came[0], came[0] + came[1]))
KEYS = st.tuples(st.integers(0, 2), st.integers(0, 2))


async def in_place(fn: Callable[..., T], /, *args: object) -> T:
    return fn(*args)


def rows_of(keys: list[Key], run: list[int]) -> Rows:
    high, low = (np.array([key[word] for key in keys], dtype=np.uint64) for word in (0, 1))
    return Rows(high, low, np.array(run, dtype=np.uint32), np.arange(len(keys), dtype=np.uint32))


def table_of(came: list[Came]) -> np.ndarray:
    table = np.zeros(len(came), dtype=RUN)
    table["lo"], table["hi"] = [lo for lo, _ in came], [hi for _, hi in came]
    return table


def published_of(rows: list[tuple[Key, Came]]) -> Keys:
    rows = sorted(rows)
    keys = rows_of([key for key, _ in rows], [0] * len(rows))
    lo, hi = (np.array([came[at] for _, came in rows], dtype=np.int64) for at in (0, 1))
    return Keys(keys.high, keys.low, np.arange(len(rows), dtype=np.uint32), lo, hi)


def dropped_by_loop(keys: list[Key], came: list[Came], known: list[list[tuple[Key, Came]]], window: int) -> list[bool]:
    """The promise, word for word: a row is published unless a published row with its key is near."""
    published = [row for several in known for row in several]
    dropped = []
    for key, (lo, hi) in zip(keys, came, strict=True):
        near = any(one == key and lo - b <= window and a - hi <= window for one, (a, b) in published)
        dropped.append(near)
        if not near:
            published.append((key, (lo, hi)))
    return dropped


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(KEYS, ARRIVALS), max_size=25),
    st.lists(st.lists(st.tuples(KEYS, ARRIVALS), max_size=5), max_size=3),
    st.integers(0, 12),
)
def test_resolve_drops_the_rows_that_a_loop_over_all_rows_drops(
    rows: list[tuple[Key, Came]], known: list[list[tuple[Key, Came]]], window: int
) -> None:
    keys, came = [key for key, _ in rows], [came for _, came in rows]
    columns = rows_of(keys, list(range(len(keys)))).by_key()
    dropped = resolve(columns, table_of(came), [published_of(several) for several in known], window)
    assert [out for _, out in sorted(zip(columns.run.tolist(), dropped.tolist(), strict=True))] == dropped_by_loop(
        keys, came, known, window
    )


# Published keys.


async def store_with(plans: int, parts: int, count: int) -> tuple[LogStore, list[Recent], list[list[Key]]]:
    """A store with the decision files of some plans; the plans, and the keys of each."""
    store, rng = MemoryStore(VirtualClock(0)), Random(5)
    log_store, recent, keys = LogStore(store, "root", Once()), [], []
    for k in range(plans):
        some = sorted((rng.getrandbits(64), rng.getrandbits(64)) for _ in range(count))
        for part in range(parts):
            mine = [key for key in some if key[0] * parts >> 64 == part]
            rows = rows_of(mine, [0] * len(mine))
            runs = PlanRuns(["shard"], table_of([(10 * k, 10 * k + 5)]), [], [])
            none = np.zeros(len(mine), dtype=np.bool_)
            await log_store.put_decided(k, part, encode(k, part, parts, runs, rows, none))
        recent.append(Recent(k, 10 * k + 5, parts, count))
        keys.append(some)
    return log_store, recent, keys


def pairs(keys: Keys) -> list[Key]:
    return list(zip(keys.high.tolist(), keys.low.tolist(), strict=True))


@pytest.mark.parametrize("limit", [0, 50_000, 150_000, 10**9], ids=lambda limit: f"{limit} bytes")
@pytest.mark.parametrize("parts", [1, 4])
async def test_key_cache_finds_published_keys_for_any_memory_limit(limit: int, parts: int) -> None:
    log_store, recent, keys = await store_with(plans=6, parts=parts, count=3_000)
    rng = Random(7)
    cache = KeyCache(log_store, in_place, limit)
    for of in (parts, 1, 2, 8, parts):
        for part in range(of):
            probes = sorted(
                (rng.getrandbits(64), rng.getrandbits(64)) if rng.random() < 0.9 else rng.choice(rng.choice(keys))
                for _ in range(400)
            )
            probes = [key for key in probes if key[0] * of >> 64 == part]
            columns = rows_of(probes, [0] * len(probes))
            for several, found in zip(
                keys, await cache.among(recent, part, of, columns.high, columns.low), strict=True
            ):
                assert set(pairs(found)) <= set(several)
                assert set(pairs(found)) & set(probes) == set(several) & set(probes)
                assert pairs(found) == sorted(pairs(found))
            assert cache.nbytes <= max(limit, 20_000)


async def test_key_cache_reduces_old_plans_to_fingerprints_when_memory_is_short() -> None:
    log_store, recent, keys = await store_with(plans=4, parts=1, count=3_000)
    reads = []
    cache = KeyCache(log_store, in_place, 160_000, lambda: reads.append(1))
    none = np.empty(0, dtype=np.uint64)
    await cache.among(recent, 0, 1, none, none)
    kinds = [type(its) for _, _, its in sorted(cache.held(), key=lambda row: row[0])]
    assert kinds == [Fingerprints, Fingerprints, Keys, Keys]
    assert cache.nbytes <= 160_000
    reads.clear()
    await cache.among(recent, 0, 1, none, none)
    assert reads == [], "nothing is read for keys that were never published"
    one = rows_of(keys[0][:1], [0])
    await cache.among(recent, 0, 1, one.high, one.low)
    assert len(reads) <= 2, "one place in one file"


async def test_key_cache_published_reads_the_file_when_it_is_not_in_memory() -> None:
    log_store, recent, keys = await store_with(plans=2, parts=2, count=500)
    cache = KeyCache(log_store, in_place, 0)
    for part in range(2):
        found = await cache.published(recent[1], part, 2)
        assert found is not None
        assert pairs(found) == [key for key in keys[1] if key[0] >> 63 == part]
    assert await cache.published(Recent(2, 0, 0, 0), 0, 1) is None


@pytest.mark.parametrize(("k", "part", "parts"), [(1, 0, 2), (0, 1, 2), (0, 0, 4)], ids=["plan", "part", "parts"])
async def test_a_file_of_another_part_is_taken_for_no_other(k: int, part: int, parts: int) -> None:
    """Whole as it is: with its keys, copies of what this one published would be published again."""
    log_store, recent, _ = await store_with(plans=2, parts=parts, count=50)
    objects = log_store.store.objects  # type: ignore[attr-defined]
    objects[log_store.decided_key(0, 0)] = objects[log_store.decided_key(k, part)]
    plan = Recent(0, recent[0].upto, 2, 50)
    with pytest.raises(CorruptSegment, match=log_store.decided_key(0, 0)):
        await KeyCache(log_store, in_place, 10**9).published(plan, 0, 1)
