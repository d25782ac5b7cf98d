"""Every loop, cancelled in each of its phases: it leaves nothing behind, and a new start on the same store ends well.

A loop awaits ports and sleeps, so "in each phase" means: at each of its calls, and one or two turns of the event loop
after it. The tests assert which calls there were, so that no phase goes untested.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from simulation import vtime
from tests.loops import MINUTE, Worker, World, cleaning
from vortex.core.fleet.balance import Roster
from vortex.core.model import ShardInfo
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.worker import ShardWorker
from vortex.runtime.trust import TrustedStream

Loop = Callable[[World, Worker], Awaitable[Any]]
_PHASES = (
    (r"get .*/plans/", "read plan"),
    (r"list .*/shards/", "list log"),
    (r"get .*\.seg", "read log"),
    (r"put .*\.seg", "commit"),
    (r"put .*/plan\.json", "plan"),
    (r"put .*/done\.json", "done"),
    (r"put .*/dedup/.*-ids", "put ids"),
    (r"get .*/dedup/.*-ids", "read ids"),
    (r"put .*/dedup/", "decide"),
    (r"get .*/dedup/", "read decision"),
    (r"put _hours", "hour"),
    (r"put _manifests", "manifest"),
    (r"put .*\.json\.gz", "object"),
    (r"delete ", "clean up"),
    (r"iterator |list_shards |read |sleep ", ""),
)


class _Canceller:
    """Counts the calls of a world's ports, and cancels `task` some turns of the loop after call `at`."""

    def __init__(self, world: World, at: int) -> None:
        self.at, self.calls = at, 0
        self.task: asyncio.Future[Any] | None = None
        self.phases: dict[str, int] = {}
        world.store.before = world.stream.before = self._call
        sleep = world.clock.sleep

        async def counted(seconds: float) -> None:
            await self._call("sleep", "")
            await sleep(seconds)

        world.clock.sleep = counted  # type: ignore[method-assign]

    async def _call(self, operation: str, key: str) -> None:
        if self.task is None or self.task.done():
            return
        what = f"{operation} {key}"
        name = next((phase for pattern, phase in _PHASES if re.match(pattern, what)), "") or operation
        self.phases[name] = self.phases.get(name, 0) + 1
        if self.calls == self.at:
            self._cancel(self.at % 3)
        self.calls += 1
        await asyncio.sleep(0.01)  # so that other calls are in flight, above all a put

    def _cancel(self, turns: int) -> None:
        assert self.task is not None
        if turns:
            asyncio.get_running_loop().call_soon(self._cancel, turns - 1)
        else:
            self.task.cancel()


def _put(world: World, number: int) -> None:
    for _ in range(number):
        world.put(f"id{len(world.sent)}")


async def _cancel_at(world: World, worker: Worker, loop: Loop, at: int) -> _Canceller:
    """Run the loop up to its call `at`, and cancel it there."""
    await worker.kill()
    fresh = await world.begin()
    await fresh.kill()  # before its tasks have run: the test runs its parts one by one
    cut = _Canceller(world, at)
    cut.task = asyncio.ensure_future(loop(world, fresh))
    await asyncio.wait([cut.task])
    others = asyncio.all_tasks() - {asyncio.current_task()}
    assert not others, f"left behind at call {at}: {others}"
    assert cut.task.cancelled() or cut.task.exception() is None
    return cut


def _cancel_at_each_call(scenario: Callable[[int], Awaitable[_Canceller]]) -> dict[str, int]:
    """Cancel the scenario at each of its calls; how often each phase occurred in the whole run."""
    whole = vtime.run(_typed(scenario(10**9)))
    for at in range(whole.calls):
        vtime.run(_typed(scenario(at)))
    return whole.phases


async def _typed(awaitable: Awaitable[_Canceller]) -> _Canceller:
    return await awaitable


async def _new_start_ends_well(world: World) -> None:
    """A new process on the same store and stream."""
    _put(world, 3)
    worker = await world.begin()
    await world.clock.sleep(1.2 * world.period_ms / 1000 + 180)
    await worker.kill()
    await world.verified()


def _shards(world: World) -> Iterator[ShardInfo]:
    return iter(world.stream.shards())


@pytest.mark.parametrize("way", ["ends", "drains", "stops"])
def test_shard_worker_leaves_nothing_behind_when_it_is_cancelled_at_any_call(way: str) -> None:
    """From resuming to the end of the shard, to the tip when it drains, or until it stops."""
    workers: list[ShardWorker] = []

    async def loop(world: World, worker: Worker) -> None:
        run = worker.loops.worker(next(_shards(world)))
        workers.append(run)
        run.orders.drain = way == "drains"
        run.orders.finish = asyncio.get_running_loop().create_future() if way == "drains" else None
        if run.orders.finish is not None:
            run.orders.finish.set_result(world.clock.now_ms())
        elif way == "stops":
            asyncio.get_running_loop().call_later(40, run.orders.stop.set)
        await run.run()

    async def scenario(at: int) -> _Canceller:
        world = World(shards=1, poll_s=10, period_ms=MINUTE, page_records=3, every_s=0.3, limit=3000)
        _put(world, 10)
        worker = await world.begin()
        await world.clock.sleep(5)
        _put(world, 18)
        if way == "ends":
            world.stream.split(next(_shards(world)).id, 1 << 127)
        cut = await _cancel_at(world, worker, loop, at)
        assert workers[-1]._ports.memory.used == 0, f"memory is held after call {at}"
        await _new_start_ends_well(world)
        return cut

    seen = _cancel_at_each_call(scenario)
    assert seen.keys() >= {"read plan", "list log", "iterator", "read", "commit", "sleep"}
    assert seen["commit"] >= 2


def test_publisher_leaves_nothing_behind_when_it_is_cancelled_at_any_call() -> None:
    """Two plans: decisions, objects, manifests, hours, done documents, and clean-up."""

    async def loop(world: World, worker: Worker) -> None:
        for _ in range(9):  # nothing counts as old before the service's time is known
            await TrustedStream(world.stream, world.trusted).server_time()
            await world.clock.sleep(2)
        async with cleaning(worker.publisher):
            for _ in range(8):
                if not await worker.publisher.step():
                    await world.clock.sleep(10)
            for _ in range(2):
                await world.clock.sleep(1900)  # what is still old at a second look is deleted
                while await worker.publisher.step():
                    pass
            await world.clock.sleep(10)

    async def scenario(at: int) -> _Canceller:
        world = World(shards=1, poll_s=10, period_ms=30 * MINUTE, every_s=600)
        worker = await world.begin()
        publishing = worker.tasks.pop()
        publishing.cancel()  # nothing is published yet
        for number in range(9):
            _put(world, 1)
            world.put(f"id{max(0, number - 2)}", "another key")
            await world.clock.sleep(600)
        cut = await _cancel_at(world, worker, loop, at)
        await _new_start_ends_well(world)
        return cut

    seen = _cancel_at_each_call(scenario)
    assert seen.keys() >= {"read plan", "read log", "plan", "decide", "read decision", "object", "done", "clean up"}
    assert seen.keys() >= {"manifest", "hour"}


def test_deciding_leaves_nothing_behind_when_it_is_cancelled_at_any_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """In four parts, of which three belong to workers that do nothing. Published keys are in files or partly in memory.

    Partly: memory has room for fingerprints only.
    """
    monkeypatch.setattr("vortex.publish.sharing.PATIENCE_S", 3.0)
    published: list[str] = []

    async def loop(world: World, worker: Worker) -> None:
        publisher = worker.publisher
        publisher._rules = replace(publisher._rules, part_rows=1)
        publisher._roster = lambda: Roster((publisher._ports.owner, "one", "two", "three"))
        publisher.dedup.keys.limit = 100
        await publisher.step()

    async def scenario(at: int) -> _Canceller:
        world = World(shards=1, poll_s=10, period_ms=MINUTE, window_ms=10 * MINUTE, every_s=20)
        worker = await world.begin()
        for number in range(14):
            _put(world, 3)
            world.put(f"id{max(0, 3 * number - 6)}", "another key")
            await world.clock.sleep(20)
            if number == 6:
                worker.tasks.pop().cancel()  # nothing is published from here on
                published[:] = [key for key in world.store.objects if "/dedup/" in key]
        cut = await _cancel_at(world, worker, loop, at)
        await _new_start_ends_well(world)
        return cut

    seen = _cancel_at_each_call(scenario)
    assert published
    assert seen["put ids"] == seen["decide"] == 4, "each group, and each part"
    assert seen["read ids"] >= 20, "each group, and each part of each group, in a read or two"
    assert seen["read decision"] >= 20, "what was published before, and what is decided now"
    assert seen["sleep"] >= 3, "others are waited for"


def test_fleet_leaves_nothing_behind_when_it_is_cancelled_at_any_call() -> None:
    """The survey of the shard tree, and running it through a split: a parent's end, its children's start."""
    memories: list[MemoryBudget] = []

    async def loop(world: World, worker: Worker) -> None:
        memories.append(worker.loops.worker(next(_shards(world)))._ports.memory)
        asyncio.get_running_loop().call_later(30, worker.fleet.stop)
        await worker.fleet.run()

    async def scenario(at: int) -> _Canceller:
        world = World(shards=1, poll_s=10, period_ms=MINUTE, every_s=5)
        _put(world, 5)
        worker = await world.begin()
        await world.clock.sleep(20)
        parent = next(_shards(world))
        world.stream.split(parent.id, 1 << 127)
        _put(world, 5)
        cut = await _cancel_at(world, worker, loop, at)
        assert [memory.used for memory in memories] == [0]
        memories.clear()
        await _new_start_ends_well(world)
        return cut

    seen = _cancel_at_each_call(scenario)
    assert seen.keys() >= {"read plan", "list_shards", "list log", "iterator", "read", "commit"}
