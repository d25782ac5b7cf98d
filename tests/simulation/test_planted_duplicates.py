"""Planted bugs in deduplication: each must make the simulation fail, within SEEDS seeds, and for what it is.

Each was a variant of the random model of the protocol that the design was first held against: 1 to 20 are b1 to b20
there, 21 to 25 b22, b23, b24, b25 and b27, 26 to 32 b28, b29, b30, b31, b33, b35 and b36. 33 and 34 are about
bytes, which a model has not. What chance finds too seldom (7, 10, 11, 19) is shown directly, at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import pytest

import vortex.core.dedup.decided
import vortex.core.dedup.keys
import vortex.core.dedup.rows
import vortex.core.ingest.shard_state
import vortex.core.publish.plan
import vortex.publish.dedup
import vortex.publish.publisher
from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE
from tests.loops import World as Stage
from tests.simulation.planting import Bug, hunt
from vortex.core.dedup.decided import encode
from vortex.core.dedup.keys import Keys, bounds_of
from vortex.core.dedup.resolve import resolve
from vortex.core.dedup.rows import RUN, PlanRuns, Rows
from vortex.core.ingest.filter import Filter
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.invariants import Invariant
from vortex.core.log.lines import LineTable
from vortex.core.log.rules import SegmentHeader, first_footer
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Cell, Folder, Footer, folder_hash
from vortex.core.model import Position, ShardInfo, Start
from vortex.core.publish.bounds import Recent
from vortex.core.publish.plan import LogView, Plan, PlanShard, Rules, propose
from vortex.ingest.worker import ShardWorker
from vortex.log.store import LogStore
from vortex.ports import NotFound
from vortex.publish.cleanup import Cleaner
from vortex.publish.dedup import Decisions, Deduplicator
from vortex.publish.published_keys import KeyCache
from vortex.publish.publisher import Publisher
from vortex.publish.ranges import Ranges
from vortex.retry import Once


def _carried_out_with(change: Callable[[Publisher, Plan], Plan]) -> Any:
    carry_out = Publisher._carry_out

    async def changed(self: Publisher, plan: Plan, views: Any) -> bool:
        return await carry_out(self, change(self, plan), views)

    return patch.object(Publisher, "_carry_out", changed)


def _since_goes_back() -> Any:
    return patch.object(vortex.core.publish.plan, "since", lambda before, recent, k, needed: max(0, before - 1))


def _window_of(self: Publisher) -> int:
    """A process that was told another window than those before and after it."""
    return 0 if int(self._ports.owner.partition("-")[2]) % 2 else self._rules.window_ms


def _own_since(self: Publisher, plan: Plan) -> Plan:
    needed = plan.arrived[0] - _window_of(self)
    return msgspec.structs.replace(plan, recent=tuple(one for one in plan.recent if one.upto >= needed))


def _objects_first() -> Any:
    async def none(self: Deduplicator, plan: Plan, views: Any, workers: Any) -> Decisions:
        return Decisions()

    return patch.object(Deduplicator, "all", none)


_NO_KEYS = Keys.of(b"", np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64))


def _resolved_by(walk: Callable[..., Any]) -> Any:
    return patch.object(vortex.publish.dedup, "resolve", walk)


def _without_own_rows(rows: Rows, runs: Any, known: Any, window: int) -> Any:
    dropped = resolve(rows, runs, known, window)
    for row in np.flatnonzero(dropped).tolist():
        dropped[row] = resolve(rows.between(row, row + 1), runs, known, window)[0]
    return dropped


def _all_copies(rows: Rows, runs: Any, known: Any, window: int) -> Any:
    dropped = resolve(rows, runs, known, window)
    gone = {(high, low) for high, low in zip(rows.high[dropped].tolist(), rows.low[dropped].tolist(), strict=True)}
    keys = zip(rows.high.tolist(), rows.low.tolist(), strict=True)
    return np.array([key in gone for key in keys], dtype=bool)


def _cleaning_by(since: Callable[[Publisher, Plan], int]) -> Any:
    clean_up = Cleaner.clean_up
    step = Publisher._step
    planner: list[Publisher] = []

    async def stepped(self: Publisher, *args: Any) -> bool:
        planner[:] = [self]
        return await step(self, *args)

    async def lax(self: Cleaner, plan: Plan, views: Any) -> None:
        await clean_up(self, msgspec.structs.replace(plan, since=since(planner[0], plan)), views)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Publisher, "_step", stepped))
    stack.enter_context(patch.object(Cleaner, "clean_up", lax))
    return stack


def _by_own_window(self: Publisher, plan: Plan) -> int:
    needed = plan.arrived[0] - _window_of(self)
    return max(plan.since, next((one.k for one in plan.recent if one.upto >= needed), plan.k))


def _keys_of(kind: type[KeyCache]) -> Any:
    """Publishers have that; `vortex verify` looks with its own eyes."""
    return patch.object(vortex.publish.publisher, "KeyCache", kind)


class _ByNumber(KeyCache):
    def _covering(self, k: int, part: int, parts: int) -> Any:
        return next((keys for (one, _), keys in self._held.get(k, {}).items() if one == part), None)


class MissingIsEmpty(KeyCache):
    """Whatever is not there holds nothing."""

    async def _known(self, *asked: Any) -> Keys:
        try:
            return await super()._known(*asked)
        except NotFound:
            return _NO_KEYS


class _Stale(KeyCache):
    async def _known(self, plan: Any, *asked: Any) -> Keys:
        if self._held and plan.k not in self._held:
            return _NO_KEYS
        return await super()._known(plan, *asked)


class _BeyondSince(KeyCache):
    def forget(self, before: int | None = None) -> None:
        if before is None:
            super().forget()

    async def among(self, plans: Any, part: int, parts: int, *probes: Any) -> list[Keys]:
        """And what was published before."""
        found = await super().among(plans, part, parts, *probes)
        since = min((plan.k for plan in plans), default=2**63)  # none: all are too old
        older = [self._covering(k, part, parts) for k in self._held if k < since]
        return found + [keys for keys in older if isinstance(keys, Keys)]


def _filter_kept() -> Any:
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        old = getattr(self, "_ingest", None)
        await resume(self)
        if old is not None:
            self._ingest.filter = old.filter

    return patch.object(ShardWorker, "_resume", resumed)


def _filter_outlives_its_process() -> Any:
    filters: dict[str, Filter] = {}
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        await resume(self)
        self._ingest.filter = filters.setdefault(self.shard.id, self._ingest.filter)

    return patch.object(ShardWorker, "_resume", resumed)


def _arrived_without(which: Callable[[Any, Any], bool]) -> Any:
    arrived = vortex.core.publish.plan._arrived

    def lax(plan: Plan, last: Plan, views: Any) -> tuple[int, int]:
        def left(shard: str, entry: Any) -> bool:
            headers = views[shard].headers if shard in views else []
            return not which(entry, headers)

        chosen = {shard: entry for shard, entry in plan.shards.items() if left(shard, entry)}
        return arrived(msgspec.structs.replace(plan, shards=chosen), last, views)

    return patch.object(vortex.core.publish.plan, "_arrived", lax)


def _idle(entry: Any, headers: Any) -> bool:
    return entry.to >= 0 and not any(h.n >= entry.first and h.footer and h.footer.counts.accepted for h in headers)


def _unborn(entry: Any, headers: Any) -> bool:
    return bool(entry.to < 0)


def _accepted_with_stale_memory() -> Any:
    put = LogStore.put_decided

    async def lax(self: LogStore, k: int, part: int, body: bytes) -> bool:
        await put(self, k, part, body)
        return True

    stack = contextlib.ExitStack()
    stack.enter_context(_keys_of(_Stale))
    stack.enter_context(patch.object(LogStore, "put_decided", lax))
    return stack


def _own_parts(self: Publisher, plan: Plan) -> Plan:
    return msgspec.structs.replace(plan, parts=2 * plan.parts) if plan.parts and self._ports.owner[1] == "1" else plan


def _runs_by(key: Callable[[Any], Any]) -> Any:
    plan_runs = vortex.core.dedup.rows.plan_runs

    def lax(plan: Plan, views: Any) -> PlanRuns:
        runs = plan_runs(plan, views)
        order = sorted(range(len(runs.headers)), key=lambda at: key(runs.table[at].tolist()))
        headers, first = [runs.headers[at] for at in order], [runs.first[at] for at in order]
        return PlanRuns(runs.shards, runs.table[order], headers, first)

    return patch.object(vortex.publish.dedup, "plan_runs", lax)


def _one_filter_for_all() -> Any:
    shared: list[Filter] = []

    def filter_of(horizon_ms: int) -> Filter:
        shared[:] = shared or [Filter(horizon_ms)]
        return shared[0]

    return patch.object(vortex.core.ingest.shard_state, "Filter", filter_of)


def _a_point() -> Any:
    cut = ShardIngest.cut

    def lax(self: ShardIngest, *args: Any, **more: Any) -> Any:
        draft = cut(self, *args, **more)
        draft.footer.arrived = (draft.footer.arrived[1],) * 2
        return draft

    return patch.object(ShardIngest, "cut", lax)


def _rows_of_all_periods() -> Any:
    of_segment = vortex.core.dedup.rows._of_segment

    def lax(footer: Footer, plan: Plan) -> Any:
        return of_segment(footer, msgspec.structs.replace(plan, after=-(2**60), upto=2**60))

    return patch.object(vortex.core.dedup.rows, "_of_segment", lax)


def _overwritten() -> Any:
    put = LogStore.put_decided

    async def lax(self: LogStore, k: int, part: int, body: bytes) -> bool:
        await self.retry("overwrite", lambda: self.store.delete([self.decided_key(k, part)]))
        return await put(self, k, part, body)

    return patch.object(LogStore, "put_decided", lax)


def _upto_of_the_first() -> Any:
    arrived = vortex.core.publish.plan._arrived

    def lax(plan: Plan, last: Plan, views: Any) -> tuple[int, int]:
        firsts = [
            next((h.footer.watermark for h in views[shard].headers if h.n >= entry.first), 0)
            for shard, entry in plan.shards.items()
            if shard in views
        ]
        return arrived(plan, last, views)[0], max(firsts, default=0)

    return patch.object(vortex.core.publish.plan, "_arrived", lax)


def _done_first() -> Any:
    async def none(*args: Any) -> list[Any]:
        return []

    counts = vortex.publish.publisher.period_counts

    def lax(plan: Plan, views: Any, published: Any, dropped: Any) -> Any:
        with patch.object(vortex.core.publish.contents, "BrokenLog", Warning):
            try:
                return counts(plan, views, published, dropped)
            except Warning:
                return {}

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(Ranges, "all", none))
    stack.enter_context(patch.object(vortex.publish.publisher, "period_counts", lax))
    return stack


def _boundary() -> Any:
    bounds = vortex.core.dedup.keys.bounds_of

    def lax(high: Any, part: int, parts: int) -> tuple[int, int]:
        begin, end = bounds(high, part, parts)
        return min(begin + (part > 0), end), end

    return patch.object(vortex.core.dedup.keys, "bounds_of", lax)


def _cleaned_by_an_unfinished_plan() -> Any:
    carry_out = Publisher._carry_out

    async def early(self: Publisher, plan: Plan, views: Any) -> bool:
        self._cleaner._cleaned_at = None
        await self._cleaner.clean_up(plan, views)
        return await carry_out(self, plan, views)

    return patch.object(Publisher, "_carry_out", early)


def _proposed_before_done() -> Any:
    async def done(self: LogStore, k: int) -> bool:
        return True

    return patch.object(LogStore, "is_done", done)


def _rejections_count() -> Any:
    def rows(self: Footer) -> Any:
        counts = self.member_rows["rows"].astype(np.int64)
        return np.cumsum(counts) - counts

    return patch.object(Footer, "first_rows", property(rows))


def _rows_within_the_period() -> Any:
    real = Footer.first_rows.fget  # type: ignore[attr-defined]

    def rows(self: Footer) -> Any:
        first, periods = real(self), self.member_rows["period"]
        return first - first[np.searchsorted(periods, periods)] if len(first) else first

    return patch.object(Footer, "first_rows", property(rows))


_FAMILY = ("stream.split", "stream.merge")
_COPIES = ("traffic.duplicate",)
_SEVERAL = (*_COPIES, "process.second", "process.settings")

BUGS = (
    Bug("1 since may go back", _since_goes_back, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "2 since from local settings",
        lambda: _carried_out_with(_own_since),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
    ),
    Bug("3 objects before all decisions", _objects_first, f"{Invariant.ROWS_HAVE_ONE_OUTCOME}"),
    Bug(
        "4 own rows not compared",
        lambda: _resolved_by(_without_own_rows),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug(
        "5 clean-up by the local window",
        lambda: _cleaning_by(_by_own_window),
        f"{Invariant.NEEDED_FILES_STAY}",
        _SEVERAL,
    ),
    Bug(
        "6 keys of dropped rows kept",
        lambda: patch.object(vortex.core.dedup.decided, "published", lambda rows, dropped: rows),
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug("8 filter survives a lost race", _filter_kept, f"{Invariant.FILTERED_HAVE_ROWS}", (*_COPIES, "process.second")),
    Bug(
        "9 arrived.from without idle shards",
        lambda: _arrived_without(_idle),
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}",
        ("traffic.idle", *_FAMILY),
    ),
    Bug(
        "12 memory used though a plan was skipped",
        lambda: _keys_of(_Stale),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
    ),
    Bug(
        "14 another order",
        lambda: _runs_by(lambda run: (-run[2], -run[0], run[1])),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug(
        "15 since from arrived.upto",
        lambda: patch.object(
            vortex.core.publish.plan, "needed_from", lambda arrived, window, reach: arrived[1] - window
        ),
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}",
    ),
    Bug(
        "16 since by periods",
        lambda: patch.object(
            vortex.core.publish.plan,
            "_arrived",
            lambda plan, last, views: (plan.after, max(plan.upto, last.arrived[1])),
        ),
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}",
    ),
    Bug("17 one filter over several shards", _one_filter_for_all, f"{Invariant.FILTERED_HAVE_ROWS}", _COPIES),
    Bug("18 arrival as a point", _a_point, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "20 decisions on k cleaned when k is done",
        lambda: _cleaning_by(lambda _, plan: plan.k + 1),
        f"{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "21 window from settings",
        lambda: _carried_out_with(lambda self, plan: msgspec.structs.replace(plan, window=_window_of(self))),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.SETTLES}",
        _SEVERAL,
    ),
    Bug(
        "22 rows of other periods count",
        _rows_of_all_periods,
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.SETTLES}",
    ),
    Bug("23 decisions overwritten", _overwritten, f"{Invariant.NEEDED_FILES_STAY}|{Invariant.DECISIONS_NEVER_CHANGE}"),
    Bug(
        "24 another's content accepted with stale memory",
        _accepted_with_stale_memory,
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
    ),
    Bug("25 upto of the first segment", _upto_of_the_first, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "26 uncommitted rows in the filter after a resume",
        _filter_outlives_its_process,
        f"{Invariant.FILTERED_HAVE_ROWS}",
        (*_COPIES, "process.crash"),
    ),
    Bug(
        "27 done before objects",
        _done_first,
        f"{Invariant.DEDUP_SUMS_AGREE}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.CLOSED_HOURS}",
    ),
    Bug("28 all copies dropped", lambda: _resolved_by(_all_copies), f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}", _COPIES),
    Bug(
        "30 segments cleaned by an unfinished plan",
        _cleaned_by_an_unfinished_plan,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "31 plan proposed before done",
        _proposed_before_done,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}",
        ("process.crash",),
    ),
    Bug(
        "32 decisions cleaned up to the last plan",
        lambda: _cleaning_by(lambda _, plan: plan.k),
        f"{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "33 row numbers count rejections",
        _rejections_count,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}|D",
        ("traffic.broken", *_COPIES),
    ),
    Bug(
        "34 row numbers within the period",
        _rows_within_the_period,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}|D",
        ("traffic.late", *_COPIES),
    ),
)


FLEET_BUGS = (
    Bug(
        "13 parts from settings",
        lambda: _carried_out_with(_own_parts),
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.SETTLES}",
    ),
    Bug(
        "29 part boundary off by one",
        _boundary,
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _COPIES,
    ),
)


@pytest.mark.parametrize("bug", FLEET_BUGS, ids=lambda bug: bug.name)
def test_the_simulation_of_a_fleet_finds(bug: Bug) -> None:
    """What only several parts can show."""
    hunt(bug, fleet=True)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_simulation_finds(bug: Bug) -> None:
    """Within SEEDS seeds, and for what it is."""
    hunt(bug)


# What chance finds too seldom is shown directly: with the bug, and without it.


def _segment(shard: str, n: int, watermark: int, period: int, **more: Any) -> SegmentHeader:
    first = first_footer(ShardInfo(shard), Position(Start.TRIM_HORIZON), watermark, 600_000, owner="", created=0)
    footer = msgspec.structs.replace(first, n=n, **more)
    path = f"{shard}/{period}"
    cell = Cell(Folder(path, folder_hash(path)), period)
    sealed = seal(footer, [cell], LineTable.of([[b"{}"]]), b"k" * 16)
    return SegmentHeader(shard, n, sealed.digest, sealed.footer)


def _after_a_parent_is_gone() -> tuple[int, int]:
    """A plan that does not reach the end of what is closed: the parent is published, and its child has not begun.

    From when on rows come, as the next plan says it, and when they may.
    """
    child = ShardInfo("child", ("parent",))
    views = {
        "parent": LogView([_segment("parent", 0, 100_000, 0, ended=True, children=(child,))]),
        "other": LogView([_segment("other", 0, 500_000, 0), _segment("other", 1, 700_000, 300_000)]),
    }
    last = Plan(k=-1, after=0, upto=0, shards={"parent": PlanShard(), "other": PlanShard()}, target=1)
    for _ in range(2):
        made = propose(last, views, Rules(1, window=1000, reach=10**9), limit=1)
        assert made is not None
        last = made
    assert last.shards["child"].to == -1 and last.retired == {"parent": 0}
    return last.arrived[0], 100_000


def test_an_unborn_child_bounds_when_rows_come() -> None:
    """Bug 10: it may hold what came as early as its parent ended."""
    says, may = _after_a_parent_is_gone()
    assert says == may
    with _arrived_without(_unborn):
        says, may = _after_a_parent_is_gone()
        assert says > may


async def _late_decision() -> Counter[str]:
    """A publisher sleeps ahead of reading what an earlier plan published; another goes on, and all that is cleaned up.

    Of its plan, whose every row is a copy, only the segments are left: they are the last ones of shards that ended. How
    often each id lies in the store.
    """
    world = Stage(shards=2, period_ms=MINUTE, window_ms=6 * MINUTE, every_s=1, look_s=1)
    first = await world.begin()
    for number in range(60):
        world.put(f"id{number}")
        await world.clock.sleep(1)
    await world.clock.sleep(200)
    await first.kill()
    for number in range(60):
        world.put(f"id{number}", f"another key {number}")
    for shard in world.stream.shards():
        world.stream.split(shard.id, (shard.start_hash + shard.end_hash) // 2 + 1)
    sleeper, reached, awake = await world.begin(), asyncio.Event(), asyncio.Event()
    decided = sleeper.log_store.decided

    async def late(k: int, part: int) -> Any:
        reached.set()
        await awake.wait()
        return await decided(k, part)

    with patch.object(sleeper.log_store, "decided", late):
        await reached.wait()
        sleeper.tasks[0].cancel()
        k = (await sleeper.log_store.last_plan(sleeper.state)).k
        second = await world.begin()
        for number in range(1500):
            world.put(f"other{number}")
            await world.clock.sleep(1)
        assert sleeper.log_store.decided_key(k, 0) not in world.store.objects, "cleaned up"
        awake.set()
        await world.clock.sleep(60)
    await world.clock.sleep(300)
    for worker in (sleeper, second):
        for task in worker.tasks:
            task.cancel()
        await asyncio.gather(*worker.tasks, return_exceptions=True)
    return Counter(json.loads(line)["id"] for line in world.lines("c="))


def test_what_is_missing_is_never_taken_for_empty() -> None:
    """Bug 11: what it needs is gone since its plan is done; there is nothing to do for it any more."""
    assert set(vtime.run(_late_decision()).values()) == {1}
    with _keys_of(MissingIsEmpty):
        assert 2 in vtime.run(_late_decision()).values()


async def _keys_in_fewer_parts(kind: type[KeyCache]) -> int:
    """How many keys a cache has of all, once it has had them by four parts."""
    log_store, rng = LogStore(MemoryStore(vtime.VirtualClock()), "_vortex/s@1", Once()), np.random.default_rng(1)
    runs = PlanRuns(["s"], np.zeros(1, dtype=RUN), [], [])
    high, number = rng.integers(0, 2**64, 64, dtype=np.uint64), np.arange(64, dtype=np.uint32)
    rows = Rows(high, high, np.zeros(64, dtype=np.uint32), number).by_key()
    for part in range(4):
        mine = rows.between(*bounds_of(rows.high, part, 4))
        body = encode(0, part, 4, runs, mine, resolve(mine, runs.table, [], 1))
        await log_store.put_decided(0, part, body)
    cache, plan = kind(log_store, vtime.in_place, 1 << 20), Recent(0, 0, 4, 64)
    for part in range(4):
        await cache.published(plan, part, 4)
    found = await cache.published(plan, 0, 1)
    assert found is not None
    return len(found)


def test_memory_is_kept_by_range_and_not_by_number() -> None:
    """Bug 7: the first of four parts is not the first of one."""
    assert vtime.run(_keys_in_fewer_parts(KeyCache)) == 64
    assert vtime.run(_keys_in_fewer_parts(_ByNumber)) < 64


async def _keys_of_older_plans(kind: type[KeyCache]) -> int:
    """How many keys of a plan below `since` a cache still finds."""
    log_store, rng = LogStore(MemoryStore(vtime.VirtualClock()), "_vortex/s@1", Once()), np.random.default_rng(1)
    runs, keys = PlanRuns(["s"], np.zeros(1, dtype=RUN), [], []), []
    for k in range(2):
        high = np.sort(rng.integers(0, 2**64, 64, dtype=np.uint64))
        rows = Rows(high, high, np.zeros(64, dtype=np.uint32), np.arange(64, dtype=np.uint32))
        await log_store.put_decided(k, 0, encode(k, 0, 1, runs, rows, np.zeros(64, dtype=bool)))
        keys.append(high)
    cache, plans = kind(log_store, vtime.in_place, 1 << 20), [Recent(k, 0, 1, 64) for k in range(2)]
    await cache.among(plans, 0, 1, keys[0], keys[0])
    cache.forget(1)
    found = await cache.among(plans[1:], 0, 1, keys[0], keys[0])
    return sum(len(some.among(keys[0], keys[0])) for some in found)


def test_memory_is_cut_at_since() -> None:
    """Bug 19: a window that shrank and grew does not bring back what it had let go of."""
    assert vtime.run(_keys_of_older_plans(KeyCache)) == 0
    assert vtime.run(_keys_of_older_plans(_BeyondSince)) == 64
