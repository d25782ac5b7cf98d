"""Copies of segments: each is read once, into memory or a scratch file; what fails there is read from the store."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.growth.ground import PERIOD_MS, ROOT, T0, CountingStore, Traffic, fill
from simulation import vtime
from simulation.simscratch import SimScratch, SimScratchFile
from tests.loops import MINUTE, Worker, World
from vortex.core.publish.members import Members, members_of
from vortex.core.publish.plan import Plan, PlanShard
from vortex.log.store import LogStore
from vortex.publish import copies
from vortex.publish.copies import Copier, blobs_of
from vortex.retry import Once
from vortex.runtime.assembly import loaded_state

_TRAFFIC = Traffic(commits=3, partitions=40, size=1_400_000)


async def ground() -> tuple[CountingStore, LogStore, Members, Plan]:
    """The logs of two shards, and the members of their plan."""
    store = CountingStore(vtime.VirtualClock())
    fill(store, 2, _TRAFFIC)
    log_store = LogStore(store, ROOT, Once())
    names = [f"shardId-{at:012d}" for at in range(2)]
    shards = {name: PlanShard(first=0, to=2, digest=(await log_store.head(name, 2)).digest) for name in names}
    plan = Plan(k=0, after=T0, upto=T0 + PERIOD_MS, shards=shards, target=1 << 20)
    views = {name: await log_store.view(name, shards[name]) for name in names}
    store.requests.clear()
    return store, log_store, members_of(plan, views, {}), plan


async def copied(scratch: SimScratch, memory: int) -> tuple[int, int]:
    """How many passes and GETs it takes to read every blob, in batches of one object. Asserts that they are right."""
    store, log_store, members, plan = await ground()
    copier, at, passes = Copier(log_store, vtime.in_place, scratch, memory), 0, 0
    found: dict[Any, Any] = {}
    while at < len(members):
        async with copier.next_pass(members, at) as (under_way, end):
            for spec in members.objects(plan.target, at, end):
                found |= await under_way.blobs([spec])
        at, passes = end, passes + 1
    gets = store.gets()
    expected = await blobs_of(log_store, members.objects(plan.target, 0, len(members)))
    assert {place: bytes(blob) for place, blob in found.items()} == {k: bytes(v) for k, v in expected.items()}
    return passes, gets


def test_a_plan_that_fits_into_memory_is_read_once_and_no_file_is_made() -> None:
    def fails() -> bool:
        raise AssertionError("no file is needed")

    assert vtime.run(copied(SimScratch(10**9, fails), 10**9)) == (1, 6)


def test_a_plan_that_does_not_fit_into_memory_is_read_once_into_a_file() -> None:
    assert vtime.run(copied(SimScratch(10**9), 1000)) == (1, 6)


def test_a_plan_larger_than_the_file_is_read_in_passes() -> None:
    """Each reads its own range of each segment."""
    passes, gets = vtime.run(copied(SimScratch(2_000_000), 1000))
    assert 1 < passes < 6
    assert gets <= 2 * 6 * passes


def test_first_objects_are_read_while_later_ranges_are_still_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a pass waits for no copy that nobody needs."""

    async def main() -> None:
        monkeypatch.setattr(copies, "_UNDER_WAY", 1)  # one range after another
        monkeypatch.setattr(copies, "NEAR", 0)
        monkeypatch.setattr(copies, "_REQUEST", 10_000)
        store, log_store, members, plan = await ground()
        copier = Copier(log_store, vtime.in_place, SimScratch(10**9), 10**9)
        async with copier.next_pass(members, 0) as (under_way, end):
            assert end == len(members)
            first, *_ = members.objects(plan.target, 0, end)
            await under_way.blobs([first])
            before = store.gets()
        assert before <= 2 * len(first.pieces)
        assert store.gets() <= before + 1

    vtime.run(main())


@pytest.mark.parametrize(
    "fails",
    [
        lambda number: True,
        lambda number: number > 3,
        lambda number: number > 7,
        lambda number: number % 3 == 0,
    ],
)
def test_a_file_that_fails_costs_requests_and_no_bytes(fails: Callable[[int], bool]) -> None:
    """Where it cannot be made, written or read, blobs come from the store."""
    calls = itertools.count()
    passes, gets = vtime.run(copied(SimScratch(10**9, lambda: fails(next(calls))), 20_000))
    assert passes >= 1
    assert gets > 6


def test_publishing_goes_on_while_the_scratch_folder_is_full_for_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line is published once, and files are used again as soon as there is room."""
    written, refused = list[float](), list[float]()

    async def main() -> None:
        world = World(period_ms=MINUTE, every_s=10)
        begun, write = world.clock.monotonic(), SimScratchFile.write

        def full() -> bool:
            return 300 <= world.clock.monotonic() - begun < 900

        def watched(self: SimScratchFile, at: int, data: bytes) -> None:
            (refused if full() else written).append(world.clock.monotonic() - begun)
            write(self, at, data)

        monkeypatch.setattr(SimScratchFile, "write", watched)
        env = world.environment()
        env.rules, env.scratch = replace(env.rules, copy_bytes=0), SimScratch(1 << 30, full=full)
        worker = Worker(world, env, *await loaded_state(env))
        for _ in range(240):
            world.put(f"id{len(world.sent)}")
            await world.clock.sleep(5)
        await world.clock.sleep(300)
        await worker.kill()
        await world.verified()
        assert env.health.report() == {}

    vtime.run(main())
    assert len(refused) >= 8, "each plan tries anew"
    assert {time // 300 for time in written} >= {0, 3, 4}
