"""The simulation of a fleet finds planted bugs: mistakes that are easily made when workers share shards and plans."""

from __future__ import annotations

import contextlib
from collections.abc import Container
from typing import Any
from unittest.mock import patch
from weakref import WeakKeyDictionary

import pytest

import vortex.core.fleet.balance
import vortex.fleet.leased
from simulation import vtime
from tests.sharing_stories import taker_dies_in_a_shared_folder
from tests.simulation.bugs_publish import (
    cut_between_segments_that_are_in_no_range,
    existing_objects_counted_twice,
    existing_objects_not_counted,
    parts_numbered_alike,
    ranges_that_are_begun_taken_as_done,
    shared_by_every_range,
)
from tests.simulation.planting import Bug, Plant, hunt
from vortex.core.fleet.balance import Seen
from vortex.core.invariants import Invariant
from vortex.core.publish.ranges import RangeDone
from vortex.fleet.leased import LeasedFleet
from vortex.ingest.commits import Commits
from vortex.log.shard_tree import ShardTree
from vortex.log.store import LogStore
from vortex.ports import NotFound


def _leases_never_expire() -> Any:
    def owner(one: Seen, me: str, held: Container[str], failover_s: float) -> str | None:
        return me if one.lease.key in held else one.lease.owner

    stack = contextlib.ExitStack()
    for module in (vortex.core.fleet.balance, vortex.fleet.leased):
        stack.enter_context(patch.object(module, "owner_of", owner))
    return stack


def _shard_end_on_every_release() -> Any:
    work = LeasedFleet._work

    async def worked(self: LeasedFleet, holding: Any) -> Any:
        footer = await work(self, holding)
        return footer or holding.worker._commits.head.footer

    return patch.object(LeasedFleet, "_work", worked)


def _reported_before_the_commit() -> Any:
    commit, work = Commits._commit, LeasedFleet._work
    fleets = WeakKeyDictionary[Commits, LeasedFleet]()

    async def worked(self: LeasedFleet, holding: Any) -> Any:
        fleets[holding.worker._commits] = self
        return await work(self, holding)

    async def reported(self: Commits, draft: Any, ingest: Any) -> None:
        fleets[self].committed(draft.footer)
        await commit(self, draft, ingest)

    stack = contextlib.ExitStack()
    stack.enter_context(patch.object(LeasedFleet, "_work", worked))
    stack.enter_context(patch.object(Commits, "_commit", reported))
    return stack


def _ranges_not_waited_for() -> Any:
    range_done = LogStore.range_done

    async def there(self: LogStore, k: int, number: int) -> bool:
        return True

    async def as_it_is(self: LogStore, k: int, number: int) -> RangeDone:
        try:
            return await range_done(self, k, number)
        except NotFound:
            return RangeDone(k=k, range=number, objects=[])

    return patch.multiple(LogStore, has_range_done=there, range_done=as_it_is)


DYING = ("process.crash", "process.crash_call")
RESHARDING = ("stream.split", "stream.merge")
BUGS = (
    Bug("leases that never expire", _leases_never_expire, f"{Invariant.SETTLES}.*not committed", ("process.crash",)),
    Bug(
        "a child taken before its parents' end",
        lambda: patch.object(ShardTree, "ready", lambda *_: True),
        f"{Invariant.PARENTS_FIRST}|{Invariant.SETTLES}.*not ended yet",
        RESHARDING,
    ),
    Bug(
        "reported before the commit",
        _reported_before_the_commit,
        f"{Invariant.LEASES_TRAIL_LOGS}.*is at",
        ("store.slow",),
    ),
    Bug(
        "SHARD_END for every released shard",
        _shard_end_on_every_release,
        f"{Invariant.LEASES_TRAIL_LOGS}.*ended",
        ("process.stop",),
    ),
    Bug(
        "parts of a shared folder numbered alike by all ranges",
        parts_numbered_alike,
        f"{Invariant.SETTLES}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
    ),
    Bug(
        "a shared folder published by every range",
        shared_by_every_range,
        f"{Invariant.SETTLES}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
    ),
    Bug(
        "a segment of a shared folder in no range",
        cut_between_segments_that_are_in_no_range,
        f"{Invariant.SETTLES}.*rows are missing|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
    ),
    Bug(
        "objects of a dead worker counted twice",
        existing_objects_counted_twice,
        f"{Invariant.SETTLES}.*so the plan is not done|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
        DYING,
    ),
    Bug(
        "objects of a dead worker not counted",
        existing_objects_not_counted,
        f"{Invariant.SETTLES}.*rows are missing|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
        DYING,
    ),
    Bug(
        "a plan's ranges not waited for",
        _ranges_not_waited_for,
        f"{Invariant.SETTLES}.*rows are missing|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_simulation_of_a_fleet_finds_the_planted_bug(bug: Bug) -> None:
    """With the expected message."""
    hunt(bug, fleet=True)


@pytest.mark.parametrize(
    "plant",
    [existing_objects_counted_twice, existing_objects_not_counted, ranges_that_are_begun_taken_as_done],
    ids=lambda plant: plant.__name__,
)
def test_story_of_a_worker_that_dies_in_a_shared_folder_finds_the_planted_bug(plant: Plant) -> None:
    """The plan is never done, since its rows do not add up."""
    with plant(), pytest.raises(AssertionError, match="publishing goes on"):
        vtime.run(taker_dies_in_a_shared_folder())
