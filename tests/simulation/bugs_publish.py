"""Bugs to plant in planning, publishing and clean-up: each function is a context that has the bug."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np

import simulation.walkcheck
import vortex.core.ingest.pacing
import vortex.core.log.rules
import vortex.core.publish.contents
import vortex.core.publish.members
import vortex.core.publish.plan
import vortex.core.publish.shares
import vortex.ingest.reading
import vortex.ingest.resume
import vortex.log.shard_tree
import vortex.publish.cleanup
import vortex.publish.known_logs
import vortex.publish.publisher
from vortex.core.publish.plan import holders
from vortex.log.store import LogStore
from vortex.publish.copies import Copies
from vortex.publish.hours import Hours
from vortex.publish.known_logs import KnownLogs
from vortex.publish.object_writer import ObjectWriter
from vortex.publish.publisher import Publisher


def closing_without(idle: bool) -> Any:
    limit = vortex.core.publish.plan.frontier_limit

    def lax(entry: Any, view: Any) -> int | None:
        footer = view.newest if view else None
        if footer is None:
            return None  # not started
        if idle and footer.counts.records == 0 and footer.n:
            return None
        return limit(entry, view)

    return patch.object(vortex.core.publish.plan, "frontier_limit", lax)


def from_is_to_plus_one() -> Any:
    entry = vortex.core.publish.plan._entry

    def short(*args: Any) -> Any:
        made = entry(*args)
        return msgspec.structs.replace(made, next=made.to + 1)

    return patch.object(vortex.core.publish.plan, "_entry", short)


def plan_overwritten() -> Any:
    put = LogStore.put_plan

    async def overwrite(self: LogStore, plan: Any) -> Any:
        await self.retry("overwrite", lambda: self.store.delete([self._plan_key(plan.k, "plan")]))
        return await put(self, plan)

    return patch.object(LogStore, "put_plan", overwrite)


def loser_carries_out_its_own_plan() -> Any:
    put = LogStore.put_plan

    async def stubborn(self: LogStore, plan: Any) -> Any:
        await put(self, plan)
        return plan

    return patch.object(LogStore, "put_plan", stubborn)


def own_compression() -> Any:
    carry_out = Publisher._carry_out

    async def own(self: Publisher, plan: Any, views: Any) -> bool:
        return await carry_out(self, msgspec.structs.replace(plan, compression=self._rules.compression), views)

    return patch.object(Publisher, "_carry_out", own)


def own_bundling() -> Any:
    carry_out = Publisher._carry_out

    async def own(self: Publisher, plan: Any, views: Any) -> bool:
        return await carry_out(self, msgspec.structs.replace(plan, bundle=self._rules.bundle or msgspec.UNSET), views)

    return patch.object(Publisher, "_carry_out", own)


def parts_of_bundles_from_the_begin() -> Any:
    file = vortex.core.publish.contents._file
    return patch.object(vortex.core.publish.contents, "_file", lambda one: file(one) | {"offset": 0})


def first_part_of_a_bundle_twice() -> Any:
    put = ObjectWriter._put_object

    async def twice(self: ObjectWriter, members: Any) -> Any:
        rows = await put(self, members)
        return rows if len(rows) == 1 else [rows[0], rows[0], *rows[2:]]

    return patch.object(ObjectWriter, "_put_object", twice)


def last_part_of_a_bundle_left_out() -> Any:
    put = ObjectWriter._put_object

    async def short(self: ObjectWriter, members: Any) -> Any:
        return (await put(self, members))[: max(1, len(members) - 1)]

    return patch.object(ObjectWriter, "_put_object", short)


def two_compressions_in_an_hour() -> Any:
    return patch.object(vortex.core.publish.plan, "_compression", lambda last, upto, wanted: (wanted, upto))


def child_joined_twice() -> contextlib.AbstractContextManager[Any]:
    with_children = vortex.core.publish.plan.with_children
    stack = contextlib.ExitStack()
    for module in (vortex.core.publish.plan, vortex.publish.known_logs):
        stack.enter_context(
            patch.object(module, "with_children", lambda live, retired, views: with_children(live, {}, views))
        )
    return stack


def rest_of_a_full_pass_left_out() -> Any:
    """Objects of a pass whose scratch file has become full are not counted."""
    write = ObjectWriter.write

    async def short(self: ObjectWriter, specs: Any, plan: Any, copies: Copies, *more: Any) -> Any:
        made = await write(self, specs, plan, copies, *more)
        return [] if copies.full else made

    return patch.object(ObjectWriter, "write", short)


def done_before_manifests() -> Any:
    close = Hours.close

    async def late(self: Hours, plan: Any, document: Any) -> int | None:
        await self._log_store.put_done(document)
        return await close(self, plan, document)

    return patch.object(Hours, "close", late)


def cleanup_below(limit: Callable[..., int]) -> Any:
    return patch.object(vortex.publish.cleanup, "unneeded", limit)


def and_the_head(shard: str, plan: Any, head: int) -> int:
    below = vortex.core.publish.plan.unneeded(shard, plan, head)
    return below + (below == head)


def regardless_of_next(shard: str, plan: Any, head: int) -> int:
    entry = plan.shards.get(shard)
    if entry is not None:
        done = msgspec.structs.replace(entry, next=max(entry.to, entry.next))
        plan = msgspec.structs.replace(plan, shards={shard: done})
    return vortex.core.publish.plan.unneeded(shard, plan, head)


def cleanup_of_empty_segments() -> Any:
    clean = vortex.publish.cleanup.Cleaner._clean_log

    async def lax(self: Any, shard: str, below: int, retired: bool) -> None:
        await clean(self, shard, below, retired)
        headers = [await self._log_store.head(shard, n) for n in await self._log_store.numbers(shard, -1)]
        empty = [head.n for head in headers[:-1] if head.footer and not head.footer.counts.records]
        await self._log_store.drop(shard, empty)

    return patch.object(vortex.publish.cleanup.Cleaner, "_clean_log", lax)


def logs_taken_as_closed_like_the_one_that_was_read() -> Any:
    """Of the logs that hold the frontier one is read; the others are expected to have moved as far."""
    views_read: dict[int, set[int]] = {}
    propose, limit = vortex.core.publish.plan.propose, vortex.core.publish.plan.frontier_limit

    async def look(self: KnownLogs, *args: Any) -> None:
        read = [shard for shard in holders(self.plan, self.views) if shard in self.views][:1]
        await self._read_on(read)
        views_read[id(self.views)] = {id(self.views[shard]) for shard in read}

    def lax(last: Any, views: Any, rules: Any) -> Any:
        read = views_read.get(id(views))
        known = limit if read is None else lambda entry, view: limit(entry, view) if id(view) in read else None
        with patch.object(vortex.core.publish.plan, "frontier_limit", known):
            return propose(last, views, rules)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(KnownLogs, "look_on", look))
    stack.enter_context(patch.object(vortex.publish.publisher, "propose", lax))
    return stack


def logs_kept_though_another_has_planned() -> Any:
    """What a planner knew of the logs before another one's plan is not read on."""
    draw = KnownLogs.draw

    async def kept(self: KnownLogs, shards: Any, old: Any, finished: bool) -> None:
        known = {shard: old[shard] for shard in shards if shard in old and old[shard].headers}
        await draw(self, {shard: entry for shard, entry in shards.items() if shard not in known}, old, finished)
        self.views.update(known)

    return patch.object(KnownLogs, "draw", kept)


def objects_counted_by(count: Callable[[list[Any], bool], list[Any]]) -> Any:
    """Who goes on where another has died counts the objects otherwise: `count` is told whether an object exists."""
    put, compared = ObjectWriter._put_object, ObjectWriter._compared
    there: set[str] = set()

    async def noted(self: ObjectWriter, key: str, bodies: Any) -> Any:
        there.add(key)
        return await compared(self, key, bodies)

    async def counted(self: ObjectWriter, members: Any) -> Any:
        rows = await put(self, members)
        return count(rows, members[0][0].key in there)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(ObjectWriter, "_compared", noted))
    stack.enter_context(patch.object(ObjectWriter, "_put_object", counted))
    return stack


def existing_objects_counted_twice() -> Any:
    return objects_counted_by(lambda rows, exists: rows + rows if exists else rows)


def existing_objects_not_counted() -> Any:
    return objects_counted_by(lambda rows, exists: [] if exists else rows)


def ranges_that_are_begun_taken_as_done() -> Any:
    """The rest of a range is left out once one of its objects is there."""
    begun: list[bool] = []

    def count(rows: list[Any], exists: bool) -> list[Any]:
        begun[:] = begun or [exists] * exists
        return rows if exists or not begun else []

    return objects_counted_by(count)


def manifest_of_one_plan() -> Any:
    async def none(self: Hours, hour: int, plan: Any) -> list[Any]:
        return []

    return patch.object(Hours, "_dones_since", none)


def retired_when_ended() -> contextlib.AbstractContextManager[Any]:
    def live_and_retired(last: Any) -> tuple[dict[str, Any], dict[str, int]]:
        ended = {shard: entry.to for shard, entry in last.shards.items() if entry.ended}
        return {s: entry for s, entry in last.shards.items() if s not in ended}, {**last.retired, **ended}

    stack = contextlib.ExitStack()
    for module in (vortex.core.publish.plan, vortex.publish.known_logs, vortex.log.shard_tree):
        stack.enter_context(patch.object(module, "live_and_retired", live_and_retired))
    return stack


_ANY = 0, 1 << 62


def parts_numbered_alike() -> Any:
    """Each range of a shared folder begins with part 0."""
    return patch.object(
        vortex.core.publish.members, "_parts", lambda plan, number, folders: [(0, 1 << 62)] * len(folders)
    )


def shared_by_every_range() -> Any:
    mask = vortex.core.publish.shares.mask

    def lax(plan: Any, number: int, segment: Any, hashes: Any) -> Any:
        return mask(plan, number, segment, hashes) | np.isin(hashes, np.array(plan.shared, dtype=np.uint64))

    return patch.object(vortex.core.publish.members, "mask", lax)


def cut_between_segments_that_are_in_no_range() -> Any:
    """The first segment of a range is in none."""
    mask = vortex.core.publish.shares.mask

    def short(plan: Any, number: int, segment: Any, hashes: Any) -> Any:
        found = mask(plan, number, segment, hashes)
        return found & ~np.isin(hashes, np.array(plan.shared, dtype=np.uint64)) if segment in plan.cuts else found

    return patch.object(vortex.core.publish.members, "mask", short)


def reach_from_the_newest() -> Any:
    """Then an outage of more than reach and window hides what was published before it. The check's formula of `since`
    is as wrong: only what is published twice shows it.
    """
    stack = contextlib.ExitStack()
    made = vortex.core.publish.plan._arrived
    newest: list[int] = []

    def noted(*asked: Any) -> tuple[int, int]:
        arrived = made(*asked)
        newest[:] = [arrived[1]]
        return arrived

    def needed(arrived: int, after: int, window: int, reach: int) -> int:
        return max(arrived, newest[0] - reach) - window

    def modelled(plan: dict[str, Any]) -> int:
        least, most = plan["arrived"]
        return int(max(least, most - plan["reach"]) - plan["window"])

    stack.enter_context(patch.object(vortex.core.publish.plan, "_arrived", noted))
    stack.enter_context(patch.object(vortex.core.publish.plan, "needed_from", needed))
    stack.enter_context(patch.object(simulation.walkcheck, "_needed", modelled))
    return stack
