"""Plans."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from vortex.commands.sizing import _EXCHANGED_ROW_BYTES, _ROW_BYTES, _ROWS_WITHIN
from vortex.core.compression import Compression
from vortex.core.log.index import PeriodSize
from vortex.core.log.rules import SegmentHeader
from vortex.core.log.segment import empty_footer
from vortex.core.log.trailer import OtherVersion
from vortex.core.model import HOUR_MS, Position, ShardInfo, Start
from vortex.core.publish.plan import (
    PLAN_ROWS,
    LogView,
    Plan,
    PlanShard,
    Rules,
    live_and_retired,
    propose,
    read_plan,
    with_children,
)


def test_read_plan_refuses_a_plan_of_another_version() -> None:
    """An older plan would publish all copies; what a newer one means is unknown."""
    plan = Plan(k=7, after=0, upto=5, shards={}, target=1)
    assert read_plan(msgspec.json.encode(plan), "plan.json") == plan
    for version, remedy in ((2, "reads 3 and later. Drain"), (7, "run the newer one")):
        plan.version = version
        with pytest.raises(OtherVersion, match=f"plan.json: format version {version};.*{remedy}"):
            read_plan(msgspec.json.encode(plan), "plan.json")


def segment(shard: str, n: int, position: int, **other: object) -> SegmentHeader:
    """An empty segment, whose bound and watermark are `position`."""
    made = empty_footer(
        shard,
        n,
        owner="w",
        created=1,
        position=Position(Start.AFTER_SEQUENCE_NUMBER, str(position)),
        watermark=position,
        closed_before=position,
    )
    return SegmentHeader(shard, n, f"{shard}-{n}", msgspec.structs.replace(made, **other))


def test_with_children_adds_a_child_once_with_the_bounds_of_all_its_parents() -> None:
    """The greatest bound, the least watermark; a child that has ended already does not come back."""
    child, ended = ShardInfo("c", ("a", "b")), ShardInfo("d", ("a",))
    views = {
        "a": LogView([segment("a", 0, 10, ended=True, children=(child, ended))]),
        "b": LogView([segment("b", 0, 20, ended=True, children=(child,))]),
        "open": LogView([segment("open", 0, 5)]),
        "not begun": LogView(),
    }
    live = {"a": PlanShard(), "b": PlanShard()}
    found = with_children(live, {"d": 4}, views)
    assert set(found) == {"a", "b", "c"}
    assert found["c"] == PlanShard(closed_before=20, arrives=10, parents=("a", "b"))
    assert with_children(found, {"d": 4}, views) == found
    assert set(live) == {"a", "b"}


def test_live_and_retired_retires_ended_shards_with_nothing_left_to_publish() -> None:
    shards = {
        "done": PlanShard(to=3, next=4, ended=True),
        "left": PlanShard(to=3, next=3, ended=True),
        "open": PlanShard(to=3, next=4),
    }
    last = Plan(k=7, after=0, upto=5, shards=shards, retired={"old": 1}, target=1)
    live, retired = live_and_retired(last)
    assert set(live) == {"left", "open"}
    assert retired == {"old": 1, "done": 3}


def test_propose_waits_for_a_child_whose_log_has_not_begun() -> None:
    """It holds the frontier where its parent stopped, and its first row may come at the parent's watermark."""
    child = ShardInfo("c", ("a",))
    last = Plan(k=0, after=0, upto=5, shards={"a": PlanShard(closed_before=5)}, target=1)
    views = {"a": LogView([segment("a", 0, 10, ended=True, children=(child,))])}
    plan = propose(last, views, Rules(target=1, window=60))
    assert plan is not None
    assert (plan.after, plan.upto, plan.retired) == (5, 10, {})
    assert plan.shards["c"] == PlanShard(closed_before=10, arrives=10, parents=("a",))
    assert plan.shards["a"].ended
    assert plan.arrived[0] == 10
    assert propose(plan, {**views, "c": LogView()}, Rules(target=1)) is None


@pytest.mark.parametrize(
    ("rows", "upto"),
    [((500_000, 500_000, 500_000, 1), 900), ((500_000, 500_000, 500_001, 1), 600), ((9_000_000, 1), 300)],
    ids=["as many as fit", "one row too many", "a period that does not fit is a plan of its own"],
)
def test_propose_takes_the_periods_that_memory_has_room_for(rows: tuple[int, ...], upto: int) -> None:
    """Two shards have half of the rows each. By one worker or by several, a plan takes at most 160 MB to decide on."""
    views = {}
    for odd, shard in enumerate("ab"):
        halves = [(count + odd) // 2 for count in rows]
        sizes = tuple(PeriodSize(300 * at, 10, half, half, 0) for at, half in enumerate(halves))
        views[shard] = LogView([replace(segment(shard, 0, 300 * len(rows)), known=sizes)])
    plan = propose(Plan(k=-1, after=0, upto=0, shards={"a": PlanShard(), "b": PlanShard()}, target=1), views, Rules(1))
    assert plan is not None and plan.upto == upto
    assert PLAN_ROWS * max(_ROW_BYTES, _EXCHANGED_ROW_BYTES // 2) <= _ROWS_WITHIN


@pytest.mark.parametrize("other", Compression)
def test_propose_changes_the_compression_with_an_hour(other: Compression) -> None:
    """The plan before ends with the hour, which so has one compression. The first plan has nothing before it.

    Older programs know no plan of Zstandard, and carry out one of gzip.
    """
    shards = {"a": PlanShard(closed_before=0)}
    view = {"a": LogView([segment("a", 0, 3 * HOUR_MS)])}
    before = next(one for one in Compression if one is not other)

    def planned(k: int, upto: int) -> tuple[Compression, int, int]:
        last = Plan(k=k, after=0, upto=upto, shards=shards, target=1, compression=before)
        plan = propose(last, view, Rules(target=1, compression=other))
        assert plan is not None
        return plan.compression, plan.upto // (HOUR_MS // 2), plan.version

    versions = {Compression.GZIP: 3, Compression.ZSTD: 4}
    assert planned(-1, HOUR_MS // 2) == (other, 6, versions[other])
    assert planned(0, HOUR_MS // 2) == (before, 2, versions[before])
    assert planned(1, HOUR_MS) == (other, 6, versions[other])


def test_rules_cut_the_keys_into_as_many_parts_as_hold_them_all() -> None:
    """Rounded up: what does not fit is read again for every plan. A part never has less than `part_rows` rows."""
    rules = Rules(1, part_rows=100, workers=20, piece_rows=1000, keys=2000)
    assert [rules.parts(1600, 10, known, 0) for known in (1600, 2000, 2001, 6000, 8000, 10**6)] == [1, 1, 2, 4, 4, 16]
    assert rules.parts(399, 10, 10**6, 0) == 2
    assert rules.parts(40_000, 10, 40_000, 0) == 16, "twenty, of twenty workers"
    assert Rules(1, part_rows=100, workers=20, piece_rows=1000).parts(40_000, 10, 10**9, 0) == 4, "by rows alone"
    assert rules.parts(1600, 10, 6000, 1) == 4
    assert rules.parts(1600, 10, 3000, 4) == 4, "two would do, and the keys are in memory"
