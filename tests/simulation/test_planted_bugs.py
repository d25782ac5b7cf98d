"""The simulation itself is tested: it must find each planted bug within SEEDS seeds."""

from __future__ import annotations

from collections import Counter
from unittest.mock import patch

import pytest

from tests.simulation.bugs_ingest import (
    advance_ignored,
    arrival_by_one_clock,
    arrival_in_1970,
    bound_from_settings,
    bound_of_the_slowest,
    child_before_parents,
    children_from_latest,
    commit_before_the_put,
    constant,
    date_trusted,
    denial_is_final,
    end_not_confirmed,
    iterators_that_never_expire,
    last_page_dropped,
    memory_without_a_limit,
    missing_iterator_is_an_end,
    no_pause,
    no_rehoming,
    one_listing_trusted,
    page_without_events_skipped,
    refusal_taken_as_mine,
    shards_that_left_still_count,
    text_order,
    time_alone_ends_a_drain,
    watermark_of_the_fastest,
)
from tests.simulation.bugs_publish import (
    and_the_head,
    child_joined_twice,
    cleanup_below,
    cleanup_of_empty_segments,
    closing_without,
    done_before_manifests,
    first_part_of_a_bundle_twice,
    from_is_to_plus_one,
    last_part_of_a_bundle_left_out,
    logs_kept_though_another_has_planned,
    logs_taken_as_closed_like_the_one_that_was_read,
    loser_carries_out_its_own_plan,
    manifest_of_one_plan,
    own_bundling,
    own_compression,
    parts_of_bundles_from_the_begin,
    plan_overwritten,
    regardless_of_next,
    rest_of_a_full_pass_left_out,
    retired_when_ended,
    two_compressions_in_an_hour,
)
from tests.simulation.planting import Bug, hunt
from vortex.core.ingest.shard_state import ShardIngest
from vortex.core.invariants import Invariant

RESHARDING = ("stream.split", "stream.merge")
NOT_STARTED = (*RESHARDING, "stream.slow", "store.denied")

BUGS = (
    Bug(
        "commit before the put",
        commit_before_the_put,
        f"{Invariant.WHOLE_LOGS}.*which is not its own",
        ("process.crash",),
    ),
    Bug(
        "412 taken as mine",
        refusal_taken_as_mine,
        f"{Invariant.WHOLE_LOGS}.*which is not its own",
        ("process.second",),
    ),
    Bug("LATEST for children", children_from_latest, f"{Invariant.PARENTS_FIRST}.*a child starts at", RESHARDING),
    Bug(
        "child before parents",
        child_before_parents,
        f"{Invariant.PARENTS_FIRST}.*have(?: not)? ended",
        (*RESHARDING, "stream.slow"),
    ),
    Bug(
        "closing without idle shards",
        lambda: closing_without(True),
        f"{Invariant.CLOSED_HOURS}.*which a plan has closed|{Invariant.COMPLETE_AND_ONCE}.*leaves out",
        ("traffic.idle",),
        begin=4,
    ),
    Bug(
        "closing without shards that have not started",
        lambda: closing_without(False),
        f"{Invariant.CLOSED_HOURS}.*a plan has closed|{Invariant.COMPLETE_AND_ONCE}.*leaves out",
        NOT_STARTED,
        begin=15,
    ),
    Bug("no re-homing", no_rehoming, f"{Invariant.CLOSED_HOURS}.*which its log had closed", ("traffic.late",)),
    Bug(
        "closed_before from settings, not the log",
        bound_from_settings,
        f"{Invariant.WHOLE_LOGS}|{Invariant.CLOSED_HOURS}",
        ("process.settings", "operator.close"),
    ),
    Bug(
        "an advance ignored",
        advance_ignored,
        f"{Invariant.WHOLE_LOGS}.*closed_before goes back|{Invariant.CLOSED_HOURS}.*has rows before",
        ("operator.close", "operator.max_delay"),
    ),
    Bug(
        "`from` = to + 1", from_is_to_plus_one, f"{Invariant.WRITTEN_ONCE}.*the next plan begins at", ("traffic.late",)
    ),
    Bug("plan overwritten", plan_overwritten, f"{Invariant.WRITTEN_ONCE}.*plan.json: was deleted", ("process.second",)),
    Bug(
        "child joined twice",
        child_joined_twice,
        f"{Invariant.WRITTEN_ONCE}.*both live and retired",
        RESHARDING,
        begin=7,
    ),
    Bug("done before manifests", done_before_manifests, f"{Invariant.CLOSED_HOURS}.*has no manifest"),
    Bug(
        "clean-up of a head",
        lambda: cleanup_below(and_the_head),
        f"{Invariant.WRITTEN_ONCE}.*is the last segment of its log",
        RESHARDING,
    ),
    Bug(
        "clean-up of unpublished segments",
        lambda: cleanup_below(regardless_of_next),
        f"{Invariant.WRITTEN_ONCE}.*deleted, but",
    ),
    Bug(
        "clean-up of empty segments",
        cleanup_of_empty_segments,
        f"{Invariant.WRITTEN_ONCE}.*was deleted, but",
    ),
    # What a planner knows of the logs may be old.
    Bug(
        "logs taken as closed like the one that was read",
        logs_taken_as_closed_like_the_one_that_was_read,
        f"{Invariant.CLOSED_HOURS}.*a plan has closed|{Invariant.COMPLETE_AND_ONCE}.*leaves out",
    ),
    Bug(
        "logs kept though another worker has planned",
        logs_kept_though_another_has_planned,
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}|{Invariant.SETTLES}",
        ("process.second", "process.pause", "process.zombie"),
        begin=4,
    ),
    # Other mistakes that are easily made.
    Bug(
        "the rest of a pass left out when the scratch folder is full",
        rest_of_a_full_pass_left_out,
        f"{Invariant.SETTLES}.*rows are missing|{Invariant.COMPLETE_AND_ONCE}",
        ("process.scratch_full",),
    ),
    Bug(
        "loser carries out its own plan",
        loser_carries_out_its_own_plan,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.ROWS_HAVE_ONE_OUTCOME}|{Invariant.OUTCOME_FOLLOWS_FROM_LOGS}"
        f"|{Invariant.CLOSED_HOURS}|{Invariant.SETTLES}.*publisher stops",
        ("process.second", "process.pause", "process.settings", "store.slow"),
    ),
    Bug(
        "objects in the compression of the own settings",
        own_compression,
        f"{Invariant.WRITTEN_ONCE}.*says (gzip|zstd)",
        ("process.zstd", "process.second", "process.crash"),
    ),
    Bug(
        "bundles by the own settings",
        own_bundling,
        f"{Invariant.WRITTEN_ONCE}|{Invariant.COMPLETE_AND_ONCE}|{Invariant.SETTLES}",
        ("process.small", "process.second", "process.crash"),
    ),
    Bug(
        "the parts of a bundle all from its begin",
        parts_of_bundles_from_the_begin,
        f"{Invariant.WRITTEN_ONCE}.*has no member of|{Invariant.COMPLETE_AND_ONCE}.*is named twice",
        ("process.small",),
    ),
    Bug(
        "the first part of a bundle named twice",
        first_part_of_a_bundle_twice,
        f"{Invariant.COMPLETE_AND_ONCE}.*for the bundles' members|{Invariant.SETTLES}.*publisher stops",
        ("process.small",),
    ),
    Bug(
        "the last part of a bundle left out",
        last_part_of_a_bundle_left_out,
        f"{Invariant.COMPLETE_AND_ONCE}.*for the bundles' members|{Invariant.SETTLES}.*publisher stops",
        ("process.small",),
    ),
    Bug(
        "files of two compressions in one hour",
        two_compressions_in_an_hour,
        f"{Invariant.CLOSED_HOURS}.*lists files of",
        ("process.zstd",),
    ),
    Bug(
        "last page of a shard dropped",
        last_page_dropped,
        f"{Invariant.COMPLETE_AND_ONCE}.*records of|{Invariant.SETTLES}.*not committed",
        (*RESHARDING, "stream.irregular"),
    ),
    Bug(
        "rejections lost",
        lambda: patch.object(ShardIngest, "_reject", lambda *_: Counter()),
        f"{Invariant.COMPLETE_AND_ONCE}",
        ("traffic.broken",),
    ),
    Bug(
        "sequence numbers in text order",
        text_order,
        f"{Invariant.COMPLETE_AND_ONCE}.*records of|{Invariant.SETTLES}.*not committed",
    ),
    Bug(
        "a child's watermark from its fastest parent",
        watermark_of_the_fastest,
        f"{Invariant.WHOLE_LOGS}.*first watermark",
        RESHARDING,
    ),
    Bug(
        "a child's bound from its slowest parent",
        bound_of_the_slowest,
        f"{Invariant.WHOLE_LOGS}.*first closed_before",
        (*RESHARDING, "traffic.idle", "process.second"),
    ),
    Bug(
        "an hour's manifest of its last plan alone",
        manifest_of_one_plan,
        f"{Invariant.CLOSED_HOURS}.*(?:folders differ|does not list)",
    ),
    Bug(
        "retired when ended",
        retired_when_ended,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.WRITTEN_ONCE}",
        (*RESHARDING, "traffic.early"),
    ),
    Bug(
        "an old iterator used",
        iterators_that_never_expire,
        f"{Invariant.LIMITS_KEPT}.*expired iterator",
        ("store.disk_full",),
        begin=10,
    ),
    Bug(
        "a missing iterator taken for an end",
        missing_iterator_is_an_end,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SETTLES}.*not committed",
        (*RESHARDING, "stream.no_iterator", "process.crash"),
        begin=23,
    ),
    Bug(
        "a page without a next iterator taken for an end",
        end_not_confirmed,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SETTLES}.*not committed",
        (*RESHARDING, "stream.false_end", "process.crash"),
        begin=26,
    ),
    Bug(
        "one Date believed",
        date_trusted,
        f"{Invariant.CLOSED_HOURS}.*ahead of the clock|{Invariant.ARRIVAL_BOUNDS_HOLD}.*did not arrive in",
        ("stream.single_wrong_date", "stream.wrong_dates", "traffic.idle"),
    ),
    Bug(
        "a page without arrival times of 1970",
        arrival_in_1970,
        f"{Invariant.ARRIVAL_BOUNDS_HOLD}.*did not arrive in",
        ("stream.no_arrivals",),
    ),
    Bug(
        "a page without arrival times by one clock",
        arrival_by_one_clock,
        f"{Invariant.CLOSED_HOURS}.*ahead of the clock|{Invariant.ARRIVAL_BOUNDS_HOLD}.*did not arrive in",
        ("stream.no_arrivals", "clock.skew"),
    ),
    Bug(
        "one listing believed", one_listing_trusted, "I", (*RESHARDING, "stream.short_list", "process.second"), begin=4
    ),
    Bug(
        "rejections alone passed over",
        page_without_events_skipped,
        f"{Invariant.COMPLETE_AND_ONCE}|{Invariant.SUMS_AGREE}",
        ("traffic.poison",),
    ),
    Bug("a denial taken as final", denial_is_final, f"{Invariant.SETTLES}.*failed: Denied", ("process.credentials",)),
    Bug("memory without a limit", memory_without_a_limit, f"{Invariant.LIMITS_KEPT}.*uses", ("process.tight",)),
    Bug(
        "shards that left still count",
        shards_that_left_still_count,
        f"{Invariant.LIMITS_KEPT}.*has a limit of",
        ("process.tight", *RESHARDING),
    ),
    Bug(
        "time alone ends a drain",
        time_alone_ends_a_drain,
        f"{Invariant.COMPLETE_AND_ONCE}.*drained, but left",
        ("process.drain",),
    ),
    Bug("asking too often", constant("CALL_S", 0.1), f"{Invariant.LIMITS_KEPT}.*six calls"),
    Bug(
        "no rest after 10 MiB", no_pause, f"{Invariant.LIMITS_KEPT}.*too soon after a page of 10 MiB", ("stream.heavy",)
    ),
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_simulation_finds_the_planted_bug(bug: Bug) -> None:
    """With the expected message."""
    hunt(bug)
