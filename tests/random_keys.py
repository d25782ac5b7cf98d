"""Copies under random partition keys, on any shards: `python -m tests.random_keys --shards 64`.

Every id is put several times, seconds, minutes and just under a window apart, while shards split and merge and the
worker is killed and started again. Then each id must be in the store exactly once. The whole program in virtual time.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from random import Random

from simulation import vtime
from tests.loops import MINUTE, Worker, World


def times_of(rng: Random, begin_s: float, copies: int, window_s: float) -> list[float]:
    """When the copies of one event are put: each within the window of the first."""
    apart = [rng.choice((0.0, rng.uniform(0, 30), rng.uniform(60, 600), window_s - 1)) for _ in range(copies - 1)]
    return [begin_s, *(begin_s + min(each, window_s - 1) for each in apart)]


async def run(shards: int, events: int, copies: int, seed: int, window_ms: int = 60 * MINUTE) -> Counter[str]:
    """The numbers of dropped and filtered rows. Raises AssertionError if an id is not published exactly once."""
    rng = Random(seed)
    world = World(shards=shards, window_ms=window_ms, keep_ms=rng.choice((0, 60 * MINUTE)), look_s=10)
    spread_s = 2 * window_ms / 1000
    agenda = [
        (at, f"id{number}")
        for number in range(events)
        for at in times_of(rng, rng.uniform(0, spread_s), copies, window_ms / 1000)
    ]
    for _ in range(4):
        dies = rng.uniform(0, 1.5 * spread_s)
        agenda += [(dies, "kill"), (dies + rng.uniform(0, 120), "begin")]
        agenda += [(rng.uniform(0, 1.5 * spread_s), change) for change in ("split", "merge")]
    living = [await world.begin()]
    begun = world.clock.monotonic()
    for at, what in sorted(agenda):  # puts are not delayed: the time between them matters
        await world.clock.sleep(max(0.0, at - (world.clock.monotonic() - begun)))
        if what.startswith("id"):
            world.put(what, f"k{rng.getrandbits(40)}")
        elif what == "kill":
            while living:
                await living.pop().kill()
        elif what == "begin":
            living += [] if living else [await world.begin()]
        else:
            _reshard(world, rng, what)
    await world.clock.sleep(3 * 3600)
    (worker,) = living
    await worker.kill()
    await world.verified()
    return await _counted(worker)


def _reshard(world: World, rng: Random, change: str) -> None:
    """A split, or a merge of neighbours."""
    open_ = sorted((s for s in world.stream.shards() if s.end_sequence is None), key=lambda s: s.start_hash)
    at = rng.randrange(max(1, len(open_) - 1))
    if change == "split" or len(open_) < 2:
        shard = open_[at]
        world.stream.split(shard.id, (shard.start_hash + shard.end_hash) // 2 + 1)
    else:
        world.stream.merge(open_[at].id, open_[at + 1].id)


async def _counted(worker: Worker) -> Counter[str]:
    plan = await worker.log_store.last_plan(worker.state)
    dones = [await worker.log_store.done(k) for k in range(plan.k + 1)]
    totals: Counter[str] = Counter()
    for done in dones:
        totals.update(done.totals if done else {})
    return totals


def main(arguments: list[str] | None = None) -> int:
    """0 when every id is there once."""
    parser = argparse.ArgumentParser(prog="python -m tests.random_keys", description=__doc__)
    parser.add_argument("--shards", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--events", type=int, default=2000)
    parser.add_argument("--copies", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    logging.getLogger("vortex").setLevel(logging.CRITICAL)
    for shards in options.shards:
        begun = time.perf_counter()
        result = vtime.run(run(shards, options.events, options.copies, options.seed))
        put = options.events * options.copies
        print(
            f"{shards} shards, {options.events} events put {options.copies} times: {result['rows']} published, "
            f"{result['dropped']} dropped, {result['filtered']} filtered, of {put}; {time.perf_counter() - begun:.0f} s"
        )
        assert result["rows"] == options.events
    return 0


if __name__ == "__main__":
    sys.exit(main())
