"""Publishing in a fleet: workers publish the ranges of a plan in parallel, and overdue ranges of others."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import pytest

from simulation import vtime
from tests.leased_fleet import FleetWorld, all_leave, documents, planner, scenario
from tests.loops import Worker, World
from tests.sharing_stories import older_worker_beside_newer_ones, range_of, taker_dies_in_a_shared_folder
from vortex.core.publish.members import Dropped
from vortex.core.publish.plan import LogView, Plan
from vortex.publish import dedup, ranges
from vortex.publish.ranges import Ranges
from vortex.runtime.assembly import loaded_state
from vortex.verify.store import verify_store

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


def test_each_worker_makes_the_bundles_of_its_own_range() -> None:
    """Their keys name the range, so they need not know each other's; the lines are all there, once."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1, bundle=1 << 20)
        members = [await world.join() for _ in range(4)]
        await world.run(300)
        await world.clock.sleep(200)
        await all_leave(members)
        assert not world.lines("c=")
        assert Counter(json.loads(line)["id"] for line in world.lines("_bundles/")) == dict.fromkeys(world.sent, 1)
        assert not (await verify_store(world.store)).faults
        ranges = Counter(
            key.rpartition("/")[2].split("-")[1] for key in world.store.objects if key.startswith("_bundles/")
        )
        assert len(ranges) > 1 and set(ranges) <= {"000", "001", "002", "003"}

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
                await world.clock.sleep(3.0)

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
        # With 48 puts at a time one worker takes a hundred seconds.
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


def test_a_large_folder_is_published_by_several_workers(done_by: dict[int, list[tuple[str, int]]]) -> None:
    """Each has the folder's lines of some segments, and makes objects of its own of them."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=MINUTE, range_bytes=1, target=1)
        members = [await world.join() for _ in range(4)]
        await world.run(400)
        plans = [plan for plan in documents(world, "plan") if plan["k"] in done_by and plan["shared"]]
        assert len(plans) >= 3
        for plan in plans:
            assert sorted(done_by[plan["k"]]) == sorted(zip(plan["takers"], range(plan["ranges"]), strict=True))
        done = [one for one in documents(world, "done") if one["k"] in {plan["k"] for plan in plans}]
        makers = [{range_of(row["key"]) for row in one["objects"]} for one in done]
        assert max(map(len, makers)) >= 3
        await world.clock.sleep(200)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_the_planner_publishes_a_shared_folder_on_when_a_worker_dies_in_the_middle_of_it() -> None:
    """Objects that the dead worker has put stay: they are a function of the plan."""
    scenario(taker_dies_in_a_shared_folder())


@pytest.mark.parametrize(
    ("known", "bundle", "joins_after_s"),
    [(4, 0, 20), (5, 1 << 20, 200)],
    ids=["shared folders, before the first plan", "bundles, after some plans"],
)
def test_older_worker_refuses_newer_plans_and_its_shards_are_read_and_published_by_others(
    known: int, bundle: int, joins_after_s: int
) -> None:
    """It says which version it knows, and ends so that an operator sees it."""
    scenario(older_worker_beside_newer_ones(known, bundle, joins_after_s))


@pytest.mark.parametrize("large", [True, False])
def test_publishing_trims_the_heap_before_large_plans_only(large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it decides on a plan, and before it makes the objects."""
    if large:
        monkeypatch.setattr(dedup, "_TRIMMED_FROM", 10)
        monkeypatch.setattr(ranges, "_TRIMMED_FROM", 10)

    async def main() -> None:
        world = World(period_ms=MINUTE)
        steps = list[str]()
        env = world.environment()
        env.trim = lambda: steps.append("trim")
        state, log_store = await loaded_state(env)
        put = world.store.put_if_absent

        async def noted(key: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
            if "/dedup/" in key or key.startswith("c="):
                steps.append("decided" if "/dedup/" in key else "object")
            return await put(key, body, content_type)

        monkeypatch.setattr(world.store, "put_if_absent", noted)
        worker = Worker(world, env, state, log_store)
        for number in range(30):
            world.put(f"id{number}")
        await world.clock.sleep(300)
        await worker.kill()
        await world.verified()
        order = [step for step, _ in groupby(steps)]
        assert order[:4] == (["trim", "decided", "trim", "object"] if large else ["decided", "object"])

    vtime.run(main())
