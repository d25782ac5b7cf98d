"""The output of `vortex status` for a fleet."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from tests.leased_fleet import FleetWorld, scenario
from vortex.commands.status import Status, gather, problems, rejected, rejected_by, untimed, view_of
from vortex.config.settings import Settings
from vortex.core.log.segment import Counts

SETTINGS = Settings.model_validate(
    {
        "source": {"stream": "events"},
        "event": {"customer": "c", "type": "t", "id": "id", "time": "at"},
        "store": {"url": "file:///nowhere"},
        "publish": {"period": "1m", "target_object_size": 1 << 20},
        "coordination": {"mode": "dynamodb"},
    }
)


async def status(world: FleetWorld) -> Status:
    log_store, state = await world.log_store_and_state()
    return await gather(log_store, state, world.stream, SETTINGS, world.table.snapshot())


def test_status_lists_workers_and_owners_and_shards_that_hold_back_publishing() -> None:
    """Without workers: each shard without an owner, and what it holds back."""

    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=60_000)
        members = [await world.join() for _ in range(2)]
        await world.run(200)
        found = await status(world)
        assert {(row.worker, row.shards) for row in found.workers} == {(one.owner, 2) for one in members}
        assert {row.owner for row in found.shards} == {one.owner for one in members}
        assert found.late == []
        await members[0].leave()
        await members[1].kill()
        await world.clock.sleep(600)
        found = await status(world)
        assert [row.shards for row in found.workers] == [2], "only a second look shows which leases have expired"
        shards = [row.shard for row in found.shards]
        assert [line for line in found.late if "no worker has it" in line] == [
            f"{row.shard}: no worker has it" for row in found.shards if not row.owner
        ]
        assert [line.partition(":")[0] for line in found.late if "keeps every period from" in line] == shards

    scenario(main())


def test_status_lists_the_ranges_of_a_plan_in_progress_with_their_workers() -> None:
    async def main() -> None:
        world = FleetWorld(shards=4, period_ms=60_000, range_bytes=1)
        members = [await world.join() for _ in range(4)]
        await world.run(205)
        plan = max(key for key in world.store.objects if key.endswith("/plan.json")).removesuffix("plan.json")
        for member in members:
            await member.kill()
        await world.store.delete([f"{plan}done.json", f"{plan}done-1.json"])
        found = await status(world)
        assert found.last_plan_state == "in progress"
        assert [(row.range, row.done) for row in found.ranges] == [(0, True), (1, False), (2, True), (3, True)]
        assert f"range 1 of {found.ranges[1].taker} is not done" in found.late[-1]

    scenario(main())


def test_untimed_names_shards_with_unreadable_times_and_counts_them() -> None:
    """Among the segments that no plan covers yet."""

    def view(*counts: Counts) -> Any:
        return SimpleNamespace(headers=[SimpleNamespace(footer=SimpleNamespace(counts=some)) for some in counts])

    views = {
        "fine": view(Counts(accepted=9)),
        "shard": view(Counts(accepted=9, untimed=2), Counts(accepted=1, untimed=1)),
    }
    assert untimed(views) == ["shard: 3 of 10 recent events have no readable time; they count by arrival"]


def problems_of(found: Status) -> list[str]:
    """What is not well, in words."""
    return [f"{one.what} | {one.todo}" for one in problems(found)]


def test_problems_name_a_shard_that_holds_hours_open_and_since_when_it_is_not_read() -> None:
    async def main() -> None:
        world = FleetWorld(shards=2, period_ms=60_000)
        member = await world.join()
        await world.run(200)
        found = await status(world)
        assert [line for line in problems_of(found) if "no readable time" not in line] == []
        await member.kill()
        stopped = world.clock.now_ms()
        await world.clock.sleep(1500)
        found = await status(world)
        (nobody_or_open,) = [one for one in problems(found) if "keeps every period" in one.what]
        assert nobody_or_open.what.endswith("; and 1 more like it")
        assert nobody_or_open.since_ms is not None and abs(nobody_or_open.since_ms - stopped) < 10_000
        view = view_of(found)
        assert [shard.late for shard in view.shards] == [True, True]
        assert all(shard.read_ms is not None and view.now_ms - shard.read_ms > 1_490_000 for shard in view.shards)

    scenario(main())


def test_problems_name_gaps_and_many_rejections_and_many_unreadable_times() -> None:
    """The worst first: what is lost, then what is wrong."""
    nothing = Status(
        stream="s", coordination="local", workers=[], shards=[], ranges=[], late=[], untimed=["a: 1 of 9"],
        frontier="", holder="", last_plan=3, last_plan_state="done", published_upto="2025-11-29T14:55:00Z",
        last_closed_hour="", window_s=3600.0, window_covered_s=0.0, held_against="", untimed_share=0.001,
        rejected=[], gaps=[], now="2025-11-29T15:00:00Z",
    )  # fmt: skip
    assert problems_of(nothing) == []
    bad = replace(nothing, untimed_share=1.0, rejected=["a: 9 of 9 recent events are rejected"], gaps=["a: trimmed"])
    assert [line.partition(" |")[0] for line in problems_of(bad)] == [
        "a gap in a: trimmed",
        "a: 9 of 9 recent events are rejected",
        "a: 1 of 9",
    ]


def test_rejected_names_shards_where_more_than_one_event_in_a_hundred_is_rejected() -> None:
    def view(*counts: Counts) -> Any:
        return SimpleNamespace(headers=[SimpleNamespace(footer=SimpleNamespace(counts=some)) for some in counts])

    views = {"a": view(Counts(events=100, rejected=1)), "b": view(Counts(events=50), Counts(events=50, rejected=2))}
    assert rejected(views) == ["b: 2 of 100 recent events are rejected"]


async def test_rejected_by_tells_the_share_of_the_last_plan() -> None:
    """After `vortex run --drain` a plan covers all: the logs have nothing newer."""

    class Plans:
        async def done(self, k: int) -> Any:
            return SimpleNamespace(periods={0: Counts(events=90, rejected=60), 60_000: Counts(events=10)} if k else {})

    assert await rejected_by(Plans(), 4) == ["plan 4: 60 of 100 events are rejected"]  # type: ignore[arg-type]
    assert await rejected_by(Plans(), 0) == []  # type: ignore[arg-type]
    assert await rejected_by(Plans(), -1) == []  # type: ignore[arg-type]


def test_problems_name_a_lease_table_that_serves_another_store() -> None:
    async def main() -> None:
        world = FleetWorld(shards=1)
        member = await world.join()
        await world.run(60)
        found = replace(await status(world), foreign_leases="lease table t serves the store s3://b/old")
        assert problems(found)[0].what == "lease table t serves the store s3://b/old"
        await member.kill()

    scenario(main())
