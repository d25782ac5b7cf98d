"""How a plan is shared out: every member has one range, and objects follow from the plan."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.publish.test_contents import log
from vortex.core.documents import plan_of
from vortex.core.publish.members import objects
from vortex.core.publish.pieces import ObjectSpec
from vortex.core.publish.plan import LogView, Plan, PlanShard, Rules, propose
from vortex.core.publish.shares import Worth, first_segments, listings, mask, part_stride, range_count, shared_out

_TOP = 2**64 - 1


def planned(seed: int, target: int) -> tuple[Plan, dict[str, LogView]]:
    """A plan of everything in some logs."""
    rng = Random(seed)
    views = {name: log(name, rng.randint(1, 12), rng) for name in ("a", "b", "c")}
    last = Plan(k=-1, after=0, upto=0, shards={name: PlanShard() for name in views}, target=target)
    return propose(last, views, Rules(target)) or last, views


def test_range_count_is_a_power_of_two_that_grows_with_bytes_and_workers() -> None:
    """One range when there is little to publish."""
    assert [range_count(size, 50, 100) for size in (0, 199, 200, 999, 3200, 10**9)] == [1, 1, 2, 8, 32, 32]
    assert range_count(10**9, 1, 100) == 1


@given(st.integers(0, 2**32), st.sampled_from([1, 40, 200]), st.integers(1, 9), st.sampled_from([1, 10**9]))
def test_every_member_is_in_one_range_of_a_plan_that_is_shared_out(
    seed: int, target: int, workers: int, piece_bytes: int
) -> None:
    """And each worker makes the objects of its range from the segments that `first_segments` names."""
    plan, views = planned(seed, target)
    cut = shared_out(plan, views, Worth(workers, target, 1, piece_bytes))
    assert cut.ranges <= workers
    assert plan.k < 0 or plan_of(msgspec.json.encode(cut), cut.k, "plan") == cut
    found: list[ObjectSpec] = []
    for number in range(cut.ranges):
        first = first_segments(cut, number)
        own = {shard: LogView([h for h in views[shard].headers if h.n >= n]) for shard, n in first.items()}
        its = objects(cut, own, {}, number)
        assert its == objects(cut, views, {}, number)
        found += its
    assert len({spec.key for spec in found}) == len(found)
    whole = objects(plan, views, {})
    assert lines_of(found) == lines_of(whole)
    again = [spec for listing, number in listings(cut) for spec in objects(listing, views, {}, number)]
    assert {spec.key: spec for spec in again} == {spec.key: spec for spec in found}


def lines_of(specs: list[ObjectSpec]) -> dict[tuple[str, int], list[tuple[str, int, int, int]]]:
    """By folder and period the places of all lines, in the order of part numbers."""
    found: dict[tuple[str, int], list[tuple[str, int, int, int]]] = {}
    for spec in sorted(specs, key=lambda one: int(one.key.rpartition("-")[2].removesuffix(".json.gz"))):
        places = [(piece.shard, piece.n, piece.offset, piece.begin) for piece in spec.pieces]
        found.setdefault((spec.folder.path, spec.period), []).extend(places)
    return found


def test_a_large_folder_is_shared_by_segments_of_about_the_same_size() -> None:
    """The planner's range, which has the other folders, gets fewer of them."""
    plan, views = planned(0, 1)
    cut = shared_out(plan, views, Worth(4, 1, 10, 10**9))
    assert (cut.ranges, cut.hashed, len(cut.cuts), cut.version) == (4, 1, 3, 5)
    assert cut.shared
    sizes = [sum(spec.length for spec in objects(cut, views, {}, number)) for number in range(4)]
    assert max(sizes) <= 2 * sum(sizes) / 4


def test_a_plan_of_small_segments_is_not_shared_out_however_many_workers_there_are() -> None:
    """Each range would read every segment anew."""
    plan, views = planned(7, 10**6)
    for workers in (1, 2, 8, 64):
        cut = shared_out(plan, views, Worth(workers, 10**6, 1, 10**6))
        assert (cut.ranges, cut.shared, cut.version) == (1, (), 3)


def test_a_plan_of_an_earlier_version_has_its_folders_by_hash_in_all_ranges() -> None:
    plan = Plan(k=0, after=0, upto=5, shards={}, target=1, ranges=4)
    hashes = np.array([0, 1 << 62, 1 << 63, _TOP], dtype=np.uint64)
    assert [mask(plan, number, ("a", 0), hashes).tolist().index(True) for number in range(4)] == [0, 1, 2, 3]


def test_a_shared_folder_is_in_the_range_of_the_segment_and_others_in_that_of_their_hash() -> None:
    plan = Plan(
        k=0,
        after=0,
        upto=5,
        shards={},
        target=1,
        ranges=4,
        hashed=2,
        shared=(_TOP,),
        cuts=(("a", 3), ("b", 0), ("b", 2)),
    )
    hashes = np.array([0, 1 << 63, _TOP], dtype=np.uint64)

    def ranges(segment: tuple[str, int]) -> list[int]:
        masks = [mask(plan, number, segment, hashes).tolist() for number in range(4)]
        return [[one[at] for one in masks].index(True) for at in range(3)]

    assert ranges(("a", 2)) == [0, 1, 0]
    assert ranges(("a", 3)) == ranges(("a", 99)) == [0, 1, 1]
    assert ranges(("b", 1)) == [0, 1, 2]
    assert ranges(("c", 0)) == [0, 1, 3]


def test_parts_of_a_range_have_numbers_of_their_own() -> None:
    """Room for an object of each segment."""
    for segments, stride in ((1, 1000), (1000, 1000), (1001, 10_000)):
        plan = Plan(k=0, after=0, upto=5, shards={"a": PlanShard(first=5, to=4 + segments)}, target=1)
        assert part_stride(plan) == stride
    assert all(after > before for before, after in pairwise(number * stride for number in range(9)))
