"""Workers that decide on one plan exchange ids. Whatever happens to the files, each part gets what segments say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random
from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from benchmarks.growth.ground import PERIOD_MS, T0, CountingStore, Traffic, fill, full_segments
from simulation import vtime
from tests.leased_fleet import FleetWorld, Member, all_leave, planner, scenario
from tests.loops import MINUTE
from tests.simulation.bugs_dedup import rows_by_group
from tests.unit.core.dedup.test_groups import columns
from vortex.core.dedup.groups import groups_of, shards_of
from vortex.core.dedup.rows import rows_of
from vortex.core.publish.plan import LogView, Plan, Rules, initial_plan, propose
from vortex.health import Health
from vortex.log.store import LogStore
from vortex.publish import exchange
from vortex.publish.dedup import Resolver
from vortex.publish.exchange import Exchange, whole_views
from vortex.publish.published_keys import KeyCache
from vortex.retry import Retry

PARTS = 4
Views = dict[str, LogView]


class Ground:
    """A plan of six shards over two periods, and an exchange of its ids."""

    def __init__(self) -> None:
        self.store = CountingStore(vtime.VirtualClock(T0 + 2 * PERIOD_MS))
        self.state = fill(self.store, 6, Traffic(commits=3, partitions=20, size=400), periods=2)
        retry = Retry(vtime.VirtualClock(), vtime.NullMeter(), Health(), Random(1))
        self.log_store = LogStore(self.store, "_vortex/events@1", retry)
        self.resolver = Resolver(self.log_store, vtime.in_place, KeyCache(self.log_store, vtime.in_place, 1 << 20))
        self.views, self.plan = Views(), initial_plan(self.state)

    async def begin(self) -> Ground:
        """Plan."""
        before = initial_plan(self.state)
        for shard, entry in before.shards.items():
            view = await self.log_store.view(shard, entry)
            self.views[shard] = LogView([head.without_index() for head in view.headers])  # so that ids are read
        plan = propose(before, self.views, Rules(1 << 20, window=1))
        assert plan is not None
        self.plan = msgspec.structs.replace(plan, parts=PARTS, resolvers=("a", "b", "a", "b"))
        self.store.requests.clear()
        return self

    def exchange(self, views: Views | None = None) -> Exchange:
        """As a worker with these views does."""
        its = self.views if views is None else views
        return Exchange(self.plan, its, self.log_store, vtime.in_place, self.resolver.ids)

    async def put(self) -> list[str]:
        """Put all files; their keys."""
        for group in range(PARTS):
            await self.exchange().put(group)
        return [self.log_store.group_key(self.plan.k, group) for group in range(PARTS)]

    async def check(self, its: Exchange) -> None:
        """Each part gets what the segments say."""
        runs, blocks = await self.resolver.ids(self.plan, self.views)
        for part in range(PARTS):
            found, rows = await its.rows(part)
            assert found.table.tobytes() == runs.table.tobytes()
            assert columns(rows) == columns(rows_of(runs, blocks, part, PARTS).by_key())


async def test_exchange_reads_each_segment_once_for_all_parts() -> None:
    """Then two requests for each part of a group."""
    ground = await Ground().begin()
    await ground.put()
    segments = 6 * 3 * 2
    assert ground.store.requests == {"get segment": segments, "put exchange": PARTS}
    for part in range(PARTS):
        await ground.exchange().rows(part)
    assert ground.store.requests == {
        "get segment": segments,
        "put exchange": PARTS,
        "get exchange": 2 * PARTS * PARTS,
    }
    await ground.check(ground.exchange())


async def test_exchange_puts_rows_in_the_order_of_the_plan_and_not_of_the_groups() -> None:
    """Else another copy would be the first; planted, that shows."""
    ground = await Ground().begin()
    await ground.put()
    with rows_by_group(), pytest.raises(AssertionError):
        await ground.check(ground.exchange())


def _damaged(body: bytes) -> bytes:
    return b"\0" + body[1:-40] + bytes([body[-40] ^ 1]) + body[-39:]


def _newer(body: bytes) -> bytes:
    return body[:-12] + b"\2\0\0\0" + body[-8:]


@pytest.mark.parametrize("change", [None, _damaged, _newer, lambda body: body[:20], lambda body: b""])
async def test_exchange_reads_the_segments_when_a_file_is_missing_or_unreadable(change: Any) -> None:
    """It never counts as empty, and nothing is overwritten; a missing file is put again, with the same bytes."""
    ground = await Ground().begin()
    keys = await ground.put()
    before = ground.store.objects[keys[1]]
    ground.store.delete_now(keys[1])
    if change is not None:
        ground.store.put_now(keys[1], change(before))
    await ground.check(ground.exchange())
    assert ground.store.objects[keys[1]] == (before if change is None else change(before))


async def test_exchange_does_not_use_a_file_that_was_made_of_other_segments() -> None:
    """As after a restore: it is of another plan with the same number."""
    ground = await Ground().begin()
    keys = await ground.put()
    stale = {key: ground.store.objects[key] for key in keys}
    ground.plan = msgspec.structs.replace(ground.plan, upto=ground.plan.upto - PERIOD_MS)
    await ground.check(ground.exchange())
    assert {key: ground.store.objects[key] for key in keys} == stale


async def test_exchange_reads_the_logs_of_a_group_that_it_does_not_know() -> None:
    """A helper knows its own groups, or the end of a log; with the digests that the plan names."""
    ground = await Ground().begin()
    first, *_, last = sorted(ground.views)
    known = {first: ground.views[first], last: LogView(ground.views[last].headers[-1:])}
    await ground.check(ground.exchange(known))
    whole = await whole_views(ground.plan, ground.plan.shards, known, ground.log_store)
    assert whole[first] is known[first]
    assert {shard: [head.digest for head in view.headers] for shard, view in whole.items()} == {
        shard: [head.digest for head in view.between(entry.first, entry.to)]
        for (shard, view), entry in zip(sorted(ground.views.items()), ground.plan.shards.values(), strict=True)
    }


async def test_exchange_reads_footer_and_ids_of_a_group_that_it_does_not_know_in_one_request() -> None:
    """Ids lie before the footer, and the plan knows how many rows a segment has on average."""
    ground = await Ground().begin()
    with full_segments():
        bodies = [await ground.exchange({}).put(group) for group in range(PARTS)]
        segments = sum(entry.to + 1 - entry.first for entry in ground.plan.shards.values())
        assert ground.store.requests["get segment"] == segments
        assert bodies == [await ground.exchange().put(group) for group in range(PARTS)]
    uneven = msgspec.structs.replace(ground.plan, rows=1)
    ground.store.requests.clear()
    with full_segments():
        views = await whole_views(uneven, uneven.shards, {}, ground.log_store, with_ids=True)
    heads = [head for view in views.values() for head in view.headers if head.footer.ids]
    assert heads and not any(head.ids for head in heads), "they are read as those of a known log"


async def test_exchange_keeps_the_footers_that_it_reads_and_not_their_ids() -> None:
    """The worker publishes objects of these segments. A known end of a log is replaced, a whole log stays."""
    ground = await Ground().begin()
    known, other = shards_of(ground.plan, 0)
    end = LogView(ground.views[other].headers[-1:])
    its = Exchange(
        ground.plan,
        {known: ground.views[known], other: end},
        ground.log_store,
        vtime.in_place,
        ground.resolver.ids,
        lambda head: head,
    )
    with full_segments():
        await its.put(0)
        await its.put(1)
    assert sorted(its.views) == sorted([known, other, *shards_of(ground.plan, 1)])
    assert its.views[known] is ground.views[known]
    for shard in its.views.keys() - {known}:
        entry = ground.plan.shards[shard]
        assert [head.n for head in its.views[shard].headers] == list(range(entry.first, entry.to + 1))
        assert all(head.has_index and head.ids is None for head in its.views[shard].headers)


async def test_id_files_of_done_plans_are_removed_whatever_their_age_and_no_others() -> None:
    ground = await Ground().begin()
    log_store = ground.log_store
    for k in range(3):
        await log_store.put_decided(k, 0, b"decided")
        await log_store.put_group(k, 0, b"ids")
    assert await log_store.decided_before(0, 0, 0) == []
    assert await log_store.decided_before(0, 0, 2) == [log_store.group_key(k, 0) for k in range(2)]
    both = [log_store.decided_key(0, 0), log_store.group_key(0, 0)]
    assert await log_store.decided_before(1, 1 << 60, 2) == [*both, log_store.group_key(1, 0)]


async def test_exchange_waits_for_no_file_of_a_worker_that_has_decided_without() -> None:
    """One of version 0.3 reads the segments itself, and puts no ids."""
    ground = await Ground().begin()
    its = ground.exchange()
    assert not await its.has(2)
    await ground.log_store.put_decided(ground.plan.k, 2, b"decided")
    assert await its.has(2) and not await its.has(1)
    await its.put(1)
    assert await its.has(1)


async def _fleet() -> tuple[FleetWorld, list[Member], set[str]]:
    """Four workers that decide on each plan in several parts, and the id files that were ever put."""
    world = FleetWorld(shards=4, period_ms=MINUTE, window_ms=10 * MINUTE, look_s=2)
    members = [await world.join() for _ in range(4)]
    for one in members:
        one.publisher._rules = replace(one.publisher._rules, part_rows=1, piece_bytes=1)
    files = set[str]()

    async def note(operation: str, key: str) -> None:
        if operation == "put" and key.endswith("-ids"):
            files.add(key)

    world.store.before = note
    return world, members, files


async def _traffic(world: FleetWorld, seconds: int) -> None:
    for at in range(seconds):
        for _ in range(8):
            world.put(f"id{len(world.sent)}")
        world.put(f"id{max(0, len(world.sent) - 300)}", f"again {at}")
        await world.clock.sleep(1)


def _of_plans(files: Iterable[str]) -> Counter[str]:
    return Counter(key.rpartition("/")[2].partition("-")[0] for key in files)


def _left(world: FleetWorld) -> list[str]:
    """The plans whose id files are still there."""
    return sorted(_of_plans(key for key in world.store.objects if key.endswith("-ids")))


def test_workers_exchange_ids_and_publish_every_event_once() -> None:
    """Copies come on other shards."""

    async def main() -> None:
        world, members, files = await _fleet()
        await _traffic(world, 400)
        assert 4 in _of_plans(files).values()
        assert len(_left(world)) <= 2 < len(_of_plans(files)), "clean-up removes those of done plans"
        await world.clock.sleep(300)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_ids_of_a_worker_that_dies_before_it_puts_them_are_put_by_others() -> None:
    """Nobody waits forever, and the plan has the same outcome."""

    async def main() -> None:
        world, members, files = await _fleet()
        await _traffic(world, 200)
        victim, put = next(one for one in members if one is not planner(members)), Exchange.put
        asked: list[int] = []

        async def stuck(self: Exchange, group: int) -> bytes:
            if self._log_store is victim.publisher._ports.log_store:
                asked.append(self._plan.k)
                await world.clock.sleep(1e9)
            return await put(self, group)

        with patch.object(exchange.Exchange, "put", stuck):
            await _traffic(world, 200)
            assert asked
            members.remove(victim)
            await victim.kill()
            await _traffic(world, 120)
        assert _of_plans(files)[f"{asked[0]:010d}"] >= 2
        done = {key.split("/")[-2] for key in world.store.objects if key.endswith("/done.json")}
        assert f"{asked[0] + 2:010d}" in done
        await world.clock.sleep(300)
        await all_leave(members)
        await world.verified()
        report = [json.loads(line)["id"] for line in world.lines("c=")]
        assert len(report) == len(set(report))

    scenario(main())


def test_the_worker_of_a_range_reads_its_group_once_although_it_decides_nothing() -> None:
    """The ids of its segments come with the footers of which it publishes a large folder."""

    async def main() -> None:
        world, members, _ = await _fleet()
        for one in members:
            one.publisher._rules = replace(one.publisher._rules, target=50, range_bytes=1)
        first = sorted(one.owner for one in members)[:2]
        chosen = patch("vortex.publish.publisher.resolvers", lambda workers, parts, before: tuple(first * (parts // 2)))
        put, plans, by = LogStore.put_plan, dict[int, Plan](), set[tuple[int, int, str]]()

        async def planned(self: LogStore, plan: Plan) -> Plan:
            plans[plan.k] = await put(self, plan)
            return plans[plan.k]

        put_group = Exchange.put

        async def noted(self: Exchange, group: int) -> bytes:
            owner = next(one.owner for one in members if one.publisher._ports.log_store is self._log_store)
            by.add((self._plan.k, group, owner))
            return await put_group(self, group)

        with chosen, patch.object(LogStore, "put_plan", planned), patch.object(Exchange, "put", noted):
            await _traffic(world, 400)
            cut = {k for k, plan in plans.items() if k + 1 in plans and len(set(groups_of(plan).takers)) == 4}
            assert cut, "two of four workers decide, and the groups are by ranges"
            for k in cut:
                wanted = {(k, group, owner) for group, owner in enumerate(groups_of(plans[k]).takers)}
                assert {one for one in by if one[0] == k} == wanted, "and nobody read another one's"
        await world.clock.sleep(300)
        await all_leave(members)
        await world.verified()

    scenario(main())


def test_a_worker_that_leaves_waits_for_no_ids() -> None:
    """It decides nothing more; the others do."""

    async def main() -> None:
        world, members, _ = await _fleet()
        await _traffic(world, 150)
        one = members.pop()
        newest: Plan = await one.log_store.last_plan(one.state)
        plan = msgspec.structs.replace(newest, k=1000, resolvers=(one.owner, "other"), parts=2)
        one.publisher.leave()
        begun = world.clock.monotonic()
        await one.publisher.dedup.own(plan, {}, lambda: ("other",))
        assert world.clock.monotonic() - begun < 5
        assert await one.log_store.has_group(1000, 0), "its own ids are there"
        assert not await one.log_store.has_decided(1000, 0)
        await one.kill()
        await _traffic(world, 60)
        await world.clock.sleep(300)
        await all_leave(members)
        await world.verified()

    scenario(main())
