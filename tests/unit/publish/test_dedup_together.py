"""Two workers with unlike memory decide on the same plans at the same time: every file has the same bytes from both.

One holds the ids of segments since it read their footers, and all published keys. The other holds few of them, or none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from unittest.mock import patch

import msgspec
import numpy as np
import pytest

from simulation import vtime
from tests.loops import MINUTE, World
from vortex.core.dedup.index import Fingerprints
from vortex.core.log.rules import log_start
from vortex.core.publish.bounds import Recent
from vortex.core.publish.plan import LogView, Plan
from vortex.log.store import LogStore
from vortex.publish.dedup import Decisions, Deduplicator, Resolver
from vortex.publish.known_logs import Indexes
from vortex.publish.object_writer import ForeignObject
from vortex.publish.published_keys import KeyCache
from vortex.publish.sharing import Sharing

WORKERS = ("rich", "poor")
Bodies = dict[tuple[int, int], bytes]
"""Decision files by plan and part."""


class Decider:
    """A worker that only decides. Nothing tells it of files of the other, so both decide on each part of theirs."""

    def __init__(self, world: World, log_store: LogStore, me: str, keys: int, most: int) -> None:
        """`keys` bytes of published keys, and `most` bytes of indexes and ids of segments."""
        self._most = most
        self.log_store = LogStore(world.store, log_store.root, log_store.retry)
        self.keys = KeyCache(self.log_store, vtime.in_place, keys)
        resolver = Resolver(self.log_store, vtime.in_place, self.keys)
        self.dedup = Deduplicator(resolver, self.log_store, world.clock, vtime.NullMeter(), Sharing(world.clock, me))
        self.made: Bodies = {}
        self.held = 0
        """Segments whose ids it held."""

    async def views_of(self, plan: Plan) -> dict[str, LogView]:
        """The whole logs of a plan, with as much of them as there is memory for."""
        views, self.indexes = {}, Indexes(self._most)
        for shard in plan.shards:
            views[shard] = LogView(await self.log_store.follow(log_start(shard), self.indexes.kept))
            self.held += sum(head.ids is not None for head in views[shard].headers)
        return views

    async def decide(self, plan: Plan) -> Decisions:
        """Decide on a plan, and note the files."""
        views = await self.views_of(plan)
        with (
            patch.object(self.log_store, "put_decided", self._put),
            patch.object(self.log_store, "has_decided", self._has),
        ):
            decisions = await self.dedup.all(plan, views, lambda: WORKERS)
        assert decisions is not None
        return decisions

    async def _put(self, k: int, part: int, body: bytes) -> bool:
        self.made.setdefault((k, part), body)  # a worker whose file differs forgets its keys, and decides again
        return await LogStore.put_decided(self.log_store, k, part, body)

    async def _has(self, k: int, part: int) -> bool:
        return (k, part) in self.made


async def history(rng: Random, shards: tuple[int, int] = (1, 3)) -> tuple[World, LogStore, list[Plan]]:
    """A stream with copies on other shards, published by one worker that is gone; its plans."""
    world = World(
        shards=rng.randint(*shards),
        period_ms=MINUTE,
        keep_ms=10**9,
        window_ms=rng.choice((1, 5, 60)) * MINUTE,
        page_records=rng.choice((3, 10_000)),
        every_s=rng.choice((2, 20)),
        look_s=rng.choice((2, 150)),
    )
    worker = await world.begin()
    for at in range(240):
        for _ in range(rng.randrange(3)):
            world.put(f"id{len(world.sent)}")
        if rng.random() < 0.5:
            world.put(f"id{rng.randrange(len(world.sent) + 1)}", f"again {at}")
        await world.clock.sleep(1)
    await world.clock.sleep(600)
    await worker.kill()
    last = await worker.log_store.last_plan(worker.state)
    plans = [await worker.log_store.plan(k) for k in range(last.k + 1)]
    return world, worker.log_store, [plan for plan in plans if plan is not None]


def in_parts(
    plans: Sequence[Plan], rng: Random, workers: Sequence[str] = WORKERS, several: Sequence[int] = (1, 2, 4)
) -> list[Plan]:
    """The plans in other parts, as with more workers; of some, these workers exchange the ids."""
    found: list[Plan] = []
    for plan in plans:
        recent = tuple(Recent(one.k, one.upto, found[one.k].parts, one.rows) for one in plan.recent)
        parts = rng.choice(several) if plan.parts else 0
        resolvers = tuple(rng.choice(workers) for _ in range(parts)) if parts > 1 else ()
        found.append(msgspec.structs.replace(plan, parts=parts, recent=recent, resolvers=resolvers))
    return found


def decided_in(world: World) -> dict[str, bytes]:
    """What is in the store of decisions, id files included."""
    return {key: body for key, body in world.store.objects.items() if "/dedup/" in key}


async def compare(seed: int) -> int:
    """The number of files that both made."""
    rng = Random(seed)
    world, log_store, plans = await history(rng)
    before, both = decided_in(world), 0
    rich = Decider(world, log_store, "rich", keys=1 << 20, most=1 << 20)
    poor = Decider(world, log_store, "poor", keys=rng.choice((1500, 4000)), most=rng.choice((0, 2000)))

    async def slow(operation: str, key: str) -> None:
        await world.clock.sleep(rng.random())

    for chain in (plans, in_parts(plans, rng)):
        for key in decided_in(world):
            world.store.delete_now(key)
        for one in (rich, poor):
            one.keys.forget()
            one.made.clear()
        for plan in chain:
            with patch.object(world.store, "before", slow):
                found = await asyncio.gather(rich.decide(plan), poor.decide(plan))
            assert found[0].digests == found[1].digests and found[0].periods == found[1].periods
        assert rich.made == poor.made
        both += len(rich.made)
        if chain is plans:
            assert decided_in(world) == before, "as the worker did that is gone"
    assert poor.held < rich.held
    assert poor.keys.nbytes <= poor.keys.limit < rich.keys.nbytes
    return both


@pytest.mark.parametrize("seed", range(8))
def test_two_workers_with_unlike_memory_write_the_same_decision_files(seed: int) -> None:
    """And the same as the worker that decided first."""
    assert vtime.run(compare(seed)) > 5


def test_the_comparison_finds_a_worker_that_does_not_look_up_what_it_holds_as_fingerprints() -> None:
    """Planted: only the worker with little memory has any."""
    with (
        patch.object(Fingerprints, "may_have", lambda _, probes: np.zeros(len(probes), dtype=np.bool_)),
        pytest.raises((AssertionError, ForeignObject)),
    ):
        for seed in range(8):
            vtime.run(compare(seed))
