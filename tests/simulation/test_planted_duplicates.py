"""Planted bugs in deduplication: the simulation must find each within SEEDS seeds, with the expected message.

Each was a variant of the random model of the protocol against which the design was first tested: 1 to 20 are b1 to b20
of the model, 21 to 25 b22, b23, b24, b25 and b27, 26 to 32 b28, b29, b30, b31, b33, b35 and b36. 33 and 34 are about
bytes, 35, 36 and 38 about the exchange of ids, which the model does not have, and 39 is a bug that the program had.
test_rare_bugs.py shows those that random seeds find too rarely (7, 10, 11, 19).
"""

from __future__ import annotations

from unittest.mock import patch

import msgspec
import pytest

import vortex.core.dedup.decided
import vortex.core.dedup.keys
import vortex.core.dedup.rows
import vortex.core.ingest.shard_state
import vortex.core.publish.plan
import vortex.publish.dedup
import vortex.publish.publisher
from tests.simulation.bugs_dedup import (
    Stale,
    accepted_with_stale_memory,
    all_copies,
    arrival_as_a_point,
    arrived_without,
    boundary,
    by_own_window,
    carried_out_with,
    cleaned_by_an_unfinished_plan,
    cleanup_since,
    done_first,
    exchanged_by_other_bits,
    filter_kept,
    filter_outlives_its_process,
    idle,
    ids_cleaned_once_decided,
    keys_of,
    missing_ids_are_none,
    objects_first,
    one_filter_for_all,
    overwritten,
    own_parts,
    own_since,
    proposed_before_done,
    rejections_count,
    resolved_by,
    rows_of_all_periods,
    rows_within_the_period,
    runs_by,
    since_goes_back,
    upto_of_the_first,
    window_of,
    without_own_rows,
)
from tests.simulation.bugs_publish import reach_from_the_newest
from tests.simulation.planting import Bug, hunt
from vortex.core.invariants import Invariant

RESHARDING = ("stream.split", "stream.merge")
_COPIES = ("traffic.duplicate",)
_SEVERAL = (*_COPIES, "process.second", "process.settings")

BUGS = (
    Bug("1 since may go back", since_goes_back, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "2 since from local settings",
        lambda: carried_out_with(own_since),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
        begin=4,
    ),
    Bug("3 objects before all decisions", objects_first, f"{Invariant.ROWS_HAVE_ONE_OUTCOME}"),
    Bug(
        "4 own rows not compared",
        lambda: resolved_by(without_own_rows),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug(
        "5 clean-up by the local window",
        lambda: cleanup_since(by_own_window),
        f"{Invariant.NEEDED_FILES_STAY}",
        _SEVERAL,
    ),
    Bug(
        "6 keys of dropped rows kept",
        lambda: patch.object(vortex.core.dedup.decided, "published", lambda dropped: dropped | True),
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug("8 filter survives a lost race", filter_kept, f"{Invariant.FILTERED_HAVE_ROWS}", (*_COPIES, "process.second")),
    Bug(
        "9 arrived.from without idle shards",
        lambda: arrived_without(idle),
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}",
        ("traffic.idle", *RESHARDING),
    ),
    Bug(
        "12 memory used though a plan was skipped",
        lambda: keys_of(Stale),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
        begin=26,
    ),
    Bug(
        "14 another order",
        lambda: runs_by(lambda run: (-run[2], -run[0], run[1])),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}",
        _COPIES,
    ),
    Bug(
        "15 since from what is published",
        lambda: patch.object(
            vortex.core.publish.plan, "needed_from", lambda arrived, after, window, reach: after - window
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
    Bug("17 one filter over several shards", one_filter_for_all, f"{Invariant.FILTERED_HAVE_ROWS}", _COPIES),
    Bug("18 arrival as a point", arrival_as_a_point, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "20 decisions on k cleaned when k is done",
        lambda: cleanup_since(lambda _, plan: plan.k + 1),
        f"{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "21 window from settings",
        lambda: carried_out_with(lambda self, plan: msgspec.structs.replace(plan, window=window_of(self))),
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.SETTLES}",
        _SEVERAL,
    ),
    Bug(
        "22 rows of other periods count",
        rows_of_all_periods,
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.SETTLES}",
    ),
    Bug(
        "23 decisions overwritten",
        overwritten,
        f"{Invariant.NEEDED_FILES_STAY}|{Invariant.DECISIONS_NEVER_CHANGE}",
        begin=4,
    ),
    Bug(
        "24 another's content accepted with stale memory",
        accepted_with_stale_memory,
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.DECISIONS_NEVER_CHANGE}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _SEVERAL,
        begin=26,
    ),
    Bug("25 upto of the first segment", upto_of_the_first, f"{Invariant.ARRIVAL_BOUNDS_HOLD}"),
    Bug(
        "26 uncommitted rows in the filter after a resume",
        filter_outlives_its_process,
        f"{Invariant.FILTERED_HAVE_ROWS}",
        (*_COPIES, "process.crash"),
    ),
    Bug(
        "27 done before objects",
        done_first,
        f"{Invariant.DEDUP_SUMS_AGREE}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.CLOSED_HOURS}",
    ),
    Bug("28 all copies dropped", lambda: resolved_by(all_copies), f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}", _COPIES),
    Bug(
        "30 segments cleaned by an unfinished plan",
        cleaned_by_an_unfinished_plan,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "31 plan proposed before done",
        proposed_before_done,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}",
        ("process.crash",),
    ),
    Bug(
        "32 decisions cleaned up to the last plan",
        lambda: cleanup_since(lambda _, plan: plan.k),
        f"{Invariant.NEEDED_FILES_STAY}",
    ),
    Bug(
        "33 row numbers count rejections",
        rejections_count,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}|D",
        ("traffic.broken", *_COPIES),
        begin=11,
    ),
    Bug(
        "34 row numbers within the period",
        rows_within_the_period,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}|D",
        ("traffic.late", *_COPIES),
    ),
    Bug(
        "39 reach from the newest arrival",
        reach_from_the_newest,
        f"{Invariant.PUBLISHED_NOT_NEAR}",
        (*_COPIES, "process.outage"),
    ),
)


FLEET_BUGS = (
    Bug(
        "13 parts from settings",
        lambda: carried_out_with(own_parts),
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.SETTLES}",
    ),
    Bug(
        "29 part boundary off by one",
        boundary,
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.SETTLES}",
        _COPIES,
        begin=11,
    ),
    Bug(
        "35 ids exchanged by other bits of the key",
        exchanged_by_other_bits,
        f"{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.KEYS_IN_MEMORY_MATCH}|{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.SETTLES}",
        _COPIES,
    ),
    Bug(
        "36 missing ids count as none",
        missing_ids_are_none,
        f"{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}|{Invariant.SETTLES}",
    ),
    Bug("38 ids cleaned up before their plan is done", ids_cleaned_once_decided, f"{Invariant.NEEDED_FILES_STAY}"),
)


@pytest.mark.parametrize("bug", FLEET_BUGS, ids=lambda bug: bug.name)
def test_simulation_of_a_fleet_finds_the_planted_bug(bug: Bug) -> None:
    """Bugs that only show with several parts."""
    hunt(bug, fleet=True)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_simulation_finds_the_planted_bug(bug: Bug) -> None:
    """With the expected message."""
    hunt(bug)
