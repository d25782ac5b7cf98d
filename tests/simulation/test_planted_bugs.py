"""The simulation itself is checked: each planted bug must make it fail, within a stated number of seeds."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
import pytest

import vortex.core.ingest.pacing
import vortex.core.log.rules
import vortex.core.publish.plan
import vortex.ingest.reading
import vortex.ingest.resume
import vortex.log.shard_tree
import vortex.publish.cleanup
import vortex.publish.known_logs
from simulation import vtime
from simulation.memstore import MemoryStore
from tests.loops import MINUTE
from tests.loops import World as Stage
from tests.simulation.planting import Bug, Plant, hunt
from vortex.core.clocks import Times
from vortex.core.decode.records import Records
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.invariants import Invariant
from vortex.core.log.rules import BrokenLog, SegmentHeader, before_all, segment_key
from vortex.core.log.sealing import seal
from vortex.core.log.segment import Footer, Sealed
from vortex.core.model import Position, Start
from vortex.ingest.commits import Commits
from vortex.ingest.reading import Reader
from vortex.ingest.setup import CommitRules
from vortex.ingest.worker import ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.ports import Denied
from vortex.publish.hours import Hours
from vortex.retry import Once, Retry
from vortex.runtime.trust import TrustedClock, TrustedStream


def _commit_before_the_put() -> Any:
    put, tasks = LogStore.commit, set()

    async def commit(self: LogStore, shard: str, sealed: Any) -> bool:
        task = asyncio.ensure_future(put(self, shard, sealed))
        tasks.add(task)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return True

    return patch.object(LogStore, "commit", commit)


def _refusal_taken_as_mine() -> Any:
    put = LogStore.commit

    async def commit(self: LogStore, shard: str, sealed: Any) -> bool:
        await put(self, shard, sealed)
        return True

    return patch.object(LogStore, "commit", commit)


def _rebuilt(worker: ShardWorker, new: ShardIngest, **other: Any) -> ShardIngest:
    names = ("position", "watermark", "closed_before")
    kept: dict[str, Any] = {name: getattr(new, name) for name in names} | other
    return ShardIngest(worker.shard, worker._policy, n=worker._commits.head.n, **kept)


def _children_from_latest() -> Any:
    first = vortex.core.log.rules.first_footer

    def footer(shard: Any, position: Position, *args: Any, **more: Any) -> Footer:
        return first(shard, Position(Start.LATEST), *args, **more)

    return patch.object(vortex.ingest.resume, "first_footer", footer)


@contextlib.contextmanager
def _child_before_parents() -> Iterator[None]:
    async def ends(log_store: LogStore, state: Any, shard: Any, listed: Any) -> list[Footer]:
        plan = await log_store.last_plan(state)
        headers = [
            await log_store.head(p, plan.retired[p])
            if p in plan.retired
            else await log_store.newest(p, plan.shards.get(p))
            for p in shard.parents
        ]
        return [head.footer for head in headers if head]

    with (
        patch.object(vortex.ingest.resume, "parent_ends", ends),
        patch.object(ShardTree, "ready", lambda self, shard: True),
    ):
        yield


def _closing_without(idle: bool) -> Any:
    limit = vortex.core.publish.plan.frontier_limit

    def lax(entry: Any, view: Any) -> int | None:
        footer = view.newest if view else None
        if footer is None:
            return None  # unborn
        if idle and footer.counts.records == 0 and footer.n:
            return None
        return limit(entry, view)

    return patch.object(vortex.core.publish.plan, "frontier_limit", lax)


def _no_rehoming() -> Any:
    route = ShardIngest._routed

    def lax(self: ShardIngest, events: Any, *when: Any) -> Any:
        period, shift = route(self, events, *when)
        return np.where(shift < 0, events.period, period), np.maximum(shift, 0)

    return patch.object(ShardIngest, "_routed", lax)


def _resumed_with(change: Callable[[Any, ShardIngest], dict[str, Any]]) -> Any:
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        old = getattr(self, "_ingest", None)
        await resume(self)
        if self._commits.ended is None:
            self._ingest = _rebuilt(self, self._ingest, **change(old, self._ingest))

    return patch.object(ShardWorker, "_resume", resumed)


def _bound_from_settings() -> Any:
    return _resumed_with(lambda _, new: {"closed_before": new._policy.rules.closed_before(new.watermark)})


def _bump_ignored() -> Any:
    return _resumed_with(lambda old, _: {"closed_before": old.closed_before} if old is not None else {})


def _from_is_to_plus_one() -> Any:
    entry = vortex.core.publish.plan._entry

    def short(*args: Any) -> Any:
        made = entry(*args)
        return msgspec.structs.replace(made, next=made.to + 1)

    return patch.object(vortex.core.publish.plan, "_entry", short)


def _plan_overwritten() -> Any:
    put = LogStore.put_plan

    async def overwrite(self: LogStore, plan: Any) -> Any:
        await self.retry("overwrite", lambda: self.store.delete([self._plan_key(plan.k, "plan")]))
        return await put(self, plan)

    return patch.object(LogStore, "put_plan", overwrite)


def _loser_carries_out_its_own_plan() -> Any:
    put = LogStore.put_plan

    async def stubborn(self: LogStore, plan: Any) -> Any:
        await put(self, plan)
        return plan

    return patch.object(LogStore, "put_plan", stubborn)


def _child_joined_twice() -> contextlib.AbstractContextManager[Any]:
    with_children = vortex.core.publish.plan.with_children
    stack = contextlib.ExitStack()
    for module in (vortex.core.publish.plan, vortex.publish.known_logs):
        stack.enter_context(
            patch.object(module, "with_children", lambda live, retired, views: with_children(live, {}, views))
        )
    return stack


def _done_before_manifests() -> Any:
    close = Hours.close

    async def late(self: Hours, plan: Any, document: Any) -> int | None:
        await self._log_store.put_done(document)
        return await close(self, plan, document)

    return patch.object(Hours, "close", late)


def _cleaning(limit: Callable[..., int]) -> Any:
    return patch.object(vortex.publish.cleanup, "unneeded", limit)


def _and_the_head(shard: str, plan: Any, head: int) -> int:
    below = vortex.core.publish.plan.unneeded(shard, plan, head)
    return below + (below == head)


def _whatever_is_next(shard: str, plan: Any, head: int) -> int:
    entry = plan.shards.get(shard)
    if entry is not None:
        done = msgspec.structs.replace(entry, next=max(entry.to, entry.next))
        plan = msgspec.structs.replace(plan, shards={shard: done})
    return vortex.core.publish.plan.unneeded(shard, plan, head)


def _cleaning_of_empty_ones() -> Any:
    clean = vortex.publish.cleanup.Cleaner._clean_log

    async def lax(self: Any, shard: str, below: int, retired: bool) -> None:
        await clean(self, shard, below, retired)
        headers = [await self._log_store.head(shard, n) for n in await self._log_store.numbers(shard, -1)]
        empty = [head.n for head in headers[:-1] if head.footer and not head.footer.counts.records]
        await self._log_store.drop(shard, empty)

    return patch.object(vortex.publish.cleanup.Cleaner, "_clean_log", lax)


def _last_page_dropped() -> Any:
    take = ShardWorker._take

    async def lax(self: ShardWorker, page: Any) -> None:
        if page.iterator is not None or not page.records:
            await take(self, page)
        else:
            self._ingest.position = Position(Start.AFTER_SEQUENCE_NUMBER, page.records[-1].sequence)

    return patch.object(ShardWorker, "_take", lax)


def _text_order() -> Any:
    def newer(self: ShardIngest, records: Records) -> Records:
        return Records.of([record for record in records if record.sequence > self.position.value])

    return patch.object(ShardIngest, "_fresh_records", newer)


def _watermark_of_the_fastest() -> Any:
    def state(parents: Any) -> tuple[int, int]:
        return max(p.watermark for p in parents), max(p.closed_before for p in parents)

    return patch.object(vortex.ingest.resume, "child_state", state)


def _bound_of_the_slowest() -> Any:
    def state(parents: Any) -> tuple[int, int]:
        return min(p.watermark for p in parents), min(p.closed_before for p in parents)

    return patch.object(vortex.ingest.resume, "child_state", state)


def _manifest_of_one_plan() -> Any:
    async def none(self: Hours, hour: int, plan: Any) -> list[Any]:
        return []

    return patch.object(Hours, "_dones_since", none)


def _gone_when_ended() -> contextlib.AbstractContextManager[Any]:
    def live_and_retired(last: Any) -> tuple[dict[str, Any], dict[str, int]]:
        ended = {shard: entry.to for shard, entry in last.shards.items() if entry.ended}
        return {s: entry for s, entry in last.shards.items() if s not in ended}, {**last.retired, **ended}

    stack = contextlib.ExitStack()
    for module in (vortex.core.publish.plan, vortex.publish.known_logs, vortex.log.shard_tree):
        stack.enter_context(patch.object(module, "live_and_retired", live_and_retired))
    return stack


def _iterators_for_ever() -> Any:
    return patch.object(vortex.ingest.reading, "_ITERATOR_LIFE", 1e9)


def _constant(name: str, value: float) -> Plant:
    return lambda: patch.object(vortex.core.ingest.pacing, name, value)


def _no_rest() -> contextlib.AbstractContextManager[Any]:
    return patch.multiple(vortex.core.ingest.pacing, BYTES_PER_S=1e12, FULL_PAUSE_S=0.0)


def _missing_iterator_is_an_end() -> Any:
    async def ended(self: ShardWorker, told: str) -> None:
        stream, clock = self._ports.stream, self._ports.clock
        listed = await self._ports.retry("list shards", stream.list_shards)
        if children := tuple(each for each in listed if self.shard.id in each.parents):
            await self._end(children)
        else:
            self.reader.restart()
            await clock.sleep(1)

    return patch.object(ShardWorker, "_end_if_proved", ended)


def _end_not_proved() -> Any:
    async def proved(self: Reader, position: Position) -> bool:
        return True

    return patch.object(Reader, "proves_end", proved)


def _date_believed() -> Any:
    heard = TrustedClock.heard

    def believed(self: TrustedClock, date_ms: int) -> Times:
        heard(self, date_ms)
        return Times(date_ms, date_ms)

    return patch.object(TrustedClock, "heard", believed)


def _one_listing_believed() -> Any:
    return patch.object(TrustedStream, "list_shards", lambda self: self._stream.list_shards())


def _page_without_events_passed_over() -> Any:
    take = ShardIngest._take_slice

    def lax(self: ShardIngest, one: Any, records: Any, arrived: Any) -> Any:
        if not len(one.events):
            one.events.rejected.clear()
        return take(self, one, records, arrived)

    return patch.object(ShardIngest, "_take_slice", lax)


def _denial_is_final() -> Any:
    again = Retry._again

    async def lax(self: Retry, what: str, call: Any, problem: Any, begun: float) -> Any:
        if isinstance(problem, Denied):
            raise problem
        return await again(self, what, call, problem, begun)

    return patch.object(Retry, "_again", lax)


_FAMILY = ("stream.split", "stream.merge")
_UNBORN = (*_FAMILY, "stream.slow", "store.denied")

BUGS = (
    Bug(
        "commit before the put",
        _commit_before_the_put,
        f"{Invariant.WHOLE_LOGS}.*which is not its own",
        ("process.crash",),
    ),
    Bug(
        "412 taken as mine",
        _refusal_taken_as_mine,
        f"{Invariant.WHOLE_LOGS}.*which is not its own",
        ("process.second",),
    ),
    Bug("LATEST for children", _children_from_latest, f"{Invariant.PARENTS_FIRST}.*a child starts at", _FAMILY),
    Bug(
        "child before parents",
        _child_before_parents,
        f"{Invariant.PARENTS_FIRST}.*have(?: not)? ended",
        (*_FAMILY, "stream.slow"),
    ),
    Bug(
        "closing without idle shards",
        lambda: _closing_without(True),
        f"{Invariant.CLOSED_HOURS}.*which a plan has closed|{Invariant.COMPLETE_AND_ONCE}.*leaves out",
        ("traffic.idle",),
    ),
    Bug(
        "closing without unborn shards",
        lambda: _closing_without(False),
        f"{Invariant.CLOSED_HOURS}.*a plan has closed|{Invariant.COMPLETE_AND_ONCE}.*leaves out",
        _UNBORN,
    ),
    Bug("no re-homing", _no_rehoming, f"{Invariant.CLOSED_HOURS}.*which its log had closed", ("traffic.late",)),
    Bug(
        "closed_before from settings, not the log",
        _bound_from_settings,
        f"{Invariant.WHOLE_LOGS}|{Invariant.CLOSED_HOURS}",
        ("process.settings", "operator.bump"),
    ),
    Bug(
        "a bump ignored",
        _bump_ignored,
        f"{Invariant.WHOLE_LOGS}.*closed_before goes back|{Invariant.CLOSED_HOURS}.*has rows before",
        ("operator.bump", "operator.max_delay"),
    ),
    Bug(
        "`from` = to + 1", _from_is_to_plus_one, f"{Invariant.WRITTEN_ONCE}.*the next plan begins at", ("traffic.late",)
    ),
    Bug(
        "plan overwritten", _plan_overwritten, f"{Invariant.WRITTEN_ONCE}.*plan.json: was deleted", ("process.second",)
    ),
    Bug("child joined twice", _child_joined_twice, f"{Invariant.WRITTEN_ONCE}.*both live and retired", _FAMILY),
    Bug("done before manifests", _done_before_manifests, f"{Invariant.CLOSED_HOURS}.*has no manifest"),
    Bug(
        "clean-up of a head",
        lambda: _cleaning(_and_the_head),
        f"{Invariant.WRITTEN_ONCE}.*is the last segment of its log",
        _FAMILY,
    ),
    Bug(
        "clean-up of unpublished segments",
        lambda: _cleaning(_whatever_is_next),
        f"{Invariant.WRITTEN_ONCE}.*deleted, but",
    ),
    Bug(
        "clean-up of empty segments",
        _cleaning_of_empty_ones,
        f"{Invariant.WRITTEN_ONCE}.*was deleted, but",
    ),
    # Others that are easily made.
    Bug(
        "loser carries out its own plan",
        _loser_carries_out_its_own_plan,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}"
        f"|{Invariant.SETTLES}.*publisher stops",
        ("process.second", "process.pause", "process.settings", "store.slow"),
    ),
    Bug(
        "last page of a shard dropped",
        _last_page_dropped,
        f"{Invariant.COMPLETE_AND_ONCE}.*records of|{Invariant.SETTLES}.*not committed",
        (*_FAMILY, "stream.irregular"),
    ),
    Bug(
        "rejections lost",
        lambda: patch.object(ShardIngest, "_reject", lambda *_: Counter()),
        f"{Invariant.COMPLETE_AND_ONCE}",
        ("traffic.broken",),
    ),
    Bug(
        "sequence numbers in text order",
        _text_order,
        f"{Invariant.COMPLETE_AND_ONCE}.*records of|{Invariant.SETTLES}.*not committed",
    ),
    Bug(
        "a child's watermark from its fastest parent",
        _watermark_of_the_fastest,
        f"{Invariant.WHOLE_LOGS}.*first watermark",
        _FAMILY,
    ),
    Bug(
        "a child's bound from its slowest parent",
        _bound_of_the_slowest,
        f"{Invariant.WHOLE_LOGS}.*first closed_before",
        (*_FAMILY, "traffic.idle", "process.second"),
    ),
    Bug(
        "an hour's manifest of its last plan alone",
        _manifest_of_one_plan,
        f"{Invariant.CLOSED_HOURS}.*(?:folders differ|does not list)",
    ),
    Bug(
        "retired when ended",
        _gone_when_ended,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
        (*_FAMILY, "traffic.early"),
    ),
    Bug(
        "an old iterator used",
        _iterators_for_ever,
        f"{Invariant.LIMITS_KEPT}.*expired iterator",
        ("store.disk_full",),
    ),
    Bug(
        "a missing iterator taken for an end",
        _missing_iterator_is_an_end,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SETTLES}.*not committed",
        (*_FAMILY, "stream.no_iterator", "process.crash"),
    ),
    Bug(
        "a page without a next iterator taken for an end",
        _end_not_proved,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SETTLES}.*not committed",
        (*_FAMILY, "stream.false_end", "process.crash"),
    ),
    Bug(
        "one Date believed",
        _date_believed,
        f"{Invariant.CLOSED_HOURS}.*ahead of the clock|{Invariant.ARRIVAL_BOUNDS_HOLD}.*did not arrive in",
        ("stream.single_wrong_date", "stream.wrong_dates", "traffic.idle"),
    ),
    Bug("one listing believed", _one_listing_believed, "I", (*_FAMILY, "stream.short_list", "process.second")),
    Bug(
        "rejections alone passed over",
        _page_without_events_passed_over,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SUMS_AGREE}",
        ("traffic.poison",),
    ),
    Bug("a denial taken as final", _denial_is_final, f"{Invariant.SETTLES}.*failed: Denied", ("process.credentials",)),
    Bug("asking too often", _constant("CALL_S", 0.1), f"{Invariant.LIMITS_KEPT}.*six calls"),
    Bug(
        "no rest after 10 MiB", _no_rest, f"{Invariant.LIMITS_KEPT}.*too soon after a page of 10 MiB", ("stream.heavy",)
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_the_simulation_finds(bug: Bug) -> None:
    """Within SEEDS seeds, and for what it is."""
    hunt(bug)


def test_a_log_is_never_read_without_checking_prev() -> None:
    """A late write puts another segment 0 where the first was cleaned up: only `prev` tells that it is not the log."""

    async def scenario() -> None:
        clock = vtime.VirtualClock()
        log_store = LogStore(MemoryStore(clock), "_vortex/s@1", Once())
        headers = []
        for n in range(3):
            sealed = seal(_empty(n, headers[-1].digest if headers else "", "one"))
            assert await log_store.commit("shard", sealed)
            headers.append(SegmentHeader("shard", n, sealed.digest, sealed.footer))
        await log_store.drop("shard", [0])
        assert await log_store.commit("shard", seal(_empty(0, "", "another"))), "lands where nothing is"
        assert [head.n for head in await log_store.walk(headers[1])] == [2], "from what a plan names, the log is whole"
        with pytest.raises(BrokenLog, match="does not follow"):
            await log_store.walk(before_all("shard"))

    vtime.run(scenario())


async def _false_end() -> bool:
    """A worker reads to the end and sleeps ahead of its put; another, slower one commits, publishes and cleans up.

    Whether the first takes its end, put to a number that was cleaned up, for the end of the log.
    """
    world = Stage(shards=1, period_ms=MINUTE, window_ms=120 * MINUTE, every_s=1)
    for _ in range(600):
        world.put(f"id{len(world.sent)}")
        await world.clock.sleep(1)
    world.stream.split(world.stream.shards()[0].id, 1 << 127)
    first = await world.begin()
    await first.kill()
    put, awake = first.log_store.commit, asyncio.Event()

    async def late(shard: str, sealed: Sealed) -> bool:
        await awake.wait()
        return await put(shard, sealed)

    with patch.object(first.log_store, "commit", late):
        sleeper = first.loops.worker(world.stream.shards()[0])
        sleeper._rules = CommitRules(3600, 1 << 30)  # all in one segment: number 0
        sleeping = asyncio.ensure_future(sleeper.run())
        await world.clock.sleep(30)
        world.stream.page_records = 1
        second = await world.begin()
        zero = segment_key(first.log_store.root, sleeper.shard.id, 0)
        for there in (True, False):  # it comes, and it is cleaned up
            while (zero in world.store.objects) is not there:
                await world.clock.sleep(1)
        awake.set()
        await world.clock.sleep(2)
        ended = sleeping.done()
        sleeping.cancel()
        await asyncio.gather(sleeping, return_exceptions=True)
    await world.clock.sleep(3600)
    await second.kill()
    await world.verified()
    return ended


def test_an_end_is_no_end_where_the_log_goes_on() -> None:
    """Chance finds it once in thousands of seeds: shown directly, with the look beyond an end and without it."""
    assert not vtime.run(_false_end())
    with patch.object(Commits, "_overtaken", _never):
        assert vtime.run(_false_end())


async def _never(commits: Commits, footer: Footer) -> bool:
    return False


def _empty(n: int, prev: str, owner: str) -> Footer:
    from vortex.core.log.rules import first_footer
    from vortex.core.model import ShardInfo

    first = first_footer(ShardInfo("shard"), Position(Start.TRIM_HORIZON), 0, 0, owner=owner, created=0)
    return msgspec.structs.replace(first, n=n, prev=prev)
