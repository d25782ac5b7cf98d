"""Stories of workers that share a plan, in virtual time. Each asserts that every line is published once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from tests.leased_fleet import FleetWorld, all_leave, documents, planner
from tests.loops import MINUTE
from vortex.core.log.trailer import OtherVersion
from vortex.core.publish.pieces import ObjectSpec
from vortex.core.publish.plan import Plan
from vortex.exits import Exit
from vortex.log.store import LogStore
from vortex.publish.object_writer import ObjectWriter
from vortex.runtime.app import App
from vortex.runtime.assembly import assemble, loaded_state
from vortex.verify.store import verify_store

STRIDE = 1000
"""Part numbers of a shared folder's objects begin at this times the number of the range."""


def range_of(key: str) -> int:
    """The number of the range that made an object of a shared folder."""
    return int(key.rpartition("-")[2].partition(".")[0]) // STRIDE


async def taker_dies_in_a_shared_folder() -> None:
    """A worker dies when it has put the first object of its range of a shared folder; the others are not made yet."""
    world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1, target=1)
    members = [await world.join() for _ in range(4)]
    await world.run(200)
    victim, put = next(one for one in members if one is not planner(members)), list[str]()
    middle, real = asyncio.Event(), ObjectWriter._put_object

    async def first(self: ObjectWriter, several: Sequence[tuple[ObjectSpec, bytes, int]]) -> Any:
        key = several[0][0].key
        if self is victim.publisher._ranges._writer and range_of(key):
            if put:
                await world.clock.sleep(1e9)
            put.append(key)
            made = await real(self, several)
            middle.set()
            return made
        return await real(self, several)

    with patch.object(ObjectWriter, "_put_object", first):
        for _ in range(400):
            await world.run(1)
            if middle.is_set():
                break
        assert put, "it has put a part of the folder"
        members.remove(victim)
        await victim.kill()
    plan, number = documents(world, "plan")[-1], range_of(put[0])
    assert plan["takers"][number] == victim.owner and plan["shared"] and plan["version"] == 5
    left = f"{victim.log_store.root}/plans/{plan['k']:010d}/done-{number}.json"
    assert left not in world.store.objects, "its range is not done"
    await world.run(240)
    done = {one["k"]: one for one in documents(world, "done")}
    assert len(done) > plan["k"] + 2, "publishing goes on"
    made = [row["key"] for row in done[plan["k"]]["objects"] if range_of(row["key"]) == number]
    assert put[0] in made and len(made) > 1 and len(set(made)) == len(made)
    await world.clock.sleep(200)
    await all_leave(members)
    await world.verified()


async def older_worker_beside_newer_ones(known: int, bundle: int, joins_after_s: int) -> None:
    """One that reads plans up to version `known`, and joins others whose plans are of the next version.

    It says so, and gives up the shards that it would begin; the others read these, and publish all.
    """
    world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1, target=bundle or 1, bundle=bundle)
    members = [await world.join() for _ in range(2)]
    await world.run(joins_after_s)
    env = world.environment()
    state, log_store = await loaded_state(env)

    async def readable(k: int) -> Plan | None:
        plan = await LogStore.plan(log_store, k)
        if plan is not None and plan.version > known:
            raise OtherVersion(f"plan {k}: format version {plan.version}; this program knows up to {known}")
        return plan

    with patch.object(log_store, "plan", readable):
        older = App(assemble(env, state, log_store, drain=False))
        running = asyncio.ensure_future(older.run())
        await world.run(200)
        assert {one["version"] for one in documents(world, "plan")[2:]} == {known + 1}
        assert any(f"this program knows up to {known}" in said for said in env.health.report().values())
        before = len(documents(world, "done"))
        await world.run(240)
        assert len(documents(world, "done")) >= before + 3, "the others publish"
        assert world.longest_silence(world.clock.monotonic() - 240) < 30, "every shard is read"
        older.stop()
        assert await running is Exit.LOST_STATE
    await world.run(60)
    assert set(world.owners()) == {member.owner for member in members}
    await world.clock.sleep(200)
    await all_leave(members)
    assert not (await verify_store(world.store)).faults
    bundled, others = world.lines("_bundles/"), world.lines("c=")
    assert bool(bundled) is bool(bundle)
    assert Counter(json.loads(line)["id"] for line in (*bundled, *others)) == dict.fromkeys(world.sent, 1)
