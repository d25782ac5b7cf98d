"""Several workers decide on plans whose id files follow the ranges of publishing, and id files go wrong all the time.

Cuts, takers, memory and absent workers are random. The decision files have the bytes of those of one worker alone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from random import Random
from unittest.mock import patch

import msgspec

from simulation import vtime
from tests.loops import World
from tests.unit.publish.test_dedup_together import Decider, decided_in, history, in_parts
from vortex.core.dedup.groups import groups_of, has_groups
from vortex.core.publish.plan import SHARED_VERSION, Plan
from vortex.core.publish.ranges import ranges_of
from vortex.log.store import LogStore
from vortex.publish.dedup import Decisions, shards_needed
from vortex.publish.known_logs import needed_views

PLANNER, *OTHERS = NAMES = ("planner", "a", "b", "c")
SEEDS = (4, 6)
WHAT = ("changed", "short", "foreign", "missing")
Files = dict[str, bytes]
"""Decision files by key."""


class Member(Decider):
    """One of the workers that decide on a plan together."""

    async def share(self, plan: Plan, roster: Sequence[str], me: str) -> Decisions | None:
        """Decide with the others as the planner does, or as a worker with ranges or parts; None without these."""
        if me == PLANNER:
            return await self.dedup.all(plan, await self.views_of(plan), lambda: roster)
        ranges, parts = ranges_of(plan, me), [part for part, taker in enumerate(plan.resolvers) if taker == me]
        if not ranges and not parts:
            return None
        await self.views_of(plan)  # fills the memory for indexes
        kept = self.indexes.kept
        whole = await needed_views(self.log_store, plan, [], shards_needed(plan, parts), kept)
        known = await self.dedup.own(plan, whole, lambda: roster, kept)
        return await self.dedup.awaited(plan, await needed_views(self.log_store, plan, ranges, [], kept, known))


class Trouble:
    """Before a read of an id file, the file may be damaged, become another one, or go."""

    def __init__(self, world: World, rng: Random) -> None:
        self._world, self._rng = world, rng
        self._bodies: list[bytes] = []
        self.done: Counter[str] = Counter()

    async def before(self, operation: str, key: str) -> None:
        """Each call takes some time."""
        rng, objects = self._rng, self._world.store.objects
        await self._world.clock.sleep(rng.random() * rng.choice((0.1, 1, 8)))
        if operation != "get" or not key.endswith("-ids") or key not in objects or rng.random() < 0.7:
            return
        what, body = rng.choice(WHAT), objects[key]
        self.done[what] += 1
        self._bodies.append(body)
        at = rng.randrange(len(body) + 1)
        if what == "missing":
            self._world.store.delete_now(key)
        elif what == "foreign":
            objects[key] = rng.choice(self._bodies)
        else:
            objects[key] = body[:at] + (b"?" + body[at + 1 :] if what == "changed" else b"")


def by_ranges(plan: Plan, rng: Random) -> Plan:
    """The plan with cuts: mostly about even, and at random places in others."""
    places = [(shard, n) for shard, one in sorted(plan.shards.items()) for n in range(one.first, one.to + 1)]
    if not plan.parts or not places:
        return plan
    ranges = plan.parts * rng.choice((1, 2))
    if rng.random() < 0.8:
        cuts = [places[len(places) * at // ranges] for at in range(1, ranges)]
    else:
        cuts = sorted(rng.choices(places, k=ranges - 1))
    takers = tuple(rng.choice(NAMES) for _ in range(ranges))
    return msgspec.structs.replace(
        plan, ranges=ranges, hashed=1, shared=(1,), cuts=tuple(cuts), takers=takers, version=SHARED_VERSION
    )


async def decided(
    world: World, log_store: LogStore, plans: Sequence[Plan], rng: Random, workers: Sequence[str]
) -> Files:
    """The decision files that these workers make. Some of those that are no planner are absent from a plan."""
    for key in decided_in(world):
        world.store.delete_now(key)
    memory = {name: (rng.choice((900, 3000, 1 << 20)), rng.choice((0, 2000, 1 << 20))) for name in workers}
    members = {name: Member(world, log_store, name, *memory[name]) for name in workers}
    for plan in plans:
        roster = [name for name in workers if name == PLANNER or rng.random() < 0.8]
        found = await asyncio.gather(*(members[name].share(plan, roster, name) for name in roster))
        some = [(one.digests, one.periods) for one in found if one is not None]
        assert some == some[:1] * len(some)
    return {key: body for key, body in decided_in(world).items() if not key.endswith("-ids")}


async def compare(seed: int) -> tuple[Counter[str], Counter[str]]:
    """How many plans went by ranges, and what happened to id files."""
    rng = Random(seed)
    world, log_store, plans = await history(rng, shards=(5, 8))
    plans = in_parts(plans, rng, NAMES, several=(2, 4))
    alone = [msgspec.structs.replace(plan, resolvers=()) for plan in plans]
    shared = [by_ranges(plan, rng) for plan in plans]
    wanted = await decided(world, log_store, alone, rng, [PLANNER])
    trouble = Trouble(world, rng)
    with patch.object(world.store, "before", trouble.before):
        found = await decided(world, log_store, shared, rng, NAMES)
    assert wanted == found
    return Counter("ranges" if goes_by_ranges(plan) else "parts" for plan in shared if plan.parts), trouble.done


def goes_by_ranges(plan: Plan) -> bool:
    """Whether its groups are others than they would be without cuts."""
    return has_groups(plan) and groups_of(plan) != groups_of(msgspec.structs.replace(plan, cuts=()))


def test_workers_with_groups_by_ranges_decide_as_one_alone_does_whatever_becomes_of_id_files() -> None:
    plans, trouble = Counter[str](), Counter[str]()
    for seed in SEEDS:
        went, done = vtime.run(compare(seed))
        plans += went
        trouble += done
    assert plans["ranges"] >= plans["parts"]
    assert min(trouble[what] for what in WHAT) >= 5
