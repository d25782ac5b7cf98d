"""Publishing in a fleet: a plan's ranges are carried out side by side, and what is not done in time by others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from tests.unit.fleet.test_leased import FleetWorld, Member, all_leave, scenario
from vortex.core.publish.contents import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.core.publish.ranges import range_count, takers
from vortex.log.store import LogStore
from vortex.publish.ranges import Ranges

MINUTE = 60_000


def documents(world: FleetWorld, name: str) -> list[dict[str, Any]]:
    """Every plan.json or done.json, in order."""
    found = sorted(key for key in world.store.objects if "/plans/" in key and key.endswith(f"/{name}.json"))
    return [json.loads(world.store.objects[key]) for key in found]


@pytest.fixture
def done_by(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[str, int]]]:
    """By plan: who carried out which range."""
    seen: dict[int, list[tuple[str, int]]] = defaultdict(list)
    real = Ranges._carry_out

    async def watched(self: Ranges, plan: Plan, views: Mapping[str, LogView], dropped: Dropped, number: int) -> Any:
        seen[plan.k].append((self._sharing.me, number))
        return await real(self, plan, views, dropped, number)

    monkeypatch.setattr(Ranges, "_carry_out", watched)
    return seen


def planner(members: list[Member]) -> Member:
    return next(one for one in members if one.fleet.roster.rank == 0)


def test_as_many_ranges_as_bytes_and_workers_are_worth() -> None:
    """Powers of two; one where there is little to do."""
    assert [range_count(size, 50, 100) for size in (0, 199, 200, 999, 3200, 10**9)] == [1, 1, 2, 8, 32, 32]
    assert range_count(10**9, 1, 100) == 1
    assert takers(["a", "b", "c"], "b", 4) == ("b", "a", "c", "b")


def test_each_carries_out_its_range(done_by: dict[int, list[tuple[str, int]]]) -> None:
    """Every range by the worker that the plan names, once; nobody but the planner walks the logs."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1)
        members = [await world.join() for _ in range(4)]
        await world.run(40)
        done_by.clear()
        await world.run(600)
        plans = [plan for plan in documents(world, "plan") if plan["k"] in done_by and plan["ranges"] > 1]
        assert len(plans) >= 8
        assert {plan["ranges"] for plan in plans} == {4}
        for plan in plans:
            assert sorted(done_by[plan["k"]]) == sorted(zip(plan["takers"], range(4), strict=True))
        looked = [one for one in members if one.publisher._logs is not None]
        assert looked == [planner(members)]
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_publishing_speed_grows_with_the_workers(workers: int, done_by: dict[int, list[tuple[str, int]]]) -> None:
    """Where requests take their time, as S3's do: two workers take half as long, four a quarter, and a little."""

    async def main() -> None:
        world = FleetWorld(shards=4, range_bytes=1, look_s=1)
        took: dict[int, float] = {}

        async def slow(operation: str, key: str) -> None:
            if operation == "put" and key.endswith("/plan.json"):
                took[int(key.split("/")[-2])] = -world.clock.monotonic()
            elif operation == "put" and key.endswith("/done.json"):
                took[int(key.split("/")[-2])] += world.clock.monotonic()
            elif not key.startswith("_vortex/"):
                await world.clock.sleep(1.0)

        world.store.before = slow
        members = [await world.join() for _ in range(workers)]
        await world.clock.sleep(30)
        for number in range(1600):
            event = {"c": f"c{number}", "t": "v", "id": f"id{number}"}
            world.stream.put(event["id"], json.dumps(event).encode())
            world.sent[event["id"]] += 1
        await world.clock.sleep(900)
        largest = max(documents(world, "done"), key=lambda done: len(done["objects"]))
        assert len(largest["objects"]) == 1600
        assert len(set(done_by[largest["k"]])) == workers
        # Sixteen puts at a time: a hundred seconds for one worker.
        print(f"{workers} workers: {took[largest['k']]:.1f} s")
        assert 95 / workers <= took[largest["k"]] <= 120 / workers
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_the_range_of_a_worker_that_died_is_done_by_the_planner(done_by: dict[int, list[tuple[str, int]]]) -> None:
    """Once it is no longer among the workers, or after a time: no plan waits for the dead."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1)
        members = [await world.join() for _ in range(4)]
        await world.run(300)
        before = len(documents(world, "done"))
        victim = next(one for one in members if one is not planner(members))
        members.remove(victim)
        await victim.kill()
        await world.run(300)
        assert len(documents(world, "done")) >= before + 4
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_another_plans_where_the_planner_does_not() -> None:
    """Its leases live, its publisher hangs: after two intervals the next of the roster sees to it."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1)
        members = [await world.join() for _ in range(3)]
        await world.run(300)
        hung = planner(members)
        hung.tasks[1].cancel()
        before = len(documents(world, "done"))
        await world.run(160)
        assert len(documents(world, "done")) > before
        await world.run(600)
        assert planner(members) is hung
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_a_frontier_that_stands_still_is_looked_at_by_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests for the logs grow with the shards, not with shards times workers, even while nothing is published."""

    async def main() -> None:
        world = FleetWorld(shards=12, period_ms=MINUTE)
        members = [await world.join() for _ in range(6)]
        await world.run(120)
        looks = 0
        real = LogStore.follow

        async def counted(self: LogStore, before: Any) -> Any:
            nonlocal looks
            looks += 1
            return await real(self, before)

        monkeypatch.setattr(LogStore, "follow", counted)
        stuck = members[0].fleet.workers[next(iter(members[0].fleet.workers))]
        monkeypatch.setattr(stuck, "_due", lambda: False)
        await world.run(1200, every=5.0)
        # Twenty minutes: the planner walks twelve logs a minute, the five others together about as many again.
        assert looks < 20 * 12 * 4
        monkeypatch.undo()
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())
