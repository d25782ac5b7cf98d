"""Publishing in a fleet: workers publish the ranges of a plan in parallel, and overdue ranges of others."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from tests.leased_fleet import FleetWorld, all_leave, documents, planner, scenario
from vortex.core.publish.members import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.publish.ranges import Ranges

MINUTE = 60_000


@pytest.fixture
def done_by(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[tuple[str, int]]]:
    """By plan: which worker published which range."""
    seen: dict[int, list[tuple[str, int]]] = defaultdict(list)
    real = Ranges._publish

    async def watched(self: Ranges, plan: Plan, views: Mapping[str, LogView], dropped: Dropped, number: int) -> Any:
        seen[plan.k].append((self._sharing.me, number))
        return await real(self, plan, views, dropped, number)

    monkeypatch.setattr(Ranges, "_publish", watched)
    return seen


def test_each_range_is_published_once_by_the_worker_that_the_plan_names(
    done_by: dict[int, list[tuple[str, int]]],
) -> None:
    """Only the planner reads all logs."""

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
def test_publishing_speed_grows_with_the_number_of_workers(
    workers: int, done_by: dict[int, list[tuple[str, int]]]
) -> None:
    """With requests that take time, as in S3: two workers take about half as long, four a quarter."""

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
        # With sixteen concurrent puts one worker takes a hundred seconds.
        print(f"{workers} workers: {took[largest['k']]:.1f} s")
        assert 95 / workers <= took[largest["k"]] <= 120 / workers
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_the_planner_publishes_the_range_of_a_dead_worker(done_by: dict[int, list[tuple[str, int]]]) -> None:
    """Once the worker has left the roster, or after a timeout."""

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
