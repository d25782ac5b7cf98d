"""Bugs to plant in reading, ingestion and commits: each function is a context that has the bug."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import numpy as np

import vortex.core.clocks
import vortex.core.ingest.pacing
import vortex.core.ingest.shard_state
import vortex.core.log.rules
import vortex.core.publish.plan
import vortex.ingest.reading
import vortex.ingest.resume
import vortex.log.shard_tree
import vortex.publish.cleanup
import vortex.publish.known_logs
from tests.simulation.planting import Plant
from vortex.core.clocks import Times
from vortex.core.decode.records import Records
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.log.segment import Footer
from vortex.core.model import Position, Start
from vortex.ingest.backlog import Backlog
from vortex.ingest.memory import MemoryBudget
from vortex.ingest.reading import Reader
from vortex.ingest.worker import ShardWorker
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.ports import Denied
from vortex.retry import Retry
from vortex.runtime.trust import TrustedClock, TrustedStream


def commit_before_the_put() -> Any:
    put, tasks = LogStore.commit, set()

    async def commit(self: LogStore, shard: str, sealed: Any) -> bool:
        task = asyncio.ensure_future(put(self, shard, sealed))
        tasks.add(task)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return True

    return patch.object(LogStore, "commit", commit)


def refusal_taken_as_mine() -> Any:
    put = LogStore.commit

    async def commit(self: LogStore, shard: str, sealed: Any) -> bool:
        await put(self, shard, sealed)
        return True

    return patch.object(LogStore, "commit", commit)


@contextlib.contextmanager
def memory_without_a_limit() -> Iterator[None]:
    def take(self: MemoryBudget, who: str, size: int) -> bool:
        self.page(who, size)
        return True

    with patch.multiple(MemoryBudget, full=False, take=take, asks=lambda self, who: False):
        yield


def shards_that_left_still_count() -> Any:
    return patch.object(MemoryBudget, "leave", lambda self, who: None)


def rebuilt(worker: ShardWorker, new: ShardIngest, **other: Any) -> ShardIngest:
    names = ("position", "watermark", "closed_before")
    kept: dict[str, Any] = {name: getattr(new, name) for name in names} | other
    return ShardIngest(worker.shard, worker._policy, n=worker._commits.head.n, **kept)


def time_alone_ends_a_drain() -> Any:
    async def is_read(self: Backlog, position: Position, asked_at: float, *, empty: bool) -> bool:
        return asked_at >= self._settled

    return patch.object(Backlog, "is_read", is_read)


def children_from_latest() -> Any:
    first = vortex.core.log.rules.first_footer

    def footer(shard: Any, position: Position, *args: Any, **more: Any) -> Footer:
        return first(shard, Position(Start.LATEST), *args, **more)

    return patch.object(vortex.ingest.resume, "first_footer", footer)


@contextlib.contextmanager
def child_before_parents() -> Iterator[None]:
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


def no_rehoming() -> Any:
    route = ShardIngest._routed

    def lax(self: ShardIngest, events: Any, *when: Any) -> Any:
        period, shift = route(self, events, *when)
        return np.where(shift < 0, events.period, period), np.maximum(shift, 0)

    return patch.object(ShardIngest, "_routed", lax)


def resumed_with(change: Callable[[Any, ShardIngest], dict[str, Any]]) -> Any:
    resume = ShardWorker._resume

    async def resumed(self: ShardWorker) -> None:
        old = getattr(self, "_ingest", None)
        await resume(self)
        if self._commits.ended is None:
            self._ingest = rebuilt(self, self._ingest, **change(old, self._ingest))

    return patch.object(ShardWorker, "_resume", resumed)


def bound_from_settings() -> Any:
    return resumed_with(lambda _, new: {"closed_before": new._policy.rules.closed_before(new.watermark)})


def advance_ignored() -> Any:
    return resumed_with(lambda old, _: {"closed_before": old.closed_before} if old is not None else {})


def last_page_dropped() -> Any:
    take = ShardWorker._take

    async def lax(self: ShardWorker, page: Any) -> None:
        if page.iterator is not None or not page.records:
            await take(self, page)
        else:
            self._ingest.position = Position(Start.AFTER_SEQUENCE_NUMBER, page.records[-1].sequence)

    return patch.object(ShardWorker, "_take", lax)


def text_order() -> Any:
    def newer(self: ShardIngest, records: Records) -> Records:
        return Records.of([record for record in records if record.sequence > self.position.value])

    return patch.object(ShardIngest, "_fresh_records", newer)


def watermark_of_the_fastest() -> Any:
    def state(parents: Any) -> tuple[int, int]:
        return max(p.watermark for p in parents), max(p.closed_before for p in parents)

    return patch.object(vortex.ingest.resume, "child_state", state)


def bound_of_the_slowest() -> Any:
    def state(parents: Any) -> tuple[int, int]:
        return min(p.watermark for p in parents), min(p.closed_before for p in parents)

    return patch.object(vortex.ingest.resume, "child_state", state)


def iterators_that_never_expire() -> Any:
    return patch.object(vortex.ingest.reading, "ITERATOR_LIFE_S", 1e9)


def constant(name: str, value: float) -> Plant:
    return lambda: patch.object(vortex.core.ingest.pacing, name, value)


def no_pause() -> contextlib.AbstractContextManager[Any]:
    return patch.multiple(vortex.core.ingest.pacing, BYTES_PER_S=1e12, FULL_PAUSE_S=0.0)


def missing_iterator_is_an_end() -> Any:
    async def ended(self: ShardWorker, reason: str) -> None:
        stream, clock = self._ports.stream, self._ports.clock
        listed = await self._ports.retry("list shards", stream.list_shards)
        if children := tuple(each for each in listed if self.shard.id in each.parents):
            await self._end(children)
        else:
            self.reader.restart()
            await clock.sleep(1)

    return patch.object(ShardWorker, "_end_if_proved", ended)


def end_not_confirmed() -> Any:
    async def proved(self: Reader, position: Position) -> bool:
        return True

    return patch.object(Reader, "proves_end", proved)


def date_trusted() -> Any:
    heard = TrustedClock.heard

    def believed(self: TrustedClock, date_ms: int) -> Times:
        heard(self, date_ms)
        return Times(date_ms, date_ms)

    return patch.object(TrustedClock, "heard", believed)


def arrival_in_1970() -> Any:
    """The arrival time of records of a page without a possible one, as it was once."""
    arrived = vortex.core.clocks.arrived
    return patch.object(
        vortex.core.ingest.shard_state, "arrived_of", lambda times, latest, since, _: arrived(times, latest, since, 0)
    )


def arrival_by_one_clock() -> Any:
    """The same, by the latest of all clocks."""

    def arrived(self: ShardIngest, records: Records, page: Any) -> Any:
        unknown = page.server_ms - page.behind_ms
        return vortex.core.clocks.arrived(records.arrivals, page.server_ms, self.watermark, unknown)

    return patch.object(ShardIngest, "_arrived", arrived)


def one_listing_trusted() -> Any:
    return patch.object(TrustedStream, "list_shards", lambda self: self._stream.list_shards())


def page_without_events_skipped() -> Any:
    take = ShardIngest._take_slice

    def lax(self: ShardIngest, one: Any, records: Any, arrived: Any) -> Any:
        if not len(one.events):
            one.events.rejected.clear()
        return take(self, one, records, arrived)

    return patch.object(ShardIngest, "_take_slice", lax)


def denial_is_final() -> Any:
    again = Retry._again

    async def lax(self: Retry, what: str, call: Any, problem: Any, begun: float) -> Any:
        if isinstance(problem, Denied):
            raise problem
        return await again(self, what, call, problem, begun)

    return patch.object(Retry, "_again", lax)
