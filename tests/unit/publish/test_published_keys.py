"""Published keys out of decision files, with any part of them in memory."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from time import process_time
from typing import TypeVar

import numpy as np
import pytest

from simulation.memstore import MemoryStore
from simulation.vtime import VirtualClock
from tests.unit.core.dedup.test_resolve import rows_of, table_of
from vortex.core.dedup.decided import encode
from vortex.core.dedup.index import Fingerprints
from vortex.core.dedup.keys import Keys
from vortex.core.dedup.rows import PlanRuns
from vortex.core.log.trailer import CorruptSegment
from vortex.core.publish.bounds import Recent
from vortex.log.store import LogStore
from vortex.publish.published_keys import KeyCache
from vortex.retry import Once

T = TypeVar("T")
Key = tuple[int, int]


async def in_place(fn: Callable[..., T], /, *args: object) -> T:
    return fn(*args)


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
async def test_key_cache_raises_corrupt_segment_when_a_file_is_of_another_plan_or_part(
    k: int, part: int, parts: int
) -> None:
    """The file itself is intact. With its keys, copies of published rows would be published again."""
    log_store, recent, _ = await store_with(plans=2, parts=parts, count=50)
    objects = log_store.store.objects  # type: ignore[attr-defined]
    objects[log_store.decided_key(0, 0)] = objects[log_store.decided_key(k, part)]
    plan = Recent(0, recent[0].upto, 2, 50)
    with pytest.raises(CorruptSegment, match=log_store.decided_key(0, 0)):
        await KeyCache(log_store, in_place, 10**9).published(plan, 0, 1)


def keys_of(count: int) -> Keys:
    words, none = np.arange(count, dtype=np.uint64) << np.uint64(50), np.zeros(1, dtype=np.int64)
    return Keys(words, words, np.zeros(count, dtype=np.uint32), none, none)


@pytest.mark.parametrize("limit", [10**9, 200_000], ids=["room", "no room"])
async def test_key_cache_keeps_the_plans_of_a_week_in_no_cubic_time(limit: int) -> None:
    """And counts what it has: plans that come, shrink, come again, and are forgotten."""
    cache, begun = KeyCache(LogStore(MemoryStore(VirtualClock(0)), "root", Once()), in_place, limit), process_time()
    for k in range(2016):
        await cache.keep(k, 0, 1, keys_of(k % 30))
        await cache.keep(k, 0, 1, keys_of(k % 30))
        assert cache.nbytes <= limit
        if k % 500 == 0:
            cache.forget(k // 2)
    assert cache.nbytes == sum(cached.nbytes for _, _, cached in cache.held())
    assert process_time() - begun < 20
